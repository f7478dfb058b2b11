"""Which agents look after which peer, and this agent's rank among them (rules 3 and 4). Pure.

As a peer's observers, before itself, this agent counts the agents that share a prefix with the peer, without those that are
elsewhere: the ones that its own probes never reached. Where the peer is heard by multicast, its other observers should be heard
too, and none counts of which nothing was heard for `HEARING_SECONDS`. An agent that the store names as the last to have been
answered by a peer that is here is here itself (docs/adr/0027).

Agents need not agree about this to the last: one that counts too many before it comes later, and one that counts too few
asks a little more than it need.
"""

from collections.abc import Mapping
from typing import Final

from k3.core.node import NodeView
from k3.network import ranks
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.peer import FAILURES, NEVER, Peer
from k3.network.ranks import LAST_RANK, Member

HEARING_SECONDS: Final = 10.0
"""The browser asks who is there at 0, 1 and 5 seconds."""

RANKS_AT_ONCE: Final = 2_500
"""As many may be computed at any time; more of them wait for a step, so that a fleet that starts is ranked once."""


class Observers:
    """The agents on the store, in order, and what follows for each peer."""

    def __init__(self, known: Knowledge) -> None:
        self.rank_all_at = NEVER
        """When to rank every peer anew."""
        self._known = known
        self._all: dict[str, Member] = {}
        """Every agent that can be relied on."""
        self._anywhere: dict[str, Member] = {}
        """The same, whatever their links."""
        self._possible: dict[str, Member] = {}
        """Without those that are elsewhere."""
        self._heard: dict[str, Member] = {}
        """Those of them that count where multicast is heard."""
        self._hears = False

    @property
    def names(self) -> Mapping[str, Member]:
        """Every agent that can be relied on."""
        return self._all

    def shown(self, peer: Peer, seen: NodeView, now: float) -> None:
        """The store shows its Node like this: its own agent may be an observer now, or none any more."""
        wanted = peer.member if ranks.is_observer(seen) else None
        if self._all.get(seen.name) == wanted:
            return
        if wanted is None:
            del self._all[seen.name]
        else:
            self._all[seen.name] = wanted
        self.rank_soon(now)

    def gone(self, name: str, now: float) -> None:
        """The store shows no Node of network's of this name."""
        if self._all.pop(name, None) is not None:
            self.rank_soon(now)

    def is_here(self, peer: Peer, now: float) -> None:
        """The peer has shown to be on a link of this machine: if it runs an agent, that one counts for every other peer."""
        if peer.name in self._all and not (peer.name in self._heard and (self._hears or not peer.heard)):
            self.rank_soon(now)

    def look_after_own(self) -> bool:
        """Whether any other agent on this store may look after this agent's own machine."""
        return ranks.others_look_after(self._known.me, self._known.own.member, self._heard)

    def may_know_better(self, peer: Peer) -> bool:
        """Whether another agent on this store has reached it, as far as the store and the ranks tell (docs/adr/0035).

        That one's word is NotReady, where this agent could only say Unknown. It is given time: on a busy machine, or just after
        the store has returned, it may be a moment behind.
        """
        seen_by = peer.remembered.seen_by if peer.remembered else ""
        return peer.rank > 0 or (seen_by in self._all and seen_by not in {self._known.me.name, peer.name})

    def rank_for(self, member: Member) -> int:
        """The agent's rank for a machine that is no peer: one whose Node belongs to another source."""
        return ranks.rank(self._known.me, member, self._all)

    def rank(self, peer: Peer) -> None:
        """Compute this agent's rank for one peer."""
        me, line = self._known.me, self._heard if peer.heard else self._possible
        peer.rank = ranks.rank(me, peer.member, line)
        if peer.rank > LAST_RANK:  # then it is so anywhere
            peer.far_rank = peer.rank
        elif not self._known.has_say(peer):
            peer.far_rank = ranks.rank(me, peer.member, self._anywhere)
            peer.has_others = ranks.others_look_after(me, peer.member, line)

    def rank_soon(self, now: float) -> None:
        """Other agents are observers now: every peer is ranked anew, a little later where they are many."""
        few = len(self._all) * (len(self._known.peers) + len(self._known.crowd.candidates)) < RANKS_AT_ONCE
        self.rank_all_at = min(self.rank_all_at, now if few else now + self._known.timing.step)

    def rank_all(self, now: float) -> None:
        """Sort the observers anew, and compute the rank for every peer once."""
        self.rank_all_at = self._sort(now)
        for peer in self._known.everyone():
            self.rank(peer)

    def _sort(self, now: float) -> float:
        """Which agents count, and where; returns when to sort them again (maybe never)."""
        peers = self._known.peers
        self._anywhere = {name: Member(name=name, place=each.place, links=frozenset()) for name, each in self._all.items()}
        vouched = {peer.remembered.seen_by for peer in peers.values() if peer.remembered is not None and peer.is_here}
        self._hears = any(peer.heard and peer.stored is not None for peer in peers.values())
        self._possible, self._heard, again = {}, {}, NEVER
        for name, member in self._all.items():
            peer = peers.get(name)
            if peer is None or name in vouched or peer.is_here:
                self._possible[name] = self._heard[name] = member
            elif peer.failures < FAILURES:
                self._possible[name] = member
                if not self._hears:
                    self._heard[name] = member
                elif now < peer.first_shown_at + HEARING_SECONDS:
                    self._heard[name] = member
                    again = min(again, peer.first_shown_at + HEARING_SECONDS)
        return again
