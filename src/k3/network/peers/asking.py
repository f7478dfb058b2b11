"""Where a peer is asked, and who else is asked whose it is: the other places where the name of a Node is announced. Pure."""

from k3.network.messages import Target
from k3.network.peers import places
from k3.network.peers.candidates import Candidates
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.observers import Observers
from k3.network.peers.peer import Peer


class Asking:
    """Keeps the endpoints of every peer in step with what is known."""

    def __init__(self, known: Knowledge, observers: Observers, candidates: Candidates) -> None:
        self._known = known
        self._observers = observers
        self.candidates = candidates

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
        self.ask_claimants(peer, now)
        self._known.touch(peer)

    def ask_claimants(self, peer: Peer, now: float) -> None:
        """A Node that is not Ready holds its name no longer: whoever else announces the name is asked."""
        if peer.stored is not None and not peer.is_ready:
            for heard in [each for each in peer.heard.values() if not peer.is_its_own(each)]:
                self.candidates.hear(heard, now)

    def ask_claimant(self, peer: Peer, id_: str, now: float) -> bool:
        """The recorded place of a Node answers under this id; if that is announced, the holder is gone for good."""
        claims = [heard for heard in peer.heard.values() if heard.id and heard.id == id_]
        for heard in claims:
            self.candidates.hear(heard, now)
        return bool(claims)

    def may_displace(self, peer: Peer, id_: str) -> bool:
        """Whether a machine that answered under this id may have the name of this Node.

        It may if the Node is not Ready, or if the machine that this agent had reached is gone, and its very place answers under
        that id. A holder that does not answer here may live elsewhere: while it is Ready and its own agent writes to the store,
        no observer gives its name away (docs/adr/0044).
        """
        seen = peer.stored
        if seen is not None and seen.is_unproven:
            return True
        in_place = peer.answers_as is not None and peer.answers_as.id == id_
        return bool(id_) and (not peer.is_ready or (in_place and self._known.has_say(peer) and not (seen and seen.agent)))


def target(peer: Peer) -> Target:
    """Which machine to ask now, and where. An id that was only announced is no id yet: it is for the answer to say it."""
    seen = peer.remembered
    return Target(peer.name, peer.ends, seen.id if seen is not None and not seen.is_unproven else "")
