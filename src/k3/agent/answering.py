"""One client of the health server: its head is read, its question answered at once, and then it may ask again.

Nothing is queued. A client that is slow, be it to ask or to read, is cut; whoever has no place any more, too (`visitors`).
"""

import asyncio
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Protocol

import h11

from k3.core import limits

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"

_NOT_ALLOWED: Final = 405


class Host(Protocol):
    """The server, as a connection needs to know it."""

    def enters(self, connection: "Connection") -> None:
        """A connection has been made."""
        ...

    def comes_again(self, connection: "Connection") -> bool:
        """A connection costs more time than one question does. False: it is to end."""
        ...

    def asked(self, connection: "Connection", *, by_k3: bool) -> None:
        """A connection has asked, and is about to be answered."""
        ...

    def rests(self, connection: "Connection") -> None:
        """A connection was answered."""
        ...

    def leaves(self, connection: "Connection") -> None:
        """A connection has ended."""
        ...

    def page(self, path: bytes) -> tuple[str, bytes] | None:
        """Type and content of what is there; None: nothing is."""
        ...


class Connection(asyncio.Protocol):
    """One client. A request line has to come soon, and all that it does has to be done a little later."""

    def __init__(self, host: Host, address: str, origin: str) -> None:
        """`origin`: what the client's address is counted as."""
        self.address = address
        self.origin = origin
        self._host = host
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HTTP_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._pieces = 0
        self._requests = 0
        self._has_line = False

    def end(self, which: str) -> str:
        """Returns the address of one end, with its interface where link-local; empty: it is gone already."""
        address: tuple[Any, ...] = (self._transport and self._transport.get_extra_info(which)) or ("",)
        scope = address[3] if len(address) > 3 else 0  # noqa: PLR2004 - an IPv6 socket's address has four parts
        with suppress(OSError):
            return f"{address[0]}%{socket.if_indextoname(scope)}" if scope else str(address[0])
        return ""

    def drop(self) -> None:
        """Ends the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # ── as asyncio calls it ─────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins to wait for a request."""
        if not isinstance(transport, asyncio.Transport):
            transport.close()
            return
        self._transport = transport
        # So `pause_writing` is called as soon as the kernel does not take a whole answer.
        transport.set_write_buffer_limits(high=0)
        line_seconds = min(limits.HTTP_LINE_SECONDS, limits.HTTP_SECONDS)
        self._deadline = asyncio.get_running_loop().call_later(line_seconds, self._line_is_due)
        self._host.enters(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Counts the connection out."""
        self._host.leaves(self)
        if self._deadline is not None:
            self._deadline.cancel()

    def pause_writing(self) -> None:
        """Ends the connection of a client that asks and does not read the answers, which would pile up here."""
        self.drop()

    def data_received(self, data: bytes) -> None:
        """Answers what has come, up to the length of one head: a flood of requests must not keep the agent from its work."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._pieces += 1
        self._has_line = self._has_line or b"\n" in data
        if self._pieces > 1 and not self._host.comes_again(self):
            self.drop()
            return
        try:
            # One byte more than a head may have is enough for h11 to refuse it.
            self._http.receive_data(data[: limits.HTTP_HEAD_BYTES + 1])
            self._answer_all(transport)
            if len(data) > limits.HTTP_HEAD_BYTES:
                transport.close()
        except h11.RemoteProtocolError as error:
            self._refuse(transport, error.error_status_hint)

    def eof_received(self) -> bool:
        """Closes the connection: who sends no more has its answers already."""
        return False

    # ── what it does ────────────────────────────────────────────────────────────────────────────────────────────────

    def _line_is_due(self) -> None:
        left = limits.HTTP_SECONDS - limits.HTTP_LINE_SECONDS
        if not self._has_line or left <= 0:
            self.drop()
        else:
            self._deadline = asyncio.get_running_loop().call_later(left, self.drop)

    def _answer_all(self, transport: asyncio.Transport) -> None:
        while not transport.is_closing():
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.ConnectionClosed | h11.Data):  # bodies are not read
                transport.close()
            elif isinstance(event, h11.Request):
                self._requests += 1
                if self._requests > 1 and not self._host.comes_again(self):
                    self.drop()
                else:
                    self._answer(transport, event)
            elif isinstance(event, h11.EndOfMessage):
                self._next(transport)

    def _answer(self, transport: asyncio.Transport, request: h11.Request) -> None:
        self._host.asked(self, by_k3=(b"user-agent", b"k3") in request.headers)
        status, kind, body = self._respond(request)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        if status == _NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        if _has_body(request):  # which is never read
            headers.append(("Connection", "close"))
        http = self._http
        parts = [http.send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))]
        if request.method != b"HEAD":
            parts.append(http.send(h11.Data(data=body)))
        parts.append(http.send(h11.EndOfMessage()))
        transport.write(b"".join(part for part in parts if part))
        if http.our_state is h11.MUST_CLOSE:
            transport.close()

    def _respond(self, request: h11.Request) -> tuple[int, str, bytes]:
        if request.method not in {b"GET", b"HEAD"}:
            return _NOT_ALLOWED, TEXT, b"method not allowed\n"
        page = self._host.page(_path(request.target))
        return (404, TEXT, b"not found\n") if page is None else (200, *page)

    def _next(self, transport: asyncio.Transport) -> None:
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._host.rests(self)
        else:
            transport.close()

    def _refuse(self, transport: asyncio.Transport, status: int) -> None:
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            headers = [("Content-Length", "0"), ("Connection", "close")]
            answer = self._http.send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
            transport.write(answer or b"")
        transport.close()


def _reason(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()


def _path(target: bytes) -> bytes:
    """Returns the path of a request target, which may be a whole URI as proxies send it (RFC 9112 §3.2.2)."""
    scheme, is_whole, rest = target.partition(b"://")
    if is_whole and scheme.lower() in {b"http", b"https"}:
        target = b"/" + rest.partition(b"/")[2]
    return target.partition(b"?")[0]


def _has_body(request: h11.Request) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in request.headers)
