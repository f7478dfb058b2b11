"""The health server: `GET /healthz` and `GET /info` on `--listen`, for peers, load balancers and people.

Strangers may connect, so heads, connections and time per connection are bounded, and bodies are not read. It knows nothing
of peers or stores; what `/info` says is handed in. Two processes of one machine may want the same port: the second one
finds that the first answers for this machine, and leaves the port to it for as long as it lives.
"""

import asyncio
import errno
import json
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Self

import h11

from k3.agent import facts, http, refusals
from k3.agent.http import HttpError, Server
from k3.agent.listener import Listener, listening_socket
from k3.core import limits
from k3.core.errors import StartFailed
from k3.settings.listen import Listen

Info = Callable[[], Mapping[str, Any]]
"""Returns what `/info` answers now."""

Met = Callable[[str, str], None]
"""Called for every connection, with the address of this end and of the other one."""

Asked = Callable[[str], None]
"""Called for each request of another k3, with the address it came from."""

RETRY_SECONDS: Final = 0.25
_ASK_SECONDS: Final = 2.0
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"

log = logging.getLogger(__name__)


class HealthServer:
    """A server that answers, or (`shared`) another process of this machine that does.

    The caller keeps `run` going: while the port is shared, that takes it over as soon as the other process releases it.
    """

    def __init__(self, host: str, port: int, info: Info) -> None:
        """To be started by `serve`."""
        self._host = host
        self.info = info
        self._listener: Listener | None = None
        self._beside: dict[str, Listener] = {}
        self._connections: set[_Connection] = set()
        self._most = refusals.descriptors_for(limits.HTTP_CONNECTIONS)
        self.port = port
        self.met: Met | None = None
        self.asked_by: Asked | None = None

    @property
    def shared(self) -> bool:
        """Whether another process of this machine answers on the port."""
        return self._listener is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def bind(self) -> None:
        """Takes the port. Raises OSError."""
        sock = listening_socket(self._host, self.port)
        self.port = sock.getsockname()[1]
        self._listener = Listener(sock, self._connection)

    async def run(self) -> None:
        """Tries again and again to take the port while it is shared; then returns."""
        while self.shared:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(OSError):
                self.bind()
                log.info("health.took_over", extra={"fields": {"port": self.port}})

    def cover(self, interfaces: Iterable[str]) -> None:
        """Answers on these interfaces by sockets of their own: what comes in there goes out there, whatever the routes say.

        For interfaces whose neighbours the kernel routes to by another interface, which is dead.
        """
        wanted = frozenset(interfaces) if self._listener is not None else frozenset()
        for name in self._beside.keys() - wanted:
            self._beside.pop(name).close()
        for name in wanted - self._beside.keys():
            with suppress(OSError):  # gone meanwhile, or SO_BINDTODEVICE is not allowed: then the routes decide, as before
                if self._listener is not None:
                    self._listener.share()
                    self._beside[name] = Listener(listening_socket(self._host, self.port, name), self._connection)

    async def aclose(self) -> None:
        """Stops listening and drops every connection."""
        self.cover(())
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        for connection in tuple(self._connections):
            connection.drop()
        await asyncio.sleep(0)  # an aborted transport closes its socket in the event loop's next round

    def admits(self, connection: "_Connection") -> bool:
        """Counts a new connection in; returns False where there are as many as may be."""
        if len(self._connections) >= min(self._most, limits.HTTP_CONNECTIONS):
            return False
        self._connections.add(connection)
        return True

    def released(self, connection: "_Connection") -> None:
        """Counts out a connection that has ended."""
        self._connections.discard(connection)

    def _connection(self) -> "_Connection":
        return _Connection(self)


async def serve(listen: Listen, info: Info) -> HealthServer:
    """Answers on `listen`; with port 0 the kernel chooses, see `HealthServer.port`.

    If the port is taken and what answers there is this machine (same node and id), the port is shared. Raises StartFailed
    where the address cannot be bound, naming the process in the way where that can be known.
    """
    host, port = listen.host, listen.port
    server = HealthServer(host, port, info)
    try:
        server.bind()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and await _is_this_machine(host, port, info()):
            log.info("health.shared", extra={"fields": {"port": port}})
            return server
        raise StartFailed(await asyncio.to_thread(_explain, listen, error)) from error
    return server


