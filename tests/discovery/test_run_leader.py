"""`k3 discovery` on real hosts: one mirrors; killed, stopped or frozen, it is followed by another, and contradicts nobody."""

from datetime import UTC, datetime

import pytest

from tests.discovery.conftest import MakeFleet
from tests.discovery.fleet import CRITICAL, PASSING, STOPPED, Fleet
from tests.lab import until
from tests.system.agents import record

pytestmark = [pytest.mark.netns, pytest.mark.servers("consul"), pytest.mark.slow]

LEASE_SECONDS = 15
GUARD_SECONDS = 5.0 * LEASE_SECONDS


def test_killed_its_place_is_taken_within_the_lease(fleet: MakeFleet) -> None:
    machines = fleet("a", "b", "c")
    assert machines.leaders() == ["a"]
    killed = machines["a"].kill()
    machines.registry.register("box")
    seen = machines.shows("box", PASSING, guard_seconds=GUARD_SECONDS)
    record("discovery.leader_killed.to_shown", (seen.at - killed).total_seconds(), beside={"lease": LEASE_SECONDS})
    machines.shows("a", CRITICAL, since=killed)
    assert machines.wait_led() == machines.lease_holder()
    assert machines.downs("b", "c", since=killed) == []


def test_stopped_its_place_is_taken_at_once(fleet: MakeFleet) -> None:
    """Well before the lease would have run out."""
    machines = fleet("a", "b", "c")
    stopped = machines["a"].stop()
    machines.shows("a", STOPPED, since=stopped)
    assert machines["a"].said("lease.released")
    ended = datetime.now(UTC)
    machines.registry.register("box")
    seen = machines.shows("box", PASSING, guard_seconds=LEASE_SECONDS - 3)
    record("discovery.leader_stopped.to_shown", (seen.at - ended).total_seconds(), beside={"lease": LEASE_SECONDS})
    assert machines.wait_led() == machines.lease_holder()
    assert machines.downs("b", "c", since=stopped) == []


@pytest.mark.servers("etcd")
def test_frozen_for_longer_than_the_lease_it_writes_nothing_out_of_date(fleet: MakeFleet) -> None:
    """What it knew when it froze is wrong by the time it goes on. On etcd: a frozen process cannot hold a lock there."""
    machines = fleet("a", "b", "c", etcd=True)
    for name in ("ill", "left"):
        machines.registry.register(name)
        machines.shows(name, PASSING)
    frozen = datetime.now(UTC)
    machines["a"].process.freeze()
    ill = machines.registry.tell("ill", "critical")
    machines.registry.deregister("left")
    machines.registry.register("new")
    seen = machines.shows("ill", CRITICAL, since=frozen, guard_seconds=GUARD_SECONDS)
    record("discovery.leader_frozen.to_shown", (seen.at - ill).total_seconds(), beside={"lease": LEASE_SECONDS})
    machines.shows("new", PASSING, since=frozen)
    machines.shows("a", CRITICAL, since=frozen)
    machines.watcher.wait_for("left", lambda sight: not sight.view.is_ready, since=frozen)
    thawed = datetime.now(UTC)
    machines["a"].process.thaw()
    machines["a"].process.wait_for(" lease.lost ")
    machines.shows("a", PASSING, since=thawed)
    settle(machines)
    assert machines.wait_led(others_than=["a"])
    shown = {name: {sight.ready for sight in machines.watcher.of(name, since=thawed)} for name in ("ill", "left", "new")}
    assert [name for name, ready in shown.items() if ready] == [], f"written after the thaw: {shown}"
    assert machines.downs("b", "c", since=frozen) == []


def settle(machines: Fleet) -> None:
    """Let two changes go through, and an own change of the one that was frozen would have come with them."""
    for number in range(2):
        machines.registry.register(f"later{number}")
        machines.shows(f"later{number}", PASSING)
    until(lambda: machines.registry.listed() >= {"later0", "later1"}, what="Consul lists them")
