"""The health server: `GET /healthz`, `/info` and `/metrics` on `--listen`, for peers, load balancers and people.

Strangers may connect, so what each origin may have, and all of them together, is bounded (`visitors`), and so is what one
connection may take (`answering`). The server knows nothing of peers or stores; what `/info` says is handed in. Two processes of
one machine may want the same port: the second one finds that the first answers for this machine, and leaves the port to it for
as long as it lives.
"""

import asyncio
import errno
import json
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Self

from k3.agent import facts, http, refusals
from k3.agent.answering import JSON, TEXT, Connection
from k3.agent.http import HttpError, Server
from k3.agent.listener import MAPPED, MEANWHILE, PAUSE_SECONDS, Listener, listening_socket
from k3.agent.metrics import CONTENT_TYPE, REFUSALS, Counters
from k3.agent.refusals import Trouble
from k3.agent.visitors import Known, Pace, Room
from k3.core import limits
from k3.core.errors import StartFailed
from k3.settings.listen import Listen

Info = Callable[[], Mapping[str, Any]]
"""Returns what `/info` answers now."""

Metrics = Callable[[], str]
"""Returns what `/metrics` answers now."""

Met = Callable[[str, str], None]
"""Called for every connection, with the address of this end and of the other one."""

Asked = Callable[[str], None]
"""Called for each request of another k3, with the address it came from."""

RETRY_SECONDS: Final = 0.25
LOOK_SECONDS: Final = 0.25
"""What the kernel is told of clients is changed no more often than that when somebody may come back, or has become known."""
CROWDED: Final = (
    "its oldest connection that asks nothing is closed for a new one: is that a program that forgets to close them?"
)
FLOODED: Final = "it is not served for a while, so that others are: what is it that asks so often?"
_ASK_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