def _explain(listen: Listen, error: OSError) -> str:
    port = listen.port
    if error.errno == errno.EADDRINUSE:
        holder = facts.holder_of_port(port)
        by = f"by {holder}" if holder else "by another process"
        return f"cannot listen on {listen}: port {port} is taken {by}; stop it or choose another port with --listen"
    if error.errno == errno.EACCES:
        return f"cannot listen on {listen}: port {port} needs privileges; choose one above 1023 with --listen"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen on {listen}: this machine has no such address; choose another one with --listen"
    return f"cannot listen on {listen}: {error.strerror}; choose another address with --listen"


async def _is_this_machine(host: str, port: int, own: Mapping[str, Any]) -> bool:
    server = Server(host=host or "127.0.0.1", port=port)
    try:
        theirs = json.loads((await http.get(server, "/info", timeout_seconds=_ASK_SECONDS)).body)
    except (OSError, HttpError, ValueError, RecursionError):
        return False
    is_document = isinstance(theirs, dict) and bool(own.get("id"))
    return is_document and all(theirs.get(field) == own.get(field) for field in ("node", "id"))


class _Connection(asyncio.Protocol):
    """One client. Every request is answered at once, so nothing is queued; one deadline covers all it does."""

    def __init__(self, server: HealthServer) -> None:
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HTTP_HEAD_BYTES)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            transport.close()
            return
        self._transport = transport
        if not self._server.admits(self):
            transport.abort()
            return
        # So `pause_writing` is called as soon as the kernel does not take a whole answer.
        transport.set_write_buffer_limits(high=0)
        self._deadline = asyncio.get_running_loop().call_later(limits.HTTP_SECONDS, self.drop)
        if self._server.met is not None:
            self._server.met(_end(transport, "sockname"), _end(transport, "peername"))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.released(self)
        if self._deadline is not None:
            self._deadline.cancel()

    def drop(self) -> None:
        """Ends the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        """Ends the connection of a client that asks and does not read the answers, which would pile up here."""
        self.drop()

    def data_received(self, data: bytes) -> None:
        """Answers what has come, up to the length of one head: a flood of requests must not keep the agent from its work."""
        transport = self._transport
        if transport is None or transport.is_closing():
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
        return False

    def _answer_all(self, transport: asyncio.Transport) -> None:
        while not transport.is_closing():
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.ConnectionClosed | h11.Data):  # bodies are not read
                transport.close()
            elif isinstance(event, h11.Request):
                self._answer(transport, event)
            elif isinstance(event, h11.EndOfMessage):
                self._next(transport)

    def _answer(self, transport: asyncio.Transport, request: h11.Request) -> None:
        status, kind, body = _respond(request.method, request.target.partition(b"?")[0], self._server.info)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        if status == _NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        if _has_body(request):  # which is never read
            headers.append(("Connection", "close"))
        if self._server.asked_by is not None and (b"user-agent", b"k3") in request.headers:
            self._server.asked_by(_end(transport, "peername"))
        http = self._http
        parts = [http.send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))]
        if request.method != b"HEAD":
            parts.append(http.send(h11.Data(data=body)))
        parts.append(http.send(h11.EndOfMessage()))
        transport.write(b"".join(part for part in parts if part))
        if http.our_state is h11.MUST_CLOSE:
            transport.close()

    def _next(self, transport: asyncio.Transport) -> None:
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            transport.close()

    def _refuse(self, transport: asyncio.Transport, status: int) -> None:
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            headers = [("Content-Length", "0"), ("Connection", "close")]
            answer = self._http.send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
            transport.write(answer or b"")
        transport.close()


def _end(transport: asyncio.Transport, which: str) -> str:
    """Returns the address of one end of a connection, with its interface where link-local; empty: it is gone already."""
    address: tuple[Any, ...] = transport.get_extra_info(which) or ("",)
    scope = address[3] if len(address) > 3 else 0  # noqa: PLR2004 - an IPv6 socket's address has four parts
    with suppress(OSError):
        return f"{address[0]}%{socket.if_indextoname(scope)}" if scope else str(address[0])
    return ""


_NOT_ALLOWED: Final = 405


def _reason(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()


def _has_body(request: h11.Request) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in request.headers)


def _respond(method: bytes, path: bytes, info: Info) -> tuple[int, str, bytes]:
    if method not in {b"GET", b"HEAD"}:
        return _NOT_ALLOWED, _TEXT, b"method not allowed\n"
    if path == b"/healthz":
        return 200, _TEXT, b"ok"
    if path == b"/info":
        return 200, _JSON, json.dumps(info(), separators=(",", ":")).encode()
    return 404, _TEXT, b"not found\n"
