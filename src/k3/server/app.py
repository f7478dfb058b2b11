"""The API as a web application: aiohttp's requests and answers, and nothing else of the API. Why aiohttp: ADR 49."""

import asyncio
import gzip
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import HttpVersion11, web

from k3.agent.faults import Faults
from k3.agent.tasks import time_limit
from k3.core.errors import K3Error, Unavailable
from k3.core.records import dataclass
from k3.server import paths
from k3.server.access import audit
from k3.server.access.authenticate import Connection
from k3.server.access.bounds import Bounds, Seat
from k3.server.access.gate import Gate, Pass
from k3.server.access.identity import User
from k3.server.access.roles import Attempt
from k3.server.api import Answer, Api, Ask, Stream, attempt
from k3.server.entries import encoded
from k3.server.negotiation import JSON
from k3.server.status import Refused, bad_request

BODY_BYTES: Final = 3 * 1024 * 1024
"""The longest body, as at a Kubernetes API server."""
BODY_SECONDS: Final = 30.0
HEAD_BYTES: Final = 32 * 1024
HEAD_SECONDS: Final = 10.0
"""How long a connection may take to ask its first question, and to shake hands."""
IDLE_SECONDS: Final = 90.0
"""How long a connection may take to ask its next one, as at a Kubernetes API server."""
GZIP_BYTES: Final = 128 * 1024
"""Answers longer than this are compressed for clients that take it, as at a Kubernetes API server."""
WRITE_SECONDS: Final = 30.0
"""A client that takes nothing for so long is cut."""
PARAMETERS: Final = 100
CHANGES: Final = {"create", "update", "patch", "delete", "deletecollection"}
_BAD_REQUEST: Final = 400
_EXPECTATION: Final = "nothing but 100-continue may be expected"
_WITH_PARTS: Final = {"/healthz", "/livez", "/readyz"}
_INTERNAL: Final = "Internal error occurred: it is in the server's log"
_HEADERS: Final = {"Cache-Control": "no-cache, private", "Server": "k3"}
"""What every answer has; else aiohttp would tell the versions of itself and of Python."""

Page = Callable[[Ask], Awaitable[Answer | Stream]]
"""Answers at a path beside the API."""
Know = Callable[[asyncio.Transport], Connection]
"""Returns what is known of a new connection."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What there is beside the API: pages by path (`/healthz` stands for what is below it, too), and a count of requests."""

    pages: Mapping[str, Page]
    count: Callable[[str, str, int], None]
    file: Callable[[Ask], Answer | None] = lambda _ask: None
    """Returns what everybody may have, whoever asks: a file of the web page; None where a request is for none."""


