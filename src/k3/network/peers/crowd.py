"""Names that are announced but not proven. Any host can invent them, so everything about them is bounded and shared out. Pure.

A *candidate* is one place where a name is said to be. A name may be announced at several places at once, by its machine and by
others, under one id or many: each place is asked for itself, so no announcement stands in the way of another (docs/adr/0043).
Places and turns are shared out by the origin of the announcements (`k3.network.origins`).
"""

from collections.abc import Iterable
from typing import Final

from k3.core import limits
from k3.network.messages import Announcement
from k3.network.origins import PREFERRED, Allowance, Shares, Turns, origin_of
from k3.network.peers.peer import NEVER, Peer

FRUITLESS_AT_ONCE: Final = 64
FRUITLESS_PER_SECOND: Final = 6.0
"""So many questions that prove nothing are asked, whoever causes them."""

SHOWN_PER_SECOND: Final = 0.5
"""So many never-proven Nodes are made once there have been `limits.UNPROVEN_NODES`: in a flood each soon makes way."""

BUSY_SECONDS: Final = 0.5
"""So long a first question waits for its answer where many wait for a turn."""


def place_of(heard: Announcement) -> str:
    """What tells one candidate from another. No Node has such a name."""
    return f"{heard.node} at {','.join(heard.addresses)} {heard.port}"


class Crowd:
    """The candidates, which are being asked, which wait, and which names are shown as never-proven Nodes."""

    def __init__(self, now: float) -> None:
        self.candidates: dict[str, Peer] = {}
        """By their keys, in order of arrival."""
        self.answered: dict[str, Peer] = {}
        """Those that are proven, and not shown by the store yet."""
        self._by_name: dict[str, dict[str, Peer]] = {}
        self._shares = Shares(each=limits.CANDIDATES_PER_ORIGIN, all_=limits.CANDIDATES)
        self._turns = Turns()
        self._allowance = Allowance(at_once=FRUITLESS_AT_ONCE, per_second=FRUITLESS_PER_SECOND, now=now)
        self._shown: dict[str, str] = {}
        self._showing = Allowance(at_once=limits.UNPROVEN_NODES, per_second=SHOWN_PER_SECOND, now=now)

    def of(self, name: str) -> list[Peer]:
        """All candidates of a name."""
        return list(self._by_name.get(name, {}).values())

    def add(self, peer: Peer, heard: Announcement) -> list[Peer]:
        """It is a candidate from now on. Returns those that have to make way for it."""
        peer.origin = origin_of(heard.addresses)
        self.candidates[peer.key] = peer
        namesakes = self._by_name.setdefault(peer.name, {})
        namesakes[peer.key] = peer
        leaving = []
        if len(namesakes) > limits.CANDIDATES_PER_NAME:
            leaving += [each for each in namesakes.values() if not (each.answered or each.probing or each is peer)][:1]
        return leaving + self._place(peer)

    def _place(self, peer: Peer) -> list[Peer]:
        crowded_out = self._shares.add(peer.key, peer.origin)
        return [self.candidates[crowded_out]] if crowded_out is not None else []

    def drop(self, peer: Peer) -> None:
        """It is no candidate any more."""
        if self.candidates.get(peer.key) is not peer:
            return
        del self.candidates[peer.key]
        self.answered.pop(peer.key, None)
        namesakes = self._by_name[peer.name]
        del namesakes[peer.key]
        if not namesakes:
            del self._by_name[peer.name]
        self._shares.leave(peer.key)
        self._turns.leave(peer.key)
        peer.waiting = False

    # Whose turn it is

    def wait(self, peer: Peer) -> None:
        """It wants to be asked."""
        peer.waiting = True
        origin = PREFERRED if peer.is_preferred and not peer.backoff else peer.origin
        self._turns.wait(peer.key, origin, again=bool(peer.backoff))

    def prefer(self, peer: Peer) -> None:
        """It has answered, if not to a probe that was meant for it: it is somebody, and comes before all others."""
        peer.is_preferred = True
        if peer.waiting:
            self._turns.wait(peer.key, PREFERRED)

    def next(self, now: float) -> Peer | None:
        """Who is asked now, if anybody is: it takes one of the few places for that."""
        if self._turns.under_way >= limits.CANDIDATES_AT_ONCE or self._turns.at() > now or not self._allowance.take(now):
            return None
        key = self._turns.next(now)
        if key is None:
            return None
        peer = self.candidates[key]
        peer.waiting = False
        self._shares.leave(key)  # nothing makes way for others while its answer is under way
        return peer

    def at(self, now: float) -> float:
        """When the next one may be asked; a question that ends may make it sooner."""
        if self._turns.under_way >= limits.CANDIDATES_AT_ONCE or (at := self._turns.at()) == NEVER:
            return NEVER
        return max(at, self._allowance.at(now))

    def patience(self, peer: Peer) -> float:
        """How long an answer is waited for."""
        is_busy = self._turns.under_way > limits.CANDIDATES_AT_ONCE // 2
        return min(peer.timing.timeout, BUSY_SECONDS) if is_busy and not peer.failures else peer.timing.timeout

    def done(self, key: str) -> None:
        """The question is over."""
        self._turns.over(key)

    def failed(self, peer: Peer) -> list[Peer]:
        """It has not answered. Returns those that have to make way for it."""
        return self._place(peer)

    def proven(self, peer: Peer) -> None:
        """It has answered: it needs no place among those that have not, and its turn was not in vain."""
        if peer.key in self.candidates:
            self.answered[peer.key] = peer
        self._shares.leave(peer.key)
        for origin in (peer.origin, PREFERRED):
            self._turns.forgive(origin)
        self._allowance.give_back()

    # Which are shown

    def show(self, name: str, shown_by: str) -> None:
        """A never-proven Node is in the store, or will be."""
        self._shown[name] = shown_by

    def hide(self, name: str) -> None:
        """No such Node any more."""
        self._shown.pop(name, None)

    def may_show(self, me: str, observers: Iterable[str], now: float) -> bool:
        """Whether the agent `me` may show one more now (docs/adr/0008); if so, it is expected to.

        The few places are dealt out among the observers, so that no two need to count together.
        """
        agents = sorted({me, *observers})
        mine = len(range(agents.index(me), limits.UNPROVEN_NODES, len(agents)))
        used = sum(1 for shown_by in self._shown.values() if shown_by == me)
        return used < mine and len(self._shown) < limits.UNPROVEN_NODES and self._showing.take(now)
