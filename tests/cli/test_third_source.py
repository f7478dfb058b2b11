"""The commands know the Nodes of a source that is one more row in the table."""

import re
from datetime import UTC, datetime

import pytest

from k3.core.sources import SOURCES, SourceRow
from k3.core.times import precise_timestamp
from tests.cli.conftest import K3, StoreFile, node

HOSTS = SourceRow(
    name="hosts", reasons=frozenset({"Listed"}), refresh_seconds=60.0, returns="It returns while the file lists it."
)


@pytest.fixture
def listed(store: StoreFile, monkeypatch: pytest.MonkeyPatch) -> StoreFile:
    monkeypatch.setitem(SOURCES, HOSTS.name, HOSTS)
    made = node("db1")
    made["metadata"] = {
        "labels": HOSTS.labels,
        "annotations": {"k3.hosts/lastSeen": precise_timestamp(datetime.now(UTC)), "k3.hosts/id": "a" * 32, "note": "mine"},
    }
    made["status"]["conditions"][0]["reason"] = "Listed"
    store.put("db1", made)
    return store


def test_nodes_names_it(k3: K3, listed: StoreFile) -> None:
    assert k3("nodes", "db1", "--no-headers", "--store", listed.url).out.split()[:5][-1] == "hosts"


def test_describe_tells_its_evidence_and_leaves_its_annotations_out_of_those_of_others(k3: K3, listed: StoreFile) -> None:
    said = k3("describe", "node", "db1", "--store", listed.url).out
    assert re.search(r"^Source: +k3 hosts$", said, re.MULTILINE)
    assert "a" * 32 in said
    assert "note=mine" in said
    assert "k3.hosts/id" not in said
    assert "Its own agent" not in said


def test_delete_says_when_it_returns(k3: K3, listed: StoreFile) -> None:
    result = k3("delete", "node", "db1", "--store", listed.url)
    assert (result.code, result.err) == (0, "It returns while the file lists it.\n")
