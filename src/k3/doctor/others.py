"""The other machines that are known here: announced by mDNS, or in the store; and how it goes when they are asked."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from k3.core.node import NodeView
from k3.core.records import dataclass
from k3.core.sources import NETWORK
from k3.core.times import parse_timestamp
from k3.doctor.machine import Machine
from k3.doctor.silence import way_of_silence
from k3.network.hearing import Heard
from k3.network.messages import READER, Answered, Endpoint, NoAnswer, Outcome, Target
from k3.network.probe import probe
from k3.view.findings import Way

ASK_SECONDS: Final = 1.2
MACHINES: Final = 32
"""So many are asked, all at once. In a fleet that is enough to tell what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another machine, where it is said to be, and what came of asking it (None: it was not asked)."""

    name: str
    id: str
    addresses: tuple[str, ...]
    port: int
    interface: str = ""
    """On which its multicast was heard; empty: it was not heard."""
    answers_broadcast: str = ""
    """The interface on which it answered a broadcast; empty: it did not."""
    node: NodeView | None = None
    """As the store shows it."""
    outcome: Outcome | None = None
    way: Way | None = None
    """How it is silent, where it gave no answer."""
    ahead_seconds: float | None = None
    """How far its clock is ahead of this process's; None: it has not said."""

    @property
    def where(self) -> str:
        """Its first address."""
        return self.addresses[0]

    @property
    def is_announced(self) -> bool:
        """Whether it speaks at this moment."""
        return bool(self.interface or self.answers_broadcast)

    @property
    def is_away(self) -> bool:
        """Whether only the store knows it, and does not call it Ready."""
        return not self.is_announced and self.node is not None and not self.node.is_ready

    @property
    def silent_seconds(self) -> float | None:
        """For how long it has not been known alive; None: it speaks now, or never was."""
        last = parse_timestamp(self.node.last_seen) if self.node and not self.is_announced else None
        return abs((datetime.now(UTC) - last).total_seconds()) if last else None

    @property
    def answered(self) -> Answered | None:
        """Its answer, if it was one."""
        return self.outcome if isinstance(self.outcome, Answered) else None


def known(heard: Iterable[Heard], nodes: Iterable[NodeView], machine: Machine, name: str) -> list[Other]:
    """Returns the other machines: those that are heard first, then those that only the store knows and that may be asked."""
    found: dict[tuple[str, str, str], Other] = {}
    for each in heard:
        for said in each.machines:
            key = (said.node, said.id, said.addresses[0])
            found[key] = Other(name=said.node, id=said.id, addresses=said.addresses, port=said.port, interface=each.interface)
        for said in each.answers:
            key = (said.node, said.id, said.addresses[0])
            former = found.get(key) or Other(name=said.node, id=said.id, addresses=said.addresses, port=said.port)
            found[key] = replace(former, answers_broadcast=each.interface)
    by_id = {(each.name, each.id): key for key, each in found.items()}
    for seen in nodes:
        known_as = by_id.get((seen.name, seen.id))
        if known_as is not None:
            found[known_as] = replace(found[known_as], node=seen)
        elif other := _in_store(seen, machine):
            found[seen.name, seen.id, other.where] = other
    mine = {machine.identity.id, machine.identity.clone_of} - {""}
    # Who may be this machine's namesake or copy is asked in any case.
    ordered = sorted(found.values(), key=lambda each: (not (each.id in mine or each.name.startswith(name)), each.is_away))
    return ordered[:MACHINES]


def _in_store(seen: NodeView, machine: Machine) -> Other | None:
    """Returns a machine that only the store knows, unless it is this one, has left, or is on none of its links."""
    reachable = tuple(each for each in seen.addresses if machine.links.on_link(each) and each not in machine.addresses)
    has_left = seen.ready is None or seen.is_former
    if seen.owner != NETWORK.name or has_left or not seen.port or not reachable or seen.id == machine.identity.id:
        return None
    return Other(name=seen.name, id=seen.id, addresses=reachable, port=seen.port, node=seen)


def heard_by_now(others: Sequence[Other], heard: Iterable[Heard]) -> list[Other]:
    """Returns the machines with what was heard of them later.

    Any mDNS of a machine that answers will do: its multicast is not lost then. Of one that does not answer it is no word of
    k3's, but another program's.
    """
    heard = tuple(heard)
    announced = {place: each.interface for each in heard for one in each.machines for place in one.addresses}
    spoken = {sender: each.interface for each in heard for sender in each.senders} | announced
    found = []
    for other in others:
        by_address = spoken if other.answered else announced
        on = next((by_address[address] for address in other.addresses if address in by_address), "")
        found.append(replace(other, interface=other.interface or on))
    return found


async def ask(others: Sequence[Other], *, seconds: float = ASK_SECONDS) -> list[Other]:
    """Asks each who it is, all at once. Raises for nothing that a machine does."""
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(_ask(each, seconds)) for each in others]
    return [task.result() for task in asked]


async def _ask(other: Other, seconds: float) -> Other:
    ends = tuple(Endpoint(address, other.port) for address in other.addresses)
    async with asyncio.TaskGroup() as tasks:
        # Beside the question, since both take the whole time where nothing comes back.
        silent = way_of_silence(other.where, other.port, silent_seconds=other.silent_seconds, seconds=seconds)
        way = tasks.create_task(silent)
        outcome = await probe(Target(other.name, (ends,), other.id, READER), timeout_seconds=seconds)
        if not isinstance(outcome, NoAnswer):
            way.cancel()
    ahead = None
    if isinstance(outcome, Answered) and outcome.time:
        ahead = (outcome.time - datetime.now(UTC)).total_seconds()
    return replace(other, outcome=outcome, way=None if way.cancelled() else way.result(), ahead_seconds=ahead)
