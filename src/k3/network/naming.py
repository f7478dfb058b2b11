"""Whose name is it? Before an agent announces itself, and whenever somebody else turns up under its name.

A name's holder is live if its recorded or announced endpoint answers now with its own id, or if the store goes on showing
signs of its life: whoever answers at the same address here may be another machine, and nobody at all proves nothing of a
machine on another network. Nobody silently replaces anybody: a live holder keeps the name, a dead one gives it up. Asks by
probe; writes nothing.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from k3.core.errors import NameTaken
from k3.core.node import NodeView
from k3.network.messages import Announcement, Answered, Endpoint, Target
from k3.network.probe import probe
from k3.network.ranks import LAST_RANK, Timing

SUFFIX_DIGITS = 6
PROBE_SECONDS = 2.0
UPTIME_DOUBT_SECONDS = 2.0
LOOK_SECONDS = 0.25
ADVICE = "rename one of the two machines, or give one of them --node-name"


@dataclass(frozen=True, slots=True)
class Claim:
    """The name to go by. `displaces`: the id of its dead former holder. `conflict_with`: the name it would have had."""

    name: str
    displaces: str = ""
    conflict_with: str = ""
    held_at: str = ""
    """Where the other machine is that has the name."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody else with the name. `shown`: as the store shows it, where its own agent may go on writing, or others see it."""

    id: str
    target: Target | None
    shown: NodeView | None = None

    @property
    def is_said_to_live(self) -> bool:
        """Whether the store says so although it may not be within our reach: an address is not a place."""
        seen = self.shown
        return seen is not None and seen.is_ready and seen.is_reachable and (bool(seen.agent) or self.target is None)


def recorded_holder(stored: NodeView | None, our_id: str, reachable: Iterable[str]) -> Holder | None:
    """The other machine that the store's Node stands for, if any. `reachable`: its addresses on our links."""
    if stored is None or stored.owner != "network" or stored.id in {"", our_id}:
        return None
    ends = tuple(Endpoint(address, stored.port) for address in reachable) if stored.port else ()
    return Holder(stored.id, Target(stored.name, (ends,), stored.id) if ends else None, stored)


def announced_holder(heard: Announcement) -> Holder:
    """The machine behind an announcement."""
    ends = tuple(Endpoint(address, heard.port) for address in heard.addresses)
    return Holder(heard.id, Target(heard.node, (ends,), heard.id) if ends else None)


async def settle(
    name: str,
    our_id: str,
    holders: Sequence[Holder],
    *,
    explicit: bool,
    goes_on: Callable[[NodeView], Awaitable[bool]],
) -> Claim:
    """The name to use, given who else has it. Raises NameTaken where a person chose it and a live machine holds it.

    `goes_on` watches whether the store shows signs of life of a machine that could not be asked. It may take a while, and is
    asked last.
    """
    displaces = ""
    silent: list[NodeView] = []
    for holder in holders:
        if where := await _answers_at(holder):
            return _held(name, our_id, holder.id, where, explicit=explicit)
        displaces = holder.id
        if holder.is_said_to_live and holder.shown is not None:
            silent.append(holder.shown)
    for seen in silent:
        if await goes_on(seen):
            place = f" ({seen.addresses[0]})" if seen.addresses else ""
            return _held(name, our_id, seen.id, f"on another network{place}", explicit=explicit)
    return Claim(name, displaces)


def _held(name: str, our_id: str, holder: str, where: str, *, explicit: bool) -> Claim:
    if explicit:
        raise taken(name, holder, where)
    return Claim(second_name(name, our_id), conflict_with=name, held_at=where)


async def _answers_at(holder: Holder) -> str:
    """Where the holder answers; empty: it does not."""
    if holder.target is None:
        return ""
    outcome = await probe(holder.target, timeout_seconds=PROBE_SECONDS)
    return f"at {outcome.endpoint.address} port {outcome.endpoint.port}" if isinstance(outcome, Answered) else ""


def patience_seconds(seen: NodeView, ttl_seconds: float) -> float:
    """How long a live machine's Node may go without a fresh lastSeen, whoever looks after it."""
    return Timing.of(max(seen.peer_ttl_seconds, ttl_seconds)).takeover(LAST_RANK + 1) + 1.0


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
