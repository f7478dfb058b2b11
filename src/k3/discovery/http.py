"""HTTP/1.1 to one server over a few kept connections: plain, TLS or a Unix socket. Knows nothing of Consul.

A request that a kept connection loses before a byte of the answer came is sent once more on a fresh one: servers close
idle connections, and every request made here may be repeated. Answers are bounded, and everything has a time limit.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import h11

from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.errors import Forbidden, Invalid, K3Error, Unavailable
from k3.core.safe_text import one_line
from k3.discovery.settings import ConsulSettings

ANSWER_BYTES: Final = 64 * 1024 * 1024
CONNECTIONS: Final = 64
IDLE_CONNECTIONS: Final = 4
CONNECT_SECONDS: Final = 5.0
READ_BYTES: Final = 256 * 1024
KEEPALIVE_SECONDS: Final = 10
KEEPALIVE_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask. `target` is path and query, already quoted."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(slots=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def take_body(self) -> bytes:
        """The body, kept no longer: it may be large, and what is made of it larger."""
        body, self.body = self.body, b""
        return body


class _Cut(Exception):
    """The connection ended. `unused`: it was a kept one and gave no byte, so the server had closed it before."""

    def __init__(self, *, unused: bool) -> None:
        super().__init__("connection closed")
        self.unused = unused


class _Connection:
    """One connection and how far it is through its conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer_bytes: int) -> None:
        self._answer_bytes = answer_bytes
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.HTTP_HEAD_BYTES)
        self._is_fresh = True

    @property
    def is_usable(self) -> bool:
        """Whether another request may go over it."""
        return self._http.our_state is h11.IDLE and not self._reader.at_eof() and not self._writer.is_closing()

    async def ask(self, request: Request) -> Answer:
        """One request and its answer. Raises _Cut, OSError, Invalid, h11.RemoteProtocolError."""
        heard = False
        try:
            self._writer.write(self._encoded(request))
            await self._writer.drain()
            while (event := self._http.next_event()) is h11.NEED_DATA or isinstance(event, h11.InformationalResponse):
                if event is h11.NEED_DATA:
                    self._http.receive_data(await self._some())
                    heard = True
        except (ConnectionResetError, BrokenPipeError, EOFError):
            raise _Cut(unused=not heard and not self._is_fresh) from None
        if not isinstance(event, h11.Response):
            raise _Cut(unused=not heard and not self._is_fresh)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        try:
            answer = Answer(event.status_code, headers, await self._body())
        except (ConnectionResetError, h11.RemoteProtocolError):
            raise _Cut(unused=False) from None
        self._is_fresh = False
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return answer

    def _encoded(self, request: Request) -> bytes:
        headers = [*request.headers, ("Content-Length", str(len(request.body)))]
        head = self._http.send(h11.Request(method=request.method, target=request.target, headers=headers)) or b""
        body = (self._http.send(h11.Data(data=request.body)) or b"") if request.body else b""
        return head + body + (self._http.send(h11.EndOfMessage()) or b"")

    async def _some(self) -> bytes:
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise EOFError
        return data

    async def _body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while not isinstance(event := self._http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > self._answer_bytes:
                    msg = f"an answer of more than {self._answer_bytes:,} bytes"
                    raise Invalid(msg)
        return b"".join(parts)

    def drop(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """End it and wait until the socket is closed."""
        self.drop()
        with suppress(OSError):
            await self._writer.wait_closed()


class Http:
    """A few connections to one server, opened when needed and kept for the next request."""

    def __init__(self, settings: ConsulSettings, *, answer_bytes: int = 0) -> None:
        """`answer_bytes` bounds an answer; 0: as one of Consul's. Raises ConfigInvalid for TLS files that cannot be used."""
        self._settings = settings
        self._answer_bytes = answer_bytes or ANSWER_BYTES
        self._tls = settings.tls()
        self._idle: list[_Connection] = []
        self._gate = asyncio.Semaphore(CONNECTIONS)
        self._is_closed = False

    async def request(self, request: Request, *, timeout_seconds: float) -> Answer:
        """Ask and wait for the whole answer. Raises Unavailable, Forbidden (certificates), Invalid (not HTTP)."""
        where = self._settings.where
        try:
            async with time_limit(timeout_seconds), self._gate:
                return await self._ask(request)
        except TimeoutError:
            msg = f"Consul at {where} did not answer within {timeout_seconds:.0f} s"
            raise Unavailable(msg) from None
        except h11.RemoteProtocolError as error:
            msg = f"{where} does not speak HTTP ({one_line(str(error))[:80]}); is it the address of Consul's HTTP API?"
            raise Invalid(msg) from None
        except _Cut:
            msg = f"Consul at {where} closed the connection"
            raise Unavailable(msg) from None
        except OSError as error:
            raise _explained(error, where) from None
        except Invalid as error:
            msg = f"Consul at {where} gave {error}"
            raise Invalid(msg) from None

    async def _ask(self, request: Request) -> Answer:
        while True:
            connection = self._kept() or await self._open()
            try:
                answer = await connection.ask(request)
            except BaseException as error:
                await connection.aclose()
                if isinstance(error, _Cut) and error.unused:
                    continue
                raise
            if connection.is_usable and len(self._idle) < IDLE_CONNECTIONS and not self._is_closed:
                self._idle.append(connection)
            else:
                await connection.aclose()
            return answer

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.drop()
        return None

    async def _open(self) -> _Connection:
        settings = self._settings
        async with time_limit(CONNECT_SECONDS):
            if settings.scheme == "unix":
                streams = await asyncio.open_unix_connection(settings.socket_path, limit=READ_BYTES)
                return _Connection(*streams, answer_bytes=self._answer_bytes)
            name = (settings.server_name or settings.host) if self._tls else None
            reader, writer = await asyncio.open_connection(
                settings.host, settings.port, ssl=self._tls, server_hostname=name, limit=READ_BYTES
            )
        _watch_over(writer.get_extra_info("socket"))
        return _Connection(reader, writer, answer_bytes=self._answer_bytes)

    async def aclose(self) -> None:
        """Close what is kept; requests under way are their callers' to cancel."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.aclose()


def _watch_over(sock: socket.socket) -> None:
    """Have the kernel notice a server that went away without a word, long before a blocking query would."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS // 2)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES)


def _explained(error: OSError, where: str) -> K3Error:
    match error:
        case ssl.SSLCertVerificationError():
            why = one_line(error.verify_message)
            return Forbidden(f"{where}: its certificate is not trusted ({why}); give CONSUL_CACERT or CONSUL_TLS_SERVER_NAME")
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE" | "HTTP_REQUEST"):
            return Invalid(f"{where} does not speak TLS; write http:// or unset CONSUL_HTTP_SSL")
        case ssl.SSLError(reason=str(reason)):
            why = reason.lower().replace("_", " ")
            return Forbidden(f"{where}: TLS failed ({why}); does it want CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY?")
        case socket.gaierror():
            return Unavailable(f"Consul at {where}: the host name is not known")
        case PermissionError() if error.errno in {errno.EACCES, errno.EPERM}:
            return Forbidden(f"Consul at {where}: this user may not connect ({error.strerror})")
        case _:
            why = os.strerror(error.errno).lower() if error.errno else error.strerror or "no answer"
            return Unavailable(
                f"cannot reach Consul at {where} ({one_line(why)}); is the agent running, is --consul-addr right?"
            )
