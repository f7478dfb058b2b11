"""A simulated host: its links, its wall clock, and its agent, which may run, freeze or be gone."""

from collections.abc import Callable
from dataclasses import field
from datetime import timedelta
from typing import Final

from k3.core.observation import Facts
from k3.core.records import dataclass
from k3.network.events import Action, Event, LinksChanged, Stalled, StoreLost, Tick
from k3.network.messages import Announcement
from k3.network.peers import PeerTable
from k3.testing._fleet_store import SimulatedStore
from k3.testing._fleet_time import SimulatedTime

PORT: Final = 7946
LINK: Final = "10.0.0.0/8"
NAT_LINK: Final = "192.168.56.0/24"
NAT_ADDRESS: Final = "192.168.56.1"
"""What every host has where it is given: a network of its own, on which no other host is."""

NEVER: Final = float("inf")


@dataclass(slots=True, eq=False, kw_only=True)
class Host:
    """One machine with its agent."""

    name: str
    address: str
    store: SimulatedStore
    time: SimulatedTime
    perform: Callable[["Host", Action], None]
    """Does what its agent asks for."""
    ttl: float
    skew: timedelta
    id: str
    place: int = 0
    has_nat: bool = False
    is_plugged: bool = True
    """Whether the cable is in."""
    is_attached: bool = True
    """Whether it reaches the store."""
    boots: int = 0
    running: bool = False
    frozen_at: float | None = None
    powered: bool = True
    table: PeerTable | None = None
    tick_at: float = NEVER
    backlog: list[Event] = field(default_factory=list)
    reannounced: int = 0
    contested: int = 0
    probes: int = 0

    @property
    def boot(self) -> str:
        """The id of the current run."""
        return f"{self.name}.{self.boots}"

    @property
    def facts(self) -> Facts:
        """What `/info` would say."""
        return Facts(
            node=self.name,
            addresses=self.addresses,
            port=PORT,
            pid=1000 + self.boots,
            id=self.id,
            boot=self.boot,
            links=(LINK, NAT_LINK) if self.has_nat else (LINK,),
            peer_ttl_seconds=self.ttl,
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that it has, if every link is up."""
        return (self.address, NAT_ADDRESS) if self.has_nat else (self.address,)

    @property
    def usable(self) -> LinksChanged:
        """The links that it can use now."""
        here = (LINK,) if self.is_plugged else ()
        return LinksChanged((*here, NAT_LINK) if self.has_nat else here)

    @property
    def announcement(self) -> Announcement:
        """What mDNS would say."""
        return Announcement(
            instance=f"{self.name}-{self.id[:8]}",
            node=self.name,
            addresses=self.addresses,
            port=PORT,
            id=self.id,
            boot=self.boot,
            pid=1000 + self.boots,
        )

    # ── what a test does to it ──────────────────────────────────────────────────────────────────────────────────────

    def freeze(self) -> None:
        """SIGSTOP: the kernel accepts, and no answer comes."""
        self.frozen_at = self.time.now

    def thaw(self) -> None:
        """SIGCONT: everything that piled up arrives at once, behind the stall itself."""
        stood = self.time.now - (self.time.now if self.frozen_at is None else self.frozen_at)
        self.frozen_at = None
        self.give(Stalled(stood))
        backlog, self.backlog = self.backlog, []
        for event in backlog:
            self.give(event)

    def detach(self) -> None:
        """It loses the store, alone."""
        self.is_attached = False
        self.give(StoreLost())

    def attach(self) -> None:
        """It has the store back."""
        self.is_attached = True
        if self.store.reachable:
            self.give(self.store.synced)

    def set_clock(self, seconds: float) -> None:
        """A person, or NTP, sets its wall clock forward, or back."""
        self.skew += timedelta(seconds=seconds)

    # ── its agent ───────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, table: PeerTable) -> None:
        """A new run of its agent, which follows the store."""
        self.boots += 1
        self.running, self.powered, self.frozen_at = True, True, None
        self.table, self.tick_at = table, NEVER
        self.store.watchers.append(self)

    def end(self, *, power: bool) -> None:
        """Its agent is gone; without power, so is the machine."""
        self.running, self.powered, self.table = False, power, None
        self.store.watchers.remove(self)

    def give(self, event: Event) -> None:
        """Hand an event to its agent, if that is there to take it."""
        if self.table is None:
            return
        if self.frozen_at is not None:
            if not isinstance(event, Tick):
                self.backlog.append(event)
            return
        for action in self.table.handle(event, self.time.now):
            self.perform(self, action)
        self._schedule(self.table)

    def _schedule(self, table: PeerTable) -> None:
        at = table.deadline
        if at < self.tick_at:
            self.tick_at = max(at, self.time.now)
            self.time.at(self.tick_at, lambda: self._tick(table, at))

    def _tick(self, table: PeerTable, at: float) -> None:
        if self.table is table and self.tick_at <= self.time.now:
            self.tick_at = NEVER
            self.give(Tick())
            if self.frozen_at is not None:
                self.tick_at = at
