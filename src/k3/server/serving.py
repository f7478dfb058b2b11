"""One server: the API over a store, on one address."""

import asyncio
import errno
import json
import logging
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

from k3.agent import metrics
from k3.agent.cache import Cache
from k3.agent.faults import Faults
from k3.agent.listener import MAPPED, MEANWHILE, PAUSE_SECONDS, Listener, Tls, listening_socket
from k3.agent.refusals import Trouble
from k3.core import limits
from k3.core.addresses import authority
from k3.core.errors import StartFailed
from k3.core.objects import LEASE, NODE, TOKEN, Object
from k3.core.records import dataclass
from k3.core.store import Store
from k3.server.access import handshakes
from k3.server.access.authenticate import Authenticator, Connection
from k3.server.access.bounds import Bounds
from k3.server.access.certificates import Certificates
from k3.server.access.gate import Gate
from k3.server.access.known import KnownTokens
from k3.server.access.loopback import Loopback
from k3.server.access.settings import AccessSettings
from k3.server.api import Answer, Api, Ask, Stream
from k3.server.app import HEAD_SECONDS, App, Beside, Page, Server
from k3.server.metrics import Exposition, target_pieces
from k3.server.observed import Observed
from k3.server.page import files as page
from k3.server.selectors import selection
from k3.server.standing import Standing
from k3.server.status import Refused
from k3.server.targets import port_of
from k3.view.cells import Moment

RENEW_SECONDS: Final = 10.0
"""How often is looked whether the certificate is another one, or due to be."""
GOODBYE_SECONDS: Final = 2.0
TEXT: Final = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


Examine: TypeAlias = Callable[[], Awaitable[Mapping[str, object]]]
"""Looks at this machine and gives what `k3 doctor -o json` prints."""


@dataclass(frozen=True, slots=True)
class Companion:
    """The agent that runs in the same process: its cache of the Nodes, which it keeps current, and its doctor."""

    nodes: Cache
    examine: Examine


