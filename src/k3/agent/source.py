"""The port of a source: one way of finding machines, such as mDNS or Consul.

A source says what it has seen, and its policy says what that means for a Node; an agent (`k3.agent.agent`) does all the rest:
it follows the store, writes, answers `/info`, notices when this machine is on the list, and stops in order.

TO ADD A SOURCE: a row for `k3.core.sources`, a policy (`decide`), and a subclass of `Source` with a `run`. A source that is
handed a notice, or told to stop, returns at once; `run` and `leave` may wait.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from k3.agent.cache import Cache, Listed, Lost, Notice
from k3.agent.faults import Faults
from k3.agent.health import HealthServer
from k3.agent.info import info_document
from k3.agent.metrics import Counters, Family
from k3.agent.reconciler import Author, Reconciler, Seen
from k3.core import node
from k3.core.decision import Decision
from k3.core.errors import Expired
from k3.core.objects import NODE, Key, Manifest, Object
from k3.core.observation import Facts
from k3.core.ownership import foreign_reason
from k3.core.records import dataclass
from k3.core.sources import SourceRow
from k3.core.store import Change, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the sources of one agent have in common: a store, what it shows, and the one writer of its Nodes."""

    store: Store
    cache: Cache
    reconciler: Reconciler
    faults: Faults
    counters: Counters


class Source(ABC):
    """One way of finding machines, for one run under one name."""

    row: ClassVar[SourceRow]
    """The source's row in the table, which must be there before it runs."""
    begins_again: ClassVar[bool] = True
    """Whether `run` may be called once more after it has failed. Else it keeps its own parts going (`agent.faults`)."""

    def __init__(self, shared: Shared, facts: Facts) -> None:
        """`facts`: what this machine says of itself."""
        self.shared = shared
        self.facts = facts
        self.writer = shared.reconciler.writer(
            Author(
                name=self.row.name,
                decide=self.decide,
                may_write=lambda: self.may_write,
                on_outcome=self.on_outcome,
            )
        )
        self.listed = asyncio.Event()
        """Set once the store has said which Nodes it has."""
        self.joined = asyncio.Event()
        """Set when the store shows this machine's own Node of this run, or another one's that this source leaves alone."""
        self.is_up = False
        """Whether `run` runs now: the agent says so."""
        self.seal: Callable[[Facts, float], str] = lambda _said, _uptime_seconds: ""
        """What `/info` is signed with, given what it says and for how long this run has gone on; empty: nothing."""
        self.counts: Callable[[], Mapping[Family, Mapping[str, int]]] = dict
        """What the source itself has counted in this run, for `/metrics`: other values than the agent counts."""
        self._started_at = asyncio.get_running_loop().time()

    # ── what a source has to bring ──────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def decide(self, current: Manifest | None, seen: Any, *, now: datetime) -> Decision:  # noqa: ANN401 - its own observations
        """The source's policy: what one of its observations means for the Node as it is stored now. Pure."""

    @abstractmethod
    async def run(self, port: int) -> None:
        """Finds machines, for ever. `port` is where this machine's health server answers."""

    # ── what it may bring ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def may_write(self) -> bool:
        """Whether what the source says may be written now."""
        return True

    def on_notice(self, notice: Notice) -> None:
        """The store shows something new, is lost, or is back with a whole list; the cache knows it already."""

    def on_outcome(self, seen: Any, decision: Decision | None, written: Object | None) -> None:  # noqa: ANN401 - see decide
        """What became of an observation that was submitted: see `k3.agent.reconciler.OnOutcome`."""

    def attend(self, server: HealthServer) -> None:
        """May ask the health server of this machine to say who connects to it."""

    def introduction(self) -> Facts:
        """What `/info` says of this machine now."""
        return self.facts

    async def hindrance(self) -> str:
        """What keeps other machines from being found, as lines for a person; empty: nothing that is known."""
        return ""

    async def stop(self) -> Seen | None:
        """Begins nothing new. Returns what the store is to be told of this machine, which goes."""
        return None

    async def leave(self) -> None:
        """Tells everybody but the store that this machine goes. After `stop`; `run` may still go on."""

    async def aclose(self) -> None:
        """Lets go of what the source holds open. After `run`."""

    # ── what every source has ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def uptime_seconds(self) -> float:
        """Since this run began."""
        return asyncio.get_running_loop().time() - self._started_at

    @property
    def own_node(self) -> Object | None:
        """The Node under this machine's name, as the store last showed it."""
        return self.shared.cache.get(Key(NODE, self.facts.node))

    def submit(self, seen: Seen) -> bool:
        """Has an observation decided and written soon. False: there is no room, and it is to be said again."""
        return self.writer.submit(seen, datetime.now(UTC))

    def info(self) -> dict[str, Any]:
        """What `/info` answers now."""
        said, uptime_seconds = self.introduction(), self.uptime_seconds
        document = info_document(said, uptime_seconds, self.shared.store.id, now=datetime.now(UTC))
        seal = self.seal(said, uptime_seconds)
        return document | {"seal": seal} if seal else document

    async def follow(self) -> None:
        """Hands on what the store shows, for ever. The agent runs it beside `run`."""
        while True:
            with self.shared.cache.subscribe() as notices, suppress(Expired):  # the next one begins with the whole list
                async for notice in notices:
                    self._notice(notice)

    def _notice(self, notice: Notice) -> None:
        with self.shared.faults.survived(f"{self.row.name}.notice", node=_name(notice)):
            self.on_notice(notice)
        if isinstance(notice, Listed):
            self.listed.set()
        if not isinstance(notice, Lost) and not self.joined.is_set() and self._is_on_the_list():
            self.joined.set()

    def _is_on_the_list(self) -> bool:
        if (item := self.own_node) is None:
            return False
        manifest = item.manifest()
        seen = node.view_manifest(item.key.name, manifest)
        if foreign_reason(manifest, seen, self.row.name):
            return True
        # Others may write which run they have seen; that it writes itself, only its own agent says.
        return self.facts.boot == (seen.agent if self.row.machines_write else seen.boot)


def _name(notice: Notice) -> str:
    return notice.object.key.name if isinstance(notice, Change) else ""
