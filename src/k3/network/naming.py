"""Whose name is it? Before an agent announces itself, and whenever somebody else turns up under its name.

A name's holder is live if its recorded or announced endpoint answers now with its own id. Nobody silently replaces
anybody: a live holder keeps the name, a dead one gives it up. Asks by probe; writes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from k3.core.errors import NameTaken
from k3.core.node import NodeView
from k3.network.messages import Announcement, Answered, Endpoint, Target
from k3.network.probe import probe

SUFFIX_DIGITS = 6
PROBE_SECONDS = 2.0
UPTIME_DOUBT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """The name to go by. `displaces`: the id of its dead former holder. `conflict_with`: the name it would have had."""

    name: str
    displaces: str = ""
    conflict_with: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody else with the name. Without an endpoint on our links it cannot be asked, and counts as live while Ready."""

    id: str
    target: Target | None
    assumed_live: bool = False


def recorded_holder(stored: NodeView | None, our_id: str, reachable: Iterable[str]) -> Holder | None:
    """The other machine that the store's Node stands for, if any. `reachable`: its addresses on our links."""
    if stored is None or stored.owner != "network" or stored.id in {"", our_id}:
        return None
    ends = tuple(Endpoint(address, stored.port) for address in reachable) if stored.port else ()
    if not ends:
        return Holder(stored.id, None, assumed_live=stored.is_ready)
    return Holder(stored.id, Target(stored.name, (ends,), stored.id))


def announced_holder(heard: Announcement) -> Holder:
    """The machine behind an announcement."""
    ends = tuple(Endpoint(address, heard.port) for address in heard.addresses)
    return Holder(heard.id, Target(heard.node, (ends,), heard.id) if ends else None)


async def settle(name: str, our_id: str, holders: Iterable[Holder], *, explicit: bool) -> Claim:
    """The name to use, given who else has it. Raises NameTaken where a person chose it and a live machine holds it."""
    displaces = ""
    for holder in holders:
        if (where := await _live_at(holder)) is None:
            displaces = holder.id
            continue
        if explicit:
            raise taken(name, holder.id, where)
        return Claim(second_name(name, our_id), conflict_with=name)
    return Claim(name, displaces)


async def _live_at(holder: Holder) -> str | None:
    """Where the holder is live; None: it is not."""
    if holder.target is None:
        return "on another network" if holder.assumed_live else None
    outcome = await probe(holder.target, timeout_seconds=PROBE_SECONDS)
    return f"at {outcome.endpoint.address} port {outcome.endpoint.port}" if isinstance(outcome, Answered) else None


def taken(name: str, id_: str, where: str) -> NameTaken:
    """The error for an explicit name that is held."""
    return NameTaken(
        f'node name "{name}" is held by another live machine (id {id_[:8] or "unknown"}) {where}; '
        "choose another --node-name, or stop that one first"
    )


def second_name(name: str, our_id: str) -> str:
    """What a machine goes by when its host name is taken."""
    return f"{name}-{our_id[:SUFFIX_DIGITS]}"


def gives_way(ours: tuple[float, str], theirs: tuple[float, str]) -> bool:
    """Whether we, of two live machines on separate stores, give up the name: the longer up (seconds, id) keeps it."""
    apart = theirs[0] - ours[0]
    return theirs[1] < ours[1] if abs(apart) <= UPTIME_DOUBT_SECONDS else apart > 0
