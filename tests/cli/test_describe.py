"""`k3 describe`: why a machine is as it is, and what to do about it."""

from typing import Any

import pytest

from k3.core.objects import Manifest
from k3.view import words
from tests.cli.conftest import K3, StoreFile, node


def told(text: str, title: str) -> str:
    """What stands behind a title."""
    return next(line.partition(":")[2].strip() for line in text.splitlines() if line.strip().startswith(f"{title}:"))


def section(text: str, title: str) -> list[str]:
    """The lines below a title."""
    lines = text.splitlines()
    below = lines[lines.index(f"{title}:") + 1 :]
    end = next((number for number, line in enumerate(below) if not line.startswith("  ")), len(below))
    return [line.strip() for line in below[:end]]


def down(reason: str, message: str, **changes: Any) -> Manifest:
    """A Node of k3's that is not Ready."""
    manifest = node("n", **changes)
    manifest["status"]["conditions"][0].update(status="False", reason=reason, message=message)
    return manifest


def test_says_why_it_is_not_ready_and_what_to_do(k3: K3, store: StoreFile) -> None:
    manifest = down("PeerUnreachable", "no answer for 90 s")
    manifest["metadata"]["annotations"] |= {
        "k3.network/seen-by": "alpha",
        "k3.network/agent": "b" * 16,
        "k3.network/boot": "b" * 16,
        "k3.network/id": "1" * 32,
        "k3.network/links": "10.0.0.0/24",
        "k3.network/pid": "4711",
        "example.org/owner": "ann",
    }
    store.put("n", manifest)
    store.event("n", 1, "Registered", "n registered with 10.0.0.7")
    store.event("n", 2, "NodeNotReady", "no answer for 90 s")
    store.event("other", 1, "NodeReady", "not about n")
    text = k3("describe", "node", "n", "--store", store.url).out
    assert told(text, "Name") == "n"
    assert told(text, "Status") == "NotReady"
    assert told(text, "Since").startswith("2026-11-23T08:00:00Z (")
    assert told(text, "Reason") == "PeerUnreachable"
    assert told(text, "Message") == "no answer for 90 s"
    assert told(text, "Command") == "curl -m 3 http://10.0.0.7:7946/info"
    assert told(text, "Source") == "k3 network"
    assert "InternalIP  10.0.0.7" in section(text, "Addresses")
    evidence = "\n".join(section(text, "Evidence"))
    for title, value in (("Seen by", "alpha"), ("Asked at", "10.0.0.7:7946"), ("Process", "4711"), ("Links", "10.0.0.0/24")):
        assert told(evidence, title) == value
    assert (told(evidence, "Boot"), told(evidence, "Id")) == ("b" * 16, "1" * 32)
    assert told(evidence, "Its own agent") == "writes to this store"
    assert section(text, "Annotations of others") == ["example.org/owner=ann"]
    assert "k3.network/managed=true" in section(text, "Labels")
    head, ready = section(text, "Conditions")
    assert head.split() == ["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"]
    assert ready.startswith("Ready   False ")
    assert ready.endswith("PeerUnreachable   no answer for 90 s")
    events = section(text, "Events")
    assert [line.split()[2] for line in events[1:]] == ["Registered", "NodeNotReady"]


def test_a_controllers_node_is_the_controllers_to_explain(k3: K3, store: StoreFile) -> None:
    text = k3("describe", "node", "box", "--store", store.url).out
    assert told(text, "Source") == "a controller; k3 writes nothing here"
    assert told(text, "Command") == "on that machine: journalctl -u kubelet -n 50"
    assert "osImage:                  Debian 12" in section(text, "System info")
    assert "Evidence:" not in text
    assert text.endswith("Events:  none\n")


@pytest.mark.parametrize(
    "words", [("node", "web1", "web2"), ("node/web1", "no/web2"), ("web1", "web2"), ("nodes", "-l", "tier"), ("-l", "tier")]
)
def test_several_however_they_are_named(k3: K3, store: StoreFile, words: tuple[str, ...]) -> None:
    text = k3("describe", *words, "--store", store.url).out
    assert [line.split()[1] for line in text.splitlines() if line.startswith("Name:")] == ["web1", "web2"]


def test_all_of_them(k3: K3, store: StoreFile) -> None:
    assert k3("describe", "nodes", "--store", store.url).out.count("Name:") == 3


def test_one_that_is_missing_is_said_behind_the_others(k3: K3, store: StoreFile) -> None:
    result = k3("describe", "nobody", "web1", "--store", store.url)
    assert result.code == 3
    assert result.out.count("Name:") == 1
    assert result.err == f'k3: node "nobody" not found in {store.url}\n'


def test_text_from_outside_cannot_reach_the_terminal(k3: K3, store: StoreFile) -> None:
    evil = "a\x1b[31m\r\nb\x9bm\u202e"
    manifest = down("PeerUnreachable", evil, labels={"x": evil}, info={"osImage": evil})
    manifest["metadata"]["annotations"] |= {"x/y": evil, "k3.network/id": evil, "k3.network/seen-by": evil}
    manifest["spec"] = {"taints": [{"key": evil, "effect": evil}]}
    manifest["status"]["capacity"] = {evil: evil}
    store.put("n", manifest)
    store.event("n", 1, evil, evil)
    for command in (("describe", "n"), ("events",), ("nodes", "-o", "wide", "--show-labels", "-L", f"x{evil}")):
        shown = k3(*command, "--store", store.url).out
        assert all(line.isprintable() for line in shown.split("\n"))
        assert "[31m" in shown


def test_what_it_means_and_what_to_do_are_said_where_it_is_not_well(k3: K3, store: StoreFile) -> None:
    store.put("n", down("PeerLeft", "said goodbye"))
    text = k3("describe", "n", "--store", store.url).out
    entry = words.of_reason("PeerLeft")
    assert (told(text, "Means"), told(text, "What to do")) == (entry.means, entry.do)
    assert told(text, "Command") == "on that machine: k3 network"
    store.put("m", node("m", seen_ago=900.0))
    assert told(k3("describe", "m", "--store", store.url).out, "Command") == f"k3 network --store {store.url}"
    well = k3("describe", "web1", "--store", store.url).out
    assert not [title for title in ("Means", "What to do", "Command") if f"{title}:" in well]


@pytest.mark.parametrize(
    "manifest",
    [
        {"metadata": {"labels": None, "annotations": {}, "name": None}, "spec": {"taints": 3}, "status": {"nodeInfo": 1}},
        {"spec": {"taints": [None, {}]}, "status": {"conditions": [None, {"type": "Ready"}, {"type": 3}], "capacity": []}},
    ],
)
def test_an_odd_node_is_described_like_any_other(k3: K3, store: StoreFile, manifest: Manifest) -> None:
    store.put("odd", manifest)
    result = k3("describe", "odd", "--store", store.url)
    assert (result.code, result.err) == (0, "")
    assert told(result.out, "Name") == "odd"
