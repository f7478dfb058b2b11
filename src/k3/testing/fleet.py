"""A fleet of agents in simulated time: many `PeerTable`s, real `decide`, simulated links, stores and clocks.

Nothing of the logic under test is replaced: only time, the network and the store's disk are. Every host has a wall
clock of its own, off by a random amount, and it may be set. Hosts are at *places*: packets and multicast pass within a
place only, while all places have the same prefix and the same addresses. Deterministic for a given seed; a thousand hosts
run many times faster than life. Times are seconds since the start of the simulation.

What an agent does is held to the tables of `k3.network.peers.laws`: a step that they do not list raises.
"""

from collections.abc import Iterable
from datetime import timedelta
from random import Random
from typing import Final

from k3.core.decision import Create
from k3.core.observation import Joined, Left
from k3.network.events import Action, Contested, Reannounce, Report, SelfProven, StartProbe, TableSettings
from k3.network.messages import Withdrawal
from k3.network.peers import PeerTable
from k3.network.peers.laws import Step, enforce
from k3.network.policy import decide
from k3.testing._fleet_hosts import LINK, NAT_ADDRESS, NAT_LINK, Host
from k3.testing._fleet_links import SimulatedLinks
from k3.testing._fleet_store import EPOCH, SimulatedStore
from k3.testing._fleet_time import SimulatedTime

__all__ = ["LINK", "NAT_ADDRESS", "NAT_LINK", "Fleet", "Host", "SimulatedStore"]

HEARD_AFTER_SECONDS: Final = 0.01
"""A new host hears its neighbours after so long."""


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
        self.random = Random(seed)  # noqa: S311 - a simulation wants repeatable numbers
        self.steps: set[Step] = set()
        """What the agents have done so far, as the tables of `laws` have it."""
        self._time = SimulatedTime()
        self._places, self._nat = places, nat
        stores = [SimulatedStore(name=f"store-{number}", time=self._time) for number in range(1 if shared else count)]
        self.hosts = [self._host(number, stores[number % len(stores)], ttl) for number in range(count)]
        self._links = SimulatedLinks(self.hosts, self._time, self.random, loss)

    def _host(self, number: int, store: SimulatedStore, ttl: float) -> Host:
        place, there = number % self._places, number // self._places
        address = f"10.{there // 65536}.{there // 256 % 256}.{there % 256}"
        skew = timedelta(seconds=self.random.uniform(-3600, 3600))
        return Host(
            name=f"h{number}",
            address=address,
            store=store,
            time=self._time,
            perform=self._perform,
            ttl=ttl,
            skew=skew,
            id=f"{self.random.getrandbits(128):032x}",
            place=place,
            has_nat=self._nat,
        )

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self._time.now

    @property
    def cut(self) -> set[frozenset[str]]:
        """Pairs of names between which no packet passes."""
        return self._links.cut

    # ── what a test does to the fleet; to one host or store it does what those can do ───────────────────────────────

    def run(self, seconds: float) -> None:
        """Let simulated time pass."""
        self._time.run(seconds)

    def start(self, *hosts: Host) -> None:
        """Start the agents of these hosts (all, if none is named), in one instant."""
        for host in hosts or self.hosts:
            host.begin(self._new_table(host))
            host.give(host.usable)
            if host.store.reachable and host.is_attached:
                host.give(host.store.synced)
            host.give(SelfProven(host.facts))
        for host in hosts or self.hosts:
            self.announce(host)
            for other in self._links.neighbours(host):
                if other.running and other.frozen_at is None:
                    self._links.deliver(host, other.announcement, HEARD_AFTER_SECONDS)

    def resume(self) -> None:
        """Start all at once over a store that knows them all, as after a power cut; no host announces anything new."""
        for host in self.hosts:
            host.begin(self._new_table(host))
            joined = decide(None, Joined(name=host.name, facts=host.facts, fresh=True), now=EPOCH + host.skew)
            if isinstance(joined, Create):
                host.store.put(host.name, joined.manifest)
        for host in self.hosts:
            host.give(host.usable)
            host.give(host.store.synced)
            host.give(SelfProven(host.facts))

    def rename(self, host: Host, name: str) -> None:
        """Stop its agent, as by kill -9, and start it under another name."""
        self.kill(host)
        host.name = name
        self.start(host)

    def announce(self, host: Host) -> None:
        """Multicast a host's records."""
        self._links.multicast(host, host.announcement)

    def say_goodbye_for(self, host: Host) -> None:
        """Multicast a goodbye for a host, whichever host sends it."""
        self._links.multicast(host, Withdrawal(host.announcement.instance))

    def kill(self, *hosts: Host, power: bool = True) -> None:
        """As by kill -9: connections are refused. Without power: silence."""
        for host in hosts:
            host.end(power=power)

    def stop(self, host: Host) -> None:
        """SIGTERM: goodbye, and the own Node NotReady."""
        self.say_goodbye_for(host)
        left = Left(host.name, host.store.views[host.name].evidence, by_itself=True, boot=host.boot)
        host.store.report(host, left, host.skew)
        self.kill(host)

    def unplug(self, host: Host) -> None:
        """Its cable is out, and it notices."""
        host.is_plugged = False
        host.give(host.usable)

    def plug(self, host: Host) -> None:
        """Its cable is in again, and it announces itself."""
        host.is_plugged = True
        host.give(host.usable)
        self.announce(host)

    def partition(self, one: Iterable[Host], other: Iterable[Host]) -> None:
        """No packet passes between these two sides."""
        others = list(other)
        self.cut.update(frozenset((a.name, b.name)) for a in one for b in others)

    # ── the agents ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _new_table(self, host: Host) -> PeerTable:
        chance = Random(self.random.random())  # noqa: S311 - a simulation wants repeatable numbers
        settings = TableSettings(name=host.name, id=host.id, peer_ttl_seconds=host.ttl)
        return PeerTable(settings, chance=chance.random, now=self.now, check=self._check)

    def _check(self, step: Step) -> None:
        enforce(step)
        self.steps.add(step)

    def _perform(self, host: Host, action: Action) -> None:
        match action:
            case StartProbe(key, target, timeout):
                host.probes += 1
                self._links.probe(host, key, target, timeout)
            case Report(observation):
                host.store.report(host, observation, host.skew)
            case Reannounce():
                host.reannounced += 1
                self.announce(host)
            case Contested():
                host.contested += 1
