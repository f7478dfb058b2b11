"""Fifty agents of `k3 discovery` on one store: one mirror works, and what it costs does not grow with the number of agents.

Consul logs each request it has answered, and every host has an address of its own, so who asked what is counted exactly.
What each agent asks for itself, whether it is still registered, is counted apart.
"""

import math
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from k3.core.objects import EVENT
from tests.discovery.conftest import MakeFleet
from tests.discovery.fleet import CRITICAL, PASSING, Fleet
from tests.lab import until
from tests.system.agents import record

pytestmark = [pytest.mark.netns, pytest.mark.servers("consul"), pytest.mark.slow, pytest.mark.timeout(400)]

FLIPS = 10
LOOK_SECONDS = 15
"""How often an agent looks whether it is still registered."""
LEASE_SECONDS = 15
RENEW_SECONDS = 5
USUAL = ("--health-check-interval", "10s", "--health-check-timeout", "3s")
"""Consul asks fifty agents as often as people let it."""


@dataclass(frozen=True)
class Cost:
    """Of a number of changes in Consul, by a fleet of so many machines."""

    machines: int
    seconds: float
    mirror_reads: int
    readers: frozenset[str]
    """Addresses of who reads more than its own registration."""
    own_reads: int
    most_own_reads: int
    """By one machine."""
    node_writes: int
    writes: int
    """To the store, of whatever kind."""


def test_cost_does_not_grow_and_a_killed_leader_is_followed(fleet: MakeFleet) -> None:
    machines = fleet(config={"log_level": "DEBUG"})
    began = time.monotonic()
    machines.start(*(f"m{number}" for number in range(5)), flags=USUAL)
    machines.registry.register("box")
    machines.shows("box", PASSING)
    few = measure(machines, seconds=RENEW_SECONDS + 1)
    machines.start(*(f"m{number}" for number in range(5, 50)), flags=USUAL)
    record("discovery.fifty.to_ready", time.monotonic() - began)
    many = measure(machines, seconds=LOOK_SECONDS + 1)
    for cost in (few, many):
        record(f"discovery.N={cost.machines}.window", cost.seconds, beside={**vars_of(cost), "flips": FLIPS})
        check(machines, cost)
    assert many.mirror_reads <= 1.5 * few.mirror_reads, (few, many)
    assert many.own_reads >= many.machines, "each looks after its own registration, and that is all it asks"
    check_failover(machines)


def measure(machines: Fleet, *, seconds: float) -> Cost:
    """Let a machine flip so many times, each seen in the store, and count what that took in at least so many seconds."""
    lines, writes, at, began = (
        len(machines.registry.server.process.lines),
        machines.revision(),
        datetime.now(UTC),
        time.monotonic(),
    )
    for number in range(FLIPS):
        status, ready = ("passing", PASSING) if number % 2 else ("critical", CRITICAL)
        machines.shows("box", ready, since=machines.registry.tell("box", status))
    until(lambda: time.monotonic() - began >= seconds, guard_seconds=120, every_seconds=0.1)
    took, asked = time.monotonic() - began, machines.registry.requests(skip=lines)
    hub = machines.registry.server.address
    own = Counter(address for _, path, address in asked if is_own(path) and address != hub)
    mirror = [address for method, path, address in asked if method == "GET" and address != hub and not is_own(path)]
    return Cost(
        len(machines.members),
        took,
        len(mirror),
        frozenset(mirror),
        own.total(),
        max(own.values(), default=0),
        sum(sight.at >= at for sight in machines.watcher.sights),
        machines.revision() - writes,
    )


def wait_quiet(machines: Fleet) -> None:
    """Until every newcomer's Event is written, which comes after its Node, and nothing more is but the Lease."""

    def is_quiet() -> bool:
        before, began = machines.revision(), time.monotonic()
        until(lambda: time.monotonic() - began >= 1, guard_seconds=10, every_seconds=0.1)
        return machines.revision() - before <= 1

    until(lambda: told_of(machines) >= {*machines.members}, guard_seconds=60, every_seconds=0.2, what="an Event for each")
    until(is_quiet, guard_seconds=60, what="nothing is written")


def told_of(machines: Fleet) -> set[str]:
    """The machines that Events are about."""
    events = machines.in_store(lambda store: store.list(EVENT)).objects
    return {str(each.manifest()["involvedObject"]["name"]) for each in events}


def is_own(path: str) -> bool:
    return path.startswith("/v1/agent/service/")


def vars_of(cost: Cost) -> dict[str, float]:
    return {name: getattr(cost, name) for name in ("mirror_reads", "own_reads", "node_writes", "writes")}


def check(machines: Fleet, cost: Cost) -> None:
    """One mirror works, and nobody does more than is due to it."""
    leader = machines.leaders()
    assert leader == [machines.lease_holder()]
    assert cost.readers == {machines[leader[0]].address}, "only the leader reads of others"
    assert cost.node_writes == FLIPS, "one write for each change, and none for anything else"
    renewals = math.ceil(cost.seconds / RENEW_SECONDS)
    # A renewal that a busy machine answers late is made again; one write by each of fifty would be far more.
    assert cost.writes <= 2 * FLIPS + 3 * renewals, f"a Node and an Event for each, and the Lease: {cost}"
    assert cost.mirror_reads <= 2 * FLIPS + 2, cost
    assert cost.most_own_reads <= math.ceil(cost.seconds / LOOK_SECONDS), cost


def check_failover(machines: Fleet) -> None:
    leader = machines.leaders()[0]
    others = [name for name in machines.members if name != leader]
    killed = machines[leader].kill()
    machines.registry.register("late")
    seen = machines.shows("late", PASSING, guard_seconds=5 * LEASE_SECONDS)
    record("discovery.leader_of_fifty_killed.to_shown", (seen.at - killed).total_seconds(), beside={"lease": LEASE_SECONDS})
    assert machines.wait_led(others_than=[leader]) == machines.lease_holder()
    assert machines.downs(*others, since=killed) == []
