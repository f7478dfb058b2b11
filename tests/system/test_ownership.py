"""What k3 does not own it does not touch, and what people put on its Nodes stays."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from k3.core.objects import EVENT, NODE, Key, Manifest, Object
from k3.core.store import Store, modify
from tests.lab import Lan, until
from tests.system.agents import Agent, is_ready
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

KUBELET_NODE: Manifest = {
    "metadata": {"labels": {"node-role.kubernetes.io/worker": ""}, "annotations": {"k3.network/lastSeen": "long ago"}},
    "spec": {"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}], "odd": {"unknown": [1, 2.5, None]}},
    "status": {
        "conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastHeartbeatTime": ""}],
        "nodeInfo": {"kubeletVersion": "v1.33.1"},
        "capacity": {"cpu": "4"},
    },
}


def get(agent: Agent, name: str) -> Object:
    return agent.in_store(lambda store: store.get(Key(NODE, name)))


def change(agent: Agent, name: str, edit: Callable[[Manifest], None]) -> Object:
    """Edit a Node as a person would: read, change, write."""

    def edited(manifest: Manifest) -> Manifest:
        edit(manifest)
        return manifest

    return agent.in_store(lambda store: modify(store, Key(NODE, name), edited))


@contextmanager
def controller(agent: Agent, item: Object) -> Iterator[list[Object]]:
    """An owner that writes its Node again and again and never reads it: anyone else's write ends it with a Conflict."""
    stop = threading.Event()
    written = [item]

    async def work(store: Store) -> None:
        while not stop.is_set():
            manifest = written[-1].manifest()
            manifest["status"]["conditions"][0]["lastHeartbeatTime"] = datetime.now(UTC).isoformat()
            written.append(await store.update(written[-1].with_manifest(manifest)))
            await asyncio.sleep(0.05)

    failures: list[BaseException] = []

    def run() -> None:
        try:
            agent.in_store(work)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def assert_told_once(agent: Agent, name: str) -> None:
    said = [line for line in agent.process.lines if "node.not_ours" in line and f"node={name} " in line]
    assert len(said) == 1, (name, said)


def test_a_node_of_a_controller_stays_byte_for_byte(fleet: MakeFleet) -> None:
    """Two machines live all their lives under names that belong to a controller, in a's store; d is ours and shows the time.

    The controller of b is idle, that of c writes all the time.
    """
    machines = fleet("a", "b", "c", "d", start=False)
    a = machines["a"]
    idle, busy = (a.in_store(lambda store, name=name: store.create(Key(NODE, name), KUBELET_NODE)) for name in ("b", "c"))  # type: ignore[misc]
    a.watch()
    with controller(a, busy) as written:
        for agent in machines.agents:
            agent.start()
        a.watcher.wait_for("d", is_ready)
        died = datetime.now(UTC)
        for name in "bcd":
            machines[name].kill()
        # How it is called depends on whether a had reached d itself before.
        a.watcher.wait_for("d", lambda sight: not sight.view.is_ready, since=died)
        again = datetime.now(UTC)
        for name in "bcd":
            machines[name].start()
        back = a.watcher.wait_for("d", is_ready, since=again)
        for name in "bcd":
            machines[name].process.wait_for("mdns.interfaces")
            machines[name].stop()
        left = a.watcher.wait_for("d", lambda sight: not sight.view.is_ready, since=back.at)
        for name in "bcd":
            machines[name].start("--node-name", name)
        a.watcher.wait_for("d", is_ready, since=left.at)
        for name in "bcd":
            machines[name].process.wait_for("This machine is on the list")
    assert get(a, "b") == idle
    assert get(a, "c") == written[-1]
    assert len(written) > 20
    events = a.in_store(lambda store: store.list(EVENT, namespace="default")).objects
    assert {item.manifest()["involvedObject"]["name"] for item in events} <= {"a", "d"}
    for name in "bc":
        assert_told_once(a, name)


