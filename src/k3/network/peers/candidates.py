"""Rule 4 for what is only announced: every place where a name is said to be is asked once at least, by itself. Pure.

Whoever answers there under the name is proven, whatever id was announced; so no announcement hides, delays or replaces another
one (docs/adr/0043). Where a Node has the name, the places that another machine announces are asked as well once the Node is not
Ready, and the machine that answers may displace it.
"""

from k3.core.node import NodeView
from k3.network import ranks
from k3.network.messages import Announcement
from k3.network.peers import places
from k3.network.peers.crowd import place_of
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.observers import Observers
from k3.network.peers.peer import NEVER, Peer
from k3.network.ranks import Member


class Candidates:
    """Makes candidates of announcements, and peers of candidates that the store shows."""

    def __init__(self, known: Knowledge, observers: Observers) -> None:
        self._known = known
        self._observers = observers

    def hear(self, heard: Announcement, now: float, *, asked_at: float = -NEVER) -> None:
        """The name is announced at this place. `asked_at`: when the machine there was asked last."""
        peer = self._known.crowd.candidates.get(place_of(heard))
        is_news = peer is None or peer.heard.get(heard.instance) != heard
        if peer is None:
            peer = self._enter(heard, now)
            peer.probed_at = asked_at
        self._known.note_instance(heard)
        peer.heard[heard.instance] = heard
        self.locate(peer)
        if is_news:
            peer.backoff = 0.0
            peer.hint(now)
        if heard.asked and not peer.answered:
            self._known.crowd.prefer(peer)
        self._known.touch(peer)

    def _enter(self, heard: Announcement, now: float) -> Peer:
        known = self._known
        addresses = frozenset(address.partition("%")[0] for address in heard.addresses)
        member = Member(name=heard.node, place=ranks.place(heard.id or heard.node), links=frozenset(), addresses=addresses)
        peer = Peer(name=heard.node, key=place_of(heard), member=member, timing=known.timing, last_sign_at=now)
        for other in known.crowd.add(peer, heard):
            known.make_way(other)
        return peer

    def locate(self, peer: Peer) -> None:
        """Where it can be asked from here, and this agent's rank for it."""
        peer.ends = places.endpoints(peer, self._known.here)
        self._observers.rank(peer)

    def enter(self, seen: NodeView, now: float) -> Peer:
        """The store shows this Node: the peer that stands for it, with what is known of the candidate that it was."""
        known = self._known
        peer = known.peers.get(seen.name)
        if peer is None:
            was = next((each for each in known.crowd.of(seen.name) if each.answered or _is_shown(each, seen)), None)
            if was is None:
                return known.enter(seen.name, now)
            known.crowd.drop(was)
            was.key, was.probing, was.due = seen.name, False, NEVER
            peer = known.peers[seen.name] = was
        return peer

    def settle(self, peer: Peer, now: float) -> None:
        """The Node is there: its own announcements are its own, and while it is Ready nobody else is asked for the name."""
        others = self._known.crowd.of(peer.name)
        for other in others:
            for heard in other.heard.values():
                peer.hear(heard)
            if peer.is_ready or all(peer.is_its_own(heard) for heard in other.heard.values()):
                self._known.crowd.drop(other)
        if others:
            self.locate(peer)
        if not peer.is_ready:
            for heard in [each for each in peer.heard.values() if not peer.is_its_own(each)]:
                if place_of(heard) not in self._known.crowd.candidates:
                    self.hear(heard, now)

    def dissolve(self, peer: Peer, now: float) -> None:
        """There is no Node any more: what is announced is asked again, as by its first observer and not in the same breath."""
        self._known.drop(peer)
        for heard in peer.heard.values():
            self.hear(heard, now, asked_at=now)

    def lead_to(self, name: str, address: str) -> None:
        """Somebody answered there under this name, though another was asked for: if it is announced there, it is next."""
        for peer in self._known.crowd.of(name):
            if any(end.address == address for group in peer.ends for end in group) and not peer.answered:
                self._known.crowd.prefer(peer)


def _is_shown(candidate: Peer, seen: NodeView) -> bool:
    """Whether a never-proven Node was made of this candidate."""
    return seen.is_unproven and any(heard.id == seen.id and heard.port == seen.port for heard in candidate.heard.values())
