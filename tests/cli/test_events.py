"""`k3 events`: what has happened, in the order in which it happened, once or as it comes."""

import json
from typing import Any

import pytest
import yaml

from k3.core.objects import EVENT, Key
from tests.cli.conftest import K3, Start, StoreFile


@pytest.fixture
def told(store: StoreFile) -> StoreFile:
    """Events of two machines whose clocks disagree, of one whose name begins like another's, and of a Pod."""
    store.event("web1", 1, "Registered", "web1 registered", at="2026-11-23T08:00:00Z")
    store.event("web2", 1, "NodeNotReady", "no answer", at="2026-11-23T07:00:00Z", warning=True)
    store.event("web1.lan", 3, "NodeReady", "another one", at="2026-11-23T06:00:00Z")
    store.event("web1", 2, "NodeReady", "answers", at="2026-11-23T05:00:00Z")
    store.event("pod1", 1, "Started", "not about a Node", kind="Pod")
    return store


def test_newest_last_as_kubectl_prints_them(k3: K3, told: StoreFile) -> None:
    head, *rows = k3("events", "--store", told.url).out.splitlines()
    assert head.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [row.split(maxsplit=4)[1:] for row in rows] == [
        ["Normal", "Registered", "Node/web1", "web1 registered"],
        ["Warning", "NodeNotReady", "Node/web2", "no answer"],
        ["Normal", "NodeReady", "Node/web1.lan", "another one"],
        ["Normal", "NodeReady", "Node/web1", "answers"],
    ]


@pytest.mark.parametrize("about", ["node/web1", "nodes/web1", "web1"])
def test_of_one_machine(k3: K3, told: StoreFile, about: str) -> None:
    rows = k3("events", "--for", about, "--no-headers", "--store", told.url).out.splitlines()
    assert [row.split(maxsplit=4)[2:4] for row in rows] == [["Registered", "Node/web1"], ["NodeReady", "Node/web1"]]


@pytest.mark.parametrize("words", [("get", "events"), ("get", "ev"), ("event",)])
def test_other_words_for_it(k3: K3, told: StoreFile, words: tuple[str, ...]) -> None:
    assert k3(*words, "--store", told.url, "-o", "json").out == k3("events", "--store", told.url, "-o", "json").out


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_as_a_list_of_v1_events(k3: K3, told: StoreFile, output: str, read: Any) -> None:
    found = read(k3("events", "--store", told.url, "-o", output).out)
    assert [(item["apiVersion"], item["kind"], item["involvedObject"]["name"]) for item in found["items"]] == [
        ("v1", "Event", name) for name in ("web1", "web2", "web1.lan", "web1")
    ]


def test_one_that_came_often_says_how_often(k3: K3, store: StoreFile) -> None:
    store.event("web1", 1, "NodeReady", "answers", at="2026-11-23T08:00:00Z", count=3)
    [row] = k3("events", "--no-headers", "--store", store.url).out.splitlines()
    assert " (x3 over " in row


def test_a_time_that_is_still_to_come_says_nothing(k3: K3, store: StoreFile) -> None:
    store.event("web1", 1, "NodeReady", "answers", at="2996-11-23T08:00:00Z")
    [row] = k3("events", "--no-headers", "--store", store.url).out.splitlines()
    assert row.split()[0] == "<unknown>"


def test_none_is_said_with_the_store(k3: K3, store: StoreFile) -> None:
    result = k3("events", "--for", "node/web1", "--store", store.url)
    assert (result.code, result.out, result.err) == (0, "", f"No events for node/web1 in {store.url}.\n")
    assert k3("events", "--store", store.url).err == f"No events in {store.url}.\n"
    assert json.loads(k3("events", "-o", "json", "--store", store.url).out)["items"] == []


def test_odd_ones_are_rows_like_any_other(k3: K3, store: StoreFile) -> None:
    odd_ones: list[dict[str, Any]] = [{"lastTimestamp": 3, "count": "x", "message": None}, {"type": [], "reason": {}}]
    for number, odd in enumerate(odd_ones):
        store.write(Key(EVENT, f"n.{number}", "default"), {"involvedObject": {"kind": "Node", "name": "n"}, **odd})
    store.write(Key(EVENT, "m.1", "default"), {"involvedObject": []})
    assert [row.split()[0] for row in k3("events", "--no-headers", "--store", store.url).out.splitlines()] == ["<unknown>"] * 2


def test_new_ones_come_by_themselves(start: Start, told: StoreFile) -> None:
    watching = start("events", "-w", "--for", "node/web1", "--store", told.url)
    watching.wait_for("answers")
    told.event("web2", 2, "NodeReady", "not about web1")
    told.event("web1", 3, "NodeNotReady", "it is gone")
    watching.wait_for("it is gone")
    told.event("web1", 1, "NodeReady", "the first name again")
    watching.wait_for("the first name again")
    assert [line.split(maxsplit=4)[2] for line in watching.lines[1:]] == [
        "Registered",
        "NodeReady",
        "NodeNotReady",
        "NodeReady",
    ]
