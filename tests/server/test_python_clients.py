"""The Python clients of Kubernetes, as they are: each does with the server what it does with a cluster.

Those that block run in threads beside the server's loop.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import kr8s.asyncio
import kubernetes.client
import kubernetes_asyncio.client
import kubernetes_asyncio.watch
import lightkube
import lightkube.core.exceptions
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Node

from k3.core import limits
from tests.server.running import LEASES, Running, running


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[Running]:
    async with running() as found:
        yield found


def config_of(server: Running, folder: Path) -> Path:
    """Returns a kubeconfig for a server."""
    path = folder / "config"
    context = {"name": "k3", "context": {"cluster": "k3", "user": "k3"}}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "k3",
        "contexts": [context],
        "clusters": [{"name": "k3", "cluster": {"server": server.url}}],
        "users": [{"name": "k3", "user": {}}],
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def official(server: Running) -> kubernetes.client.ApiClient:
    return kubernetes.client.ApiClient(kubernetes.client.Configuration(host=server.url))


async def in_thread(server: Running, work: Callable[[kubernetes.client.ApiClient], None]) -> None:
    def inside() -> None:
        with official(server) as client:
            work(client)

    await asyncio.to_thread(inside)


# ── kubernetes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_kubernetes_creates_changes_and_deletes(server: Running) -> None:
    def work(client: kubernetes.client.ApiClient) -> None:
        core: Any = kubernetes.client.CoreV1Api(client)
        made = core.create_node({"metadata": {"name": "web1", "labels": {"a": "b"}}})
        assert (made.kind, made.metadata.name) == ("Node", "web1")
        with pytest.raises(ApiException, match="AlreadyExists"):
            core.create_node(kubernetes.client.V1Node(metadata=kubernetes.client.V1ObjectMeta(name="web1")))
        core.patch_node("web1", {"metadata": {"labels": {"c": "d"}}, "spec": {"unschedulable": True}})
        core.patch_node("web1", [{"op": "add", "path": "/metadata/labels/e", "value": "f"}])
        ready = kubernetes.client.V1NodeCondition(type="Ready", status="True", last_heartbeat_time=datetime.now(UTC))
        core.patch_node_status("web1", {"status": {"conditions": [client.sanitize_for_serialization(ready)]}})  # type: ignore[no-untyped-call]
        node = core.read_node("web1")
        assert node.metadata.labels == {"a": "b", "c": "d", "e": "f"}
        assert (node.spec.unschedulable, node.status.conditions[0].type) == (True, "Ready")
        node.metadata.labels["g"] = "h"
        replaced = core.replace_node("web1", node)  # its times come back as +00:00
        assert replaced.metadata.creation_timestamp == node.metadata.creation_timestamp
        with pytest.raises(ApiException) as refused:
            core.replace_node("web1", node)
        assert (refused.value.status, refused.value.reason) == (409, "Conflict")
        assert [each.metadata.name for each in core.list_node(label_selector="g=h").items] == ["web1"]
        assert core.list_pod_for_all_namespaces(field_selector="spec.nodeName=web1").items == []
        core.delete_node("web1")
        with pytest.raises(ApiException, match="NotFound"):
            core.read_node("web1")

    await in_thread(server, work)


async def test_kubernetes_pages_and_deletes_collections(server: Running) -> None:
    def work(client: kubernetes.client.ApiClient) -> None:
        core: Any = kubernetes.client.CoreV1Api(client)
        for number in range(5):
            core.create_node({"metadata": {"name": f"web{number}", "labels": {"number": str(number)}}})
        first = core.list_node(limit=2)
        assert first.metadata.remaining_item_count == 3
        core.create_node({"metadata": {"name": "web00"}})
        rest = core.list_node(limit=9, _continue=first.metadata._continue)
        assert rest.metadata.resource_version == first.metadata.resource_version
        assert [each.metadata.name for each in first.items + rest.items] == [f"web{number}" for number in range(5)]
        core.delete_collection_node(label_selector="number in (0,1,2)")
        assert [each.metadata.name for each in core.list_node().items] == ["web00", "web3", "web4"]

    await in_thread(server, work)


async def test_kubernetes_watches_and_goes_on_behind_the_last_event(server: Running) -> None:
    def work(client: kubernetes.client.ApiClient) -> None:
        core: Any = kubernetes.client.CoreV1Api(client)
        core.create_node({"metadata": {"name": "web1"}})
        watch = kubernetes.watch.Watch()  # type: ignore[no-untyped-call]
        seen = [(each["type"], each["object"].metadata.name) for each in watch.stream(core.list_node, timeout_seconds=1)]  # type: ignore[no-untyped-call]
        assert seen == [("ADDED", "web1")]
        core.create_node({"metadata": {"name": "web2"}})
        stream = watch.stream(core.list_node, resource_version=watch.resource_version, timeout_seconds=1)  # type: ignore[no-untyped-call]
        assert [(each["type"], each["object"].metadata.name) for each in stream] == [("ADDED", "web2")]

    await in_thread(server, work)


async def test_kubernetes_is_told_that_a_revision_is_too_old(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_REVISIONS", 3)

    def work(client: kubernetes.client.ApiClient) -> None:
        core: Any = kubernetes.client.CoreV1Api(client)
        first = core.create_node({"metadata": {"name": "web1"}}).metadata.resource_version
        for number in range(6):
            core.patch_node("web1", {"metadata": {"labels": {"number": str(number)}}})
        with pytest.raises(ApiException) as refused:
            list(kubernetes.watch.Watch().stream(core.list_node, resource_version=first, timeout_seconds=1))  # type: ignore[no-untyped-call]
        assert refused.value.status == 410

    await in_thread(server, work)


async def test_kubernetes_dynamic_client_applies_on_the_servers_side(server: Running) -> None:
    def work(client: kubernetes.client.ApiClient) -> None:
        nodes = DynamicClient(client).resources.get(api_version="v1", kind="Node")  # type: ignore[no-untyped-call]
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "web1", "labels": {"a": "b"}}}
        made = nodes.server_side_apply(body, field_manager="one")
        assert made.metadata.managedFields[0].manager == "one"
        body["metadata"] = {"name": "web1", "labels": {"a": "c"}}
        with pytest.raises(kubernetes.dynamic.exceptions.ConflictError, match='conflict with \\\\"one\\\\"'):
            nodes.server_side_apply(body, field_manager="two")
        assert nodes.server_side_apply(body, field_manager="two", force_conflicts=True).metadata.labels.a == "c"
        assert [each.metadata.name for each in nodes.get().items] == ["web1"]
        event = next(iter(nodes.watch(timeout=1)))
        assert (event["type"], event["object"].metadata.name) == ("ADDED", "web1")
        assert nodes.delete("web1").status == "Success"

    await in_thread(server, work)


async def test_kubernetes_elects_a_leader(server: Running) -> None:
    led: list[str] = []

    def work(client: kubernetes.client.ApiClient) -> None:
        lock = LeaseLock("leader", "kube-node-lease", "me")  # type: ignore[no-untyped-call]
        lock.api_instance = kubernetes.client.CoordinationV1Api(client)

        def lead() -> None:
            led.append("began")

        config = electionconfig.Config(  # type: ignore[no-untyped-call]
            lock, lease_duration=3, renew_deadline=2, retry_period=1, onstarted_leading=lead, onstopped_leading=lambda: None
        )
        election = leaderelection.LeaderElection(config)  # type: ignore[no-untyped-call]
        assert election.try_acquire_or_renew()  # type: ignore[no-untyped-call]
        assert election.try_acquire_or_renew()  # type: ignore[no-untyped-call]

    await in_thread(server, work)
    code, lease = await server.ask("GET", f"{LEASES}/leader")
    assert (code, lease["spec"]["holderIdentity"]) == (200, "me")


# ── the others ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_kubernetes_asyncio_lists_watches_and_writes(server: Running) -> None:
    configuration = kubernetes_asyncio.client.Configuration(host=server.url)
    async with kubernetes_asyncio.client.ApiClient(configuration) as client:
        core: Any = kubernetes_asyncio.client.CoreV1Api(client)
        await core.create_node({"metadata": {"name": "web1"}})
        await core.patch_node("web1", {"metadata": {"labels": {"a": "b"}}})
        async with kubernetes_asyncio.watch.Watch().stream(core.list_node, timeout_seconds=1) as stream:
            seen = [(each["type"], each["object"].metadata.labels) async for each in stream]
        assert seen == [("ADDED", {"a": "b"})]
        coordination: Any = kubernetes_asyncio.client.CoordinationV1Api(client)
        lease = await coordination.create_namespaced_lease(
            "kube-node-lease", {"metadata": {"name": "web1"}, "spec": {"renewTime": "2026-11-27T12:00:00.123456Z"}}
        )
        assert lease.spec.renew_time == datetime(2026, 11, 27, 12, 0, 0, 123456, tzinfo=UTC)
        await core.delete_node("web1")


async def test_lightkube_reads_patches_applies_and_watches(server: Running, tmp_path: Path) -> None:
    config = lightkube.KubeConfig.from_file(config_of(server, tmp_path))
    client = lightkube.AsyncClient(config=config, field_manager="lightkube")
    await client.create(Node(metadata=ObjectMeta(name="web1", labels={"a": "b"})))
    patched = await client.patch(Node, "web1", {"metadata": {"labels": {"c": "d"}}})
    assert patched.metadata is not None
    assert patched.metadata.labels == {"a": "b", "c": "d"}
    await client.apply(Node(metadata=ObjectMeta(name="web2", labels={"role": "db"})))
    assert [each.metadata.name async for each in client.list(Node, labels={"role": ["db", "web"]}) if each.metadata] == ["web2"]
    await client.create(
        Lease(metadata=ObjectMeta(name="web1", namespace="kube-node-lease"), spec=LeaseSpec(holderIdentity="me"))
    )
    seen = []
    async for type_, node in client.watch(Node, server_timeout=1):
        seen.append((type_, node.metadata.name if node.metadata else ""))
        if len(seen) == 2:
            break
    assert seen == [("ADDED", "web1"), ("ADDED", "web2")]
    await client.delete(Node, "web1")
    with pytest.raises(lightkube.core.exceptions.ApiError, match="not found"):
        await client.get(Node, "web1")
    await client.close()


@pytest.mark.filterwarnings("ignore:Kubernetes version")
async def test_kr8s_creates_labels_waits_and_deletes(server: Running, tmp_path: Path) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(config_of(server, tmp_path)))
    assert (await api.version())["major"] == "1"
    node = await kr8s.asyncio.objects.Node({"metadata": {"name": "web1"}}, api=api)
    await node.create()
    await node.label({"a": "b"})
    await node.cordon()
    assert [str(each) async for each in api.get("nodes", label_selector={"a": "b"})] == ["web1"]
    await node.refresh()
    assert node.spec.unschedulable is True
    async for type_, found in api.watch("nodes"):
        assert (type_, str(found)) == ("ADDED", "web1")
        break
    await node.delete()
    assert not await node.exists()


KOPF: Final = """
import kopf

