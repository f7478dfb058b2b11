"""A third source: one row in the table, and everything that reads Nodes knows its Nodes."""

import ast
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from k3.core import freshness, node, ownership, times
from k3.core.decision import Keep, Update
from k3.core.objects import Manifest
from k3.core.observation import Alive, Evidence, Facts
from k3.core.sources import DISCOVERY, NETWORK, SOURCES, SourceRow
from k3.network import policy
from k3.view import node_table
from k3.view.cells import Moment
from tests.source import READERS, trees

ROWS: Final = (NETWORK, DISCOVERY)
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
HOSTS = SourceRow(
    name="hosts", reasons=frozenset({"Listed", "Unlisted"}), refresh_seconds=60.0, returns="It returns while the file lists it."
)


@pytest.fixture(autouse=True)
def _third(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, HOSTS.name, HOSTS)


def manifest(reason: str = "Listed", status: str = "True", **notes: str) -> Manifest:
    return {
        "metadata": {
            "name": "web1",
            "labels": HOSTS.labels,
            "annotations": {f"k3.hosts/{key.replace('_', '-')}": text for key, text in notes.items()},
        },
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "as the file says"}]},
    }


def test_the_table_names_the_source_and_when_it_saw_the_machine() -> None:
    shown = manifest(lastSeen=times.precise_timestamp(NOW - timedelta(seconds=7)))
    cells = dict(zip(node_table.titles(wide=False), node_table.row(shown, Moment(NOW), wide=False), strict=True))
    assert (cells["SOURCE"], cells["STATUS"], cells["LAST SEEN"]) == ("hosts", "Ready", "7s ago")


@pytest.mark.parametrize(("age", "agrees"), [(119, True), (121, False)])
def test_its_nodes_are_unobserved_after_twice_its_refresh_time(age: int, agrees: bool) -> None:
    shown = manifest(lastSeen=times.precise_timestamp(NOW - timedelta(seconds=age)))
    assert freshness.agrees(ownership.view("web1", shown), NOW) is agrees


def test_a_reason_that_is_not_in_its_row_is_a_controllers() -> None:
    assert ownership.owner(manifest()) == "hosts"
    assert ownership.owner(manifest("KubeletReady")) is None


def test_another_source_adopts_its_node_and_leaves_nothing_of_it() -> None:
    current = manifest("Unlisted", "False", id="a" * 32, lastSeen="2026-11-23T07:00:00Z", transitions="4")
    facts = Facts(node="web1", addresses=("10.0.0.7",), port=7946, id="a" * 32, boot="b" * 16)
    shown = node.view_manifest("web1", current).evidence
    assert isinstance(
        policy.decide(current, Alive(name="web1", facts=facts, seen_by="hub", evidence=Evidence()), now=NOW), Keep
    )
    decision = policy.decide(
        current, Alive(name="web1", facts=facts, seen_by="hub", evidence=Evidence(), adopts=shown), now=NOW
    )
    assert isinstance(decision, Update)
    assert decision.transition is not None
    assert (decision.transition.number, decision.transition.message) == (5, "k3 hosts had given it up; it answers hub")
    assert ownership.owner(decision.manifest) == "network"
    metadata = decision.manifest["metadata"]
    assert not [key for key in [*metadata["labels"], *metadata["annotations"]] if key.startswith("k3.hosts/")]


def test_of_two_sources_labels_the_first_rows_counts() -> None:
    both = manifest()
    both["metadata"]["labels"] |= DISCOVERY.labels
    assert node.view_manifest("web1", both).owner == "discovery"
    both["metadata"]["labels"] |= NETWORK.labels
    assert node.view_manifest("web1", both).owner == "network"


_NAMED_THERE = ("network", "discovery", "daemon")
"""The sources' own packages, and the composition root."""
_COMMANDS = {
    "core/sources.py",  # the table
    "cli/__init__.py",  # the list of commands
    "cli/network.py",  # the command of each, and the one of both
    "cli/discovery.py",
    "cli/up.py",
    "settings/options.py",  # the section of the file that a command reads
}


def in_texts(tree: ast.AST) -> set[str]:
    """The sources that a text of the code names, by the name alone or by the prefix. A docstring is none of its texts."""
    docs = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    nodes = (each for each in ast.walk(tree) if isinstance(each, ast.Constant) and id(each) not in docs)
    texts = [each.value for each in nodes if isinstance(each.value, str)]
    return {row.name for row in ROWS if any(text == row.name or row.prefix in text for text in texts)}


def in_imports(tree: ast.AST) -> set[str]:
    """The sources whose row of the table the code imports."""
    imported = {each.name for each in ast.walk(tree) if isinstance(each, ast.alias)}
    return {row.name for row in ROWS if row.name.upper() in imported}


@READERS
def test_nothing_but_the_table_and_their_own_commands_names_a_source() -> None:
    found = {name for name, tree in trees().items() if name.partition("/")[0] not in _NAMED_THERE and in_texts(tree)}
    assert found <= _COMMANDS


@READERS
@pytest.mark.parametrize("source", [row.name for row in ROWS])
def test_a_source_does_not_name_another_one(source: str) -> None:
    found = {
        name
        for name, tree in trees().items()
        if name.partition("/")[0] == source and (in_texts(tree) | in_imports(tree)) - {source}
    }
    assert found == set()
