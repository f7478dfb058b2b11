"""What a reader does where a Node's `lastSeen` disagrees with its own clock: it asks the machines themselves.

A machine that answers `/info` under its recorded name and id is alive, and the run that answers vouches for every Node that
it was the last to see (`core.freshness`). At most `MACHINES` machines are asked, all at once, for at most `ASK_SECONDS`; in a
list whose stamps agree with the clock, none is (ADR 33).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from k3.core import freshness
from k3.core.node import NodeView
from k3.network.messages import READER, Answered, Endpoint, Outcome, Target
from k3.view.cells import human_duration

ASK_SECONDS: Final = 2.0
MACHINES: Final = 16
_MINUTES_FROM_SECONDS: Final = 120


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
        return [f"this machine's clock is {_off(-off)} everybody else's: set it, best by NTP"]
    return [
        f"the clock of {clock.name} is {_off(clock.ahead_seconds)} this machine's: set the wrong one, best by NTP"
        for clock in clocks
    ]


def _off(ahead_seconds: float) -> str:
    """Returns a roughly right length of time, as a stamp may be as old as a refresh: in minutes from two of them on."""
    unit = 1 if abs(ahead_seconds) < _MINUTES_FROM_SECONDS else 60
    span = timedelta(seconds=round(abs(ahead_seconds) / unit) * unit)
    return f"about {human_duration(span)} {'ahead of' if ahead_seconds > 0 else 'behind'}"
