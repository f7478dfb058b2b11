"""Conditions of a Node: of several of one type the last counts, and a writer leaves one."""

from datetime import UTC, datetime

from k3.core import node
from k3.core.objects import Manifest

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def twice() -> Manifest:
    kinds = [("Ready", "False"), ("Other", "True"), ("Ready", "True")]
    return {"status": {"conditions": [{"type": type_, "status": status} for type_, status in kinds]}}


def test_the_last_condition_of_a_type_counts() -> None:
    found = node.condition(twice(), node.READY)
    assert found is not None
    assert found.status == node.condition_status(twice(), node.READY) == "True"
    assert node.condition_status(twice(), "Missing") is None
    assert node.condition_status({"status": {"conditions": [{"type": "Ready", "status": 1}]}}, node.READY) == ""


def test_a_condition_that_is_written_is_the_only_one_of_its_type() -> None:
    manifest = twice()
    node.set_condition(manifest, node.READY, status="False", reason="PeerLeft", message="", now=NOW)
    found = [(each["type"], each["status"]) for each in manifest["status"]["conditions"]]
    assert found == [("Other", "True"), ("Ready", "False")]
    node.set_condition(manifest, node.READY, status="False", reason="PeerLeft", message="", now=NOW)
    assert [(each["type"], each["status"]) for each in manifest["status"]["conditions"]] == found


def test_the_first_address_of_a_type() -> None:
    addresses = [{"type": "InternalIP"}, 3, {"type": "InternalIP", "address": "10.0.0.1"}]
    assert node.first_address({"status": {"addresses": addresses}}, "InternalIP") == "10.0.0.1"
    assert node.first_address({"status": {"addresses": "x"}}, "InternalIP") == ""
