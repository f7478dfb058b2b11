"""A server over etcd, which does not tell a watch of Nodes that only Leases have changed."""

from collections.abc import AsyncIterator, Iterator

import pytest

from k3.core.store import Store
from k3.stores.etcd import EtcdStorage, open_store
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