class HealthServer:
    """A server that answers, or (`shared`) another process of this machine that does.

    The caller keeps `run` going: while the port is shared, that takes it over as soon as the other process releases it.
    """

    def __init__(self, host: str, port: int, *, info: Info, metrics: Metrics | None, counters: Counters) -> None:
        """To be started by `serve`."""
        self._host = host
        self.info = info
        self._metrics = metrics
        self._counters = counters
        self._listener: Listener | None = None
        self._reserved: Listener | None = None
        """Gets the known clients (ADR 61). None: the kernel cannot tell them apart, and the listener gets all."""
        self._beside: dict[str, Listener] = {}
        self._clock = asyncio.get_running_loop().time
        self._known = Known()
        self._room = Room(refusals.descriptors_for(limits.HTTP_CONNECTIONS))
        self._pace = Pace(self._known)
        self._looking: asyncio.TimerHandle | None = None
        self._steering: asyncio.TimerHandle | None = None
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
        self._listener = self._listens(sock)
        self._reserve(self._listener)

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
        if self._listener is None or (wanted := frozenset(interfaces)) == self._beside.keys():
            return
        # Linux (inet_lhash2_lookup) gives a client to sockets that share before it looks for one of its interface.
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        self._listener.share(on=True)
        for name in self._beside.keys() - wanted:
            self._beside.pop(name).close()
        for name in wanted - self._beside.keys():
            with suppress(OSError):  # gone meanwhile, or SO_BINDTODEVICE is not allowed: then the routes decide, as before
                self._beside[name] = self._listens(listening_socket(self._host, self.port, name, shared=True))
        if self._beside:
            self._listener.share(on=False)
        else:
            self._reserve(self._listener)

    async def aclose(self) -> None:
        """Stops listening and drops every connection."""
        for listener in self._listeners:
            listener.close()
        self._listener = self._reserved = None
        self._beside.clear()
        for timer in (self._looking, self._steering):
            if timer is not None:
                timer.cancel()
        self._room.clear()
        await asyncio.sleep(0)  # an aborted transport closes its socket in the event loop's next round

    # ── for its connections ─────────────────────────────────────────────────────────────────────────────────────────

    def enters(self, connection: Connection) -> None:
        """Gives it a place, at the cost of another one's where there is none."""
        dropped = self._room.enter(connection)
        if dropped is not None:
            self._counters.add(REFUSALS, "connections")
            held = self._room.held(dropped.origin) + 1
            fields = {"from": dropped.origin, "connections": held, "in_all": len(self._room), "advice": CROWDED}
            log.warning("health.crowded", extra={"fields": fields})
        if self.met is not None:
            self.met(connection.end("sockname"), connection.end("peername"))

    def comes_again(self, connection: Connection) -> bool:
        """Counts one visit more; False: its origin is turned away."""
        return self._visits(connection.origin)

    def asked(self, connection: Connection, *, by_k3: bool) -> None:
        """Knows the client from now on."""
        if connection.address not in self._known:
            self._steer_soon()
        self._known.answered(connection.address, self._clock())
        if by_k3 and self.asked_by is not None:
            self.asked_by(connection.end("peername"))

    def rests(self, connection: Connection) -> None:
        """Lets it go before all others, should there be no room."""
        self._room.rest(connection)

    def leaves(self, connection: Connection) -> None:
        """Counts it out."""
        self._room.leave(connection)

    def page(self, path: bytes) -> tuple[str, bytes] | None:
        """Returns type and content of what is there."""
        if path == b"/healthz":
            return TEXT, b"ok"
        if path == b"/info":
            return JSON, json.dumps(self.info(), separators=(",", ":")).encode()
        if path == b"/metrics" and self._metrics is not None:
            return CONTENT_TYPE, self._metrics().encode()
        return None

    # ── who comes too often ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _listeners(self) -> list[Listener]:
        return [each for each in (self._listener, self._reserved, *self._beside.values()) if each is not None]

    def _reserve(self, listener: Listener) -> None:
        """Gives known clients a queue of their own: a flood fills the one of strangers, where a handshake is then lost."""
        listener.share(on=True)
        with suppress(OSError):
            reserved = self._listens(listening_socket(self._host, self.port, shared=True))
            if reserved.take_over(self._known.newest_first()):
                self._reserved = reserved
            else:
                reserved.close()
        if self._reserved is None:
            listener.share(on=False)

    def _steer_soon(self) -> None:
        if self._reserved is not None and self._steering is None:
            self._steering = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._steer)

    def _steer(self) -> None:
        self._steering = None
        if self._reserved is not None:
            self._reserved.take_over(self._known.newest_first())

    def _listens(self, sock: socket.socket) -> Listener:
        trouble = Trouble(log, "health.refused", MEANWHILE, longest_pause_seconds=PAUSE_SECONDS)
        return Listener(sock, self._connection, trouble=trouble, admits=self._admits, exhausted=self._room.clear)

    def _admits(self, address: str) -> bool:
        return self._visits(self._known.origin(address.removeprefix(MAPPED)))

    def _connection(self, address: str) -> Connection:
        address = address.removeprefix(MAPPED)
        return Connection(self, address, self._known.origin(address))

    def _visits(self, origin: str) -> bool:
        now = self._clock()
        if not self._pace.is_away(origin, now):
            found = self._pace.visit(origin, now)
            if found:
                self._turn_away(found)
            if origin not in found:
                return True
        self._counters.add(REFUSALS, "visits")
        return False

    def _turn_away(self, origins: Mapping[str, int]) -> None:
        self._room.clear(origins)
        self._known.forget(origins)
        self._steer_soon()
        for origin, visits in origins.items():
            fields = {"from": origin, "visits": visits, "advice": FLOODED}
            log.warning("health.flooded", extra={"fields": fields})
        self._look()

    def _look(self) -> None:
        """Has the kernel turn away who is to be, and looks again when the first of them may come back."""
        now = self._clock()
        away = self._pace.away(now)
        passing = [each for each in self._known.within(away) if each not in away]
        for listener in self._listeners:
            listener.turn_away(away, passing=passing)
        if self._looking is not None:
            self._looking.cancel()
        self._looking = None
        if away:
            pause_seconds = max(LOOK_SECONDS, min(away.values()) - now)
            self._looking = asyncio.get_running_loop().call_later(pause_seconds, self._look)


async def serve(
    listen: Listen, info: Info, *, metrics: Metrics | None = None, counters: Counters | None = None
) -> HealthServer:
    """Answers on `listen`; with port 0 the kernel chooses, see `HealthServer.port`. `counters`: the agent's.

    If the port is taken and what answers there is this machine (same node and id), the port is shared. Raises StartFailed
    where the address cannot be bound, naming the process in the way where that can be known.
    """
    host, port = listen.host, listen.port
    server = HealthServer(host, port, info=info, metrics=metrics, counters=counters or Counters())
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
