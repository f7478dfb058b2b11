"""A server over etcd, which does not tell a watch of Nodes that only Leases have changed."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest

from k3.core.store import Store
from k3.server.standing import Followed
from k3.server.window import Snapshot
from k3.stores.etcd import EtcdStorage, following, open_store
from tests.server.running import LEASES, running
from tests.servers import Server, etcd_server

pytestmark = pytest.mark.servers("etcd")


@pytest.fixture(scope="module")
def etcd() -> Iterator[Server]:
    with etcd_server() as server:
        yield server


@pytest.fixture
async def store(etcd: Server) -> AsyncIterator[Store]:
    store = await open_store(EtcdStorage(endpoints=(etcd.endpoint,), prefix="/served"))
    yield store
    await store.aclose()


async def test_a_list_in_pages_goes_on_whatever_else_was_written(store: Store) -> None:
    async with running(store) as server:
        for number in range(4):
            await server.made(f"web{number}")
        for renewal in range(3):
            code, _ = await server.ask("POST", LEASES, {"metadata": {"name": f"lease{renewal}"}, "spec": {}})
            assert code == 201
            names, go_on = [], ""
            while True:
                code, page = await server.ask("GET", f"/api/v1/nodes?limit=2&continue={go_on}")
                assert code == 200, page
                names += [item["metadata"]["name"] for item in page["items"]]
                if not (go_on := page["metadata"].get("continue", "")):
                    break
            assert names == [f"web{number}" for number in range(4)]
            code, _ = await server.ask("GET", f"/api/v1/nodes?resourceVersion={page['metadata']['resourceVersion']}")
            assert code == 200


async def test_a_list_after_other_kinds_were_written_is_answered_from_what_is_known(
    etcd: Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked how far the watch is, where its notes of progress can be believed: no Node is read for it."""

    async def none(_self: Followed) -> Snapshot:
        pytest.fail("the store was listed")

    monkeypatch.setattr(Followed, "list", none)
    if not following.notes_are_in_order(json.loads(etcd.site.get(f"{etcd.endpoint}/version"))["etcdserver"]):
        pytest.skip("this etcd's notes of progress may overtake changes")
    async with running(store) as server:
        await server.made("web9")
        for renewal in range(5):
            code, made = await server.ask("POST", LEASES, {"metadata": {"name": f"other{renewal}"}, "spec": {}})
            assert code == 201
            code, listed = await server.ask("GET", "/api/v1/nodes")
            assert code == 200
            assert int(listed["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])
            assert "web9" in {item["metadata"]["name"] for item in listed["items"]}


@pytest.mark.parametrize(
    ("version", "can_be_believed"),
    [
        *(("3.4.30", False), ("3.4.31", True), ("3.5.12", False), ("3.5.13", True)),
        *(("3.6.0", True), ("4.0.0-rc.1", True), ("3.3.99", False), ("", False), ("newest", False)),
    ],
)
def test_which_notes_of_progress_are_believed(version: str, can_be_believed: bool) -> None:
    assert following.notes_are_in_order(version) is can_be_believed
