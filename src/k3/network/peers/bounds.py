"""How many proven machines there may be, at one address and in all, and what is said when a bound is met. Pure.

One host can answer properly on thousands of ports, under as many names. A few agents at one address are real: containers, or
several agents of one machine. Who has no room is not asked; who is there already is never given up for it (docs/adr/0043).
"""

from collections import Counter
from enum import StrEnum, unique
from typing import Final

from k3.core import limits
from k3.core.observation import Alive, Forgotten
from k3.network.events import BoundMet
from k3.network.peers import places
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.laws import Cause, State
from k3.network.peers.peer import Peer

SILENCE_SECONDS: Final = 600.0
"""So long after its last Ready a machine still has its place at its address: who takes turns in living is not without bound."""

AGAIN_SECONDS: Final = 3_600.0
"""Between two words about one bound."""


@unique
class Bound(StrEnum):
    """What is bounded."""

    ADDRESS = "machines at one address"
    PEERS = "machines in all"
    CANDIDATES = "announced machines that have not answered"


_ADVICE: Final = {
    Bound.ADDRESS: f"at most {limits.PEERS_PER_ADDRESS} are listed: look which program there announces so many",
    Bound.PEERS: f"at most {limits.PEERS} are listed, the longest silent go: remove those that are gone (k3 delete node)",
    Bound.CANDIDATES: "the oldest make way: a host of this network announces more names than there can be machines",
}


class Bounds:
    """The bounds that were met: each is said once an hour, and counted."""

    def __init__(self, known: Knowledge) -> None:
        self.met: Counter[Bound] = Counter(dict.fromkeys(Bound, 0))
        """How often each was met in this run."""
        self._known = known
        self._said_at: dict[Bound, float] = {}

    def has_room(self, candidate: Peer, now: float) -> bool:
        """Whether the machine may be listed if it answers. The name of a Node that is there already is no further one."""
        known = self._known
        if candidate.name in known.peers:
            return True
        if len(known.peers) >= limits.PEERS and self._longest_silent(now) is None:
            self.meet(Bound.PEERS, "", now)
            return False
        addresses = {end.address.partition("%")[0] for group in candidate.ends for end in group}
        if not addresses or any(self._residents(each, now) < limits.PEERS_PER_ADDRESS for each in addresses):
            return True
        self.meet(Bound.ADDRESS, min(addresses), now)
        return False

    def may_be_listed(self, candidate: Peer, now: float) -> bool:
        """The same, once it is known at which of its addresses it answers. Where the list is full, another Node goes for it."""
        if candidate.name in self._known.peers:
            return True
        if self._residents(candidate.answered_from, now) >= limits.PEERS_PER_ADDRESS:
            self.meet(Bound.ADDRESS, candidate.answered_from, now)
            return False
        if len(self._known.peers) < limits.PEERS:
            return True
        self.meet(Bound.PEERS, "", now)
        leaving = self._longest_silent(now)
        if leaving is not None and leaving.stored is not None:
            self._known.report(leaving, Cause.ROOM, Forgotten(leaving.name, leaving.stored.evidence), now)
        return leaving is not None

    def _longest_silent(self, now: float) -> Peer | None:
        """The peer that has not been Ready for longest, where that is long; None: there is none such."""
        silent = (
            (peer.stored.last_seen, peer.not_ready_at, peer.name)
            for peer in self._known.peers.values()
            if peer.stored is not None and peer.state is State.NOT_READY and _may_go(peer, now)
        )
        name = min(silent, default=("", 0.0, ""))[2]
        return self._known.peers.get(name)

    def _residents(self, address: str, now: float) -> int:
        """How many other machines this agent has reached at an address. What machines say of their addresses proves nothing."""
        listed = sum(1 for peer in self._known.peers.values() if _lives_at(peer, address, self._known.me.name, now))
        coming = sum(
            1
            for peer in self._known.crowd.answered.values()
            if peer.answered and peer.answered_from == address and peer.just_reported(Alive, now)
        )
        return listed + coming

    def meet(self, bound: Bound, where: str, now: float) -> None:
        """A bound is met."""
        self.met[bound] += 1
        if now >= self._said_at.get(bound, -AGAIN_SECONDS) + AGAIN_SECONDS:
            self._said_at[bound] = now
            self._known.do(BoundMet(bound.value, where, _ADVICE[bound]))


def _may_go(peer: Peer, now: float) -> bool:
    return now >= max(peer.not_ready_at + SILENCE_SECONDS, peer.after_report(Forgotten, now))


def _lives_at(peer: Peer, address: str, me: str, now: float) -> bool:
    if not peer.is_ready and now >= peer.not_ready_at + SILENCE_SECONDS:
        return False
    if peer.answered:
        return peer.answered_from == address
    return places.was_last_answered(peer, me) and peer.remembered is not None and address in peer.remembered.addresses