class App:
    """The application: lets requests in, has them answered, and writes the answers."""

    def __init__(self, api: Api, gate: Gate, limits: Bounds, faults: Faults, beside: Beside) -> None:
        self.bounds = limits
        self._api = api
        self._gate = gate
        self._faults = faults
        self._pages = beside.pages
        self._file = beside.file
        self._count = beside.count
        self._streams: dict[asyncio.Task[Any], User] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request; whatever happens, with a Status."""
        try:
            return await self._let_in(request)
        except Refused as refused:
            return _refusal(refused)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - one client's fault is that client's alone (ADR 41)
            self._faults.note("server.request", error)
            return _refusal(Refused(500, _INTERNAL))

    async def _let_in(self, request: web.BaseRequest) -> web.StreamResponse:
        protocol = request.protocol
        if not isinstance(protocol, Protocol):
            raise TypeError(type(protocol).__name__)
        body = _Body(request)
        ask = _ask(request, body.read)
        file = self._file(ask)
        headers = request.headers.items()
        entered = self._gate.enter(protocol.connection, headers, is_watch=ask.is_watch, is_file=file is not None)
        body.entered = entered
        try:
            protocol.belongs_to(entered.user)
            if file is not None:
                self._count("", "", file.status)
                return await _whole(request, file)
            return await self._answered(request, ask, entered)
        finally:
            entered.leave()

    async def _answered(self, request: web.BaseRequest, ask: Ask, entered: Pass) -> web.StreamResponse:
        attempted = attempt(ask)
        code, name = 500, ""
        try:
            found = await self._found(ask, entered)
            code, name = (found.status, found.name) if isinstance(found, Answer) else (200, "")
        except Refused as refused:
            code, name = refused.code, str((refused.details or {}).get("name", ""))
            raise
        except K3Error as error:
            code = error.status
            details = {"retryAfterSeconds": 1} if isinstance(error, Unavailable) else None
            raise Refused(code, str(error), reason=error.reason, details=details) from error
        finally:
            self._count(attempted.verb if attempted else "", attempted.resource if attempted else "", code)
            if attempted is not None and attempted.verb in CHANGES:
                named = replace(attempted, name=attempted.name or name)
                audit.write(entered.user, named, address=entered.address, code=code, dry_run=ask.is_dry_run)
        if isinstance(found, Stream):
            if found.size is None or not _takes_gzip(request, found.size):
                return await self._streamed(request, found, entered.user)
            found = Answer(body=b"".join([some async for some in found.pieces]), media_type=found.media_type)
        return await _whole(request, found)

    async def _found(self, ask: Ask, entered: Pass) -> Answer | Stream:
        if (page := self._page(ask.raw_path)) is None:
            return await self._api.answer(ask, entered)
        entered.check(Attempt(verb=ask.method.lower(), path=ask.raw_path))
        return await page(ask)

    def _page(self, path: str) -> Page | None:
        first = "/" + path.removeprefix("/").partition("/")[0]
        return self._pages.get(path) or (self._pages.get(first) if first in _WITH_PARTS else None)

    async def _streamed(self, request: web.BaseRequest, found: Stream, user: User) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": found.media_type, **_HEADERS})
        if found.size is not None:
            response.content_length = found.size
        elif request.version >= HttpVersion11:
            response.enable_chunked_encoding()  # over HTTP/1.0 the end of the connection is that of the answer
        task, transport = asyncio.current_task(), request.transport
        if task is None or transport is None:
            raise ConnectionResetError
        self._streams[task] = user
        try:
            async with aclosing(found.pieces) as pieces:
                await response.prepare(request)
                found.outlet.open(transport, is_chunked=response.chunked)
                async for some in pieces:
                    if some:
                        await _written(response, some, transport)
            await response.write_eof()
        finally:
            found.outlet.close()
            del self._streams[task]
        return response

    def end(self, token: str) -> None:
        """Ends what goes on for a token."""
        for task, user in list(self._streams.items()):
            if user.token == token:
                task.cancel()

    def end_all(self) -> None:
        """Ends what goes on for anybody."""
        for task in list(self._streams):
            task.cancel()


class Protocol(web.RequestHandler):
    """One connection, counted as long as it lasts; one that does not ask soon is dropped."""

    __slots__ = ("_app", "_deadline", "_know", "_seat", "connection")

    def __init__(self, app: App, know: Know, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(*args, **kwargs)
        self._app = app
        self._know = know
        self._seat: Seat | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.connection = Connection(address="")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counts the connection as a stranger's, and waits for its first question."""
        super().connection_made(transport)
        if not isinstance(transport, asyncio.Transport):
            transport.close()
            return
        self.connection = self._know(transport)
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(WRITE_SECONDS * 1000))
        self._deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, transport.abort)
        self._seat = Seat(self._app.bounds, self.connection.address, self.connection.local)
        if not self._seat.take():
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Counts the connection out."""
        if self._seat is not None:
            self._seat.leave()
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answers what is no HTTP with a Status, and closes the connection. A client's fault, or its going, is not logged."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status != _BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        response = _refusal(bad_request("the request is not HTTP/1.1 as RFC 9112 has it"))
        response.force_close()
        return response

    def belongs_to(self, user: User) -> None:
        """The connection has asked, and it is known who does. Raises Refused where that one has too many."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._seat is not None:
            self._seat.prove(user, self.connection.address)


class Server(web.Server):
    """Makes a `Protocol` for each connection."""

    def __init__(self, app: App, know: Know) -> None:
        super().__init__(
            app.handle,
            handler_cancellation=True,
            access_log=None,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            keepalive_timeout=IDLE_SECONDS,
        )
        self._app = app
        self._know = know

    def __call__(self) -> web.RequestHandler:
        """Returns the handler of a new connection."""
        return Protocol(self._app, self._know, self, loop=self._loop, **self._kwargs)


