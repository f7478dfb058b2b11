"""Whose Node is it, and what becomes of it."""

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core import node
from k3.core.decision import Create, Delete, Keep, Update
from k3.core.objects import Manifest
from k3.core.observation import Alive, Evidence, Facts, Forgotten, Joined, Left, Observation, Silent, Suspected, Unproven
from k3.network.policy import decide

NOW = datetime(2026, 11, 23, 8, 0, 0, 123_000, tzinfo=UTC)
FACTS = Facts(
    node="web1",
    addresses=("fd00::1", "10.0.0.7", "fe80::1", "127.0.0.1"),
    port=7946,
    pid=42,
    id="a" * 32,
    boot="b1",
    hostname="web1",
    os="linux",
    arch="arm64",
    links=("10.0.0.0/24",),
    peer_ttl_seconds=90,
)
OBSERVER = "hub"


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def alive(current: Manifest | None = None, **change: Any) -> Alive:
    facts = replace(FACTS, **change)
    return Alive(name="web1", facts=facts, seen_by=OBSERVER, evidence=evidence(current))


def evidence(current: Manifest | None) -> Evidence:
    return node.view_manifest("web1", current).evidence if current else Evidence()


def written(decision: object) -> Manifest:
    assert isinstance(decision, Create | Update), decision
    return decision.manifest


def ready_node() -> Manifest:
    return written(decide(None, alive(), now=NOW))


def dead_node() -> Manifest:
    current = ready_node()
    return written(
        decide(current, Silent("web1", evidence(current), standing=True, message="no answer for 90s"), now=later(90))
    )


def ready(manifest: Manifest) -> tuple[str, str]:
    found = node.condition(manifest, "Ready")
    assert found is not None
    return found.status, found.reason


def told(decision: object) -> str:
    assert isinstance(decision, Create | Update)
    assert decision.transition is not None
    return decision.transition.reason


def test_a_proven_machine_becomes_a_node_as_kubernetes_writes_one() -> None:
    made = decide(None, alive(), now=NOW)
    assert told(made) == "Registered"
    manifest = written(made)
    assert manifest["metadata"]["labels"] == {
        "k3.network/managed": "true",
        "k3.network/discovered": "true",
        "kubernetes.io/hostname": "web1",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "arm64",
    }
    assert manifest["status"]["addresses"] == [
        {"type": "Hostname", "address": "web1"},
        {"type": "InternalIP", "address": "10.0.0.7"},
        {"type": "InternalIP", "address": "fd00::1"},
    ]
    notes = manifest["metadata"]["annotations"]
    assert notes["k3.network/lastSeen"] == "2026-11-23T08:00:00.123Z"
    assert (notes["k3.network/port"], notes["k3.network/pid"], notes["k3.network/peer-ttl"]) == ("7946", "42", "90s")
    assert notes["k3.network/seen-by"] == OBSERVER
    assert "k3.network/agent" not in notes
    assert ready(manifest) == ("True", "PeerAlive")
    stamps = {(c["lastHeartbeatTime"], c["lastTransitionTime"]) for c in manifest["status"]["conditions"]}
    assert stamps == {("2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z")}


def test_a_host_name_too_long_for_a_label_is_left_out_of_the_labels_only() -> None:
    name = ".".join(["a" * 50, "b" * 50])
    manifest = written(
        decide(
            None,
            Alive(name=name, facts=replace(FACTS, node=name, hostname=name), seen_by=OBSERVER, evidence=Evidence()),
            now=NOW,
        )
    )
    assert "kubernetes.io/hostname" not in manifest["metadata"]["labels"]
    assert manifest["status"]["addresses"][0] == {"type": "Hostname", "address": name}


@pytest.mark.parametrize(
    ("status", "reason", "standing", "event"),
    [("False", "PeerUnreachable", True, "NodeNotReady"), ("Unknown", "ObserverLost", False, "NodeUnknown")],
)
def test_the_verdict_depends_on_standing(status: str, reason: str, standing: bool, event: str) -> None:
    current = ready_node()
    seen = Silent("web1", evidence(current), standing=standing, message="…")
    decision = decide(current, seen, now=later(90))
    assert ready(written(decision)) == (status, reason)
    assert told(decision) == event
    reachable = node.condition(written(decision), node.REACHABLE)
    assert reachable is not None
    assert reachable.status == status, "who could not ask says nothing of reachability either"
    condition = node.condition(written(decision), "Ready")
    assert condition is not None
    assert condition.transition == "2026-11-23T08:01:30Z"


