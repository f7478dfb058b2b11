"""A fleet of agents in simulated time: many `PeerTable`s, real `decide`, simulated links, stores and clocks.

Nothing of the logic under test is replaced: only time, the network and the store's disk are. Every host has a wall
clock of its own, off by a random amount, and it may be set. Hosts are at *places*: packets and multicast pass within a
place only, while all places have the same prefix and the same addresses. Deterministic for a given seed; a thousand hosts
run many times faster than life. Times are seconds since the start of the simulation.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from k3.core import node, times
from k3.core.decision import Create, Delete, Keep, Update
from k3.core.node import NodeView
from k3.core.objects import Manifest
from k3.core.observation import Facts, Joined, Left, Observation
from k3.network.events import (
    Action,
    Contested,
    Event,
    LinksChanged,
    NodeGone,
    NodeShown,
    Probed,
    Reannounce,
    Report,
    SelfProven,
    Settings,
    Stalled,
    StartProbe,
    StoreLost,
    Synced,
    Tick,
)
from k3.network.messages import (
    Announcement,
    Answered,
    Endpoint,
    Impostor,
    LocalFault,
    NoAnswer,
    Outcome,
    Refused,
    Target,
    Withdrawal,
)
from k3.network.peers import PeerTable
from k3.network.peers.laws import Step, enforce
from k3.network.policy import decide

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
ROUND_TRIP_SECONDS: Final = 0.001
STORE_SECONDS: Final = 0.02
LINK: Final = "10.0.0.0/8"
NAT_LINK: Final = "192.168.56.0/24"
NAT_ADDRESS: Final = "192.168.56.1"
"""What every host has where it is given: a network of its own, on which nobody else is."""

_WEIGHT: Final = (LocalFault, Refused, NoAnswer, Impostor, Answered)


@dataclass(slots=True, kw_only=True)
class SimulatedStore:
    """One store: manifests, who watches, and what was ever written."""

    name: str
    nodes: dict[str, Manifest] = field(default_factory=dict)
    views: dict[str, NodeView] = field(default_factory=dict)
    watchers: list["Host"] = field(default_factory=list)
    writes: Counter[str] = field(default_factory=Counter)
    history: list[tuple[float, str, str]] = field(default_factory=list)
    """(time, node, what): Ready and Reachable as they changed."""
    ages: dict[tuple[str, str], float] = field(default_factory=dict)
    """How old the stored lastSeen was, in true seconds, when a Node last turned to a state."""
    seen_at: dict[str, float] = field(default_factory=dict)
    reachable: bool = True


@dataclass(slots=True, eq=False, kw_only=True)
class Host:
    """One machine with its agent."""

    name: str
    address: str
    store: SimulatedStore
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
    tick_at: float = float("inf")
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
            port=7946,
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
            port=7946,
            id=self.id,
            boot=self.boot,
            pid=1000 + self.boots,
        )


class Fleet:
    """Hosts at one place or several, on one shared store or on a store each."""

    def __init__(  # noqa: PLR0913 - keyword-only, and each of them one thing
        self,
        count: int,
        *,
        ttl: float,
        shared: bool,
        seed: int = 1,
        loss: float = 0.0,
        places: int = 1,
        nat: bool = False,
    ) -> None:
        """Hosts are dealt out to the places in turn. `nat`: all of them have `NAT_ADDRESS` as well."""
        self.now = 0.0
        self.random = Random(seed)  # noqa: S311 - a simulation wants repeatable numbers
        self.loss = loss
        self.cut: set[frozenset[str]] = set()
        self.steps: set[Step] = set()
        """What the agents' machines have done so far, held to their tables."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._places, self._nat = places, nat
        one = SimulatedStore(name="shared")
        self.hosts = [self._host(n, one if shared else SimulatedStore(name=f"store-{n}"), ttl) for n in range(count)]
        self._by_address = {(host.place, host.address): host for host in self.hosts}

    def _host(self, number: int, store: SimulatedStore, ttl: float) -> Host:
        place, there = number % self._places, number // self._places
        address = f"10.{there // 65536}.{there // 256 % 256}.{there % 256}"
        skew = timedelta(seconds=self.random.uniform(-3600, 3600))
        return Host(
            name=f"h{number}",
            address=address,
            store=store,
            ttl=ttl,
            skew=skew,
            id=f"{self.random.getrandbits(128):032x}",
            place=place,
            has_nat=self._nat,
        )

    def _new_table(self, host: Host) -> PeerTable:
        chance = Random(self.random.random())  # noqa: S311 - a simulation wants repeatable numbers
        settings = Settings(name=host.name, id=host.id, peer_ttl_seconds=host.ttl)
        return PeerTable(settings, chance=chance.random, now=self.now, check=self._check)

    def _check(self, step: Step) -> None:
        enforce(step)
        self.steps.add(step)

    # ── what a test does to the fleet ───────────────────────────────────────────────────────────────────────────────

    def run(self, seconds: float) -> None:
        """Let simulated time pass."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.now = end

    def start(self, *hosts: Host) -> None:
        """Start the agents of these hosts (all, if none is named), in one instant."""
        for host in hosts or self.hosts:
            host.boots += 1
            host.running, host.powered, host.frozen_at = True, True, None
            host.table = self._new_table(host)
            host.tick_at = float("inf")
            host.store.watchers.append(host)
            self.give(host, host.usable)
            if host.store.reachable and host.is_attached:
                self.give(host, Synced(tuple(host.store.views.values())))
            self.give(host, SelfProven(host.facts))
        for host in hosts or self.hosts:
            self.announce(host)
            for other in self.hosts:
                if other is not host and other.running and other.frozen_at is None and self.connected(host, other):
                    self.later(0.01, lambda o=other, h=host: self.give(h, o.announcement))  # type: ignore[misc]

    def resume(self) -> None:
        """Start everybody at once over a store that knows everybody, as after a power cut; nobody announces anything new."""
        for host in self.hosts:
            host.boots, host.running = 1, True
            host.table = self._new_table(host)
            joined = decide(None, Joined(name=host.name, facts=host.facts, fresh=True), now=EPOCH + host.skew)
            if isinstance(joined, Create):
                self.put(host.store, host.name, joined.manifest)
            host.store.watchers.append(host)
        for host in self.hosts:
            self.give(host, host.usable)
            self.give(host, Synced(tuple(host.store.views.values())))
            self.give(host, SelfProven(host.facts))

    def announce(self, host: Host) -> None:
        """Multicast a host's records."""
        heard = host.announcement
        for other in self.hosts:
            if other is not host and self.connected(host, other):
                self.later(ROUND_TRIP_SECONDS, lambda o=other: self.give(o, heard))  # type: ignore[misc]

    def say_goodbye_for(self, host: Host) -> None:
        """Multicast a goodbye for a host, whoever sends it."""
        gone = Withdrawal(host.announcement.instance)
        for other in self.hosts:
            if other is not host and self.connected(host, other):
                self.later(ROUND_TRIP_SECONDS, lambda o=other: self.give(o, gone))  # type: ignore[misc]

    def rename(self, host: Host, name: str) -> None:
        """Stop its agent, as by kill -9, and start it under another name."""
        self.kill(host)
        host.name = name
        self.start(host)

    def kill(self, *hosts: Host, power: bool = True) -> None:
        """As by kill -9: connections are refused. Without power: silence."""
        for host in hosts:
            host.running, host.powered, host.table = False, power, None
            host.store.watchers.remove(host)

    def stop(self, host: Host) -> None:
        """SIGTERM: goodbye, and the own Node NotReady."""
        self.say_goodbye_for(host)
        self._report(host, Left(host.name, host.store.views[host.name].evidence, by_itself=True, boot=host.boot))
        self.kill(host)

    def freeze(self, host: Host) -> None:
        """SIGSTOP: the kernel accepts, nobody answers."""
        host.frozen_at = self.now

    def thaw(self, host: Host) -> None:
        """SIGCONT: everything that piled up arrives at once, behind the stall itself."""
        stood = self.now - (self.now if host.frozen_at is None else host.frozen_at)
        host.frozen_at = None
        self.give(host, Stalled(stood))
        backlog, host.backlog = host.backlog, []
        for event in backlog:
            self.give(host, event)

    def lose_store(self, store: SimulatedStore) -> None:
        """The store goes out of reach of everybody."""
        store.reachable = False
        for host in store.watchers:
            if host.is_attached:
                self.give(host, StoreLost())

    def heal_store(self, store: SimulatedStore) -> None:
        """The store is back."""
        store.reachable = True
        for host in store.watchers:
            if host.is_attached:
                self.give(host, Synced(tuple(store.views.values())))

    def detach(self, host: Host) -> None:
        """One host loses the store."""
        host.is_attached = False
        self.give(host, StoreLost())

    def attach(self, host: Host) -> None:
        """It has the store back."""
        host.is_attached = True
        if host.store.reachable:
            self.give(host, Synced(tuple(host.store.views.values())))

    def unplug(self, host: Host) -> None:
        """Its cable is out, and it notices."""
        host.is_plugged = False
        self.give(host, host.usable)

    def plug(self, host: Host) -> None:
        """Its cable is in again, and it announces itself."""
        host.is_plugged = True
        self.give(host, host.usable)
        self.announce(host)

    def set_clock(self, host: Host, seconds: float) -> None:
        """Somebody, or NTP, sets its wall clock forward, or back."""
        host.skew += timedelta(seconds=seconds)

    def partition(self, one: Iterable[Host], other: Iterable[Host]) -> None:
        """No packet passes between these two sides."""
        others = list(other)
        self.cut |= {frozenset((a.name, b.name)) for a in one for b in others}

    # ── what a test asks ────────────────────────────────────────────────────────────────────────────────────────────

    def seen(self, store: SimulatedStore, name: str) -> str:
        """Ready as stored: its status and reason, or `-`."""
        shown = store.views.get(name)
        return f"{shown.ready.status} {shown.ready.reason}" if shown and shown.ready else "-"

    def times(self, store: SimulatedStore, name: str, what: str, *, since: float = 0.0) -> list[float]:
        """When a Node turned to this state (`Ready=False`, `Reachable=False`, …)."""
        return [at for at, who, state in store.history if who == name and state == what and at >= since]

    def age_at(self, store: SimulatedStore, name: str, what: str) -> float:
        """How old the stored lastSeen truly was when the Node last turned to this state, in seconds."""
        return store.ages[name, what]

    def connected(self, one: Host, other: Host) -> bool:
        """Whether packets pass between two hosts."""
        together = one.place == other.place and one.is_plugged and other.is_plugged
        return together and frozenset((one.name, other.name)) not in self.cut

    # ── the machinery ───────────────────────────────────────────────────────────────────────────────────────────────

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after a while."""
        self._at(self.now + seconds, act)

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._sequence), act))

    def give(self, host: Host, event: Event) -> None:
        """Hand an event to an agent, if it is there to take it."""
        if host.table is None:
            return
        if host.frozen_at is not None:
            if not isinstance(event, Tick):
                host.backlog.append(event)
            return
        for action in host.table.handle(event, self.now):
            self._do(host, action)
        self._schedule(host, host.table)

    def _schedule(self, host: Host, table: PeerTable) -> None:
        at = table.deadline
        if at < host.tick_at:
            host.tick_at = max(at, self.now)
            self._at(host.tick_at, lambda: self._tick(host, table, at))

    def _tick(self, host: Host, table: PeerTable, at: float) -> None:
        if host.table is table and host.tick_at <= self.now:
            host.tick_at = float("inf")
            self.give(host, Tick())
            if host.frozen_at is not None:
                host.tick_at = at

    def _do(self, host: Host, action: Action) -> None:
        match action:
            case StartProbe(target, timeout):
                host.probes += 1
                self._probe(host, target, timeout)
            case Report(observation):
                self._report(host, observation)
            case Reannounce():
                host.reannounced += 1
                self.announce(host)
            case Contested():
                host.contested += 1

    def _probe(self, host: Host, target: Target, timeout: float) -> None:
        outcomes: list[Outcome] = []
        delay = 0.0
        for number, group in enumerate(target.groups):
            answers = [self._ask(host, target, end, number) for end in group]
            outcomes += answers
            silent = all(isinstance(each, NoAnswer) for each in answers)
            delay += timeout if silent else ROUND_TRIP_SECONDS
            if any(isinstance(each, Answered) for each in answers):
                break
        outcome = max(outcomes, key=lambda each: _WEIGHT.index(type(each)), default=LocalFault("no address to ask"))
        self.later(delay, lambda: self.give(host, Probed(target.name, outcome)))

    def _ask(self, host: Host, target: Target, end: Endpoint, group: int) -> Outcome:
        there = host if end.address in host.addresses else self._by_address.get((host.place, end.address))
        if there is not host and not host.is_plugged:
            return LocalFault("no carrier")
        lost = there is None or self.random.random() < self.loss or not there.powered or there.frozen_at is not None
        if there is None or lost or not (there is host or self.connected(host, there)):
            return NoAnswer("timeout")
        if not there.running:
            return Refused()
        if there.name != target.name or (target.id and target.id != there.id):
            return Impostor(there.name, there.id)
        return Answered(facts=there.facts, endpoint=end, group=group)

    def _report(self, host: Host, observation: Observation) -> None:
        now, skew = EPOCH + timedelta(seconds=self.now), host.skew
        self.later(STORE_SECONDS, lambda: self._write(host, observation, now, skew))

    def _write(self, host: Host, observation: Observation, now: datetime, skew: timedelta) -> None:
        store = host.store
        if not store.reachable or not host.is_attached:
            return
        name = observation.name
        match decide(store.nodes.get(name), observation, now=now + skew):
            case Create(manifest) | Update(manifest):
                if manifest == store.nodes.get(name):
                    return
                store.nodes[name] = manifest
                self._committed(store, name, node.view_manifest(name, manifest), skew)
            case Delete():
                del store.nodes[name]
                self._committed(store, name, None)
            case Keep():
                pass

    def put(self, store: SimulatedStore, name: str, manifest: Manifest) -> None:
        """Write as another program would."""
        store.nodes[name] = manifest
        self._committed(store, name, node.view_manifest(name, manifest))

    def _committed(self, store: SimulatedStore, name: str, shown: NodeView | None, skew: timedelta = timedelta()) -> None:
        store.writes[name] += 1
        former = store.views.pop(name, None)
        if shown is not None:
            store.views[name] = shown
            last = times.parse_timestamp(shown.last_seen)
            if last is not None and (former is None or former.last_seen != shown.last_seen):
                store.seen_at[name] = (last - EPOCH - skew).total_seconds()
        for label, before, after in (
            ("Ready", former and former.ready, shown and shown.ready),
            ("Reachable", former and former.reachable, shown and shown.reachable),
        ):
            if after and (not before or before.status != after.status):
                state = f"{label}={after.status}"
                store.history.append((self.now, name, state))
                store.ages[name, state] = self.now - store.seen_at.get(name, self.now)
        event: Event = NodeShown(shown) if shown is not None else NodeGone(name)
        self.later(STORE_SECONDS, lambda: self._deliver(store, event))

    def _deliver(self, store: SimulatedStore, event: Event) -> None:
        if store.reachable:
            for host in list(store.watchers):
                if host.is_attached:
                    self.give(host, event)
