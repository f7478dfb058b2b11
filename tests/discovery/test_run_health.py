"""`k3 discovery` on real hosts: a machine's Node follows what Consul finds out about it, and what its operator says."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.discovery.conftest import MakeFleet
from tests.discovery.fleet import CRITICAL, PASSING, PORT, SERVICE, Fleet, Member
from tests.system.agents import Sight, record

pytestmark = [pytest.mark.netns, pytest.mark.servers("consul"), pytest.mark.slow]

Harm = Callable[[Member], None]


def firewall(member: Member) -> None:
    member.lan.firewall(member.host, PORT)


def open_again(member: Member) -> None:
    member.lan.firewall(member.host)


def freeze(member: Member) -> None:
    member.host.freeze()


def thaw(member: Member) -> None:
    member.host.thaw()


@pytest.mark.parametrize(("harm", "heal"), [(firewall, open_again), (freeze, thaw)], ids=["firewall", "frozen"])
def test_healthz_does_not_answer_and_does_again(fleet: MakeFleet, harm: Harm, heal: Harm) -> None:
    machines = fleet("a", "b", "c")
    began = datetime.now(UTC)
    harm(machines["b"])
    ill = machines.shows("b", CRITICAL, since=began)
    mended = datetime.now(UTC)
    heal(machines["b"])
    well = machines.shows("b", PASSING, since=mended)
    record(f"discovery.{harm.__name__}.to_not_ready", (ill.at - began).total_seconds(), beside={"check_interval": 1})
    record(f"discovery.{heal.__name__}.to_ready", (well.at - mended).total_seconds(), beside={"check_interval": 1})
    assert ill.condition("Ready")["message"] == f"check service:{SERVICE}-b is critical"
    assert [sight.ready for sight in machines.watcher.of("b", since=began)] == [CRITICAL, PASSING], "one write for each"
    assert machines.downs("a", "c", since=began) == [], "nobody else was touched"


def is_cordoned(sight: Sight) -> bool:
    return sight.manifest["spec"].get("unschedulable") is True


def status_column(machines: Fleet) -> dict[str, str]:
    """NAME and STATUS as `k3 nodes` prints them."""
    rows = [line.split() for line in machines.run("nodes").stdout.splitlines()[1:]]
    return {row[0]: row[1] for row in rows}


def test_maintenance_of_a_machine_and_of_all_behind_an_agent(fleet: MakeFleet) -> None:
    """By the operator's own command. What they maintain is cordoned, as kubectl would, and stays Ready."""
    machines = fleet("a", "b")
    for which, cordoned in ([f"-service={SERVICE}-b"], {"b"}), ([], {"a", "b"}):
        began = datetime.now(UTC)
        machines.registry.command("maint", "-enable", "-reason=disks", *which)
        for name in cordoned:
            seen = machines.watcher.wait_for(name, is_cordoned, since=began)
            record("discovery.maintenance.to_cordoned", (seen.at - began).total_seconds())
        expected = {name: "Ready,SchedulingDisabled" if name in cordoned else "Ready" for name in ("a", "b")}
        assert status_column(machines) == expected
        ended = datetime.now(UTC)
        machines.registry.command("maint", "-disable", *which)
        for name in cordoned:
            machines.watcher.wait_for(name, lambda sight: not is_cordoned(sight), since=ended)
        assert status_column(machines) == {"a": "Ready", "b": "Ready"}
        assert machines.downs("a", "b", since=began) == []


def test_a_warning_is_shown_and_disturbs_nobody(fleet: MakeFleet) -> None:
    """Of a machine whose owner registered it without k3; so does its illness, and its end."""
    machines = fleet("a")
    machines.registry.register("box")
    machines.shows("box", PASSING)
    warned = machines.registry.tell("box", "warning")
    seen = machines.watcher.wait_for("box", lambda sight: len(sight.manifest["status"]["conditions"]) > 1, since=warned)
    assert seen.condition("k3.discovery/Warning")["status"] == "True"
    assert seen.ready == PASSING
    ill = machines.registry.tell("box", "critical")
    record("discovery.flip.to_shown", (machines.shows("box", CRITICAL, since=ill).at - ill).total_seconds())
    well = machines.registry.tell("box", "passing")
    machines.shows("box", PASSING, since=well)