def test_a_suspicion_is_visible_and_leaves_ready_alone() -> None:
    current = ready_node()
    decision = decide(
        current,
        Suspected(name="web1", evidence=evidence(current), silent_seconds=7.0, message="does not answer hub", seen_by=OBSERVER),
        now=later(20),
    )
    manifest = written(decision)
    assert ready(manifest) == ("True", "PeerAlive")
    reachable = node.condition(manifest, node.REACHABLE)
    assert reachable is not None
    assert (reachable.status, reachable.transition) == ("False", "2026-11-23T08:00:20Z")
    assert manifest["metadata"]["annotations"]["k3.network/lastSeen"] == "2026-11-23T08:00:13.123Z"
    again = decide(manifest, alive(manifest), now=later(21))
    assert node.condition(written(again), node.REACHABLE).status == "True"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [Suspected, Silent, Left, Forgotten])
def test_old_evidence_does_no_harm(kind: type[Observation]) -> None:
    current = ready_node()
    old = evidence(current)
    refreshed = written(decide(current, alive(current), now=later(30)))
    observations: dict[type, Observation] = {
        Suspected: Suspected(name="web1", evidence=old, silent_seconds=5, message="…", seen_by=OBSERVER),
        Silent: Silent("web1", old, standing=True, message="…"),
        Left: Left("web1", old, by_itself=False),
        Forgotten: Forgotten("web1", old),
    }
    assert isinstance(decide(refreshed, observations[kind], now=later(31)), Keep)


def test_the_transition_time_moves_only_with_the_status() -> None:
    current = ready_node()
    refreshed = written(decide(current, alive(current), now=later(30)))
    condition = node.condition(refreshed, "Ready")
    assert condition is not None
    assert (condition.transition, condition.heartbeat) == ("2026-11-23T08:00:00Z", "2026-11-23T08:00:30Z")


def test_a_success_that_somebody_else_has_just_written_is_not_written_again() -> None:
    current = ready_node()
    refreshed = written(decide(current, alive(current), now=later(30)))
    assert isinstance(decide(refreshed, alive(current), now=later(31)), Keep)


def test_facts_follow_and_a_new_address_is_told() -> None:
    current = ready_node()
    decision = decide(current, alive(current, addresses=("10.0.0.8",)), now=later(5))
    assert told(decision) == "AddressChanged"
    assert node.view_manifest("web1", written(decision)).addresses == ("10.0.0.8",)


def test_another_machine_cannot_have_the_name_of_a_live_one() -> None:
    current = ready_node()
    stranger = alive(current, id="f" * 32, addresses=("10.0.0.66",))
    assert isinstance(decide(current, stranger, now=later(5)), Keep)
    decision = decide(current, replace(stranger, displaces="a" * 32), now=later(5))
    assert told(decision) == "IdentityChanged"
    assert node.view_manifest("web1", written(decision)).id == "f" * 32


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_probe_under_way_does_not_undo_a_goodbye(by_itself: bool) -> None:
    current = written(decide(None, Joined(name="web1", facts=FACTS, fresh=True), now=NOW))
    old = evidence(current)
    gone = written(decide(current, Left("web1", old, by_itself=by_itself, boot="b1"), now=later(5)))
    assert ready(gone) == ("False", "NodeShutdown" if by_itself else "PeerLeft")
    assert isinstance(decide(gone, replace(alive(), evidence=old), now=later(5.1)), Keep)
    assert ready(written(decide(gone, alive(gone), now=later(6)))) == ("True", "PeerAlive")
    assert ready(written(decide(gone, replace(alive(boot="b2"), evidence=old), now=later(6)))) == ("True", "PeerAlive")


def test_only_the_first_write_of_a_run_takes_back_what_others_concluded() -> None:
    current = dead_node()
    kept = decide(current, Joined(name="web1", facts=FACTS, fresh=False), now=later(91))
    assert isinstance(kept, Keep) or ready(written(kept))[0] == "False"
    fresh = decide(current, Joined(name="web1", facts=replace(FACTS, boot="b2"), fresh=True), now=later(91))
    assert ready(written(fresh)) == ("True", "SelfRegistered")
    assert told(fresh) == "NodeReady"
    assert written(fresh)["metadata"]["annotations"]["k3.network/agent"] == "b2"


def test_a_machine_nobody_reached_is_shown_and_forgotten_or_proven() -> None:
    decision = decide(
        None, Unproven("web1", FACTS, OBSERVER, "announced, but 10.0.0.7:7946 never answered: firewall?"), now=NOW
    )
    shown = written(decision)
    assert ready(shown) == ("False", "PeerUnreachable")
    assert "k3.network/lastSeen" not in shown["metadata"]["annotations"]
    assert node.view_manifest("web1", shown).is_unproven
    assert isinstance(decide(shown, Forgotten("web1", evidence(shown)), now=later(9)), Delete)
    proven = written(decide(shown, alive(shown), now=later(9)))
    assert ready(proven)[0] == "True"
    assert not node.view_manifest("web1", proven).is_unproven


