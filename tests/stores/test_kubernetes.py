"""The Kubernetes backend against running APIs: the laws, and random histories.

Through `k3 server`, and through a kube-apiserver where the machine has one. Both hold what they store to Kubernetes' schema, so
the suites' documents are carried by valid objects (`veil.py`). What a law says of them beyond that, an API cannot keep:

* an object of 1 MiB: Kubernetes bounds annotations (256 KiB), and etcd requests (1.5 MiB). That k3 sends none beyond
  `limits.OBJECT_BYTES` is in `test_kubernetes_troubles.py`;
* that two lists are of one revision: a cluster writes on its own, its servers' Leases above all;
* history that is forgotten at will: an API keeps its own, and `410` is in `test_kubernetes_troubles.py`.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from k3 import cli
from k3.core.errors import Conflict, Forbidden, Unavailable
from k3.core.objects import LEASE, NODE, TOKEN, Key
from k3.core.store import Store
from k3.stores import connect
from k3.stores.kubernetes import KubernetesStorage, open_store
from k3.stores.sqlite import SqliteStorage
from k3.testing.store_machine import StoreMachine
from k3.testing.store_steps import next_change
from k3.testing.store_suite import Opener, StoreSuite
from tests.servers.kubernetes import TOKENS, Api, kube_apiserver
from tests.servers.server import Server, Site
from tests.stores.veil import Veiled

pytestmark = pytest.mark.servers

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def k3_server(stack: ExitStack, folder: Path) -> Api:
    """`k3 server` on a SQLite file."""
    if "server" not in cli.COMMANDS:
        pytest.skip("this k3 has no command server")
    site = Site(None, None)
    port = site.free_port()
    argv = [sys.executable, "-m", "k3.cli", "server", "--listen", f"127.0.0.1:{port}", "--store", f"sqlite://{folder}/k3.db"]
    url = f"http://127.0.0.1:{port}"
    server = Server("k3 server", site, argv, port=port, ready=lambda: site.get(f"{url}/readyz").startswith("ok"))
    stack.callback(server.close)
    return Api(url, "", "", server=server)


@pytest.fixture(scope="module", params=["k3 server", "kube-apiserver"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with ExitStack() as stack:
        if request.param == "k3 server":
            yield k3_server(stack, tmp_path_factory.mktemp("k3"))
            return
        yield stack.enter_context(kube_apiserver())


def storage(api: Api, user: str = "admin") -> KubernetesStorage:
    token = TOKENS[user] if api.ca_file else ""
    return KubernetesStorage(server=api.url, token=token, ca_file=api.ca_file)


def empty(api: Api) -> None:
    """Deletes what the suites have made."""
    api.call("DELETE", "/api/v1/nodes")
    for namespace in NAMESPACES:
        api.call("DELETE", f"/api/v1/namespaces/{namespace}/events")
        api.call("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")


@pytest.fixture
def data(api: Api) -> Api:
    empty(api)
    return api


class TestKubernetesStore(StoreSuite):
    @pytest.fixture
    async def open_store(self, data: Api) -> Opener:
        async def opened() -> Store:
            return Veiled(await open_store(storage(data)))

        return opened

    async def test_both_handles_are_one_store(self, store: Store, other: Store) -> None:
        assert other.id == store.id
        first = await store.create(Key(NODE, "n1"), {})
        assert await other.get(first.key) == first
        second = await other.create(Key(NODE, "n2"), {})
        third = await store.create(Key(NODE, "n3"), {})
        assert first.revision < second.revision < third.revision
        assert (await store.list(NODE)).objects == (await other.list(NODE)).objects == (first, second, third)

    @pytest.fixture(autouse=True)
    def _can_hold(self, request: pytest.FixtureRequest) -> None:
        if request.node.originalname == "test_too_large_is_refused_and_the_limit_is_not":
            pytest.skip("Kubernetes has no objects of 1 MiB, see above")


class KubernetesMachine(StoreMachine):
    api: Api

    async def open(self) -> Store:
        empty(self.api)
        return Veiled(await open_store(storage(self.api)))


KubernetesMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)


def test_random_histories(api: Api) -> None:
    KubernetesMachine.api = api
    run_state_machine_as_test(KubernetesMachine, settings=KubernetesMachine.TestCase.settings)


# --- what is this store's own


def ready(status: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status, "reason": "PeerAlive", "message": "m"}]}


async def test_a_node_with_status_is_created_and_changed_as_a_whole(data: Api) -> None:
    """Status and metadata in one write; the spec as well in two, after which all three are there."""
    store = await open_store(storage(data))
    start = (await store.list(NODE)).revision
    node = await store.create(Key(NODE, "web1"), {"metadata": {"labels": {"a": "b"}}, "status": ready("True")})
    assert node.manifest()["status"]["conditions"][0]["status"] == "True"
    wanted = node.manifest()
    wanted["metadata"]["annotations"] = {"x": "y"}
    wanted["status"] |= ready("False")
    second = await store.update(node.with_manifest(wanted))
    wanted = second.manifest()
    wanted["metadata"]["annotations"] = {"x": "z"}
    wanted["status"] |= ready("Unknown")
    wanted["spec"] = {**wanted.get("spec", {}), "unschedulable": True}
    third = await store.update(second.with_manifest(wanted))
    found = third.manifest()
    assert (found["metadata"]["annotations"], found["spec"]["unschedulable"]) == ({"x": "z"}, True)
    assert found["status"]["conditions"][0]["status"] == "Unknown"
    with pytest.raises(Conflict):
        await store.update(second.with_manifest(wanted))
    assert await store.update(third) == third
    async with store.watch(NODE, start) as events:
        assert [(await next_change(events)).object for _ in range(2)] == [node, second]
        between, last = [(await next_change(events)).object for _ in range(2)]
        assert between.manifest()["status"]["conditions"][0]["status"] == "False", "what was first is true without the rest"
        assert last == third
    await store.aclose()


async def test_a_restart_of_the_server_costs_a_watch_nothing(data: Api) -> None:
    """Killed; what is written meanwhile by nobody is nothing, and what comes after it is heard."""
    store = await open_store(storage(data))
    assert data.server is not None
    async with store.watch(NODE, (await store.list(NODE)).revision) as events:
        first = await store.create(Key(NODE, "n1"), {})
        assert (await next_change(events)).object == first
        data.server.close()
        with pytest.raises(Unavailable):
            await store.get(first.key)
        with pytest.raises(Unavailable):
            await store.list(NODE)
        data.server.start()
        assert await store.get(first.key) == first
    page = await store.list(NODE)
    async with store.watch(NODE, page.revision) as events:
        second = await store.create(Key(NODE, "n2"), {})
        assert (await next_change(events)).object == second
    await store.aclose()


async def test_a_lost_etcd_is_no_empty_list(data: Api) -> None:
    """The server itself answers, and says that it cannot: nothing is not found, and no list is empty."""
    if data.etcd is None:
        pytest.skip("is about a kube-apiserver's etcd")
    store = await open_store(storage(data))
    made = await store.create(Key(NODE, "n1"), {})
    data.etcd.close()
    for verb in (
        lambda: store.get(made.key),
        lambda: store.list(NODE),
        lambda: store.create(Key(NODE, "n2"), {}),
        lambda: store.delete(made.key),
    ):
        with pytest.raises(Unavailable):
            await verb()
    data.etcd.start()
    for _ in range(100):
        try:
            assert await store.get(made.key) == made
            break
        except Unavailable:
            continue
    await store.aclose()


async def test_whoever_may_not_is_told_which_right_is_missing(data: Api) -> None:
    if not data.ca_file:
        pytest.skip("is about roles; those of k3 server are tested with it")
    for user, said in (("nobody", "does not let this client get namespaces"), ("agent", "")):
        if said:
            with pytest.raises(Forbidden, match=said):
                await open_store(storage(data, user))
            continue
        store = await open_store(storage(data, user))  # what docs/stores.md grants is enough
        made = await store.create(Key(NODE, "n1"), {"status": ready("True")})
        lease = await store.create(Key(LEASE, "l", "kube-system"), {"spec": {"holderIdentity": "me"}})
        done = await store.update(lease.with_manifest({**lease.manifest(), "spec": {"holderIdentity": "you"}}))
        assert done.manifest()["spec"]["holderIdentity"] == "you"
        async with store.watch(NODE, made.revision) as events:
            gone = await store.delete(made.key)
            assert (await next_change(events)).object == gone
        await store.aclose()


def test_the_commands_use_it(data: Api, tmp_path: Path) -> None:
    """`k3 store check` and `copy`, as people run them."""
    words = f"?ca_file={data.ca_file}" if data.ca_file else ""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "K3_STORE_TOKEN": data.token} if data.token else None
    url = f"{data.url}{words}"

    def k3(*arguments: str) -> str:
        command = [sys.executable, "-m", "k3.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, timeout=60)
        assert done.returncode == 0, done.stderr
        assert not data.token or data.token not in done.stdout + done.stderr
        return done.stdout

    data.call("POST", "/api/v1/nodes", {"metadata": {"name": "web1"}})
    found = k3("store", "check", "--store", url)
    assert url in found
    assert "tokens" not in found
    for words_ in (("list",), ("revoke", "0123456789"), ("create", "--role", "view")):
        command = [sys.executable, "-m", "k3.cli", "token", *words_, "--store", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ, timeout=60)
        assert (done.returncode, "tokens are not served over the Kubernetes API" in done.stderr) == (2, True), done.stderr
    assert "web1" in k3("nodes", "--store", url)
    k3("store", "copy", url, f"sqlite://{tmp_path}/copy.db")
    names = json.loads(k3("nodes", "-o", "json", "--store", f"sqlite://{tmp_path}/copy.db"))
    assert [item["metadata"]["name"] for item in names["items"]] == ["web1"]
    asyncio.run(_with_a_token(tmp_path / "copy.db"))
    assert k3("store", "copy", f"sqlite://{tmp_path}/copy.db", url).splitlines()[-1] == (
        "tokens: 1 left out, as the target keeps none; make them at the store behind it: k3 token create"
    )


async def _with_a_token(path: Path) -> None:
    store = await connect(SqliteStorage(path))
    await store.create(Key(TOKEN, "0123456789"), {"role": "view"})
    await store.aclose()
