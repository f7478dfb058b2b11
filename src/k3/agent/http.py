"""The HTTP/1.1 client of k3: plain, TLS or a Unix socket. Knows no particular server.

What goes wrong is raised as it is, `OSError` or `HttpError`: the caller knows the server, and what to advise a person. Heads
and bodies are bounded, and everything has a time limit. A body is read whole, or as a stream in pieces of `READ_BYTES`.

A request that a kept connection loses before a byte of the answer came is sent once more on a fresh one, unless the caller
says that it may not be repeated: servers close idle connections (RFC 9112 §9.3.1).
"""

import asyncio
import math
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final

import h11

from k3.agent import host_names
from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.addresses import authority
from k3.core.records import dataclass

READ_BYTES: Final = 256 * 1024
"""The longest piece of a body."""
HEADS_BYTES: Final = READ_BYTES + limits.HTTP_HEAD_BYTES
"""Bound for all heads of one answer: interim ones (1xx, RFC 9110 §15.2) may come before it, but no flood of them."""
# A dead server is noticed after 10 s + 3 · 5 s, while a blocking query of Consul may be silent for a minute.
KEEPALIVE_SECONDS: Final = 10
KEEPALIVE_TRIES: Final = 3


class HttpError(Exception):
    """The server gave no whole answer. Like OSError, it is for the caller to explain: no person sees it as it is (ADR 36)."""


class Cut(HttpError):
    """The server closed the connection before the answer was complete."""

    def __init__(self) -> None:
        super().__init__("connection closed")


class NotHttp(HttpError):
    """What came is not HTTP; the text, which may quote what came, says why."""


class LongAnswer(HttpError):
    """The body is longer than the bound, in bytes."""

    def __init__(self, bound: float) -> None:
        super().__init__(f"an answer of more than {bound:,} bytes")


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `target` is path and query, already quoted; `headers` has Host."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins; header names in lower case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server listens: `host` and `port`, or a Unix socket. With `tls` its certificate names `server_name` or `host`."""

    host: str = "localhost"
    port: int = 80
    socket_path: str = ""
    tls: ssl.SSLContext | None = None
    server_name: str = ""

    @property
    def authority(self) -> str:
        """The server as in a Host header."""
        return "localhost" if self.socket_path else authority(self.host, self.port)