def test_every_transition_is_numbered() -> None:
    current = ready_node()
    dead = dead_node()
    back = decide(dead, alive(dead), now=later(100))
    assert isinstance(back, Update)
    assert back.transition is not None
    assert (back.transition.reason, back.transition.number) == ("NodeReady", 3)
    assert current["metadata"]["annotations"]["k3.network/transitions"] == "1"


# Ownership


def foreign_nodes() -> list[tuple[str, Manifest]]:
    mine = ready_node()
    unlabelled = copy.deepcopy(mine)
    del unlabelled["metadata"]["labels"]["k3.network/managed"]
    kubelet = copy.deepcopy(mine)
    kubelet["status"]["nodeInfo"] = {"kubeletVersion": "v1.32.4"}
    reason = copy.deepcopy(mine)
    reason["status"]["conditions"][-1 if reason["status"]["conditions"][-1]["type"] == "Ready" else 0]["reason"] = (
        "KubeletReady"
    )
    discovery = copy.deepcopy(unlabelled)
    discovery["metadata"]["labels"]["k3.discovery/managed"] = "true"
    bare: Manifest = {"metadata": {}, "spec": {"taints": [{"key": "k"}]}, "status": None}
    named = ("unlabelled", "kubelet", "foreign reason", "discovery", "bare")
    return list(zip(named, (unlabelled, kubelet, reason, discovery, bare), strict=True))


def everything(current: Manifest) -> list[Observation]:
    now = evidence(current)
    return [
        Alive(name="web1", facts=FACTS, seen_by=OBSERVER, evidence=now, displaces="a" * 32),
        Joined(name="web1", facts=FACTS, fresh=True),
        Suspected(name="web1", evidence=now, silent_seconds=1, message="…", seen_by=OBSERVER),
        Silent("web1", now, standing=True, message="…"),
        Left("web1", now, by_itself=True, boot="b1"),
        Unproven("web1", FACTS, OBSERVER, "…"),
        Forgotten("web1", now),
    ]


@pytest.mark.parametrize(("why", "current"), foreign_nodes())
def test_a_controllers_node_is_never_touched(why: str, current: Manifest) -> None:
    before = copy.deepcopy(current)
    for seen in everything(current):
        decision = decide(current, seen, now=later(200))
        assert isinstance(decision, Keep), (why, seen)
        assert decision.foreign
    assert current == before


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(
    notes=st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=4),
    spec=st.dictionaries(st.text(max_size=8), _JSON, max_size=4),
    extra=st.dictionaries(
        st.text(max_size=8).filter(lambda key: key not in {"conditions", "addresses", "nodeInfo"}), _JSON, max_size=4
    ),
)
def test_what_people_and_programs_added_survives_everything(notes: dict[str, str], spec: Manifest, extra: Manifest) -> None:
    current = ready_node()
    added = {f"example.com/{key}": text for key, text in notes.items()}
    current["metadata"]["annotations"] |= added
    current["metadata"]["labels"] |= added
    current["metadata"]["finalizers"] = ["x"]
    current["spec"] = spec
    current["status"] |= extra
    current["status"]["conditions"].append({"type": "DiskPressure", "status": "False", "odd": 1})
    current["status"]["addresses"].append({"type": "ExternalIP", "address": "192.0.2.1"})
    original = copy.deepcopy(current)
    for seen in everything(current):
        decision = decide(current, seen, now=later(95))
        assert current == original
        if isinstance(decision, Keep | Delete):
            continue
        manifest = written(decision)
        assert added.items() <= manifest["metadata"]["annotations"].items()
        assert added.items() <= manifest["metadata"]["labels"].items()
        assert manifest["metadata"]["finalizers"] == ["x"]
        assert manifest["spec"] == spec
        assert {key: manifest["status"][key] for key in extra} == extra
        assert {"type": "DiskPressure", "status": "False", "odd": 1} in manifest["status"]["conditions"]
        assert {"type": "ExternalIP", "address": "192.0.2.1"} in manifest["status"]["addresses"]


@given(manifest=st.dictionaries(st.sampled_from(["metadata", "spec", "status", "kind"]), _JSON, max_size=4))
def test_no_manifest_is_too_odd(manifest: Manifest) -> None:
    for seen in everything(manifest):
        decide(manifest, seen, now=NOW)
