"""`k3 why`: the cause first, what mends it, exit codes, and what is said where there is nothing to explain."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from k3.core.objects import LEASE, Key, Manifest
from tests.cli.conftest import K3, StoreFile, kubelet_node, node


def at(port: int, manifest: Manifest) -> Manifest:
    """The Node of a machine that is asked on this one."""
    manifest["status"]["addresses"][1]["address"] = "127.0.0.1"
    manifest["metadata"]["annotations"]["k3.network/port"] = str(port)
    return manifest


def down(reason: str = "PeerUnreachable", message: str = "no answer for 90s", **changes: Any) -> Manifest:
    manifest = node("web1", **changes)
    manifest["status"]["conditions"][0].update(status="False", reason=reason, message=message)
    return manifest


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that refuses connections while it is held."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port that takes connections and never answers, as that of a frozen process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_machine_that_is_well(k3: K3, store: StoreFile) -> None:
    result = k3("why", "web1", "--store", store.url)
    assert (result.code, result.err) == (0, "")
    first, empty, cause, *_ = result.out.splitlines()
    assert (first, empty) == ("web1 is Ready", "")
    assert cause.startswith("Ready=True, because it gave the right answer")
    assert "What to do" not in result.out
    assert "Also" not in result.out
    assert "just now" not in result.out, "a machine that is well is left in peace"


def test_the_cause_comes_first_and_what_mends_it_next(k3: K3, store: StoreFile, closed_port: int) -> None:
    store.put("web1", at(closed_port, down(seen_ago=100.0)))
    store.event("web1", 1, "NodeNotReady", "no answer for 90s")
    result = k3("why", "node/web1", "--store", store.url)
    assert result.code == 6
    paragraphs = [" ".join(part.split()) for part in result.out.split("\n\n")]
    assert paragraphs[0].startswith("web1 is NotReady, since 2026-11-23T08:00:00Z (")
    assert paragraphs[1].startswith(
        f"Ready=False, because an agent asked http://127.0.0.1:{closed_port}/info and had no answer"
    )
    assert "What to do: Start k3 on that machine again; if it runs there, open TCP port" in paragraphs[2]
    assert paragraphs[2].endswith("on web1: k3 network")
    assert "the connection is refused: no k3 listens there, or a firewall there refuses" in paragraphs[3]
    assert "events NodeNotReady at" in paragraphs[3]


def test_silence_is_another_thing_than_a_refusal(k3: K3, store: StoreFile, mute_port: int) -> None:
    store.put("web1", at(mute_port, down(seen_ago=100.0)))
    result = k3("why", "web1", "--store", store.url)
    assert "just now: it takes the connection and gives no answer" in " ".join(result.out.split())
    assert "  on web1: ps -o pid,stat,args -C k3\n" in result.out


def test_a_kubelets_node_with_its_lease(k3: K3, store: StoreFile) -> None:
    gone = kubelet_node()
    message = "Kubelet stopped posting node status."
    gone["status"]["conditions"] = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": message}]
    store.put("box", gone)
    spec = {"holderIdentity": "box", "renewTime": "2026-11-23T08:00:00.000000Z"}
    store.write(Key(LEASE, "box", "kube-node-lease"), {"spec": spec})
    result = k3("why", "box", "--store", store.url)
    assert result.code == 6
    assert "its kubelet stopped reporting" in result.out
    assert "  on box: systemctl status kubelet\n" in result.out
    assert "the Lease of box was last renewed at 2026-11-23T08:00:00Z" in result.out
    assert "just now" not in result.out, "k3 asks its own machines only"


def test_all_that_are_not_well_briefly(k3: K3, store: StoreFile) -> None:
    store.put("web2", down("PeerLeft", "said goodbye"))
    result = k3("why", "--store", store.url)
    assert result.code == 6
    heads = [line.partition(",")[0] for line in result.out.splitlines() if line and not line.startswith(" ")]
    assert heads == ["box is NotReady", "web2 is NotReady"]
    assert "  on web2: k3 network\n" in result.out
    assert "Evidence" not in result.out


def test_when_all_are_well(k3: K3, store: StoreFile) -> None:
    store.delete("box")
    result = k3("why", "--store", store.url)
    assert (result.code, result.out, result.err) == (0, "All 2 Nodes are Ready.\n", "")


def test_as_json(k3: K3, store: StoreFile, closed_port: int) -> None:
    store.put("web1", at(closed_port, down(seen_ago=100.0)))
    result = k3("why", "web1", "web2", "-o", "json", "--store", store.url)
    assert result.code == 6
    first, second = json.loads(result.out)["nodes"]
    assert (first["name"], first["isWell"], first["cause"]["rule"]) == ("web1", False, "PeerUnreachable")
    assert (first["command"], first["on"]) == ("k3 network", "web1")
    assert {each["source"] for each in first["evidence"]} == {"this command", "network", "store"}
    assert second["isWell"]
    assert json.loads(k3("why", "-o", "json", "--store", store.url).out)["nodes"][0]["name"] == "box"


def test_a_command_of_k3_names_the_same_store(k3: K3, store: StoreFile) -> None:
    store.put("web1", at(1, node("web1", seen_ago=900.0)))
    result = k3("why", "web1", "--store", store.url)
    assert "web1 is Unknown (no observer)" in result.out
    assert f"  k3 network --store {store.url}\n" in result.out


def test_a_name_that_is_not_there(k3: K3, store: StoreFile) -> None:
    result = k3("why", "web11", "web1", "--store", store.url)
    assert result.code == 3
    assert result.err == f'k3: node "web11" not found in {store.url}; did you mean "web1"?\n'
    assert result.out.startswith("web1 is Ready")
    store.event("gone", 2, "NodeNotReady", "no answer", at="2026-11-23T08:00:00Z")
    assert "it was there: NodeNotReady at 2026-11-23T08:00:00Z" in k3("why", "gone", "--store", store.url).err


def test_an_empty_store_says_how_to_fill_it(k3: K3, store: StoreFile) -> None:
    for name in store.names():
        store.delete(name)
    named, all_ = k3("why", "web1", "--store", store.url), k3("why", "--store", store.url)
    assert (named.code, all_.code) == (3, 0)
    assert f"Start one with: k3 network --store {store.url}" in named.err
    assert all_.err == f"No nodes in {store.url}. Start one with: k3 network --store {store.url}\n"


def test_a_store_that_is_down_is_the_store_s_fault(k3: K3) -> None:
    result = k3("why", "web1", "--store", "etcd://127.0.0.1:1")
    assert result.code == 4
    assert result.out == ""
    assert "127.0.0.1:1" in result.err


def test_text_from_outside_cannot_reach_the_terminal(k3: K3, store: StoreFile) -> None:
    evil = "a\x1b[31m\r\nb\x9bm\u202e{when}{0}"
    manifest = down("PeerUnreachable", evil, seen_ago=100.0)
    notes = {"id": evil, "seen-by": evil, "seen-run": evil, "links": evil, "agent": evil, "boot": evil, "clone-of": evil}
    manifest["metadata"]["annotations"] |= {f"k3.network/{key}": text for key, text in notes.items()}
    store.put("n", at(1, manifest))
    store.event("n", 1, evil, evil)
    for words in (("n",), ()):
        shown = k3("why", *words, "--store", store.url).out
        assert all(line.isprintable() for line in shown.split("\n"))
        assert shown.startswith(("n is", "box is"))


def test_what_is_not_a_node_is_refused(k3: K3, store: StoreFile) -> None:
    result = k3("why", "pod/web1", "--store", store.url)
    assert result.code == 2
    assert "expected NAME or node/NAME" in result.err
