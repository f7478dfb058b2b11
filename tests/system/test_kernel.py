"""What an agent does when its own machine is the trouble: no descriptors left, a dead link, an interface set down."""

import resource
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab import Lan, until
from tests.system.agents import Agent, is_ready
from tests.system.conftest import MakeFleet
from tests.system.test_links import ON_THE_LIST, SEPARATE_STORES, agent_on, agents, never_down, no_traceback

__all__ = ["agents"]

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def no_descriptors(agent: Agent) -> None:
    """Whatever it opens from now on, it is refused: of the first eight numbers it has let none go."""
    _, hard = resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (8, hard))


def descriptors_again(agent: Agent) -> None:
    _, hard = resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (hard, hard))


@SEPARATE_STORES
def test_an_agent_that_has_run_out_of_descriptors_goes_on_and_blames_nobody(fleet: MakeFleet) -> None:
    machines = fleet("a", "b", "c")
    a, b, _ = machines.agents
    soft, hard = resource.prlimit(a.process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard, "it takes all it may have"
    since = datetime.now(UTC)
    no_descriptors(a)
    for event in ("probes.refused", "health.refused", "network.links_unknown"):
        a.process.wait_for(event)
    until(lambda: (datetime.now(UTC) - since).total_seconds() > 2 * a.ttl_seconds, guard_seconds=60, every_seconds=0.2)
    said = [line for line in a.process.lines if "Too many open files" in line or "Errno 24" in line]
    assert len([line for line in said if "refused" in line or "links_unknown" in line]) == 3, "\n".join(said)
    assert "out of system resource" not in a.process.text
    never_down(a, "b", since)
    never_down(a, "c", since)
    descriptors_again(a)
    healed = datetime.now(UTC)
    a.host.ip("address add 10.77.9.1/24 dev eth0")
    b.watcher.wait_for("a", lambda s: is_ready(s) and "10.77.9.1" in s.view.addresses, since=healed, guard_seconds=60)
    for event in ("probes.refused", "health.refused", "network.links_unknown"):
        a.process.wait_for(lambda line, event=event: event in line and "over" in line, guard_seconds=60)  # type: ignore[misc]
    machines.wait_ready()
    no_traceback(machines.agents)


@SEPARATE_STORES
def test_two_interfaces_on_one_network_and_the_cable_out_of_the_first(
    lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool
) -> None:
    """The kernel goes on routing into the dead link; neither side may take the other for dead."""
    two, one = lan.host("two"), lan.host("one")
    lan.attach(two, "eth1", addresses=["10.77.1.101/24"], default_route=False)
    pair = [agent_on(lan, host, tmp_path, agents, shared=shared) for host in (two, one)]
    for agent in pair:
        agent.watch()
        agent.start()
    for agent in pair:
        for name in ("one", "two"):
            agent.watcher.wait_for(name, is_ready)
    since = datetime.now(UTC)
    lan.switch.ip(f"link set {lan.nics(two)[0].port} down")
    until(lambda: (datetime.now(UTC) - since).total_seconds() > 2.5 * pair[0].ttl_seconds, guard_seconds=60, every_seconds=0.2)
    never_down(pair[0], "one", since)
    never_down(pair[1], "two", since)
    for agent, other in ((pair[0], "one"), (pair[1], "two")):
        fresh = agent.watcher.last(other)
        assert is_ready(fresh)
        assert fresh is not None
        assert fresh.last_seen is not None
        assert (datetime.now(UTC) - fresh.last_seen).total_seconds() < pair[0].ttl_seconds
    no_traceback(pair)


@SEPARATE_STORES
def test_an_observer_whose_only_interface_is_set_down_says_unknown(fleet: MakeFleet) -> None:
    machines = fleet("a", "b")
    a, b = machines.agents
    since, began = datetime.now(UTC), time.monotonic()
    a.lan.nic(a.host).down()
    lost = a.watcher.wait_for("b", lambda s: not s.view.is_ready, since=since)
    assert lost.ready == ("Unknown", "ObserverLost")
    assert time.monotonic() - began > a.ttl_seconds - a.ttl_seconds / 3 - 1
    never_down(a, "a", since)
    assert a.nodes()["a"].view.addresses == ("10.77.1.1",), "where it was last is all there is to say"
    gone = b.watcher.wait_for("a", lambda s: not s.view.is_ready, since=since)
    assert gone.ready == ("False", "PeerUnreachable")
    a.lan.nic(a.host).up()
    machines.wait_ready()
    no_traceback(machines.agents)


@SEPARATE_STORES
@pytest.mark.parametrize("is_down", [True, False], ids=["set-down", "cable-out"])
def test_the_link_to_a_peer_is_lost_and_another_one_is_not(
    lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool, is_down: bool
) -> None:
    """Whose link is gone can't say that the other one is."""
    with Lan("10.88.1.0/24") as other:
        two, one = lan.host("two"), lan.host("one")
        other.attach(two, "eth1", default_route=False)
        pair = [agent_on(lan, host, tmp_path, agents, shared=shared) for host in (two, one)]
        try:
            for agent in pair:
                agent.watch()
                agent.start()
            for agent in pair:
                for name in ("one", "two"):
                    agent.watcher.wait_for(name, is_ready)
            since = datetime.now(UTC)
            if is_down:
                lan.nic(two).down()
            else:
                lan.cut(two)
            lost = pair[0].watcher.wait_for("one", lambda s: not s.view.is_ready, since=since)
            assert lost.ready == ("Unknown", "ObserverLost")
            gone = pair[1].watcher.wait_for("two", lambda s: not s.view.is_ready, since=since)
            assert gone.ready == ("False", "PeerUnreachable")
            assert "WARN mdns" not in pair[0].process.text
        finally:
            for agent in pair:
                agent.close()


@SEPARATE_STORES
@pytest.mark.parametrize("reachable", ["eth1", "eth0"])
def test_the_first_address_is_the_one_at_which_others_arrive(
    lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool, reachable: str
) -> None:
    """Two machines, each behind a router of its own and both on one more network: who is there decides."""
    with Lan("10.5.0.0/24") as uplink:
        pair = []
        for number, name in enumerate(("a", "b"), 1):
            host = lan.bare_host(name)
            uplink.attach(host, "eth0", addresses=[f"10.5.0.{number}/24"])
            lan.attach(host, "eth1", addresses=[f"10.77.1.{number}/24"], default_route=False)
            pair.append(agent_on(lan, host, tmp_path, agents, shared=shared))
        if reachable == "eth1":
            uplink.partition([pair[0].host], [pair[1].host])
        try:
            for agent in pair:
                agent.start().wait_for(ON_THE_LIST)
            wanted = {"eth0": "10.5.0.2", "eth1": "10.77.1.2"}[reachable]
            for agent in pair:
                agent.watcher.wait_for(
                    "b", lambda s: is_ready(s) and s.view.addresses[0] == wanted and len(s.view.addresses) == 2
                )
            no_traceback(pair)
        finally:
            for agent in pair:
                agent.close()


@SEPARATE_STORES
def test_two_machines_behind_the_nat_of_virtualbox_with_a_host_only_network(
    lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool
) -> None:
    """Both are 10.0.2.15 with a default route; where they find each other is the other card."""
    with Lan("10.0.2.0/24") as first, Lan("10.0.2.0/24") as second:
        pair = []
        for number, (name, nat) in enumerate({"a": first, "b": second}.items(), 1):
            host = lan.bare_host(name)
            nat.attach(host, "eth0", addresses=["10.0.2.15/24"])
            lan.attach(host, "eth1", addresses=[f"10.77.1.{number}/24"], default_route=False)
            pair.append(agent_on(lan, host, tmp_path, agents, shared=shared))
        try:
            for agent in pair:
                agent.watch()
                agent.start().wait_for(ON_THE_LIST)
            for agent in pair:
                for number, name in enumerate(("a", "b"), 1):
                    agent.watcher.wait_for(name, is_ready)
                    shown = {sight.view.addresses for sight in agent.watcher.of(name)}
                    assert shown == {(f"10.77.1.{number}", "10.0.2.15")}, "from the first moment on"
            no_traceback(pair)
        finally:
            for agent in pair:
                agent.close()
