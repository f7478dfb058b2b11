"""Whose Node is it, and what becomes of it when a registry speaks."""

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core import node, times
from k3.core.decision import Create, Keep, Update
from k3.core.objects import Manifest
from k3.core.observation import Alive, Evidence, Facts
from k3.discovery.policy import Deregistered, Mirrored, RegistryObservation, SourceLost, Stopped, decide
from k3.network import policy

NOW = datetime(2026, 11, 23, 8, 0, 0, 123_000, tzinfo=UTC)
FACTS = Facts(node="web1", addresses=("10.0.0.7",), port=7946, pid=42, id="a" * 32, boot="b" * 16, os="linux", arch="amd64")
PASSING = Mirrored(
    name="web1",
    facts=FACTS,
    service="k3-node",
    service_id="k3-node-web1",
    consul_node="host1",
    datacenter="dc1",
    health="passing",
    message="all checks pass",
)
CRITICAL = replace(PASSING, health="critical", message="check /healthz is critical")
WARNED = replace(PASSING, health="warning", message="check load is warning")
UNKNOWN = replace(PASSING, health="unknown", message="the Consul agent does not answer")
GONE = Deregistered("web1", "k3-node")
LOST = SourceLost("web1", "k3-node", "dc1 is out of reach")
STOPPED = Stopped("web1", "k3-node", "b" * 16)
EVERY: list[RegistryObservation] = [PASSING, CRITICAL, WARNED, UNKNOWN, GONE, LOST, STOPPED]
observations = st.sampled_from(
    [*EVERY, *(replace(each, in_maintenance=True, heartbeat_due=True) for each in EVERY if isinstance(each, Mirrored))]
)

CONTROLLERS: Manifest = {
    "metadata": {"name": "web1", "labels": {"kubernetes.io/hostname": "web1"}, "annotations": {"note": "mine"}},
    "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}], "podCIDR": "10.1.0.0/24"},
    "status": {
        "capacity": {"cpu": "8"},
        "conditions": [
            {"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": "2026-11-23T07:00:00Z"},
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "2026-11-23T07:00:00Z"},
        ],
        "nodeInfo": {"kubeletVersion": "v1.31.2"},
    },
}


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def written(decision: object) -> Manifest:
    assert isinstance(decision, Create | Update), decision
    return decision.manifest


def after(*seen: RegistryObservation, start: Manifest | None = None) -> Manifest:
    """The Node after these observations, ten seconds apart."""
    current = start
    for turn, each in enumerate(seen):
        decision = decide(current, each, now=later(10 * turn))
        current = decision.manifest if isinstance(decision, Create | Update) else current
    assert current is not None
    return current


def ready(manifest: Manifest) -> tuple[str, str]:
    found = node.condition(manifest, "Ready")
    assert found is not None
    return found.status, found.reason


def told(decision: object) -> str:
    assert isinstance(decision, Create | Update), decision
    return decision.transition.reason if decision.transition else ""


def test_a_listed_machine_becomes_a_node() -> None:
    made = decide(None, replace(PASSING, facts=replace(FACTS, addresses=("fd00::1", "10.0.0.7", "127.0.0.1"))), now=NOW)
    assert told(made) == "Registered"
    manifest = written(made)
    assert manifest["metadata"]["labels"] == {
        "k3.discovery/managed": "true",
        "k3.discovery/discovered": "true",
        "discovery": "consul",
        "topology.kubernetes.io/region": "dc1",
        "kubernetes.io/hostname": "web1",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    assert manifest["metadata"]["annotations"] == {
        "k3.discovery/port": "7946",
        "k3.discovery/pid": "42",
        "k3.discovery/id": "a" * 32,
        "k3.discovery/boot": "b" * 16,
        "k3.discovery/service": "k3-node",
        "k3.discovery/service-id": "k3-node-web1",
        "k3.discovery/consul-node": "host1",
        "k3.discovery/datacenter": "dc1",
        "k3.discovery/lastSeen": "2026-11-23T08:00:00.123Z",
        "k3.discovery/transitions": "1",
    }
    assert node.addresses(manifest["status"]) == [("Hostname", "web1"), ("InternalIP", "10.0.0.7"), ("InternalIP", "fd00::1")]
    assert ready(manifest) == ("True", "ConsulPassing")
    assert manifest["spec"] == {}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([PASSING], ("True", "ConsulPassing")),
        ([WARNED], ("True", "ConsulPassing")),
        ([CRITICAL], ("False", "ConsulCritical")),
        ([UNKNOWN], ("Unknown", "SourceUnreachable")),
        ([PASSING, CRITICAL], ("False", "ConsulCritical")),
        ([PASSING, CRITICAL, PASSING], ("True", "ConsulPassing")),
        ([PASSING, UNKNOWN, PASSING], ("True", "ConsulPassing")),
        ([PASSING, GONE], ("False", "ConsulDeregistered")),
        ([PASSING, GONE, LOST], ("False", "ConsulDeregistered")),
        ([PASSING, GONE, PASSING], ("True", "ConsulPassing")),
        ([PASSING, LOST], ("Unknown", "SourceUnreachable")),
        ([CRITICAL, LOST], ("Unknown", "SourceUnreachable")),
        ([PASSING, LOST, GONE], ("False", "ConsulDeregistered")),
        ([PASSING, LOST, PASSING], ("True", "ConsulPassing")),
        ([PASSING, STOPPED], ("False", "NodeShutdown")),
        ([PASSING, STOPPED, PASSING], ("False", "NodeShutdown")),
        ([PASSING, STOPPED, CRITICAL], ("False", "ConsulCritical")),
        ([PASSING, STOPPED, GONE], ("False", "NodeShutdown")),
        ([PASSING, STOPPED, LOST], ("False", "NodeShutdown")),
        ([PASSING, STOPPED, replace(PASSING, facts=replace(FACTS, boot="c" * 16))], ("True", "ConsulPassing")),
        ([PASSING, replace(STOPPED, boot="c" * 16)], ("True", "ConsulPassing")),
    ],
)
def test_ready_after(seen: list[RegistryObservation], expected: tuple[str, str]) -> None:
    assert ready(after(*seen)) == expected