class Serving:
    """A server. `run` serves for ever."""

    def __init__(
        self,
        store: Store,
        settings: AccessSettings,
        state_dir: Path,
        faults: Faults,
        addresses: Callable[[], frozenset[str]],
        *,
        agent: Companion | None = None,
    ) -> None:
        """`addresses` returns this machine's, which a certificate of the server's own names.

        `agent`: the one that runs in the same process, where one does.
        """
        self.store_url = store.url
        self._settings = settings
        self._faults = faults
        self._addresses = addresses
        self.standing = Standing(store, agent.nodes if agent else None)
        self._cache = Cache(store, TOKEN, random=Random())  # noqa: S311 - spreads retries, guards nothing
        self._tokens = KnownTokens(self._cache, now=_now, ended=self._end)
        self._certificates = Certificates(settings, state_dir, addresses()) if settings.tls else None
        self._loopback = Loopback(settings.loopback_writes)
        clock = asyncio.get_running_loop().time
        bounds = Bounds(connections=min(limits.API_CONNECTIONS, _descriptors() * 3 // 4))
        gate = Gate(Authenticator(self._tokens.find, now=_now), bounds, clock=clock)
        nodes, leases = (self.standing.cache(kind) for kind in (NODE, LEASE))
        self._observed = Observed(nodes)
        self._metrics = Exposition(nodes, leases, self.standing.watchers, store=store, faults=faults)
        pages: dict[str, Page] = {
            "/healthz": self._alive,
            "/livez": self._alive,
            "/readyz": self._ready,
            "/metrics": self._figures,
            "/sd": self._targets,
        }
        if agent is not None:
            pages["/doctor"] = _examined(agent.examine)
        beside = Beside(pages, self._metrics.requests.count, page.answer)
        self._app = App(Api(store, self.standing, self._observed), gate, bounds, faults, beside)
        self.started = asyncio.Event()
        """Set once it listens."""
        self.port = 0

    @property
    def url(self) -> str:
        """Returns where it is served, for a client on this machine."""
        scheme = "https" if self._settings.tls else "http"
        return f"{scheme}://{authority(self._settings.listen.local_host, self.port)}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves while the block runs. Raises ConfigInvalid, StartFailed where it cannot begin."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.run())
            started = tasks.create_task(self.started.wait())
            await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
            try:
                if not task.done():
                    yield
            finally:
                started.cancel()
                task.cancel()

    async def run(self) -> None:
        """Serves for ever. Raises ConfigInvalid, StartFailed where it cannot begin."""
        context: ssl.SSLContext | None = None
        if self._certificates is not None:
            context = await asyncio.to_thread(self._certificates.context)
        protocols = Server(self._app, self._know)
        sock = self._bound()
        self.port = sock.getsockname()[1]
        trouble = Trouble(log, "server.refused", MEANWHILE, longest_pause_seconds=PAUSE_SECONDS)
        listener = Listener(sock, lambda _: protocols(), trouble=trouble, tls=_tls(context))
        log.info("server.listening", extra={"fields": {"url": self.url}})
        self.started.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.standing.run(self._faults))
                tasks.create_task(self._faults.keep("server.tokens.cache", self._cache.run))
                tasks.create_task(self._faults.keep("server.tokens", self._tokens.run))
                tasks.create_task(self._faults.keep("server.observed", self._observed.run))
                if self._certificates is not None:
                    tasks.create_task(self._faults.keep("server.certificates", self._renew))
        finally:
            listener.close()
            self._app.end_all()
            protocols.pre_shutdown()  # what is idle is closed at once
            await protocols.shutdown(GOODBYE_SECONDS)

    def _bound(self) -> socket.socket:
        listen = self._settings.listen
        why = OSError()
        for port in (listen.port, 0) if self._settings.else_any_port else (listen.port,):
            try:
                return listening_socket(listen.host, port)
            except OSError as error:
                why = error
                if error.errno != errno.EADDRINUSE:
                    break
        why_not = os.strerror(why.errno) if why.errno else str(why)
        msg = f"cannot serve the API on {listen}: {why_not}; choose another address with --listen (k3 up: --api-listen)"
        raise StartFailed(msg) from why

    async def _renew(self) -> None:
        while self._certificates is not None:
            await asyncio.sleep(RENEW_SECONDS)
            self._certificates.addresses = self._addresses()
            if await asyncio.to_thread(self._certificates.renew):
                log.info("server.certificate", extra={"fields": {"what": "a new one is in use"}})

    def _know(self, transport: asyncio.Transport) -> Connection:
        client = transport.get_extra_info("peername") or ("", 0)
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            return Connection(address=client[0].removeprefix(MAPPED), certificate=tls.getpeercert())
        server = transport.get_extra_info("sockname") or ("", 0)
        return Connection(address=client[0], local=self._loopback.user(client[:2], server[:2]))

    def _end(self, token: str) -> None:
        self._app.end(token)

    async def _alive(self, _ask: Ask) -> Answer:
        return Answer(body=b"ok", media_type=TEXT)

    async def _ready(self, _ask: Ask) -> Answer:
        if self.standing.is_current:
            return Answer(body=b"ok", media_type=TEXT)
        return Answer(status=500, body=b"[-]store failed: it does not answer, or has not been read yet\n", media_type=TEXT)

    async def _figures(self, _ask: Ask) -> Stream:
        return Stream(self._metrics.pieces(), metrics.CONTENT_TYPE)

    async def _targets(self, ask: Ask) -> Stream:
        port = port_of((ask.query.get("port") or ("",))[0])
        wanted = selection(NODE, (ask.query.get("labelSelector") or ("",))[0], "")
        items = [entry.item for entry in self.standing.of["nodes"].window.now().entries.values() if wanted.matches(entry)]
        return Stream(target_pieces(items, port, self._moment))

    def _moment(self, item: Object) -> Moment:
        return Moment(_now(), item.key.name in self._observed)


def _examined(examine: Examine) -> Page:
    """Returns the page that looks at this machine. It wants POST, which administrators alone may: it tells of firewalls."""

    async def page(ask: Ask) -> Answer:
        if ask.method != "POST":
            raise Refused(405, "the server does not allow this method on the requested resource", reason="MethodNotAllowed")
        return Answer(body=json.dumps(await examine()).encode())

    return page


def _tls(context: ssl.SSLContext | None) -> Tls | None:
    if context is None:
        return None
    return Tls(context=context, handshake_seconds=HEAD_SECONDS, failed=handshakes.told)


def _descriptors() -> int:
    """Returns how many files and sockets this process may have open."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limits.API_CONNECTIONS * 2 if most == resource.RLIM_INFINITY else most


def _now() -> datetime:
    return datetime.now(UTC)
