"""What an agent costs on a shared store does not grow with the number of agents: counted with 8 and with 24 of them.

The time to live is 12 s, so that a quarter of a minute holds enough writes and probes to count.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from k3.core.objects import NODE
from tests.lab import Lan, until
from tests.system.agents import Agent, is_ready, record

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(400)]

TTL_SECONDS = 12.0
WINDOW_SECONDS = 16.0
"""Four times as long as a Node's lastSeen may rest unwritten."""


@dataclass(frozen=True)
class Cost:
    """Per machine, while nothing happens."""

    writes_per_minute: float
    probes_per_second: float
    cpu_share: float


def test_writes_and_probes_per_machine_do_not_grow(lan: Lan, tmp_path: Path) -> None:
    agents: list[Agent] = []
    few = measure(grow(lan, tmp_path, agents, 8))
    many = measure(grow(lan, tmp_path, agents, 24))
    for cost, count in ((few, 8), (many, 24)):
        beside = {"ttl": TTL_SECONDS, "writes_per_minute": cost.writes_per_minute, "cpu_share": cost.cpu_share}
        record(f"cost.N={count}.seconds_between_probes", 1 / cost.probes_per_second, beside=beside)
    # Were every agent to look after every other, both would be three times as many.
    assert few.writes_per_minute > 0
    assert many.writes_per_minute < 1.5 * few.writes_per_minute
    assert many.probes_per_second < 1.5 * few.probes_per_second
    # And they are what the periods say, a third and a sixth of the time to live, but for a few retries of a busy machine.
    assert many.writes_per_minute < 1.5 * 60 / (TTL_SECONDS / 3)
    assert many.probes_per_second < 1.5 / (TTL_SECONDS / 6)


def grow(lan: Lan, directory: Path, agents: list[Agent], count: int) -> list[Agent]:
    """Start more agents, a few at a time, until there are so many and all are Ready and have been seen by another."""
    while len(agents) < count:
        batch = []
        for number in range(len(agents), min(count, len(agents) + 5)):
            host = lan.host(f"m{number}")
            store = f"sqlite://{directory}/shared/k3.db"
            batch.append(Agent(lan, host, directory / host.name, store=store, ttl=f"{TTL_SECONDS:g}s"))
            batch[-1].start()
        agents += batch
        for agent in batch:
            agent.process.wait_for("This machine is on the list", guard_seconds=120)
    until(lambda: is_quiet(agents), guard_seconds=120, every_seconds=1.0, what=f"all {count} are Ready, each seen by another")
    return agents


def is_quiet(agents: list[Agent]) -> bool:
    nodes = agents[0].nodes()
    return len(nodes) == len(agents) and all(is_ready(each) and each.view.seen_by != each.name for each in nodes.values())


def measure(agents: list[Agent]) -> Cost:
    """Count over one window."""
    began, before = time.monotonic(), counters(agents)
    until(lambda: time.monotonic() - began >= WINDOW_SECONDS, guard_seconds=60, every_seconds=0.25)
    after, took = counters(agents), time.monotonic() - began
    writes, probes, cpu = ((late - early) / took / len(agents) for early, late in zip(before, after, strict=True))
    return Cost(60 * writes, probes, cpu)


def counters(agents: list[Agent]) -> tuple[float, float, float]:
    """Writes to the store ever made, TCP connections ever opened by all machines, processor seconds used by all agents."""
    return (
        float(agents[0].in_store(lambda store: store.list(NODE, limit=1)).revision),
        float(sum(connections_opened(agent) for agent in agents)),
        sum(agent.process.cpu_seconds() for agent in agents),
    )


def connections_opened(agent: Agent) -> int:
    """The kernel's count for the machine's own network: an agent opens connections only to probe."""
    lines = Path(f"/proc/{agent.process.pid}/net/snmp").read_text(encoding="utf-8").splitlines()
    titles, numbers = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(numbers[titles.index("ActiveOpens")])