def test_transition_time_moves_with_the_status_alone() -> None:
    current = after(PASSING, WARNED, PASSING)
    found = node.condition(current, "Ready")
    assert found is not None
    assert found.transition == "2026-11-23T08:00:00Z"
    lost = after(PASSING, LOST, UNKNOWN)
    found = node.condition(lost, "Ready")
    assert found is not None
    assert found.transition == "2026-11-23T08:00:10Z"


def test_a_warning_is_a_second_condition_that_stays_once_it_was_there() -> None:
    assert node.condition(after(PASSING), "k3.discovery/Warning") is None
    for seen, status in ((WARNED,), "True"), ((WARNED, PASSING), "False"):
        found = node.condition(after(*seen), "k3.discovery/Warning")
        assert found is not None
        assert found.status == status


def test_maintenance_cordons_and_takes_back_only_its_own_cordon() -> None:
    cordoned = replace(PASSING, in_maintenance=True)
    assert after(PASSING, cordoned)["spec"] == {"unschedulable": True}
    assert ready(after(PASSING, cordoned)) == ("True", "ConsulPassing")
    assert after(PASSING, cordoned, PASSING)["spec"] == {}
    people_s = after(PASSING)
    people_s["spec"]["unschedulable"] = True
    assert after(cordoned, PASSING, start=people_s)["spec"] == {"unschedulable": True}


def test_only_machines_that_are_there_are_created() -> None:
    assert [type(decide(None, each, now=NOW)) for each in (GONE, LOST, STOPPED)] == [Keep] * 3


def test_what_stays_as_it_is_is_written_once_in_five_minutes() -> None:
    """When it is due the mirror knows, on its own clock; what another host's clock wrote is compared with nothing."""
    current = after(PASSING)
    for seconds in (0, 3600, -3600, 10**6):
        assert isinstance(decide(current, PASSING, now=later(seconds)), Keep)
        decision = decide(current, replace(PASSING, refresh_due=True), now=later(seconds))
        assert isinstance(decision, Update)
        assert decision.transition is None
        seen = written(decision)["metadata"]["annotations"]["k3.discovery/lastSeen"]
        assert times.parse_timestamp(seen) == later(seconds)


UNASKED = replace(PASSING, health="unasked", message="Consul has not run check web yet")


@pytest.mark.parametrize(
    "start",
    [[PASSING], [CRITICAL], [WARNED], [UNKNOWN], [PASSING, GONE], [PASSING, LOST], [PASSING, STOPPED]],
    ids=["passing", "critical", "warned", "unknown", "gone", "lost", "stopped"],
)
def test_of_whom_nothing_new_is_known_the_node_stays_as_it_is(start: list[RegistryObservation]) -> None:
    current = after(*start)
    moved = replace(UNASKED, facts=replace(FACTS, addresses=("10.0.0.8",)))
    then = after(UNASKED, moved, replace(moved, refresh_due=True), start=current)
    assert node.condition(then, "Ready") == node.condition(current, "Ready")
    assert node.view_manifest("web1", then).addresses == ("10.0.0.8",)


def test_of_whom_nothing_is_known_the_node_is_unknown() -> None:
    assert ready(after(UNASKED)) == ("Unknown", "SourceUnreachable")
    assert ready(after(UNASKED, PASSING)) == ("True", "ConsulPassing")


