"""Where a peer can be asked from here, and whether this agent has a say over it. Pure.

A prefix in common is only a guess at a common place: every second home is 192.168.1.0/24, every VirtualBox machine has
10.0.2.15. So two agents on one store may share a prefix and never be able to reach each other. What is known for sure is
this: a machine that answered this agent, under its own id, is here; a machine that announces itself by multicast is here
(docs/adr/0027).

An agent has a *say* over a peer (to suspect it, to be counted on for a verdict at its time to live) if the peer answered it
over a link that is still there; until the peer has ever answered, if it is heard to announce itself, or the store says that
this agent was the last that it answered. Another's success where this agent fails takes the say from it, until the peer
answers it again.

An agent that has none goes on trying, ever more rarely, and only says Unknown, late, of a peer of which the store shows no
sign of life any more: neither its observers' nor its own agent's.
"""

from collections.abc import Iterable
from itertools import zip_longest

from k3.core import limits
from k3.network import ranks
from k3.network.messages import Announcement, Endpoint
from k3.network.peers.peer import Peer


class OwnPlace:
    """The links of this agent's own machine, and its endpoints, which are never a peer's."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.links: frozenset[str] = frozenset()
        self._scopes: frozenset[str] = frozenset()
        self.ends: frozenset[Endpoint] = frozenset()

    def change(self, links: Iterable[str], interfaces: Iterable[str]) -> None:
        """These links and interfaces are usable now."""
        self.links, self._scopes = frozenset(links), frozenset(f"%{name}" for name in interfaces)

    def link_of(self, address: str) -> str:
        """The own link that leads to an address, by its prefix or scope; empty: none."""
        literal, percent, scope = address.partition("%")
        if percent and self._scopes:
            return percent + scope if percent + scope in self._scopes else ""
        return ranks.link_of(literal, self.links)

    def has(self, link: str) -> bool:
        """Whether this is an own link now."""
        return link in self.links or link in self._scopes

    def reaches(self, end: Endpoint) -> bool:
        """Whether the endpoint is on an own link, and is not the machine's own."""
        return end not in self.ends and bool(self.link_of(end.address))


def endpoints(peer: Peer, here: OwnPlace) -> tuple[tuple[Endpoint, ...], ...]:
    """What the store records first, then what is announced; on own links only."""
    seen = peer.remembered
    recorded = [Endpoint(a, seen.port) for a in seen.addresses] if seen is not None and seen.port else []
    # The newest first, and of each announcement its first address before any second one: a forged one crowds out no real one.
    own = [announced_ends(heard) for heard in reversed(peer.heard.values()) if peer.is_its_own(heard)]
    announced = [end for ends in zip_longest(*own) for end in ends if end is not None]
    fresh = [end for end in dict.fromkeys(announced) if end not in recorded]
    if not is_former_name(peer, here):
        recorded = [end for end in recorded if here.reaches(end)]
    groups = (recorded, [end for end in fresh if here.reaches(end)])
    return tuple(tuple(group[: limits.PEER_ADDRESSES]) for group in groups if group)


def announced_ends(heard: Announcement) -> list[Endpoint]:
    """All endpoints of an announcement."""
    return [Endpoint(address, heard.port) for address in heard.addresses]


def is_former_name(peer: Peer, here: OwnPlace) -> bool:
    """Whether this Node stands for the agent's own machine, which goes by another name now."""
    seen = peer.stored
    if seen is None or not seen.addresses or not seen.id or seen.id != here.id:
        return False
    return all(Endpoint(address, seen.port) in here.ends for address in seen.addresses)


def was_last_answered(peer: Peer, me: str) -> bool:
    """Whether it answered this agent in this run, or the store says that this agent was the last that it answered."""
    return peer.answered or (peer.remembered is not None and peer.remembered.seen_by == me)


def has_say(peer: Peer, here: OwnPlace, me: str) -> bool:
    """Whether this agent's failures to reach it mean anything."""
    if not peer.ends:
        return False
    if peer.answered:
        return here.has(peer.link)
    return peer.is_here or was_last_answered(peer, me) or is_former_name(peer, here)
