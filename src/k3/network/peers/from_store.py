"""Rules 1 and 2: what the store shows is the list of peers, and what changes there is evidence. Pure.

An agent learns of another agent's observations here and nowhere else: a lastSeen that moved is a sign of life, Reachable=False
a suspicion to be refuted, a new `agent` a machine that started again.
"""

from collections.abc import Callable, Iterable
from typing import Final

from k3.core import times
from k3.core.node import NodeView
from k3.core.sources import NETWORK
from k3.network import ranks
from k3.network.peers.asking import Asking
from k3.network.peers.from_network import FromNetwork
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.observers import Observers
from k3.network.peers.own_node import OwnNode
from k3.network.peers.peer import NEVER, Peer
from k3.network.ranks import Timing

LOOK_SECONDS: Final = 0.02
"""Between the first probes of two peers found in one list, on average."""

ABSTENTION_PERIODS: Final = 10
"""So many periods an observer that suspected wrongly does not ask that peer (rule 6)."""


class FromStore:
    """Takes the Nodes of the store as they are shown, changed and removed."""

    def __init__(
        self,
        known: Knowledge,
        observers: Observers,
        asking: Asking,
        own_node: OwnNode,
        network: FromNetwork,
        *,
        chance: Callable[[], float],
    ) -> None:
        self._known = known
        self._observers = observers
        self._asking = asking
        self._own_node = own_node
        self._candidates = asking.candidates
        self._network = network
        self._chance = chance

    def synced(self, nodes: Iterable[NodeView], now: float) -> None:
        """The whole list, at start and after every break of the watch."""
        try:
            self._take_in(nodes, now)
        finally:  # whatever goes wrong, what could not be seen counts against no peer
            self._known.listing = 0
            self._known.restart_ages(now)

    def _take_in(self, nodes: Iterable[NodeView], now: float) -> None:
        known = self._known
        known.is_online = True
        for peer in known.everyone():
            peer.suspected_by_me = False  # whether that was refuted, a whole list does not say
        listed = {seen.name: seen for seen in nodes}
        for name in self._unlisted(listed):
            self.gone(name, now)
        known.listing = len(listed)
        for seen in listed.values():
            self.shown(seen, now)
        known.listing = 0
        self._observers.rank_all(now)
        for peer in known.crowd.candidates.values():
            # What a candidate answered while nothing could be written is to be heard again.
            peer.hint(now)

    def _unlisted(self, listed: Iterable[str]) -> list[str]:
        known, names = self._known, set(listed)
        had = [name for name, peer in known.peers.items() if peer.stored]
        return [name for name in dict.fromkeys((*had, known.me.name, *known.foreign.names)) if name not in names]

    def shown(self, seen: NodeView, now: float) -> None:
        """A Node as it is now."""
        known = self._known
        if seen.owner != NETWORK.name:
            self._leave_alone(seen, now)
            return
        announced = known.foreign.drop(seen.name)
        peer = known.own if seen.name == known.me.name else self._candidates.enter(seen, now)
        former, peer.reported = peer.remembered, None
        peer.show(seen)
        self._compare(peer, former, peer.remembered or seen, now)
        if seen.ready is not None and seen.ready.status == "False":
            known.doubt.forget(peer.name)
        if seen.is_unproven:
            known.crowd.show(seen.name, seen.seen_by)
        else:
            known.crowd.hide(seen.name)
        if peer is known.own:
            self._own_node.contest(seen)
        else:
            self._candidates.settle(peer, now)
            self._own_node.recognise(peer, now)
        known.touch(peer)
        if announced is not None:
            self._network.announced(announced, now)

    def _leave_alone(self, seen: NodeView, now: float) -> None:
        """It belongs to a controller, or to another source."""
        known, name = self._known, seen.name
        known.foreign.show(seen, now)
        known.crowd.hide(name)
        self._observers.gone(name, now)
        if name == known.me.name:
            known.own.show(None)
            return
        peer = known.peers.get(name)
        for each in (*known.crowd.of(name), *((peer,) if peer is not None else ())):
            known.drop(each)
            for heard in each.heard.values():
                known.hear_foreign(heard)

    def gone(self, name: str, now: float) -> None:
        """The store has no Node of this name any more."""
        known = self._known
        known.crowd.hide(name)
        self._observers.gone(name, now)
        if name in known.foreign and (announced := known.foreign.drop(name)) is not None:
            self._network.announced(announced, now)
        peer = known.keyed(name)
        if peer is None:
            return
        had, peer.reported, peer.last_sign_at = peer.stored is not None, None, now
        peer.show(None)
        if peer is known.own:
            # A person may delete the Node of a machine that runs: it returns, but not in the same breath.
            peer.settled_at = now + known.timing.period if had else -NEVER
        else:
            self._candidates.dissolve(peer, now)
            return
        known.touch(peer)

    # What has changed

    def _compare(self, peer: Peer, former: NodeView | None, seen: NodeView, now: float) -> None:
        self._compare_places(peer, former, seen)
        self._observers.shown(peer, seen, now)
        if former is None:
            self._first_shown(peer, seen, now)
            return
        suspected = former.is_reachable and not seen.is_reachable
        if (seen.last_seen, seen.agent) != (former.last_seen, former.agent):
            self._refreshed(peer, seen, suspected=suspected, now=now)
        if suspected and seen.is_ready:
            peer.hint(now)
        if peer.suspected_by_me and seen.is_reachable:
            self._refuted(peer, seen, now)
        if seen.agent != former.agent:
            peer.probed_at = min(peer.probed_at, now - peer.timing.period)
        if seen.is_ready != former.is_ready:
            peer.not_ready_at = NEVER if seen.is_ready else now
            peer.backoff = 0.0
            # A machine that is not Ready any more may lose the name to one that announced it long ago.
            self._asking.ask_claimants(peer, now)

    def _compare_places(self, peer: Peer, former: NodeView | None, seen: NodeView) -> None:
        """Where it is asked, how often, and which agents look after it."""
        me = self._known.me.name
        if former is not None and seen.addresses and _has_moved(former, seen) and seen.seen_by != me:
            peer.link = ""  # to have a say, this agent must reach it where it is now
        took = former is not None and (former.seen_by == me) != (seen.seen_by == me)
        if took or former is None or _placement(former) != _placement(seen):
            peer.timing = Timing.of(max(self._known.settings.peer_ttl_seconds, seen.peer_ttl_seconds))
            peer.member = ranks.member(seen)
            self._asking.locate(peer)

    def _first_shown(self, peer: Peer, seen: NodeView, now: float) -> None:
        peer.last_sign_at = peer.refreshed_at = peer.first_shown_at = now
        peer.backoff = 0.0
        peer.not_ready_at = NEVER if seen.is_ready else now
        if seen.is_ready:
            peer.hinted_at = NEVER
        if peer.probed_at == -NEVER:
            # A newcomer is looked at from outside at once; a whole list of them, one after the other.
            wait = min(peer.timing.period, self._known.listing * LOOK_SECONDS)
            peer.probed_at = now - peer.timing.period + wait * self._chance()

    def _refreshed(self, peer: Peer, seen: NodeView, *, suspected: bool, now: float) -> None:
        """There is a new lastSeen or run of its agent: a sign of life, now or (in a suspicion) when the writer last had one."""
        peer.refreshed_at = now
        if suspected:
            peer.last_sign_at = max(peer.last_sign_at, now - _silence(seen))
        else:
            peer.last_sign_at = now
            if not peer.said_goodbye:
                peer.hinted_at = NEVER  # the hint is answered

    def _refuted(self, peer: Peer, seen: NodeView, now: float) -> None:
        """The agent's suspicion was taken back; if by another observer, that one reaches the peer where this one does not."""
        peer.suspected_by_me = False
        if seen.is_ready and seen.seen_by != self._known.me.name:
            peer.abstain_until = now + ABSTENTION_PERIODS * peer.timing.period
            peer.failures = 0
            peer.link = ""
            self._asking.locate(peer)


def _has_moved(former: NodeView, seen: NodeView) -> bool:
    """Whether nothing is left of where it was."""
    return set(former.addresses).isdisjoint(seen.addresses)


def _placement(seen: NodeView) -> tuple[object, ...]:
    """What decides which agents look after a Node, where it is asked, and how often."""
    return seen.id, seen.links, seen.addresses, seen.port, seen.peer_ttl_seconds


def _silence(seen: NodeView) -> float:
    """How long the writer of a suspicion had been without a sign of life. Both times are its own, of one write (rule 6)."""
    moved = times.parse_timestamp(seen.reachable.transition if seen.reachable else "")
    last = times.parse_timestamp(seen.last_seen)
    return max(0.0, (moved - last).total_seconds()) if moved is not None and last is not None else 0.0
