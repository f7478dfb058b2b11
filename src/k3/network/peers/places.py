"""Where a peer can be asked from here, who has a say over it, and who else looks after it. Pure.

A prefix in common is only a guess at a common place: every second home is 192.168.1.0/24, every VirtualBox machine has
10.0.2.15. So two agents on one store may share a prefix and never be able to reach each other. What is known for sure is
this: whoever answered us, under its own id, is here; whoever announces itself to us by multicast is here.

* **A say** over a peer (to suspect it, to be counted on for a verdict at its time to live) has who was answered by it over
  a link that is still there; until it has ever answered, who hears it announce itself, or who the store says was the last
  that it answered. Another's success where we fail takes the say from us, until the peer answers us again.
* Who has none goes on trying, ever more rarely, and only says Unknown, late, of a peer of which the store shows no sign of
  life any more: neither its observers' nor its own agent's.
* **In line** before us, as a peer's observers, we count the agents that share a prefix with it, without those that are
  elsewhere: the ones that our own probes never reached. Where the peer is heard by multicast, we should hear its other
  observers too, and count none of whom we have heard nothing for `HEARING_SECONDS`. An agent that the store names as the
  last to have been answered by a peer that is here is here itself.

Agents need not agree about this to the last: one that counts too many before it comes later, and one that counts too few
asks a little more than it need.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from k3.core import limits
from k3.network import ranks
from k3.network.messages import Announcement, Endpoint
from k3.network.peers.peer import FAILURES, NEVER, Peer
from k3.network.ranks import Member

HEARING_SECONDS: Final = 10.0
"""The browser asks who is there at 0, 1 and 5 seconds."""


class Ours:
    """The links of our own machine, and its endpoints, which are never a peer's."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.links: frozenset[str] = frozenset()
        self._scopes: frozenset[str] = frozenset()
        self.ends: frozenset[Endpoint] = frozenset()

    def change(self, links: Iterable[str], interfaces: Iterable[str]) -> None:
        """These are usable now."""
        self.links, self._scopes = frozenset(links), frozenset(f"%{name}" for name in interfaces)

    def link_of(self, address: str) -> str:
        """The link of ours that leads to an address, by its prefix or scope; empty: none."""
        literal, percent, scope = address.partition("%")
        if percent and self._scopes:
            return percent + scope if percent + scope in self._scopes else ""
        return ranks.link_of(literal, self.links)

    def has(self, link: str) -> bool:
        """Whether this is a link of ours now."""
        return link in self.links or link in self._scopes

    def reaches(self, end: Endpoint) -> bool:
        """Whether the endpoint is on a link of ours, and not ourselves."""
        return end not in self.ends and bool(self.link_of(end.address))


def endpoints(peer: Peer, ours: Ours) -> tuple[tuple[Endpoint, ...], ...]:
    """What the store records first, then what is announced; on our own links only."""
    seen = peer.known
    recorded = [Endpoint(a, seen.port) for a in seen.addresses] if seen is not None and seen.port else []
    announced = [end for heard in peer.heard.values() if peer.is_its_own(heard) for end in announced_ends(heard)]
    fresh = [end for end in dict.fromkeys(announced) if end not in recorded]
    if not is_former_name(peer, ours):
        recorded = [end for end in recorded if ours.reaches(end)]
    groups = (recorded, [end for end in fresh if ours.reaches(end)])
    return tuple(tuple(group[: limits.PEER_ADDRESSES]) for group in groups if group)


def announced_ends(heard: Announcement) -> list[Endpoint]:
    """All of an announcement."""
    return [Endpoint(address, heard.port) for address in heard.addresses]


def is_former_name(peer: Peer, ours: Ours) -> bool:
    """Whether this Node stands for our own machine, which goes by another name now."""
    seen = peer.stored
    if seen is None or not seen.addresses or not seen.id or seen.id != ours.id:
        return False
    return all(Endpoint(address, seen.port) in ours.ends for address in seen.addresses)


def was_last_answered(peer: Peer, me: str) -> bool:
    """Whether it answered us in this run, or the store says that we were the last it answered."""
    return peer.answered or (peer.known is not None and peer.known.seen_by == me)


def has_say(peer: Peer, ours: Ours, me: str) -> bool:
    """Whether our failures to reach it mean anything."""
    if not peer.ends:
        return False
    if peer.answered:
        return ours.has(peer.link)
    return peer.is_here or was_last_answered(peer, me) or is_former_name(peer, ours)


class Lines:
    """The agents on the store, as this one counts them before itself."""

    def __init__(self) -> None:
        self.all: dict[str, Member] = {}
        """Every agent that can be relied on."""
        self.anywhere: dict[str, Member] = {}
        """The same, whatever their links."""
        self._possible: dict[str, Member] = {}
        self._heard: dict[str, Member] = {}
        self._hears = False

    def of(self, peer: Peer) -> Mapping[str, Member]:
        """Who may be a peer's observer, apart from their links."""
        return self._heard if peer.heard else self._possible

    def counts(self, peer: Peer) -> bool:
        """Whether this agent, which is here, is known to be."""
        return peer.name in self._heard and (self._hears or not peer.heard)

    @property
    def ours(self) -> Mapping[str, Member]:
        """Who may be our own observer, apart from links."""
        return self._heard

    def rebuild(self, peers: Mapping[str, Peer], now: float) -> float:
        """Sort them anew; returns when to do so again (maybe never)."""
        self.anywhere = {name: Member(name=name, place=each.place, links=frozenset()) for name, each in self.all.items()}
        vouched = {peer.known.seen_by for peer in peers.values() if peer.known is not None and peer.is_here}
        self._hears = any(peer.heard and peer.stored is not None for peer in peers.values())
        self._possible, self._heard, again = {}, {}, NEVER
        for name, member in self.all.items():
            peer = peers.get(name)
            if peer is None or name in vouched or peer.is_here:
                self._possible[name] = self._heard[name] = member
            elif peer.failures < FAILURES:
                self._possible[name] = member
                if not self._hears:
                    self._heard[name] = member
                elif now < peer.met_at + HEARING_SECONDS:
                    self._heard[name] = member
                    again = min(again, peer.met_at + HEARING_SECONDS)
        return again
