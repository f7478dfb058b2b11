"""The other machines that are known here: announced by mDNS, or in the store; and how it goes when they are asked."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from k3.core.node import NodeView
from k3.core.sources import NETWORK
from k3.doctor.machine import Machine
from k3.network.hearing import Heard
from k3.network.messages import READER, Answered, Endpoint, Outcome, Target
from k3.network.probe import probe

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
    ordered = sorted(found.values(), key=lambda each: not (each.id in mine or each.name.startswith(name)))
    return ordered[:MACHINES]


def _in_store(seen: NodeView, machine: Machine) -> Other | None:
    """Returns a machine that only the store knows, unless it is this one, is away, or is on none of its links."""
    reachable = tuple(each for each in seen.addresses if machine.links.on_link(each) and each not in machine.addresses)
    if seen.owner != NETWORK.name or not seen.is_ready or not seen.port or not reachable or seen.id == machine.identity.id:
        return None
    return Other(name=seen.name, id=seen.id, addresses=reachable, port=seen.port, node=seen)


def heard_by_now(others: Sequence[Other], heard: Iterable[Heard]) -> list[Other]:
    """Returns the machines with what was heard of them later, or of any mDNS of theirs: its multicast is not lost then."""
    said = [(each.interface, {*each.senders, *(place for one in each.machines for place in one.addresses)}) for each in heard]
    by_address = {address: interface for interface, addresses in said for address in addresses}
    found = []
    for other in others:
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
    outcome = await probe(Target(other.name, (ends,), other.id, READER), timeout_seconds=seconds)
    ahead = None
    if isinstance(outcome, Answered) and outcome.time:
        ahead = (outcome.time - datetime.now(UTC)).total_seconds()
    return replace(other, outcome=outcome, ahead_seconds=ahead)
