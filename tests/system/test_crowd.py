"""A new agent in a network with many machines."""

import time
from pathlib import Path

import pytest

from tests.lab import Lan, until
from tests.network import machines
from tests.system.agents import Agent, record

pytestmark = [pytest.mark.netns, pytest.mark.slow]

MACHINES = 350
"""The allowance is enough for 256. The kernel has room for 1,024 neighbours, of all hosts of all tests together."""
FEW = 100


def test_the_last_of_many_machines_are_listed_as_fast_as_the_first(tmp_path: Path) -> None:
    """What is announced is looked at within an allowance, since it may be invented; machines that answer cost nothing of it."""
    with Lan("10.77.0.0/16") as lan:
        for number in range(2):
            machines.start(lan, lan.host(f"many-{number}"), first=number * MACHINES // 2, count=MACHINES // 2)
        agent = Agent(lan, lan.host("late"), tmp_path / "late", ttl="90s")
        try:
            agent.watch()
            began = time.monotonic()
            agent.start()
            few = seconds_until_ready(agent, FEW, began)
            took = seconds_until_ready(agent, MACHINES, began)
        finally:
            agent.close()
    record("crowd.350.listed", took, beside={"the first 100": few})
    assert took < 3 * few


def seconds_until_ready(agent: Agent, count: int, since: float) -> float:
    """How long it took until this agent's machine and so many others were listed as Ready."""
    ready = agent.watcher.ready
    until(lambda: len(ready()) > count, guard_seconds=60, every_seconds=0.05, what=lambda: f"{len(ready())} are Ready")
    return time.monotonic() - since
