"""When one module of k3 takes over the other one's Node, and what is left of the former owner then."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k3.core import node, ownership, times
from k3.core.decision import Create, Decision, Keep, Update
from k3.core.objects import Manifest
from k3.core.observation import Alive, Evidence, Facts, Joined, Silent
from k3.discovery import policy as discovery_policy
from k3.discovery.policy import Mirrored, SourceLost
from k3.network import policy

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
LATER = NOW + timedelta(seconds=200)
FACTS = Facts(
    node="web1",
    addresses=("10.0.0.7",),
    port=7946,
    pid=42,
    id="a" * 32,
    boot="b" * 16,
    links=("10.0.0.0/24",),
    peer_ttl_seconds=90,
)
PASSING = Mirrored(
    name="web1",
    facts=FACTS,
    service="k3-node",
    service_id="k3-node-web1",
    consul_node="host1",
    datacenter="dc1",
    health="passing",
    message="all its checks in Consul pass",
)
ALIVE = Alive(name="web1", facts=FACTS, seen_by="hub", evidence=Evidence())
JOINED = Joined(name="web1", facts=FACTS, fresh=True)

Adopt = Callable[..., Decision]


def evidence(current: Manifest) -> Evidence:
    return node.view_manifest("web1", current).evidence


def written(decision: Decision) -> Manifest:
    assert isinstance(decision, Create | Update), decision
    return decision.manifest


def abandoned_by_network() -> Manifest:
    made = written(policy.decide(None, ALIVE, now=NOW))
    silent = Silent("web1", evidence(made), standing=True, message="no answer for 90s")
    return written(policy.decide(made, silent, now=NOW + timedelta(seconds=90)))


def abandoned_by_discovery() -> Manifest:
    made = written(discovery_policy.decide(None, replace(PASSING, in_maintenance=True), now=NOW))
    return written(discovery_policy.decide(made, SourceLost("web1", "k3-node", "gone"), now=NOW + timedelta(seconds=90)))


def by_discovery(current: Manifest, facts: Facts, shown: Manifest | None = None) -> Decision:
    seen = replace(PASSING, facts=facts, adopts=evidence(shown or current))
    return discovery_policy.decide(current, seen, now=LATER)


def by_network(current: Manifest, facts: Facts, shown: Manifest | None = None) -> Decision:
    return policy.decide(current, replace(ALIVE, facts=facts, adopts=evidence(shown or current)), now=LATER)


def by_itself(current: Manifest, facts: Facts, shown: Manifest | None = None) -> Decision:
    return policy.decide(current, replace(JOINED, facts=facts, adopts=evidence(shown or current)), now=LATER)


EVERY = [
    pytest.param(abandoned_by_network, by_discovery, "discovery", "ConsulPassing", id="discovery"),
    pytest.param(abandoned_by_discovery, by_network, "network", "PeerAlive", id="network"),
    pytest.param(abandoned_by_discovery, by_itself, "network", "SelfRegistered", id="itself"),
]


@pytest.mark.parametrize(("abandoned", "adopt", "owner", "reason"), EVERY)
def test_the_same_machine_seen_alive_is_adopted(
    abandoned: Callable[[], Manifest], adopt: Adopt, owner: str, reason: str
) -> None:
    current = abandoned()
    current["metadata"]["labels"]["rack"] = "7"
    current["metadata"]["annotations"]["note"] = "mine"
    current["spec"]["taints"] = [{"key": "gpu", "effect": "NoSchedule"}]
    current["status"]["conditions"].append({"type": "DiskPressure", "status": "False"})
    decision = adopt(current, FACTS)
    assert isinstance(decision, Update)
    assert decision.transition is not None
    assert decision.transition.reason == "Adopted"
    assert decision.transition.number == 3  # counted on, so that no Event is overwritten before its turn
    seen = node.view_manifest("web1", decision.manifest)
    assert (seen.owner, seen.id, seen.boot, seen.addresses) == (owner, FACTS.id, FACTS.boot, FACTS.addresses)
    assert seen.ready is not None
    assert (seen.ready.status, seen.ready.reason, seen.ready.transition) == ("True", reason, times.timestamp(LATER))
    assert seen.is_reachable
    metadata = decision.manifest["metadata"]
    assert metadata["labels"]["rack"] == "7"
    assert metadata["annotations"]["note"] == "mine"
    assert decision.manifest["spec"]["taints"] == current["spec"]["taints"]
    assert {"type": "DiskPressure", "status": "False"} in decision.manifest["status"]["conditions"]
    former = "k3.network/" if owner == "discovery" else "k3.discovery/"
    conditions = [each["type"] for each in decision.manifest["status"]["conditions"]]
    left = [key for key in [*metadata["labels"], *metadata["annotations"], *conditions] if key.startswith(former)]
    # The cordon and its mark stay: only discovery knows when a maintenance is over.
    assert left == (["k3.discovery/maintenance"] if owner == "network" else [])
    assert decision.manifest["spec"].get("unschedulable", False) is (owner == "network")
    assert ("discovery" in metadata["labels"]) is (owner == "discovery")


def labelled_off(current: Manifest) -> None:
    current["metadata"]["labels"].pop("k3.network/managed", None)
    current["metadata"]["labels"].pop("k3.discovery/managed", None)


def with_kubelet(current: Manifest) -> None:
    current["status"]["nodeInfo"] = {"kubeletVersion": "v1.31.2"}


def with_a_controllers_ready(current: Manifest) -> None:
    next(each for each in current["status"]["conditions"] if each["type"] == "Ready")["reason"] = "NodeStatusUnknown"


@pytest.mark.parametrize("taken_over", [labelled_off, with_kubelet, with_a_controllers_ready])
@pytest.mark.parametrize(("abandoned", "adopt", "_owner", "_reason"), EVERY)
def test_what_a_controller_took_over_is_adopted_by_nobody(
    abandoned: Callable[[], Manifest], adopt: Adopt, _owner: str, _reason: str, taken_over: Callable[[Manifest], None]
) -> None:
    current = abandoned()
    taken_over(current)
    assert isinstance(adopt(current, FACTS), Keep)


@pytest.mark.parametrize("id_", ["", "c" * 32])
@pytest.mark.parametrize(("abandoned", "adopt", "_owner", "_reason"), EVERY)
def test_another_machine_of_that_name_adopts_nothing(
    abandoned: Callable[[], Manifest], adopt: Adopt, _owner: str, _reason: str, id_: str
) -> None:
    assert isinstance(adopt(abandoned(), replace(FACTS, id=id_)), Keep)


@pytest.mark.parametrize(("abandoned", "adopt", "_owner", "_reason"), EVERY)
def test_a_node_without_an_id_is_adopted_by_nobody(
    abandoned: Callable[[], Manifest], adopt: Adopt, _owner: str, _reason: str
) -> None:
    current = abandoned()
    for module in ("network", "discovery"):
        current["metadata"]["annotations"].pop(f"k3.{module}/id", None)
    assert isinstance(adopt(current, FACTS), Keep)


@pytest.mark.parametrize(("abandoned", "adopt", "_owner", "_reason"), EVERY)
def test_an_owner_that_was_faster_keeps_its_node(
    abandoned: Callable[[], Manifest], adopt: Adopt, _owner: str, _reason: str
) -> None:
    """The evidence is that of the Node as it was; by now its owner has called it Ready, or spoken of it again."""
    before = abandoned()
    now: dict[str, Any] = copy.deepcopy(before)
    ready = next(each for each in now["status"]["conditions"] if each["type"] == "Ready")
    ready["lastTransitionTime"] = "2026-11-23T08:02:00Z"
    assert isinstance(adopt(now, FACTS, before), Keep)
    assert isinstance(adopt(now, FACTS), Update)
    ready["status"] = "True"
    assert isinstance(adopt(now, FACTS, before), Keep)


@pytest.mark.parametrize("health", ["critical", "unknown"])
def test_discovery_adopts_only_what_it_sees_alive(health: Any) -> None:
    current = abandoned_by_network()
    seen = replace(PASSING, health=health, adopts=evidence(current))
    assert isinstance(discovery_policy.decide(current, seen, now=LATER), Keep)


def test_without_word_that_its_time_is_up_a_node_is_left_alone() -> None:
    assert isinstance(discovery_policy.decide(abandoned_by_network(), PASSING, now=LATER), Keep)
    assert isinstance(policy.decide(abandoned_by_discovery(), ALIVE, now=LATER), Keep)


def test_a_node_goes_there_and_back() -> None:
    mine = written(by_discovery(abandoned_by_network(), FACTS))
    lost = written(discovery_policy.decide(mine, SourceLost("web1", "k3-node", "gone"), now=LATER))
    back = written(by_network(lost, FACTS))
    seen = node.view_manifest("web1", back)
    assert (seen.owner, seen.is_ready) == ("network", True)
    assert ownership.foreign_reason(back, seen, "network") == ""
    assert back["metadata"]["annotations"]["k3.network/transitions"] == "5"


def test_the_time_until_adoption_begins_anew_with_every_sign_of_its_owner() -> None:
    waits = ownership.Abandoned()
    down = node.view_manifest("web1", abandoned_by_network())
    up = node.view_manifest("web1", written(policy.decide(None, ALIVE, now=NOW)))
    assert waits.at("web1") == math.inf
    waits.show(up, 0)
    waits.show(up, 50)
    assert waits.at("web1") == 2 * 90 + ownership.ADOPTION_SECONDS  # readers call it unobserved after twice its time to live
    waits.show(replace(up, last_seen=times.precise_timestamp(LATER)), 100)
    assert waits.at("web1") == 100 + 2 * 90 + ownership.ADOPTION_SECONDS
    waits.show(down, 200)
    waits.show(replace(down, last_seen=times.precise_timestamp(LATER)), 250)
    assert waits.at("web1") == 200 + ownership.ADOPTION_SECONDS
    waits.restart(280)
    assert waits.at("web1") == 280 + ownership.ADOPTION_SECONDS
    waits.drop("web1")
    assert waits.at("web1") == math.inf


def left_behind(reason: str, label: str = "k3.network/managed") -> Manifest:
    """A Node as the program of the specification wrote it."""
    return {
        "metadata": {"labels": {label: "true"}, "annotations": {"k3.network/lastSeen": "2026-11-17T08:00:00Z"}},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": reason}]},
    }


@pytest.mark.parametrize("reason", ["PeerAlive", "LANDiscovery", "PeerExpired", "SelfRegistered", "ObserverLost"])
def test_the_label_decides_whose_a_node_is_whichever_of_the_two_programs_wrote_it(reason: str) -> None:
    assert ownership.owner(left_behind(reason)) == "network"


@pytest.mark.parametrize("reason", ["KubeletReady", "NodeStatusUnknown", "MyControllerSaysSo", "", "ConsulRegistered"])
def test_a_reason_of_neither_program_is_a_controllers(reason: str) -> None:
    assert ownership.owner(left_behind(reason)) is None


def test_a_kubelet_owns_its_node_whatever_old_labels_say() -> None:
    taken_over = left_behind("PeerAlive")
    with_kubelet(taken_over)
    assert ownership.owner(taken_over) is None
    assert ownership.owner(left_behind("PeerAlive", "somebody.else/managed")) is None
    assert ownership.owner(abandoned_by_network()) == "network"
    assert ownership.owner(abandoned_by_discovery()) == "discovery"


def test_a_node_that_the_original_called_expired_is_ready_when_its_machine_runs_k3() -> None:
    expired = left_behind("PeerExpired")
    expired["status"]["conditions"][0]["status"] = "False"
    seen = node.view_manifest("web1", written(policy.decide(expired, JOINED, now=NOW)))
    assert seen.ready is not None
    assert (seen.owner, seen.ready.status, seen.ready.reason, seen.id) == ("network", "True", "SelfRegistered", FACTS.id)


def test_a_node_that_the_original_called_ready_is_judged_like_any_other() -> None:
    stale = left_behind("LANDiscovery")
    silent = Silent("web1", evidence(stale), standing=True, message="no answer for 90s")
    seen = node.view_manifest("web1", written(policy.decide(stale, silent, now=NOW)))
    assert seen.ready is not None
    assert (seen.ready.status, seen.ready.reason) == ("False", "PeerUnreachable")