@kopf.on.startup()
def start(settings, **_):
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 10

@kopf.on.create("", "v1", "nodes")
def create(name, patch, **_):
    patch.metadata.labels["created"] = "yes"

@kopf.on.update("", "v1", "nodes", field="metadata.labels.wish")
def update(name, new, patch, **_):
    patch.metadata.labels["granted"] = str(new)

@kopf.on.delete("", "v1", "nodes")
def delete(name, **_):
    print("deleting", name, flush=True)
"""


@pytest.mark.slow
async def test_kopf_takes_a_node_through_its_life(server: Running, tmp_path: Path) -> None:
    """A controller as people write it: its finalizer holds a Node that is deleted until its handler has run."""
    (tmp_path / "controller.py").write_text(KOPF, encoding="utf-8")
    ran = await asyncio.create_subprocess_exec(
        *("python", "-m", "kopf", "run", "--standalone", "--all-namespaces", str(tmp_path / "controller.py")),
        env={"KUBECONFIG": str(config_of(server, tmp_path)), "PATH": str(Path(sys.executable).parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        await server.made("web1")

        async def until(is_so: Callable[[Any], bool]) -> None:
            async with asyncio.timeout(20):
                while not is_so((await server.ask("GET", "/api/v1/nodes/web1"))[1]):  # noqa: ASYNC110 - polled as a person would
                    await asyncio.sleep(0.05)

        await until(lambda node: node["metadata"].get("labels", {}).get("created") == "yes")
        await server.labelled("web1", wish="a")
        await until(lambda node: node["metadata"]["labels"].get("granted") == "a")
        _, node = await server.ask("DELETE", "/api/v1/nodes/web1")
        assert node["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
        await until(lambda node: node.get("reason") == "NotFound")
    finally:
        ran.terminate()
        out, _ = await ran.communicate()
    assert b"deleting web1" in out
    assert b"Traceback" not in out
