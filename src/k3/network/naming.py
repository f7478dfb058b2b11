"""The rules of who goes by a name: who holds it, who gives it up, and what the other one is called then. Pure.

A live holder keeps the name, a dead one gives it up (docs/network.md, "Names"). Whether a holder is live is found out by
`name_claim`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from k3.core.errors import NameTaken, RunEnded
from k3.core.node import NodeView
from k3.network.messages import Announcement, Endpoint, Target
from k3.network.ranks import LAST_RANK, Timing

SUFFIX_DIGITS: Final = 6
UPTIME_DOUBT_SECONDS: Final = 2.0
"""Uptimes this near to each other tell nothing: the answer that carries one has been under way, too."""
ADVICE: Final = "rename one of the two machines, or give one of them --node-name"


class NameLost(RunEnded):
    """Another live machine keeps this name, or this identity: the agent starts again under `second`. The daemon handles it.

    `former`: the id that this machine had too, and leaves to a clone. What it wrote under another name than the clone's is
    still this machine's.
    """

    def __init__(self, second: str, *, held_at: str = "", former: str = "") -> None:
        super().__init__(second)
        self.second = second
        self.held_at = held_at
        self.former = former


@dataclass(frozen=True, slots=True)
class Settled:
    """The name to go by. `displaces`: the id of its dead former holder. `conflict_with`: the name it would have had."""

    name: str
    displaces: str = ""
    conflict_with: str = ""
    held_at: str = ""
    """Where the other machine is that has the name."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Another machine with the name. `shown`: its Node, which its own agent may go on refreshing, or other observers do."""

    id: str
    target: Target | None
    shown: NodeView | None = None

    @property
    def is_said_to_live(self) -> bool:
        """Whether the store says so although the machine may not be within reach from here: an address is not a place."""
        seen = self.shown
        return seen is not None and seen.is_ready and seen.is_reachable and (bool(seen.agent) or self.target is None)


def recorded_holder(stored: NodeView | None, own_id: str, reachable: Iterable[str]) -> Holder | None:
    """The other machine that the store's Node stands for, if any. `reachable`: its addresses on this machine's links."""
    if stored is None or stored.owner != "network" or stored.id in {"", own_id}:
        return None
    ends = tuple(Endpoint(address, stored.port) for address in reachable) if stored.port else ()
    return Holder(stored.id, Target(stored.name, (ends,), stored.id) if ends else None, stored)


def announced_holders(heard: Iterable[Announcement], name: str, own_id: str) -> list[Holder]:
    """The other machines that announce the name. One without an id cannot be told from this machine."""
    holders = []
    for each in heard:
        if each.node == name and each.id not in {"", own_id}:
            ends = tuple(Endpoint(address, each.port) for address in each.addresses)
            holders.append(Holder(each.id, Target(each.node, (ends,), each.id) if ends else None))
    return holders


def patience_seconds(seen: NodeView, ttl_seconds: float) -> float:
    """How long a live machine's Node may go without a fresh lastSeen, whoever looks after it."""
    return Timing.of(max(seen.peer_ttl_seconds, ttl_seconds)).takeover(LAST_RANK + 1) + 1.0


def taken(name: str, id_: str, where: str) -> NameTaken:
    """The error for an explicit name that is held."""
    return NameTaken(
        f'node name "{name}" is held by another live machine (id {id_[:8] or "unknown"}) {where}; '
        "choose another --node-name, or stop that one first"
    )


def second_name(name: str, own_id: str) -> str:
    """What a machine goes by when its host name is taken."""
    return f"{name}-{own_id[:SUFFIX_DIGITS]}"


def gives_way(own: tuple[float, str], other: tuple[float, str]) -> bool:
    """Whether this machine, of two live ones on separate stores, gives up the name: the longer up (seconds, id) keeps it.

    Both come to the same answer; where the uptimes are too near to each other, by the ids.
    """
    apart = other[0] - own[0]
    return other[1] < own[1] if abs(apart) <= UPTIME_DOUBT_SECONDS else apart > 0
