"""Which agents look after which machine: the times that follow from one time to live, shared links, and an observer's rank.

Pure functions and tables. All agents on a store compute the same order without talking to each other.
"""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Self

from k3.core.node import NodeView
from k3.core.records import dataclass
from k3.core.sources import NETWORK

LAST_RANK: Final = 8
"""Higher ranks never probe (rule 4 of docs/architecture.md, "Many observers, one truth")."""

HINT_RANKS: Final = 2
"""A hint (announcement, goodbye, suspicion) is followed by ranks 0 to 2."""

_MIX: Final = 0x9E3779B97F4A7C15
_WORD: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All times, in seconds, as they follow from the time to live of one Node."""

    ttl: float
    period: float
    """Between two probes by the peer's first observer."""
    write: float
    """Between two refreshes of the stored lastSeen."""
    timeout: float
    retry: float
    step: float
    """Between one rank and the next."""

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, ttl: float) -> Self:
        """The times for a time to live."""
        return cls(
            ttl=ttl,
            period=min(max(ttl / 6, 0.5), 15.0),
            write=ttl / 3,
            timeout=min(2.0, ttl / 6),
            retry=min(1.0, ttl / 10),
            step=min(2.0, ttl / 40),
        )

    def takeover(self, rank: int) -> float:
        """How long a peer must have been out of sight before this rank looks for itself."""
        return self.write + self.period + self.step * rank

    def order(self, rank: int, *, standing: bool) -> float:
        """How long this rank lets others go first with a verdict: those with standing all come before those without."""
        place = min(rank, LAST_RANK) + (0 if standing else LAST_RANK + 1)
        return min(2.0, self.ttl / 20) * place / (2 * LAST_RANK + 2)


@lru_cache(maxsize=16_384)
def place(text: str) -> int:
    """A machine's place among all others: 64 bits of its hashed id."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def score(observer: int, peer: int) -> int:
    """The smaller, the sooner this observer looks after this peer. Both are places."""
    return ((observer ^ peer) * _MIX & _WORD) >> 16


@lru_cache(maxsize=4_096)
def network_of(link: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A CIDR prefix, or None where the text is none."""
    try:
        return ipaddress.ip_network(link, strict=False)
    except ValueError:
        return None


@lru_cache(maxsize=16_384)
def within(address: str, links: frozenset[str]) -> bool:
    """Whether an address lies on one of these links."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(net is not None and ip.version == net.version and ip in net for net in map(network_of, links))


@lru_cache(maxsize=16_384)
def link_of(address: str, links: frozenset[str]) -> str:
    """Which of these links an address lies on; empty: none."""
    return next((link for link in sorted(links) if within(address, frozenset({link}))), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One machine as the order sees it."""

    name: str
    place: int
    links: frozenset[str]
    addresses: frozenset[str] = frozenset()
    port: int = 0

    def shares_link(self, other: "Member") -> bool:
        """Whether this observer and that peer may be on one link, as far as both say.

        Where both have the same address they are on two links with one prefix: behind NAT, on host-only networks.
        """
        if self.links and other.links:
            common = self.links & other.links
            if not common or self.port != other.port or self.addresses.isdisjoint(other.addresses):
                return bool(common)
            return any(self._is_one_link(other, frozenset({link})) for link in common)
        if self.links and other.addresses:
            return any(within(address, self.links) for address in other.addresses)
        return True

    def _is_one_link(self, other: "Member", link: frozenset[str]) -> bool:
        return not any(within(address, link) for address in self.addresses & other.addresses)


def member(seen: NodeView) -> Member:
    """A Node's entry in the order."""
    return Member(
        name=seen.name,
        place=place(seen.id or seen.name),
        links=frozenset(seen.links),
        addresses=frozenset(seen.addresses),
        port=seen.port,
    )


def is_observer(seen: NodeView) -> bool:
    """Whether this Node's own agent writes to the store and can be relied on."""
    return bool(seen.agent) and seen.owner == NETWORK.name and seen.is_ready and seen.is_reachable


def rank(me: Member, peer: Member, observers: Mapping[str, Member]) -> int:
    """The place of the agent `me` among a peer's observers: 0 looks after it, and above `LAST_RANK` it is not needed.

    Alone on a store every agent is first. An agent that is no observer itself (its own Node is missing, suspected or
    not Ready) comes last where there are others (rule 3).
    """
    there = peer.place
    mine = score(me.place, there)
    listed = me.name in observers
    before = 0
    for each in observers.values():
        # `score`, written out: in a fleet of a thousand this line runs fifty times for each peer.
        if listed and ((each.place ^ there) * _MIX & _WORD) >> 16 >= mine:
            continue
        if each.name in (me.name, peer.name) or not each.shares_link(peer):
            continue
        if not listed:
            return LAST_RANK
        before += 1
        if before > LAST_RANK:
            break
    return before


def others_look_after(me: Member, peer: Member, observers: Mapping[str, Member]) -> bool:
    """Whether this peer has any other observer than the agent `me`."""
    return any(each.name not in {me.name, peer.name} and each.shares_link(peer) for each in observers.values())
