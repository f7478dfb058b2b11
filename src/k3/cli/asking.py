"""What a reader does where a Node's `lastSeen` disagrees with its own clock: it asks the machines themselves.

A machine that answers `/info` under its recorded name and id is alive, and the run that answers vouches for every Node that
it was the last to see (`core.freshness`). At most `MACHINES` machines are asked, all at once, for at most `ASK_SECONDS`; in a
list whose stamps agree with the clock, none is (ADR 33).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from k3.core import freshness, times
from k3.core.node import NodeView
from k3.core.records import dataclass
from k3.doctor.silence import way_of_silence
from k3.network.messages import READER, SILENT, Answered, Endpoint, Impostor, LocalFault, NoAnswer, Outcome, Refused, Target
from k3.view.cells import clock_offset, human_duration
from k3.view.findings import Asked

ASK_SECONDS: Final = 2.0
MACHINES: Final = 16
_UNREACHABLE: Final = ("EHOSTUNREACH", "EHOSTDOWN", "ETIMEDOUT")
"""Errors of the kernel that say no more than silence does."""


class Probe(Protocol):
    """`k3.network.probe.probe`, which is loaded late."""

    async def __call__(self, target: Target, *, timeout_seconds: float) -> Outcome:
        """Asks one machine; see there."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """What machines have just said, by the names of their Nodes."""

    boots: Mapping[str, str] = field(default_factory=dict)
    """The boot ids of the agents that answered."""
    ahead_seconds: Mapping[str, float] = field(default_factory=dict)
    """How far their clocks are ahead of the reader's, in seconds; older versions do not say."""


async def ask(nodes: Sequence[NodeView], now: datetime) -> Answers:
    """Asks the machines that are worth asking. Raises for nothing that a machine does."""
    wanted = _worth_asking(nodes, now)
    if not wanted:
        return Answers()
    from k3.network.probe import probe  # noqa: PLC0415 - its parser of HTTP is loaded only where a machine is asked

    async with asyncio.TaskGroup() as tasks:
        asked = {seen.name: tasks.create_task(_ask(seen, probe)) for seen in wanted}
    answers = {name: found for name, task in asked.items() if (found := task.result()) is not None}
    return Answers(
        {name: boot for name, (boot, _) in answers.items()},
        {name: ahead for name, (_, ahead) in answers.items() if ahead is not None},
    )


async def _ask(seen: NodeView, probe: Probe) -> tuple[str, float | None] | None:
    """Returns the boot id that answers and how far its clock is ahead (s); None: the machine has not answered as itself."""
    outcome = await probe(_target(seen), timeout_seconds=ASK_SECONDS)
    if not isinstance(outcome, Answered):
        return None
    ahead = (outcome.time - datetime.now(UTC)).total_seconds() if outcome.time else None
    return outcome.facts.boot, ahead


async def ask_one(seen: NodeView, now: datetime) -> Asked | None:
    """Asks one machine, whatever its Node says; None: nothing is known of where it is. Raises for nothing that it does."""
    if not (seen.port and seen.addresses):
        return None
    from k3.network.probe import probe  # noqa: PLC0415 - see `ask`

    found = await probe(_target(seen), timeout_seconds=ASK_SECONDS)
    if isinstance(found, NoAnswer) and (found.why == SILENT or found.why in _UNREACHABLE):
        last = times.parse_timestamp(seen.last_seen)
        silent_seconds = abs((now - last).total_seconds()) if last else None
        return Asked(await way_of_silence(seen.addresses[0], seen.port, silent_seconds=silent_seconds))
    return _asked(found, seen.name)


def _asked(found: Outcome, name: str) -> Asked:
    match found:
        case Answered():
            return Asked("answered")
        case Impostor(node):
            return Asked("another", f"another {node}" if node == name else node)
        case Refused():
            return Asked("refused")
        case NoAnswer(why):
            return Asked("odd", why)
        case LocalFault(why):
            return Asked("unable", why)


def _worth_asking(nodes: Sequence[NodeView], now: datetime) -> list[NodeView]:
    """Returns the agents that vouch for most of the doubtful Nodes first, then the machines of these Nodes themselves."""
    doubtful = freshness.doubtful(nodes, now)
    by_name = {seen.name: seen for seen in nodes}
    observers = [name for name, _ in Counter(seen.seen_by for seen in doubtful).most_common() if name in by_name]
    names = dict.fromkeys([*observers[: MACHINES // 2], *(seen.name for seen in doubtful), *observers])
    return [by_name[name] for name in names if by_name[name].port and by_name[name].addresses][:MACHINES]


def _target(seen: NodeView) -> Target:
    ends = tuple(Endpoint(address, seen.port) for address in seen.addresses[:4])
    return Target(seen.name, (ends,), seen.id, READER)


def clock_remarks(
    nodes: Sequence[NodeView], now: datetime, observed: frozenset[str], ahead_seconds: Mapping[str, float]
) -> list[str]:
    """Returns a line for each wrong clock, or one for the reader's own, or one that no agent writes (no clock's fault)."""
    clocks = freshness.wrong_clocks(nodes, now, observed, ahead_seconds)
    if observed and (silent := freshness.unwritten_seconds(nodes, now, clocks)):
        span = human_duration(timedelta(seconds=round(silent)))
        return [f"no Node was refreshed for {span}: does k3 still run, and may it write to this store?"]
    if freshness.is_readers(clocks, nodes, now):
        off = min((clock.ahead_seconds for clock in clocks), key=abs)
        return [f"this machine's clock is {clock_offset(-off)} everybody else's: set it, best by NTP"]
    return [
        f"the clock of {clock.name} is {clock_offset(clock.ahead_seconds)} this machine's: set the wrong one, best by NTP"
        for clock in clocks
    ]