def unlabel(manifest: Manifest) -> None:
    del manifest["metadata"]["labels"]["k3.network/managed"]


def report_ready(manifest: Manifest) -> None:
    ready = next(each for each in manifest["status"]["conditions"] if each["type"] == "Ready")
    ready |= {"reason": "MyControllerSaysSo", "message": "trust me"}


def run_kubelet(manifest: Manifest) -> None:
    manifest["status"]["nodeInfo"] = {"kubeletVersion": "v1.33.1"}


TAKEOVERS = {"b": unlabel, "c": report_ready, "d": run_kubelet}


def test_a_controller_takes_over(fleet: MakeFleet) -> None:
    """Three Nodes are taken over, each in another way; e stays ours and shows how far we are."""
    machines = fleet("a", *TAKEOVERS, "e")
    a = machines["a"]
    taken = {name: change(a, name, edit) for name, edit in TAKEOVERS.items()}
    died = datetime.now(UTC)
    for name in (*TAKEOVERS, "e"):
        machines[name].kill()
    a.watcher.wait_for("e", lambda sight: sight.ready == ("False", "PeerUnreachable"), since=died)
    again = datetime.now(UTC)
    for name in (*TAKEOVERS, "e"):
        machines[name].start()
    for name in TAKEOVERS:
        machines[name].process.wait_for("This machine is on the list")
    back = a.watcher.wait_for("e", is_ready, since=again)
    for name in (*TAKEOVERS, "e"):
        machines[name].stop()
    a.watcher.wait_for("e", lambda sight: not sight.view.is_ready, since=back.at)
    for name, item in taken.items():
        assert get(a, name) == item, name
    for name in TAKEOVERS:
        assert_told_once(a, name)


PERSON: dict[str, Any] = {
    "taints": [{"key": "maintenance", "effect": "NoExecute"}],
    "capacity": {"example.com/gpu": "2"},
    "condition": {"type": "DiskPressure", "status": "False", "reason": "Enough", "message": "", "x": [1]},
    "address": {"type": "ExternalDNS", "address": "b.example.com"},
}


def decorate(manifest: Manifest) -> None:
    manifest["metadata"]["labels"] |= {"rack": "r7", "k3.example.com/role": "db"}
    manifest["metadata"]["annotations"] |= {"note": "do not unplug"}
    manifest["metadata"]["finalizers"] = ["example.com/keep"]
    manifest["spec"] |= {"taints": PERSON["taints"], "unschedulable": True, "providerID": "x://1"}
    manifest["status"]["capacity"] = PERSON["capacity"]
    manifest["status"]["conditions"].insert(0, PERSON["condition"])
    manifest["status"]["addresses"].append(PERSON["address"])
    manifest["future"] = {"field": True}


def check_decorations(manifest: Manifest) -> None:
    metadata, status = manifest["metadata"], manifest["status"]
    assert metadata["labels"].items() >= {"rack": "r7", "k3.example.com/role": "db"}.items()
    assert metadata["annotations"]["note"] == "do not unplug"
    assert metadata["finalizers"] == ["example.com/keep"]
    assert manifest["spec"] == {"taints": PERSON["taints"], "unschedulable": True, "providerID": "x://1"}
    assert status["capacity"] == PERSON["capacity"]
    assert PERSON["condition"] in status["conditions"]
    assert PERSON["address"] in status["addresses"]
    assert manifest["future"] == {"field": True}


