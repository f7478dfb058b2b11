"""The API as a web application: aiohttp's requests and answers, and nothing else of the API.

Why aiohttp: ADR 49.
"""

import asyncio
import gzip
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web

from k3.agent.faults import Faults
from k3.core.errors import K3Error, Unavailable
from k3.server.api import Access, Answer, Api, Ask, Stream
from k3.server.entries import encoded
from k3.server.negotiation import JSON
from k3.server.status import Refused, bad_request

BODY_BYTES: Final = 3 * 1024 * 1024
"""The longest body, as at a Kubernetes API server."""
BODY_SECONDS: Final = 30.0
HEAD_BYTES: Final = 32 * 1024
GZIP_BYTES: Final = 128 * 1024
"""Answers longer than this are compressed for clients that take it, as at a Kubernetes API server."""
WRITE_SECONDS: Final = 30.0
"""A client that takes nothing for so long is cut."""
GOODBYE_SECONDS: Final = 1.0

log = logging.getLogger(__name__)

Enter = Callable[[web.Request], Access]
"""Returns what the client of a request may do. Raises Refused where it is not known who it is, or where it asks too much."""
Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


class App:
    """One listener's application."""

    def __init__(self, api: Api, enter: Enter, faults: Faults, pages: Mapping[str, Page]) -> None:
        """`pages`: what is answered beside the API, by path."""
        self._api = api
        self._enter = enter
        self._faults = faults
        self._pages = pages
        self._streams: set[asyncio.Task[Any]] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        assert isinstance(request, web.BaseRequest)  # noqa: S101
        try:
            return await self._answered(request)
        except Refused as refused:
            return _refusal(refused)
        except K3Error as error:
            return _refusal(_refused_by_store(error))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("server.failed")
            return _refusal(Refused(500, "Internal error occurred: see the server's log"))

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        page = self._pages.get(request.rel_url.raw_path)
        access = self._enter(request)  # type: ignore[arg-type]
        if page is not None:
            return await page(request)  # type: ignore[arg-type]
        raw_path, _, raw_query = request.path_qs.partition("?")
        ask = Ask(
            method=request.method,
            raw_path=request.raw_path.partition("?")[0],
            query=_query(raw_query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=lambda: _body(request),
            host=request.host or "",
        )
        del raw_path
        found = await self._api.answer(ask, access)
        if isinstance(found, Stream):
            return await self._streamed(request, found)
        return await _whole(request, found)

    async def _streamed(self, request: web.BaseRequest, found: Stream) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._streams.add(task)
        try:
            async with aclosing(found.lines) as lines:
                await response.prepare(request)
                async for some in lines:
                    if some:
                        await response.write(some)
            await response.write_eof()
        finally:
            self._streams.discard(task)
        return response

    async def aclose(self) -> None:
        """Ends all watches."""
        for task in list(self._streams):
            task.cancel()
        if self._streams:
            await asyncio.wait(list(self._streams), timeout=GOODBYE_SECONDS)


def _query(raw: str) -> dict[str, list[str]]:
    try:
        return parse_qs(raw, keep_blank_values=True, max_num_fields=100)
    except ValueError as odd:
        message = f"bad query: {odd}"
        raise bad_request(message) from odd


async def _body(request: web.BaseRequest) -> bytes:
    """Returns the whole body. Raises Refused where it is too long, or too slow."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > BODY_BYTES:
                    message = f"Request entity too large: limit is {BODY_BYTES}"
                    raise Refused(413, message)
    except TimeoutError as late:
        message = "Timeout: the request body did not arrive in time"
        raise Refused(504, message) from late
    return b"".join(parts)


async def _whole(request: web.BaseRequest, found: Answer) -> web.Response:
    headers: list[tuple[str, str]] = [*found.headers.items()]
    headers.append(("Cache-Control", "no-cache, private"))
    headers += [("Warning", f'299 - "{_quoted(each)}"') for each in found.warnings]
    body = found.body
    if len(body) > GZIP_BYTES and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, 1)
        headers.append(("Content-Encoding", "gzip"))
    response = web.Response(status=found.status, body=body)
    response.headers["Content-Type"] = found.media_type
    for name, value in headers:
        response.headers.add(name, value)
    return response


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _refusal(refused: Refused) -> web.Response:
    response = web.Response(status=refused.code, body=encoded(refused.status()) + b"\n")
    response.headers["Content-Type"] = JSON
    response.headers["Cache-Control"] = "no-cache, private"
    if (seconds := refused.details.get("retryAfterSeconds")) is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


def _refused_by_store(error: K3Error) -> Refused:
    details = {"retryAfterSeconds": 1} if isinstance(error, Unavailable) else {}
    return Refused(error.status, str(error), reason=error.reason, details=details)


@asynccontextmanager
async def listening(app: App, host: str, port: int, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Listens while the block runs; gives the port."""
    server = web.Server(
        app.handle, handler_cancellation=True, access_log=None, max_line_size=HEAD_BYTES, max_field_size=HEAD_BYTES
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host or None, port, ssl_context=tls, backlog=1024, reuse_address=True)
        await site.start()
        sockets = getattr(site._server, "sockets", ())  # noqa: SLF001
        yield sockets[0].getsockname()[1]
    finally:
        await app.aclose()
        with suppress(Exception):
            await runner.cleanup()