def original(status: str, reason: str, **labels: str) -> Manifest:
    """As the program of the specification leaves a Node."""
    return {
        "metadata": {"name": "web1", "labels": {"discovery": "consul", "mine": "yes", **labels}, "annotations": {"pid": "7"}},
        "spec": {},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.6"}],
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "lastHeartbeatTime": "2026-11-17T08:00:00Z"}],
        },
    }


ORIGINALS = [original("True", "ConsulRegistered"), original("False", "ConsulHealthCheck")]
ORIGINALS += [original("True", "ConsulHealthCheck", **{"k3.discovery/managed": "true"})]


@pytest.mark.parametrize("start", ORIGINALS)
def test_what_the_original_left_behind_is_ours_to_go_on_with(start: Manifest) -> None:
    before = copy.deepcopy(start)
    assert isinstance(decide(start, PASSING, now=NOW), Keep), "it may still be writing"
    decision = decide(start, replace(PASSING, inherits=True), now=NOW)
    assert told(decision) == "Adopted"
    manifest = written(decision)
    assert ready(manifest) == ("True", "ConsulPassing")
    seen = node.view_manifest("web1", manifest)
    assert (seen.owner, seen.addresses, seen.id) == ("discovery", ("10.0.0.7",), "a" * 32)
    assert (manifest["metadata"]["labels"]["mine"], manifest["metadata"]["annotations"]["pid"]) == ("yes", "7")
    assert start == before
    assert ready(after(CRITICAL, start=manifest)) == ("False", "ConsulCritical")


def test_what_the_original_left_behind_and_is_not_there_any_more_is_not_ready() -> None:
    decision = decide(ORIGINALS[0], replace(GONE, inherits=True), now=NOW)
    assert told(decision) == "NodeNotReady"
    assert ready(written(decision)) == ("False", "ConsulDeregistered")
    assert isinstance(decide(ORIGINALS[0], GONE, now=NOW), Keep)


@pytest.mark.parametrize(
    "theirs",
    [
        original("True", "KubeletReady"),
        original("True", "ConsulRegistered", discovery="other"),
        {
            **original("True", "ConsulRegistered"),
            "status": {**ORIGINALS[0]["status"], "nodeInfo": {"kubeletVersion": "v1.31.2"}},
        },
        original("True", "ConsulRegistered", **{"k3.network/managed": "true"}),
    ],
    ids=["another reason", "another label", "a kubelet", "network's"],
)
def test_whose_node_only_looks_like_the_original_s_keeps_it(theirs: Manifest) -> None:
    assert isinstance(decide(theirs, replace(CRITICAL, inherits=True), now=NOW), Keep)
    assert isinstance(decide(theirs, replace(GONE, inherits=True), now=NOW), Keep)


def test_events_tell_what_changed() -> None:
    current = after(PASSING)
    assert told(decide(current, CRITICAL, now=later(1))) == "NodeNotReady"
    assert told(decide(after(CRITICAL), PASSING, now=later(1))) == "NodeReady"
    assert told(decide(current, LOST, now=later(1))) == "NodeUnknown"
    assert told(decide(current, UNKNOWN, now=later(1))) == "NodeUnknown"
    moved = replace(PASSING, facts=replace(FACTS, addresses=("10.0.0.8",)))
    assert told(decide(current, moved, now=later(1))) == "AddressChanged"
    other = replace(PASSING, facts=replace(FACTS, id="c" * 32))
    assert told(decide(current, other, now=later(1))) == "IdentityChanged"
    second = replace(PASSING, name="web1-dc2", conflict_with="web1")
    assert told(decide(None, second, now=NOW)) == "NameConflict"
    assert told(decide(after(PASSING, LOST), GONE, now=later(30))) == "", (
        "nobody who was told it is gone wants to hear it again"
    )


def test_what_people_added_survives() -> None:
    current = after(PASSING)
    current["metadata"]["labels"] |= {"team": "blue", "topology.kubernetes.io/region": "attic"}
    current["metadata"]["annotations"]["note"] = "mine"
    current["spec"] = {"taints": [{"key": "gpu"}], "odd": 1}
    current["status"]["capacity"] = {"cpu": "8"}
    for seen in EVERY:
        wanted = after(seen, PASSING, seen, start=copy.deepcopy(current))
        assert wanted["metadata"]["labels"]["team"] == "blue"
        assert wanted["metadata"]["labels"]["topology.kubernetes.io/region"] == "attic"
        assert wanted["metadata"]["annotations"]["note"] == "mine"
        assert wanted["spec"] == current["spec"]
        assert wanted["status"]["capacity"] == {"cpu": "8"}


