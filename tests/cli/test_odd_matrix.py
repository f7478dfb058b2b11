"""Every command on every kind of store in which there is every odd object: the good ones are shown, the odd ones named."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from k3.core.objects import EVENT, NODE, Key, Manifest
from k3.core.times import timestamp
from k3.stores import connect
from tests.cli.conftest import K3, Start, node
from tests.lab import until
from tests.odd import PATHS
from tests.odd_places import Make, Place, places, strange, unreadable

KINDS: Final = [
    "sqlite",
    pytest.param("mariadb", marks=[pytest.mark.servers("mariadb"), pytest.mark.xdist_group("mariadb")]),
    pytest.param("etcd", marks=pytest.mark.servers("etcd")),
]
NODES: Final = [f"odd-{name}" for name in {**strange("Node"), **unreadable()}]
NO_DOCUMENT: Final = [f"odd-{name}" for name in unreadable()]
LISTS: Final = {
    "table": ["nodes"],
    "wide": ["nodes", "-o", "wide"],
    "json": ["nodes", "-o", "json"],
    "yaml": ["nodes", "-o", "yaml"],
    "name": ["nodes", "-o", "name"],
    "labels": ["nodes", "--show-labels", "-L", "t,kubernetes.io/arch"],
    "by-age": ["nodes", "--sort-by", "age"],
    "by-last-seen": ["nodes", "--sort-by", "last-seen"],
    "by-status": ["nodes", "--sort-by", "status"],
    "by-a-path": ["nodes", "--sort-by", ".status.conditions[0].type"],
    "by-a-part": ["nodes", "--sort-by", ".metadata.labels"],
    "by-name": ["nodes", "good", *(f"node/{name}" for name in NODES)],
    "described": ["describe", "nodes"],
}
"""Commands that show all Nodes."""
SELECTED: Final = {
    "nodes": ["nodes", "-l", "is=good"],
    "nodes-absent": ["nodes", "-l", "is in (good),!absent", "-o", "name"],
    "describe": ["describe", "nodes", "-l", "is=good"],
}
EVENTS: Final = {
    "table": ["events"],
    "json": ["events", "-o", "json"],
    "yaml": ["events", "-o", "yaml"],
    "for-one": ["events", "--for", "node/good"],
}


@pytest.fixture(scope="module", params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    with places(request.param, tmp_path_factory.mktemp("odd")) as made:
        yield made


def filled(make: Make) -> Place:
    place = make()
    good = node("good", labels={"is": "good"})
    event: Manifest = {"involvedObject": {"kind": "Node", "name": "good"}, "reason": "Good", "message": "it answers"}
    event["lastTimestamp"] = timestamp(datetime.now(UTC))

    async def write() -> None:
        store = await connect(place.storage)
        await store.create(Key(NODE, "good"), good)
        await store.create(Key(EVENT, "good.1", "default"), event)
        await store.aclose()

    asyncio.run(write())
    place.fill()
    return place


@pytest.fixture(scope="module")
def shown(make: Make) -> Place:
    """One that is only read."""
    return filled(make)


@pytest.fixture
def ask(k3: K3, shown: Place, monkeypatch: pytest.MonkeyPatch) -> K3:
    """A command on the store."""
    for name, value in shown.environ.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str):  # type: ignore[no-untyped-def] # noqa: ANN202 - as K3 has it
        done = k3(*arguments, "--store", shown.storage.url)
        assert "Traceback" not in done.err
        assert "unexpected" not in done.err
        return done

    return run


@pytest.mark.parametrize("command", LISTS.values(), ids=LISTS)
def test_a_list_has_the_good_one_and_every_odd_one(ask: K3, command: list[str]) -> None:
    done = ask(*command)
    assert done.code == 0, done.err
    assert "good" in done.out
    assert [name for name in NODES if name not in done.out] == []
    if command[:2] in (["nodes"], ["nodes", "-o"]) and "wide" in command:
        assert [name for name in NO_DOCUMENT if done.err.count(f"Node {name}: this object cannot be read") != 1] == []
    if "json" in command:
        assert len(json.loads(done.out)["items"]) == len(NODES) + 1


def test_what_is_no_document_is_unreadable_and_nothing_else_is(ask: K3) -> None:
    rows = {line.split()[0]: line.split()[1] for line in ask("nodes", "--no-headers").out.splitlines()}
    found = {name for name, state in rows.items() if state == "Unreadable"}
    assert found >= set(NO_DOCUMENT)
    assert found - set(NO_DOCUMENT) <= {f"odd-{name}" for name in unreadable()} | {f"odd-{name}" for name in strange("Node")}
    assert rows["good"] == "Ready"


@pytest.mark.parametrize("command", SELECTED.values(), ids=SELECTED)
def test_a_selector_finds_the_good_one_alone(ask: K3, command: list[str]) -> None:
    done = ask(*command)
    assert done.code == 0, done.err
    assert "good" in done.out
    assert "odd-" not in done.out


@pytest.mark.parametrize("command", EVENTS.values(), ids=EVENTS)
def test_events_show_the_good_one_and_say_which_cannot_be_read(ask: K3, command: list[str]) -> None:
    done = ask(*command)
    assert done.code == 0, done.err
    assert "it answers" in done.out
    named = [name for name in NO_DOCUMENT if f"Event default/{name}: this object cannot be read" in done.err]
    assert named == ([] if "--for" in command else NO_DOCUMENT)


@pytest.mark.parametrize("more", [[], ["--read-only"]], ids=["writing", "read-only"])
def test_check_lists_every_one_of_every_kind(ask: K3, more: list[str]) -> None:
    done = ask("store", "check", *more)
    assert done.code == 1
    for name in NO_DOCUMENT:
        assert f"Node {name}: " in done.out
        assert f"Event default/{name}: " in done.out
        assert f"Lease kube-system/{name}: " in done.out


def test_copy_takes_all_that_can_be_read(k3: K3, shown: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in shown.environ.items():
        monkeypatch.setenv(name, value)
    target = f"sqlite://{tmp_path}/copy.db"
    done = k3("store", "copy", shown.storage.url, target)
    assert done.code == 0, done.err
    assert done.out.count("left out, since they cannot be read") == len(PATHS)
    names = k3("nodes", "-o", "name", "--store", target).out.split()
    assert "node/good" in names
    assert not {f"node/{name}" for name in NO_DOCUMENT} & set(names)


def test_delete_removes_every_one(make: Make, k3: K3, monkeypatch: pytest.MonkeyPatch) -> None:
    place = filled(make)
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)
    done = k3("delete", "node", *NODES, "--store", place.storage.url)
    assert done.code == 0, done.err
    assert k3("nodes", "-o", "name", "--store", place.storage.url).out == "node/good\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["nodes", "-w"], ["nodes", "-w", "-o", "json"], ["events", "-w"]], ids=" ".join)
def test_a_watch_goes_on(make: Make, start: Start, command: list[str]) -> None:
    place = filled(make)
    watching = start(*command, "--store", place.storage.url, **place.environ)
    until(lambda: "good" in watching.text, what=lambda: watching.text)
    for kind in PATHS:
        for name, document in unreadable().items():
            place.put(kind, f"late-{name}", document)
    event = b'{"involvedObject":{"kind":"Node","name":"later"},"message":"later"}'
    place.put("Event", "later.1", event)
    place.put("Node", "later", b"{}")
    until(lambda: "later" in watching.text, what=lambda: watching.text)
    assert watching.running
    assert "Traceback" not in watching.text
