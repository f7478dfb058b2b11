"""What a reader does where a Node's `lastSeen` disagrees with its own clock: it asks the machines themselves.

A machine that answers `/info` under its recorded name and id is alive, and the run that answers vouches for every Node that
it was the last to see (`core.freshness`). Asked are at most `MACHINES` machines, all at once, for at most `ASK_SECONDS`; in a
list whose stamps agree with the clock no machine is asked.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from k3.core import freshness
from k3.core.node import NodeView
from k3.network.messages import Answered, Endpoint, Target
from k3.view.node_table import human_duration

ASK_SECONDS: Final = 1.0
MACHINES: Final = 16
_MINUTES_FROM_SECONDS: Final = 120


async def ask(nodes: Sequence[NodeView], now: datetime) -> Mapping[str, str]:
    """The boot ids of the agents that answered, by the names of their Nodes. Never raises for what a machine does."""
    wanted = _worth_asking(nodes, now)
    if not wanted:
        return freshness.NOBODY
    from k3.network.probe import probe  # noqa: PLC0415 - its parser of HTTP is loaded only where a machine is asked

    async with asyncio.TaskGroup() as tasks:
        asked = {seen.name: tasks.create_task(probe(_target(seen), timeout_seconds=ASK_SECONDS)) for seen in wanted}
    outcomes = {name: task.result() for name, task in asked.items()}
    return {name: outcome.facts.boot for name, outcome in outcomes.items() if isinstance(outcome, Answered)}


def _worth_asking(nodes: Sequence[NodeView], now: datetime) -> list[NodeView]:
    """Those who vouch for most of the doubtful Nodes first, then the machines of these Nodes themselves."""
    doubtful = freshness.doubtful(nodes, now)
    by_name = {seen.name: seen for seen in nodes}
    observers = [name for name, _ in Counter(seen.seen_by for seen in doubtful).most_common() if name in by_name]
    names = dict.fromkeys([*observers[: MACHINES // 2], *(seen.name for seen in doubtful), *observers])
    return [by_name[name] for name in names if by_name[name].port and by_name[name].addresses][:MACHINES]


def _target(seen: NodeView) -> Target:
    return Target(seen.name, (tuple(Endpoint(address, seen.port) for address in seen.addresses[:4]),), seen.id)


def clock_remarks(nodes: Sequence[NodeView], now: datetime, observed: frozenset[str]) -> list[str]:
    """One line for each clock that is wrong, or one for the reader's own."""
    clocks = freshness.wrong_clocks(nodes, now, observed)
    if freshness.is_readers(clocks, nodes, now):
        off = min((clock.ahead_seconds for clock in clocks), key=abs)
        return [f"this machine's clock is {_off(-off)} everybody else's: set it, best by NTP"]
    return [
        f"the clock of {clock.name} is {_off(clock.ahead_seconds)} this machine's: set the wrong one, best by NTP"
        for clock in clocks
    ]


def _off(ahead_seconds: float) -> str:
    """A stamp may be as old as a refresh, so this is only about right: in seconds, from two minutes on in minutes."""
    unit = 1 if abs(ahead_seconds) < _MINUTES_FROM_SECONDS else 60
    span = timedelta(seconds=round(abs(ahead_seconds) / unit) * unit)
    return f"about {human_duration(span)} {'ahead of' if ahead_seconds > 0 else 'behind'}"