def test_a_controller_s_node_gets_the_heartbeat_and_not_a_byte_else() -> None:
    due = replace(PASSING, heartbeat_due=True)
    wanted = written(decide(CONTROLLERS, due, now=NOW))
    assert wanted["status"]["conditions"][1]["lastHeartbeatTime"] == "2026-11-23T08:00:00Z"
    wanted["status"]["conditions"][1]["lastHeartbeatTime"] = "2026-11-23T07:00:00Z"
    assert json.dumps(wanted) == json.dumps(CONTROLLERS)
    newer = copy.deepcopy(CONTROLLERS)
    newer["status"]["conditions"][1]["lastHeartbeatTime"] = "2026-11-23T08:00:01Z"
    assert isinstance(decide(newer, due, now=NOW), Keep)


@pytest.mark.parametrize(
    "seen", [PASSING, *(replace(each, heartbeat_due=True) for each in (CRITICAL, UNKNOWN)), GONE, LOST, STOPPED]
)
def test_a_controller_s_node_gets_nothing_from_anything_else(seen: RegistryObservation) -> None:
    decision = decide(CONTROLLERS, seen, now=NOW)
    assert isinstance(decision, Keep)
    assert decision.foreign


@pytest.mark.parametrize("status", ["False", "Unknown", None])
def test_no_heartbeat_where_the_controller_does_not_say_ready(status: str | None) -> None:
    current = copy.deepcopy(CONTROLLERS)
    if status:
        current["status"]["conditions"][1]["status"] = status
    else:
        del current["status"]["conditions"][1]
    assert isinstance(decide(current, replace(PASSING, heartbeat_due=True), now=NOW), Keep)


def network_s() -> Manifest:
    return written(policy.decide(None, Alive(name="web1", facts=FACTS, seen_by="hub", evidence=Evidence()), now=NOW))


def kubelet_s() -> Manifest:
    current = after(PASSING)
    current["status"]["nodeInfo"] = {"kubeletVersion": "v1.31.2"}
    return current


def controller_s() -> Manifest:
    current = after(PASSING)
    node.set_condition(current, "Ready", status="True", reason="KubeletReady", message="", now=NOW)
    return current


def another_service_s() -> Manifest:
    return after(replace(PASSING, service="other"))


@given(st.sampled_from([network_s, kubelet_s, controller_s, another_service_s]), observations)
def test_what_is_not_ours_is_never_written(theirs: Any, seen: RegistryObservation) -> None:
    current = theirs()
    before = json.dumps(current)
    decision = decide(current, seen, now=later(3600))
    assert isinstance(decision, Keep)
    assert decision.foreign is (theirs is not network_s)  # which k3 itself looks after: nothing to tell people
    assert json.dumps(current) == before


@given(st.lists(observations, max_size=8), st.booleans())
def test_in_any_order_a_controller_s_node_gets_heartbeats_alone(seen: list[RegistryObservation], is_ready: Any) -> None:
    current = copy.deepcopy(CONTROLLERS)
    current["status"]["conditions"][1]["status"] = str(bool(is_ready))
    bare = copy.deepcopy(current)
    result = after(*seen, start=current)
    for each in (result, bare):
        each["status"]["conditions"][1].pop("lastHeartbeatTime")
    assert json.dumps(result) == json.dumps(bare)


@given(st.lists(observations, min_size=1, max_size=8))
def test_deciding_twice_writes_once(seen: list[RegistryObservation]) -> None:
    current = after(PASSING, *seen)
    again = decide(current, seen[-1], now=later(10 * len(seen)))
    assert isinstance(again, Keep), again


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["labels", "conditions", "type", "status"]), inner)
        ),
    )
)
def test_an_odd_manifest_of_somebody_else_s_is_read_and_left_alone(odd: Any) -> None:
    assert isinstance(decide({"metadata": odd, "status": odd, "spec": odd}, PASSING, now=NOW), Keep)


@pytest.mark.parametrize(
    "odd", [None, "down", [], {"conditions": "none"}, {"conditions": [1, None, {"type": 7}], "addresses": {}}]
)
def test_a_status_that_somebody_spoilt_is_made_good(odd: Any) -> None:
    current = after(PASSING)
    current["status"] = odd
    seen = node.view_manifest("web1", after(PASSING, start=current))
    assert (seen.is_ready, seen.addresses) == (True, ("10.0.0.7",))


def test_readers_can_tell_which_run_of_which_mirror_saw_a_machine() -> None:
    current = after(replace(PASSING, seen_by="hub", seen_run="5" * 16))
    seen = node.view_manifest("web1", current)
    assert (seen.seen_by, seen.seen_run) == ("hub", "5" * 16)
    again = decide(current, replace(PASSING, refresh_due=True, seen_by="box", seen_run="6" * 16), now=later(1))
    assert isinstance(again, Update)
    fresh = node.view_manifest("web1", again.manifest)
    assert (fresh.seen_by, fresh.seen_run) == ("box", "6" * 16)