def test_what_people_put_on_a_node_stays(fleet: MakeFleet, lan: Lan) -> None:
    """Through a death, a rejoin, an address change and a goodbye; each of these is told once, as an Event of a bounded name."""
    machines = fleet("a", "b")
    a, b = machines["a"], machines["b"]

    def near_the_end_of_names(manifest: Manifest) -> None:
        decorate(manifest)
        manifest["metadata"]["annotations"]["k3.network/transitions"] = "62"

    uid = change(a, "b", near_the_end_of_names).uid
    died = b.kill()
    verdict = a.watcher.wait_for("b", lambda sight: not sight.view.is_ready, since=died)
    b.start()
    back = a.watcher.wait_for("b", is_ready, since=verdict.at)
    lan.nic(b.host).readdress("10.77.1.200/24")
    moved = a.watcher.wait_for("b", lambda sight: "10.77.1.200" in sight.view.addresses, since=back.at)
    assert moved.view.addresses == ("10.77.1.200",)
    until(lambda: is_ready(a.watcher.last("b")))
    left = b.stop()
    a.watcher.wait_for("b", lambda sight: not sight.view.is_ready, since=left)
    for sight in a.watcher.of("b", since=died):
        check_decorations(sight.manifest)
        assert sight.manifest["metadata"]["uid"] == uid
    expected = {"b.63": "NodeNotReady", "b.0": "NodeReady", "b.1": "AddressChanged", "b.2": "NodeNotReady"}
    until(lambda: expected.items() <= reasons(a, "b").items(), what=lambda: f"{expected} in {reasons(a, 'b')}")
    assert set(reasons(a, "b")) == {*expected, "b.1"}
    for item in a.in_store(lambda store: store.list(EVENT, namespace="default")).objects:
        check_event(item.manifest(), {name: get(a, name).uid for name in ("a", "b")})


def reasons(agent: Agent, about: str) -> dict[str, str]:
    """The Events about a Node: name and reason."""
    found = [item.manifest() for item in agent.in_store(lambda store: store.list(EVENT, namespace="default")).objects]
    return {each["metadata"]["name"]: each["reason"] for each in found if each["involvedObject"]["name"] == about}


def check_event(manifest: Manifest, uids: dict[str, str]) -> None:
    about = manifest["involvedObject"]
    assert (manifest["apiVersion"], manifest["kind"], manifest["metadata"]["namespace"]) == ("v1", "Event", "default")
    assert (about["kind"], about["uid"]) == ("Node", uids[about["name"]])
    assert manifest["type"] == (
        "Warning" if manifest["reason"] == "NodeNotReady" and manifest["message"].startswith("no ") else "Normal"
    )
    assert manifest["source"]["component"] == "k3-network"
    assert manifest["message"]


def test_each_transition_is_told_once(fleet: MakeFleet) -> None:
    machines = fleet("a", "b", "c")
    a, c = machines["a"], machines["c"]
    until(lambda: "c.1" in reasons(a, "c"))  # it comes right behind the Node, and a kill in between loses it
    died = c.kill()
    verdict = a.watcher.wait_for("c", lambda sight: not sight.view.is_ready, since=died)
    c.start()
    back = a.watcher.wait_for("c", is_ready, since=verdict.at)
    expected = {"c.1": "Registered", "c.2": "NodeNotReady", "c.3": "NodeReady"}
    until(lambda: reasons(a, "c") == expected, what=lambda: f"{expected}, not {reasons(a, 'c')}")
    assert back.view.annotations["k3.network/transitions"] == "3"
    assert reasons(a, "a") == {"a.1": "Registered"}


def test_a_deleted_machine_that_lives_returns(fleet: MakeFleet) -> None:
    machines = fleet("a", "b")
    a = machines["a"]
    former = get(a, "b")
    change(a, "b", decorate)
    deleted = datetime.now(UTC)
    done = a.run("delete", "node", "b")
    assert done.returncode == 0, done.stderr
    assert "returns" in done.stderr + done.stdout
    gone = a.watcher.wait_for("b", lambda sight: sight.is_deleted, since=deleted)
    back = a.watcher.wait_for("b", lambda sight: is_ready(sight) and sight.revision > gone.revision, since=gone.at)
    assert back.manifest["metadata"]["uid"] != former.uid
    assert "rack" not in back.manifest["metadata"]["labels"], "a new Node, not the old one out of somebody's memory"
    kept = deepcopy(back.manifest["status"]["addresses"])
    assert kept == former.manifest()["status"]["addresses"]
    machines.wait_ready()
