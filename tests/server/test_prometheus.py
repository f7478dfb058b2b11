"""What Prometheus reads: the metrics of kube-state-metrics, the server's own, and the targets of `/sd`."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from k3.agent.cache import Cache
from k3.agent.faults import Faults
from k3.core.objects import LEASE, NODE, Key, Manifest, Object
from k3.server import kube_metrics, metrics, targets
from k3.server.metrics import Exposition
from k3.server.status import Refused
from k3.stores.enduring import EnduringStore
from k3.stores.memory import MemoryStore
from k3.view.cells import Moment
from tests import odd_places
from tests.exposition import Read, parse

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
LABELS = {
    "node-role.kubernetes.io/worker": "",
    "kubernetes.io/arch": "arm64",
    "a.b/c": "1",
    "a_b/c": "2",
    "someCamelCase": 'say "\\"\nno more',
    "k3.network/managed": "true",
}
N1: Manifest = {
    "metadata": {
        "name": "n1",
        "creationTimestamp": "2026-11-23T07:00:00Z",
        "deletionTimestamp": "2026-11-23T07:30:00Z",
        "labels": LABELS,
        "annotations": {"k3.network/lastSeen": "2026-11-23T07:59:59Z", "example.org/owner": "me"},
    },
    "spec": {
        "unschedulable": True,
        "podCIDR": "10.1.0.0/24",
        "providerID": "x://1",
        "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}, {"key": "k2", "effect": "NoExecute"}],
    },
    "status": {
        "conditions": [
            {"type": "Ready", "status": "Unknown", "reason": "ObserverLost"},
            {"type": "Ready", "status": "True", "reason": "PeerAlive"},
            {"type": "k3.network/Reachable", "status": "False"},
        ],
        "addresses": [
            {"type": "Hostname", "address": "n1"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "InternalIP", "address": "fd00::1"},
        ],
        "nodeInfo": {"kernelVersion": "6.12", "osImage": "Debian 13", "systemUUID": "u", "kubeletVersion": ""},
        "capacity": {
            "cpu": "3500m",
            "memory": "16Gi",
            "ephemeral-storage": 1000,
            "pods": "110",
            "hugepages-2Mi": "0",
            "nvidia.com/gpu": "2",
            "batch.kubernetes.io/x": "1",
            "odd": "1",
        },
        "allocatable": {"cpu": 4, "memory": "1e3", "pods": "many"},
    },
}


class Site:
    """A store with its caches, and the page about them."""

    def __init__(self, **options: Any) -> None:
        self.store = MemoryStore()
        self.nodes, self.leases = (Cache(self.store, kind, random=Random(1)) for kind in (NODE, LEASE))
        self.page = Exposition(self.nodes, self.leases, lambda: {"nodes": 2}, **options)

    async def put(self, manifest: Manifest, kind: Any = NODE) -> Object:
        return await self.store.create(Key(kind, manifest["metadata"]["name"], "kube-node-lease"), manifest)

    async def read(self) -> dict[str, Read]:
        await self.nodes.load()
        await self.leases.load()
        pieces = [piece async for piece in self.page.pieces()]
        return parse(b"".join(pieces).decode())


@asynccontextmanager
async def site(**options: Any) -> AsyncIterator[Site]:
    found = Site(**options)
    try:
        yield found
    finally:
        await found.store.aclose()


async def test_an_empty_store_is_the_servers_own_page() -> None:
    async with site() as there:
        found = await there.read()
        assert set(found) == {"k3_build_info", "k3_store_up", "k3_server_watchers"}
        assert found["k3_server_watchers"].of(resource="nodes") == 2


async def test_faults_and_what_the_store_takes_are_told_in_one_place_whoever_meets_them() -> None:
    faults = Faults()
    async with site() as there:
        store = EnduringStore(there.store)
        there.page = Exposition(there.nodes, there.leases, store=store, faults=faults)
        with faults.survived("server.request"):
            raise RuntimeError
        found = await there.read()
        [id_] = faults.counts
        assert found["k3_faults_total"].of(fault=id_) == 1
        assert found["k3_store_writable"].of() == 1


def samples(manifest: Manifest, **options: Any) -> dict[str, Read]:
    families = kube_metrics.node_families(**options)
    lines = kube_metrics.rendered(families, (("node", "n1"),), manifest)
    return parse("".join(each.head + text.decode() for each, text in zip(families, lines, strict=True) if text))


def test_a_node_in_the_words_of_kube_state_metrics() -> None:
    found = samples(N1)
    assert found["kube_node_created"].of(node="n1") == 1_795_417_200
    assert found["kube_node_deletion_timestamp"].of(node="n1") == 1_795_419_000
    assert list(found["kube_node_info"].samples) == [
        frozenset(
            {
                "node": "n1",
                "kernel_version": "6.12",
                "os_image": "Debian 13",
                "container_runtime_version": "",
                "kubelet_version": "",
                "kubeproxy_version": "",
                "provider_id": "x://1",
                "pod_cidr": "10.1.0.0/24",
                "system_uuid": "u",
                "internal_ip": "fd00::1",
            }.items()
        )
    ]
    assert "kube_node_labels" not in found
    assert found["kube_node_role"].of(node="n1", role="worker") == 1
    assert found["kube_node_spec_taint"].of(node="n1", key="k", value="v", effect="NoSchedule") == 1
    assert found["kube_node_spec_taint"].of(node="n1", key="k2", value="", effect="NoExecute") == 1
    assert found["kube_node_spec_unschedulable"].of(node="n1") == 1
    assert found["kube_node_status_addresses"].of(node="n1", type="InternalIP", address="10.0.0.1") == 1
    assert len(found["kube_node_status_addresses"].samples) == 3


def test_each_condition_has_three_statuses_and_the_last_of_a_type_counts() -> None:
    found = samples(N1)["kube_node_status_condition"]
    ready = [found.of(node="n1", condition="Ready", status=status) for status in ("true", "false", "unknown")]
    assert ready == [1, 0, 0]
    assert found.of(node="n1", condition="k3.network/Reachable", status="false") == 1
    assert len(found.samples) == 6


def test_resources_have_units_and_what_has_none_is_left_out() -> None:
    found = samples(N1)
    amounts = {
        tuple(dict(labels)[name] for name in ("resource", "unit")): n
        for labels, n in found["kube_node_status_capacity"].samples.items()
    }
    assert amounts == {
        ("cpu", "core"): 3.5,
        ("memory", "byte"): 2**34,
        ("ephemeral_storage", "byte"): 1000,
        ("pods", "integer"): 110,
        ("hugepages_2Mi", "byte"): 0,
        ("nvidia_com_gpu", "integer"): 2,
    }
    assert found["kube_node_status_allocatable"].of(node="n1", resource="cpu", unit="core") == 4
    assert len(found["kube_node_status_allocatable"].samples) == 2


def test_labels_are_shown_where_they_are_allowed() -> None:
    (one,) = samples(N1, allowed_labels={"kubernetes.io/arch"})["kube_node_labels"].samples
    assert dict(one) == {"node": "n1", "label_kubernetes_io_arch": "arm64"}
    (every,) = samples(N1, allowed_labels={"*"})["kube_node_labels"].samples
    assert dict(every)["label_some_camel_case"] == 'say "\\"\nno more'
    assert {dict(every)["label_a_b_c_conflict1"], dict(every)["label_a_b_c_conflict2"]} == {"1", "2"}


@pytest.mark.parametrize(
    ("told", "amount"),
    [
        ("4", 4),
        ("100m", 0.1),
        ("1.5Gi", 1.5 * 2**30),
        (".5k", 500),
        ("-1", -1),
        ("2E", 2 * 10**18),
        ("1e3", 1000),
        ("5n", 5e-9),
        (7, 7),
        ("", None),
        ("1e9999", None),
        ("1 Gi", None),
        ("Gi", None),
        ("1ki", None),
        (True, None),
        (None, None),
        ("9" * 100, None),
    ],
)
def test_amounts(told: object, amount: float | None) -> None:
    assert kube_metrics.quantity(told) == amount


async def test_a_lease_and_its_owner() -> None:
    async with site() as there:
        owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u"}
        spec = {"holderIdentity": "n1", "renewTime": "2026-11-23T07:00:00.123456Z"}
        await there.put({"metadata": {"name": "l1", "ownerReferences": [owner]}, "spec": spec}, LEASE)
        await there.put({"metadata": {"name": "l2"}}, LEASE)
        found = await there.read()
        here = {"namespace": "kube-node-lease"}
        assert found["kube_lease_owner"].of(lease="l1", owner_kind="Node", owner_name="n1", lease_holder="n1", **here) == 1
        assert found["kube_lease_owner"].of(lease="l2", owner_kind="", owner_name="", lease_holder="", **here) == 1
        assert found["kube_lease_renew_time"].samples == {frozenset({"lease": "l1", **here}.items()): 1_795_417_200}


async def test_only_what_changed_is_rendered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = kube_metrics.rendered

    def counted(families: Any, identity: Any, manifest: Manifest) -> tuple[bytes, ...]:
        seen.append(identity[0][1])
        return real(families, identity, manifest)

    monkeypatch.setattr(metrics, "rendered", counted)
    async with site() as there:
        first = await there.put({"metadata": {"name": "n1"}})
        second = await there.put({"metadata": {"name": "n2"}})
        await there.read()
        await there.read()
        assert seen == ["n1", "n2"]
        await there.store.update(first.with_manifest({**first.manifest(), "spec": {"unschedulable": True}}))
        await there.store.delete(second.key)
        found = await there.read()
        assert seen == ["n1", "n2", "n1"]
        assert found["kube_node_spec_unschedulable"].samples == {frozenset({("node", "n1")}): 1}
        assert sum(found["k3_nodes"].samples.values()) == 1


async def test_requests_are_counted_by_what_was_asked_and_answered() -> None:
    async with site() as there:
        for code in (200, 200, 404):
            there.page.requests.count("get", "nodes", code)
        for number in range(2_000):
            there.page.requests.count(f"odd{number}", "", 400)
        found = (await there.read())["k3_server_requests_total"]
        assert found.of(verb="get", resource="nodes", code="200") == 2
        assert found.of(verb="other", resource="other", code="other") > 900
        assert len(found.samples) < 1_100


@pytest.mark.parametrize("kind", [NODE, LEASE], ids=lambda kind: kind.name)
async def test_whatever_is_stored_leaves_a_page_that_can_be_read(kind: Any) -> None:
    async with site(allowed_labels={"*"}) as there:
        cache = there.nodes if kind == NODE else there.leases
        found = odd_places.strange(kind.name) | odd_places.unreadable()
        await there.read()
        for number, (name, document) in enumerate(found.items()):
            key = Key(kind, name, "default")
            cache.objects[key] = Object(key=key, uid="u", revision=number, document=document)
        parse(b"".join([piece async for piece in there.page.pieces()]).decode())


async def test_a_large_page_lets_others_have_their_turn() -> None:
    async with site() as there:
        for number in range(2_000):
            key = Key(NODE, f"n{number}")
            there.nodes.objects[key] = Object(key=key, uid="u", revision=1, document=json.dumps(N1).encode())
        turns: list[float] = []
        done = False

        async def others() -> None:
            while not done:
                began = time.thread_time()
                await asyncio.sleep(0)
                turns.append(time.thread_time() - began)

        gc.collect()
        gc.freeze()  # what other tests left is not looked through meanwhile
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(others())
            size = sum([len(piece) async for piece in there.page.pieces()])
            done = True
        gc.unfreeze()
        assert size > 2_000_000
        assert len(turns) > 20
        assert max(turns) < 0.05, "CPU time: other work on the machine does not count"


def test_a_node_as_a_target() -> None:
    found = targets.target_group(N1, 9100, Moment(NOW))
    assert found == {
        "targets": ["10.0.0.1:9100"],
        "labels": {
            "instance": "n1",
            "__meta_kubernetes_node_name": "n1",
            "__meta_kubernetes_node_provider_id": "x://1",
            "__meta_k3_source": "network",
            "__meta_k3_status": "Ready,SchedulingDisabled",
            "__meta_kubernetes_node_address_Hostname": "n1",
            "__meta_kubernetes_node_address_InternalIP": "10.0.0.1",
            "__meta_kubernetes_node_annotation_example_org_owner": "me",
            "__meta_kubernetes_node_annotationpresent_example_org_owner": "true",
            **{
                f"__meta_kubernetes_node_label_{name}": text
                for name, text in {
                    "node_role_kubernetes_io_worker": "",
                    "kubernetes_io_arch": "arm64",
                    "a_b_c": "2",
                    "someCamelCase": 'say "\\"\nno more',
                    "k3_network_managed": "true",
                }.items()
            },
            **{
                f"__meta_kubernetes_node_labelpresent_{name}": "true"
                for name in (
                    "node_role_kubernetes_io_worker",
                    "kubernetes_io_arch",
                    "a_b_c",
                    "someCamelCase",
                    "k3_network_managed",
                )
            },
        },
    }


@pytest.mark.parametrize(
    ("addresses", "target"),
    [
        ([("InternalIP", "fd00::1")], "[fd00::1]:9100"),
        ([("Hostname", "n1"), ("ExternalIP", "192.0.2.1")], "192.0.2.1:9100"),
        ([("Hostname", "n1")], "n1:9100"),
        ([("InternalDNS", "n1.local")], None),
        ([], None),
    ],
)
def test_where_a_target_is(addresses: list[tuple[str, str]], target: str | None) -> None:
    listed = [{"type": kind, "address": address} for kind, address in addresses]
    found = targets.target_group({"status": {"addresses": listed}}, 9100, Moment(NOW))
    assert (found["targets"][0] if found else None) == target


async def test_the_targets_are_one_json_list() -> None:
    items = [
        Object(key=Key(NODE, f"n{number}"), uid="u", revision=1, document=json.dumps(document).encode())
        for number, document in enumerate((N1, {}, N1))
    ]
    for some, count in ((items, 2), (items[1:2], 0), ([], 0)):
        pieces = [piece async for piece in metrics.target_pieces(some, 9100, lambda _: Moment(NOW))]
        assert len(json.loads(b"".join(pieces))) == count


@pytest.mark.parametrize("name", odd_places.strange("Node"))
def test_no_document_keeps_the_targets_from_being_listed(name: str) -> None:
    item = Object(key=Key(NODE, name), uid="u", revision=1, document=odd_places.strange("Node")[name])
    json.dumps(targets.target_group(item.manifest(), 9100, Moment(NOW)))


def test_the_port_of_a_query() -> None:
    assert targets.port_of("") == 9_100
    assert targets.port_of("7946") == 7_946
    for odd in ("0", "65536", "-1", "http", "٣", "9" * 1000):
        with pytest.raises(Refused, match="port"):
            targets.port_of(odd)
