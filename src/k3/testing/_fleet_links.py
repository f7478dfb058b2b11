"""The simulated network: what passes between two hosts, who hears a multicast, and how a probe goes."""

from collections.abc import Iterable
from random import Random
from typing import Final

from k3.network.events import Probed
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
from k3.testing._fleet_hosts import Host
from k3.testing._fleet_time import SimulatedTime

ROUND_TRIP_SECONDS: Final = 0.001

_WEIGHT: Final = (LocalFault, Refused, NoAnswer, Impostor, Answered)


class SimulatedLinks:
    """Packets pass within a place, unless a cable is out, the two sides are cut from each other, or chance loses them."""

    def __init__(self, hosts: Iterable[Host], time: SimulatedTime, random: Random, loss: float) -> None:
        self.cut: set[frozenset[str]] = set()
        """Pairs of names between which no packet passes."""
        self._hosts = list(hosts)
        self._by_address = {(host.place, host.address): host for host in self._hosts}
        self._time = time
        self._random = random
        self._loss = loss

    def connect(self, one: Host, other: Host) -> bool:
        """Whether packets pass between two hosts."""
        together = one.place == other.place and one.is_plugged and other.is_plugged
        return together and frozenset((one.name, other.name)) not in self.cut

    def neighbours(self, host: Host) -> list[Host]:
        """All other hosts that its packets reach."""
        return [other for other in self._hosts if other is not host and self.connect(host, other)]

    def multicast(self, host: Host, message: Announcement | Withdrawal) -> None:
        """Every neighbour hears it."""
        for other in self.neighbours(host):
            self.deliver(other, message, ROUND_TRIP_SECONDS)

    def deliver(self, host: Host, message: Announcement | Withdrawal, seconds: float) -> None:
        """One host hears it after a while."""
        self._time.later(seconds, lambda: host.give(message))

    def probe(self, host: Host, key: str, target: Target, timeout: float) -> None:
        """Ask a target's groups of endpoints, one after the other."""
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
        self._time.later(delay, lambda: host.give(Probed(key, outcome)))

    def _ask(self, host: Host, target: Target, end: Endpoint, group: int) -> Outcome:
        there = host if end.address in host.addresses else self._by_address.get((host.place, end.address))
        if there is not host and not host.is_plugged:
            return LocalFault("no carrier")
        lost = there is None or self._random.random() < self._loss or not there.powered or there.frozen_at is not None
        if there is None or lost or not (there is host or self.connect(host, there)):
            return NoAnswer("timeout")
        if not there.running:
            return Refused()
        if there.name != target.name or (target.id and target.id != there.id):
            return Impostor(there.name, there.id)
        return Answered(facts=there.facts, endpoint=end, group=group)
