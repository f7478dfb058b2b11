"""`k3 discovery` on real hosts: machines come, go in order or without a word, and are put back where Consul loses them."""

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.discovery.conftest import MakeFleet
from tests.discovery.fleet import CRITICAL, GONE, PASSING, QUICK, STOPPED, Fleet
from tests.lab import Lan, until
from tests.servers import consul_agent
from tests.system.agents import Sight, record

pytestmark = [pytest.mark.netns, pytest.mark.servers("consul"), pytest.mark.slow]

GUARD_SECONDS = 75.0
"""Five times as long as an agent goes without looking whether Consul still has it."""


BACK_GUARD_SECONDS = 10.0
"""Five times what it may take. Who only looked now and then, every 15 seconds, would be later."""


def is_passing(sight: Sight | None) -> bool:
    return sight is not None and sight.ready == PASSING


def test_told_to_stop_it_is_down_at_once_and_out_of_consul(fleet: MakeFleet) -> None:
    machines = fleet("a", "b")
    stopped = machines["b"].stop()
    down = machines.shows("b", STOPPED, since=stopped)
    record("discovery.sigterm.to_not_ready", (down.at - stopped).total_seconds())
    assert machines.registry.listed() == {"a"}
    machines.registry.register("box")
    machines.shows("box", PASSING)
    last = machines.watcher.last("b")
    assert last is not None
    assert last.ready == STOPPED, "that it left Consul is no news afterwards"
    began = datetime.now(UTC)
    machines["b"].start()
    up = machines.shows("b", PASSING, since=began)
    record("discovery.start.to_ready", (up.at - began).total_seconds())
    assert up.view.boot != down.view.boot
    assert up.manifest["metadata"]["uid"] == down.manifest["metadata"]["uid"]


def test_killed_it_is_ill_then_gone_and_back_when_it_starts_again(fleet: MakeFleet) -> None:
    """Consul takes a minute and more to drop it by itself; its operator does it sooner."""
    machines = fleet("a", "b")
    killed = machines["b"].kill()
    ill = machines.shows("b", CRITICAL, since=killed)
    record("discovery.kill.to_not_ready", (ill.at - killed).total_seconds(), beside={"check_interval": 1})
    assert machines.registry.listed() == {"a", "b"}
    dropped = machines.registry.deregister("b")
    gone = machines.shows("b", GONE, since=dropped)
    record("discovery.deregister.to_gone", (gone.at - dropped).total_seconds())
    began = datetime.now(UTC)
    machines["b"].start()
    machines.shows("b", PASSING, since=began)
    assert machines.downs("a", since=killed) == []


@pytest.mark.parametrize("name", ["a", "b"], ids=["leader", "another"])
def test_one_that_runs_and_is_deregistered_puts_itself_back(fleet: MakeFleet, name: str) -> None:
    """Its agent tells it at once."""
    machines = fleet("a", "b")
    dropped = machines.registry.deregister(name)
    said = machines[name].said
    until(lambda: len(said("consul.registered")) == 2, guard_seconds=BACK_GUARD_SECONDS, what="it puts itself back")
    record(f"discovery.deregistered.{name}.to_registered", (datetime.now(UTC) - dropped).total_seconds())
    until(lambda: machines.registry.listed() == {"a", "b"}, what="both are in Consul")
    machines.registry.register("box")
    machines.shows("box", PASSING)
    until(lambda: is_passing(machines.watcher.last(name)), what="and is Ready, if it ever was not")


def restart(machines: Fleet, number: int) -> datetime:
    """End Consul by a signal and start it again. Returns when it answered again."""
    server = machines.registry.server
    server.process.kill(number)
    server.close()
    server.start()
    return datetime.now(UTC)


@pytest.mark.parametrize(("dev", "number"), [(True, signal.SIGKILL), (False, signal.SIGTERM)], ids=["forgets", "remembers"])
def test_consul_restarts_and_nobody_is_down_or_forgotten(fleet: MakeFleet, dev: bool, number: int) -> None:
    """In memory only, it comes back empty; with a data directory it knows everybody again."""
    names = ["a", "b", "c"]
    machines = fleet(*names, dev=dev)
    began = datetime.now(UTC)
    answered = restart(machines, number)
    until(lambda: machines.registry.listed() == {*names}, guard_seconds=BACK_GUARD_SECONDS, what="all are registered again")
    record(f"discovery.consul_restart.dev={dev}.to_registered", (datetime.now(UTC) - answered).total_seconds())
    flipped = datetime.now(UTC)
    machines.registry.register("box")
    machines.shows("box", PASSING, since=flipped, guard_seconds=GUARD_SECONDS)
    assert machines.downs(*names, since=began) == []
    for name in names:
        assert len(machines[name].said("consul.unavailable")) <= 1, machines[name].process.text


def test_who_does_not_want_to_be_a_node_is_registered_and_not_shown(fleet: MakeFleet) -> None:
    machines = fleet("a")
    machines.host("shy", "--register-self=false").start()
    until(lambda: machines.registry.listed() == {"a", "shy"}, what="both are in Consul")
    machines.registry.register("box")
    machines.shows("box", PASSING)
    assert machines.watcher.of("shy") == []


def test_without_a_default_route_it_is_where_its_consul_says(lan: Lan, tmp_path: Path) -> None:
    """On a LAN of its own, with Consul on loopback: no route says which address others can use."""
    host = lan.host("web1")
    address = lan.address(host)
    config = {"addresses": {"http": f"127.0.0.1 {address}"}}
    with consul_agent(lan=lan, host=host, config=config) as server:
        place = f"127.0.0.1:{server.port}"
        agent = host.start(["k3", "discovery", "--consul-addr", place, "--store", f"sqlite://{tmp_path}/k3.db", *QUICK])
        agent.wait_for("This machine is on the list")
        health = f"health=http://{address}:7946/healthz"
        assert [health in line for line in agent.lines if " consul.registered " in line] == [True]
        agent.wait_for(f"web1 registered with {address}")
        assert agent.stop() == 0
