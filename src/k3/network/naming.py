"""Who is who: the rules of which machine goes by a name, and under which name an observer lists it. Pure.

What another machine *says* (an announcement, an answer, its uptime) is a claim, and anybody on the link can make it. What
proves that a machine holds a name is the Node in this machine's own store, written there by that machine's own agent with a
compare-and-swap (`NodeView.agent`). So a claim never ends, renames or displaces an agent that is on its list; it can only make
one choose another name before it has said anything. The Node alone can tell a running agent that another machine holds its
name (docs/adr/0044).

`WHO_KEEPS` is the whole of it for the machine itself, `listed_as` for every observer. The table in docs/network.md, "Who is
who", says the same in words; a test holds the two together. `name_claim` finds out which claim there is, `namesakes` lists.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, unique
from typing import Final

from k3.core import limits
from k3.core.errors import NameTaken, RunEnded
from k3.core.node import NodeView
from k3.core.records import dataclass
from k3.core.sources import NETWORK
from k3.network.messages import READER, Announcement, Answered, Endpoint, Target
from k3.network.ranks import LAST_RANK, Timing

SUFFIX_DIGITS: Final = 6
SECOND_NAMES: Final = 2
"""So many are tried: `web-1a2b3c`, then `web-1a2b3c-1a2b3c`."""
ADVICE: Final = "rename one of the two machines, or give one of them --node-name"


@unique
class Moment(Enum):
    """How far an agent has come under its name."""

    START = "start"
    """It has said nothing yet."""
    ANNOUNCED = "announced"
    """Others may know it, and it is not on its own list."""
    JOINED = "joined"
    """It is, or was in this process, on its own list."""


@unique
class Claim(Enum):
    """What speaks for another machine under the name. The strongest counts."""

    NONE = "none"
    """Nothing does: it is silent, and the store shows no sign of its life. Or the Node is this machine's own."""
    ANSWERS = "answers"
    """It answers under the name, and its own agent has not written this store's Node: separate stores, or a liar."""
    HOLDS = "holds"
    """Its own agent has written this store's Node, and it lives: one store."""


@unique
class Act(Enum):
    """What the agent does about it."""

    KEEP = "keeps the name"
    SECOND = "goes by the second name"
    END = "exits with code 5"
    END_ONCE = "exits with code 5, once"
    """The next start under that name keeps it: a claim that cannot be checked must not stop a machine for ever."""


@dataclass(frozen=True, slots=True)
class Acts:
    """For a name that is the host's by default, and for one that a person chose."""

    host: Act
    chosen: Act


WHO_KEEPS: Final[Mapping[Moment, Mapping[Claim, Acts]]] = {
    Moment.START: {
        Claim.NONE: Acts(Act.KEEP, Act.KEEP),
        Claim.ANSWERS: Acts(Act.SECOND, Act.END_ONCE),
        Claim.HOLDS: Acts(Act.SECOND, Act.END),
    },
    Moment.ANNOUNCED: {
        Claim.NONE: Acts(Act.KEEP, Act.KEEP),
        Claim.ANSWERS: Acts(Act.KEEP, Act.KEEP),
        Claim.HOLDS: Acts(Act.SECOND, Act.END),
    },
    Moment.JOINED: {
        Claim.NONE: Acts(Act.KEEP, Act.KEEP),
        Claim.ANSWERS: Acts(Act.KEEP, Act.KEEP),
        Claim.HOLDS: Acts(Act.SECOND, Act.SECOND),
    },
}


# What an observer lists


def second_name(name: str, id_: str) -> str:
    """The name of a machine whose own name another one has: `<name>-<6 hex of its id>`, a long name being cut to fit."""
    suffix = f"-{id_[:SUFFIX_DIGITS]}"
    return name[: limits.ANNOUNCED_NAME_BYTES - len(suffix)].rstrip("-.") + suffix


def listed_as(said: str, id_: str, *, holder: Callable[[str], str]) -> str:
    """Under which name a proven machine is listed that calls itself `said`. `holder`: the id listed under a name; empty: none.

    Who was first keeps the name on that list. A machine without an id cannot be told from another one of its name. Where a
    stranger has taken the second name as well, the second name of that is free.
    """
    name = said
    for _ in range(SECOND_NAMES):
        if not id_ or holder(name) in {"", id_}:
            break
        name = second_name(name, id_)
    return name


def is_second_name(listed: str, said: str, id_: str) -> bool:
    """Whether a machine that calls itself `said` may be the one that is listed under this second name."""
    second = second_name(said, id_)
    return bool(id_) and listed in {second, second_name(second, id_)}


def holder_of(seen: NodeView | None) -> str:
    """The id that a Node stands for; empty: it is no Node of network's, or was never proven."""
    return seen.id if seen is not None and seen.owner == NETWORK.name and not seen.is_unproven else ""


# Who claims the name


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
    """The name to go by. `displaces`: the id of its former holder. `conflict_with`: the name it would have had."""

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
    def claim(self) -> Claim:
        """What it has to say for itself if it lives."""
        return claim_of(self.shown, self.id)

    @property
    def is_said_to_live(self) -> bool:
        """Whether the store says so although the machine may not be within reach from here: an address is not a place."""
        seen = self.shown
        return seen is not None and seen.is_ready and seen.is_reachable and (bool(seen.agent) or self.target is None)


def claim_of(seen: NodeView | None, id_: str) -> Claim:
    """What this machine's own store says for a live machine of this id."""
    return Claim.HOLDS if seen is not None and seen.id == id_ and seen.agent else Claim.ANSWERS


def recorded_holder(stored: NodeView | None, own_id: str, reachable: Iterable[str]) -> Holder | None:
    """The other machine that the store's Node stands for, if any. `reachable`: its addresses on this machine's links."""
    if stored is None or stored.owner != NETWORK.name or stored.id in {"", own_id}:
        return None
    ends = tuple(Endpoint(address, stored.port) for address in reachable) if stored.port else ()
    return Holder(stored.id, Target(stored.name, (ends,), stored.id, READER) if ends else None, stored)


def announced_holders(heard: Iterable[Announcement], name: str, own_id: str) -> list[Holder]:
    """The other machines that announce the name and can be asked. One without an id cannot be told from this machine."""
    holders = []
    for each in heard:
        if each.node == name and each.id not in {"", own_id} and each.addresses:
            ends = tuple(Endpoint(address, each.port) for address in each.addresses)
            holders.append(Holder(each.id, Target(each.node, (ends,), each.id, READER)))
    return holders


def is_the_same_run(first: Answered, second: Answered, *, apart_seconds: float) -> bool:
    """Whether two answers come from one agent that runs: its uptime has run too. A canned answer is always the same.

    The program of the specification says no uptime.
    """
    ran = second.uptime_seconds - first.uptime_seconds
    return first.uptime_seconds == second.uptime_seconds == 0.0 or ran >= apart_seconds / 2


def patience_seconds(seen: NodeView, ttl_seconds: float) -> float:
    """How long a live machine's Node may go without a fresh lastSeen, whoever looks after it."""
    return Timing.of(max(seen.peer_ttl_seconds, ttl_seconds)).takeover(LAST_RANK + 1) + 1.0


def taken(name: str, id_: str, where: str, *, is_final: bool) -> NameTaken:
    """The error for a chosen name that is held. `is_final`: the store proves it, and another start changes nothing."""
    way_out = "" if is_final else "; or start k3 again, to use the name beside it"
    return NameTaken(
        f'node name "{name}" is held by another live machine (id {id_[:8] or "unknown"}) {where}; '
        f"choose another --node-name, or stop that one first{way_out}"
    )