class Conversation:
    """Requests and their answers, one after the other, over a connection that the caller has opened and will close."""

    def __init__(self, *, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
        """`read` gives what has come, nothing at the end. Both may raise OSError, which is passed on."""
        self._read = read
        self._write = write
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.HTTP_HEAD_BYTES)
        self._answers = 0
        self._received = 0
        """Bytes that came since the request."""

    @property
    def is_over(self) -> bool:
        """Whether no further request may follow."""
        return self._http.our_state is not h11.IDLE

    @property
    def was_closed_before(self) -> bool:
        """Whether the server had closed it before this request came: it answered others, and sent no byte for this one."""
        return bool(self._answers) and not self._received

    async def ask(self, request: Request) -> Head:
        """Sends a request; returns the head of its answer. Raises Cut, NotHttp, OSError."""
        self._received = 0
        try:
            await self._write(self._encoded(request))
            while (event := self._next()) is h11.NEED_DATA or isinstance(event, h11.InformationalResponse):
                if event is h11.NEED_DATA:
                    if not (data := await self._some()):
                        raise Cut
                    self._http.receive_data(data)
                elif self._received > HEADS_BYTES:
                    msg = "informational answers without end"
                    raise NotHttp(msg)
        except (ConnectionResetError, BrokenPipeError) as error:  # a kept connection that the server closed may end so too
            raise Cut from error
        if not isinstance(event, h11.Response):
            raise Cut
        return Head(event.status_code, {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers})

    async def pieces(self, bound: float = math.inf) -> AsyncGenerator[bytes, None]:
        """Gives the body of that answer, as it comes. Raises LongAnswer beyond `bound` bytes, Cut, OSError."""
        size = 0
        try:
            while not isinstance(event := self._http.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    self._http.receive_data(await self._some())
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                    yield bytes(event.data)
                # The second: a body in tiny chunks is mostly framing, which costs as much to read (ADR 36).
                if size > bound or self._received > bound + limits.HTTP_HEAD_BYTES:
                    raise LongAnswer(bound)
        except (ConnectionResetError, h11.RemoteProtocolError) as error:
            raise Cut from error
        self._answers += 1
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()

    async def body(self, bound: int) -> bytes:
        """Returns the whole body of that answer. Raises LongAnswer beyond `bound` bytes, Cut, OSError."""
        async with aclosing(self.pieces(bound)) as pieces:
            return b"".join([piece async for piece in pieces])

    def _encoded(self, request: Request) -> bytes:
        headers = list(request.headers)
        if request.method != "GET":  # RFC 9110 §8.6
            headers.append(("Content-Length", str(len(request.body))))
        head = self._http.send(h11.Request(method=request.method, target=request.target, headers=headers)) or b""
        body = (self._http.send(h11.Data(data=request.body)) or b"") if request.body else b""
        return head + body + (self._http.send(h11.EndOfMessage()) or b"")

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise NotHttp(str(error)) from error

    async def _some(self) -> bytes:
        data = await self._read()
        self._received += len(data)
        return data


class _Connection:
    """A conversation and its socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.conversation = Conversation(read=self._read, write=self._write)

    @property
    def is_usable(self) -> bool:
        """Whether another request may go over it."""
        return not (self.conversation.is_over or self._reader.at_eof() or self._writer.is_closing())

    async def _read(self) -> bytes:
        return await self._reader.read(READ_BYTES)

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def drop(self) -> None:
        """Ends it at once."""
        self._writer.transport.abort()

    async def aclose(self) -> None:
        """Ends it and waits until the socket is closed."""
        self.drop()
        with suppress(OSError):
            await self._writer.wait_closed()


class Http:
    """A few connections to one server, opened when needed and kept for the next request."""

    def __init__(
        self, server: Server, *, answer_bytes: int = limits.HTTP_ANSWER_BYTES, idle: int = limits.HTTP_IDLE_CONNECTIONS
    ) -> None:
        """`answer_bytes` bounds the body of an answer that is read whole, `idle` the connections that are kept."""
        self._server = server
        self._answer_bytes = answer_bytes
        self._most_idle = idle
        self._idle: list[_Connection] = []
        self._gate = asyncio.Semaphore(limits.HTTP_REQUESTS)
        self._is_closed = False

    async def request(self, request: Request, *, timeout_seconds: float, may_repeat: bool = True) -> Answer:
        """Sends a request and waits for the whole answer. Raises OSError (TimeoutError after `timeout_seconds`), HttpError.

        `may_repeat`: whether it may be sent once more where a kept connection lost it.
        """
        asked = self._asked(request, may_repeat=may_repeat)
        async with time_limit(timeout_seconds), self._gate, asked as (head, conversation):
            return Answer(head.status, head.headers, await conversation.body(self._answer_bytes))

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeout_seconds: float, bound: float = math.inf
    ) -> AsyncIterator[tuple[Head, AsyncIterator[bytes]]]:
        """Sends a request; gives the head of the answer, and its body in pieces as they come, however long that goes on.

        The head, and then each piece, may take `timeout_seconds`. Raises OSError (TimeoutError), HttpError; so do the pieces,
        LongAnswer beyond `bound` bytes. A body that is not read to its end costs the connection.
        """
        async with time_limit(timeout_seconds) as limit, self._gate, self._asked(request) as (head, conversation):
            limit.reschedule(None)  # from here on each piece has a limit of its own
            async with aclosing(conversation.pieces(bound)) as pieces, aclosing(_timely(pieces, timeout_seconds)) as timely:
                yield head, timely

    @asynccontextmanager
    async def _asked(self, request: Request, *, may_repeat: bool = True) -> AsyncIterator[tuple[Head, Conversation]]:
        """Gives a connection over which the request was sent; keeps it if the block has read the whole answer."""
        connection, head = await self._ask(request, may_repeat=may_repeat)
        try:
            yield head, connection.conversation
        except BaseException:
            await connection.aclose()
            raise
        if connection.is_usable and len(self._idle) < self._most_idle and not self._is_closed:
            self._idle.append(connection)
        else:
            await connection.aclose()

    async def _ask(self, request: Request, *, may_repeat: bool) -> tuple[_Connection, Head]:
        while True:
            connection = self._kept() or await self._open()
            try:
                return connection, await connection.conversation.ask(request)
            except BaseException as error:
                await connection.aclose()
                if isinstance(error, Cut) and connection.conversation.was_closed_before and may_repeat:
                    continue  # never for a fresh connection, which has answered nothing before: so this ends
                raise

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.drop()
        return None

    async def _open(self) -> _Connection:
        server = self._server
        places = () if server.socket_path else await self._places()
        async with time_limit(limits.HTTP_CONNECT_SECONDS):
            if server.socket_path:
                return _Connection(*await asyncio.open_unix_connection(server.socket_path, limit=READ_BYTES))
            reader, writer = await self._connected(places)
        _watch_over(writer.get_extra_info("socket"))
        return _Connection(reader, writer)

    async def _places(self) -> Sequence[str]:
        """Returns the server's addresses. Looked up before, so that a name without any is not told as a silent server."""
        seconds = limits.HTTP_CONNECT_SECONDS
        return await host_names.addresses(self._server.host, self._server.port, seconds=seconds)

    async def _connected(self, places: Sequence[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to the first address that takes it; there is at least one. Raises the first one's error if none does."""
        server = self._server
        name = (server.server_name or server.host) if server.tls else None
        failures: list[OSError] = []
        for place in places:
            try:
                # `limit`: with twice that unread, asyncio stops reading from the socket: a long answer takes bounded memory.
                return await asyncio.open_connection(place, server.port, ssl=server.tls, server_hostname=name, limit=READ_BYTES)
            except OSError as error:
                failures.append(error)
        raise failures[0]

    async def aclose(self) -> None:
        """Closes the kept connections; requests under way are for their callers to cancel."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.aclose()


async def get(server: Server, target: str, *, timeout_seconds: float, answer_bytes: int = limits.INFO_BYTES) -> Answer:
    """Sends one GET to a server that is not asked again. Raises OSError (TimeoutError after `timeout_seconds`), HttpError."""
    http = Http(server, answer_bytes=answer_bytes)
    try:
        return await http.request(Request("GET", target, (("Host", server.authority),)), timeout_seconds=timeout_seconds)
    finally:
        await http.aclose()


async def _timely(pieces: AsyncIterator[bytes], timeout_seconds: float) -> AsyncGenerator[bytes, None]:
    while True:
        async with time_limit(timeout_seconds):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


def _watch_over(sock: socket.socket) -> None:
    """Has the kernel notice a server that went away without a word, long before a blocking query would."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS // 2)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES)
