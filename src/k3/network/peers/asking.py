"""Where a peer is asked, and which machine is asked instead while the holder of a name does not answer. Pure."""

from k3.network.messages import Announcement, Target
from k3.network.peers import places
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.observers import Observers
from k3.network.peers.peer import Peer


class Asking:
    """Keeps the endpoints of every peer, and the challenger of every name, in step with what is known."""

    def __init__(self, known: Knowledge, observers: Observers) -> None:
        self._known = known
        self._observers = observers

    def locate(self, peer: Peer) -> None:
        """Where it can be asked from here, and the rank that follows."""
        peer.ends = places.endpoints(peer, self._known.here)
        if not self._known.listing:  # else the ranks follow from the whole list, once it has been read
            self._observers.rank(peer)

    def relocate(self, peer: Peer, now: float) -> None:
        """The machine's own links or endpoints have changed; a peer that can be asked again is asked soon."""
        former = {end for group in peer.ends for end in group}
        self.locate(peer)
        if any(end not in former for group in peer.ends for end in group):
            peer.backoff = 0.0
            peer.hint(now)
        self.ask_instead(peer, now)
        self._known.touch(peer)

    def ask_instead(self, peer: Peer, now: float) -> None:
        """Where its Node shows no place to ask, such as this machine's own former address, another claimant is asked."""
        if not peer.ends:
            self.turn_to_challenger(peer, now)

    def turn_to_challenger(self, peer: Peer, now: float) -> None:
        """The holder of a name is silent and another machine claims it: that one is asked, every other time."""
        seen = peer.stored
        if (peer.challenger is not None and peer.ends) or seen is None or not seen.id or not self.may_displace(peer):
            peer.challenger = None
            return
        peer.challenger = next((heard for heard in peer.heard.values() if heard.id not in {"", seen.id}), None)
        if peer.challenger is not None:
            peer.hinted_at = now

    def may_displace(self, peer: Peer) -> bool:
        """Whether the holder of a name that does not answer here is gone. It may live elsewhere, and write to the store.

        From one whose own agent writes there, no observer takes the name while it is Ready (docs/adr/0044).
        """
        seen = peer.stored
        return seen is not None and (not peer.is_ready or (self._known.has_say(peer) and not seen.agent))


def claim_of(peer: Peer, id_: str) -> Announcement | None:
    """The announcement under which this id claims the name."""
    return next((heard for heard in peer.heard.values() if heard.id and heard.id == id_), None)


def target(peer: Peer) -> Target:
    """Which machine to ask now, and where."""
    if peer.challenger is not None:
        return Target(peer.name, (tuple(places.announced_ends(peer.challenger)),), peer.challenger.id)
    id_ = peer.remembered.id if peer.remembered else next((heard.id for heard in peer.heard.values()), "")
    return Target(peer.name, peer.ends, id_)