async def _written(response: web.StreamResponse, some: bytes, transport: asyncio.Transport) -> None:
    """Writes some of an answer; a client that takes nothing for too long is cut."""
    limit = asyncio.get_running_loop().call_later(WRITE_SECONDS, transport.abort)
    try:
        await response.write(some)
    finally:
        limit.cancel()


def _ask(request: web.BaseRequest, body: Callable[[], Awaitable[bytes]]) -> Ask:
    raw_path, _, raw_query = _origin_form(request.raw_path).partition("?")
    try:
        query = parse_qs(raw_query, keep_blank_values=True, max_num_fields=PARAMETERS) if raw_query else {}
    except ValueError as odd:
        message = f"the query cannot be read: {odd}"
        raise bad_request(message) from odd
    path, target = paths.place(raw_path)
    return Ask(
        method=request.method,
        raw_path=raw_path,
        path=path,
        target=target,
        query=query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        host=request.headers.get("Host", ""),
    )


def _origin_form(target: str) -> str:
    """Returns the path and query of a target, which may be a whole URL (RFC 9112 §3.2.2)."""
    if target.startswith("/") or "://" not in target:
        return target
    authority_and_path = target.partition("://")[2]
    return "/" + authority_and_path.partition("/")[2]


async def _invite(request: web.BaseRequest) -> None:
    """Asks for a body that waits to be asked for (RFC 9110 §10.1.1). Raises Refused where something else is expected."""
    expected = request.headers.get("Expect", "").lower()
    if expected not in {"", "100-continue"}:
        raise Refused(417, _EXPECTATION, reason="")
    if expected and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer itself has been sent


class _Body:
    """The body of a request, counted as that of its user, once it is known who that is."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._size = 0
        self.entered: Pass | None = None

    async def read(self) -> bytes:
        """Returns the whole body. Raises Refused where it is too long, or too slow."""
        request = self._request
        if (request.content_length or 0) > BODY_BYTES:
            raise _too_long()
        await _invite(request)
        if request.content.is_eof():  # all of it has come already, as most have: there is nothing to wait for
            return self._counted(request.content.read_nowait())
        try:
            async with time_limit(BODY_SECONDS):
                parts = [self._counted(part) async for part in request.content.iter_any()]
        except TimeoutError as late:
            message = "Timeout: the body of the request did not come in time"
            raise Refused(504, message) from late
        return b"".join(parts)

    def _counted(self, part: bytes) -> bytes:
        self._size += len(part)
        if self._size > BODY_BYTES:
            raise _too_long()
        if self.entered is not None:
            self.entered.hold(self.entered.body_bytes, len(part), what="too much is being sent at once")
        return part


def _too_long() -> Refused:
    return Refused(413, f"Request entity too large: limit is {BODY_BYTES}")


async def _whole(request: web.BaseRequest, found: Answer) -> web.Response:
    headers = {"Content-Type": found.media_type, **_HEADERS, **found.headers}
    response = web.Response(status=found.status, body=found.body, headers=headers)
    if _takes_gzip(request, len(found.body)):
        response.body = await asyncio.to_thread(gzip.compress, found.body, 1)
        response.headers["Content-Encoding"] = "gzip"
        response.headers.add("Vary", "Accept-Encoding")
    for each in found.warnings:
        response.headers.add("Warning", f'299 - "{_quoted(each)}"')
    return response


def _takes_gzip(request: web.BaseRequest, size: int) -> bool:
    return size > GZIP_BYTES and "gzip" in request.headers.get("Accept-Encoding", "")


def _quoted(text: str) -> str:
    safe = "".join(each if " " <= each <= "~" else "?" for each in text)
    return safe.replace("\\", "\\\\").replace('"', '\\"')


def _refusal(refused: Refused) -> web.Response:
    response = web.Response(status=refused.code, body=encoded(refused.status()) + b"\n")
    response.headers["Content-Type"] = JSON
    response.headers.update(_HEADERS)
    if (seconds := (refused.details or {}).get("retryAfterSeconds")) is not None:
        response.headers["Retry-After"] = str(seconds)
    return response
