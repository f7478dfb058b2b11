"""The etcd store beside bare grpc puts of the same document in the same run. Prints one JSON object; takes half a minute.

PYTHONPATH=src:. python benchmarks/stores_etcd.py
"""

import asyncio
import json
import time

from benchmarks.store_figures import (
    CALLERS,
    LISTED,
    ROUNDS,
    at_once,
    creates,
    delivered,
    document,
    list_seconds,
    loaded,
    max_rss_mb,
    rate,
    watch_milliseconds,
)
from k3.core.objects import NODE, Key
from k3.stores.etcd import EtcdStorage, messages, open_store
from k3.stores.etcd.store import EtcdStore
from tests.servers import Server, etcd_server

SEQUENTIAL = 1_000
PER_CALLER = 150
FILLERS = 64
WATCHED = 200


async def compared(store: EtcdStore, *, callers: int, each: int) -> dict[str, float]:
    """Creates and updates beside bare puts, in turn, the best of each; the puts encode the same document."""
    endpoint = store._client.endpoint  # noqa: SLF001 - the same connection, without the store

    async def put(name: str) -> None:
        request = messages.PutRequest(key=f"/raw/{name}".encode(), value=document(name))
        await endpoint.call(messages.PUT, request, timeout=5)

    async def update(name: str) -> None:
        item = await store.get(Key(NODE, name))
        await store.update(item.with_manifest({**item.manifest(), "spec": {"x": "z" * 1_800}}))

    found: dict[str, list[tuple[float, float]]] = {"put": [], "create": [], "get_and_update": []}
    for number in range(ROUNDS):
        for name, write in (("put", put), ("create", creates(store)), ("get_and_update", update)):
            work = at_once(write, f"r{number}-{callers}", callers=callers, each=each)
            found[name].append(await rate(work, callers * each))
    best = {name: max(rounds) for name, rounds in found.items()}
    return {
        "ops_per_second": best["create"][0],
        "cpu_us": best["create"][1],
        "of_raw": best["create"][0] / best["put"][0],
        "raw_ops_per_second": best["put"][0],
        "get_and_update_per_second": best["get_and_update"][0],
    }


async def filled(server: Server) -> dict[str, float]:
    """Many objects from empty, and the quickest of three lists of them."""
    store = await open_store(EtcdStorage(endpoints=(server.endpoint,), prefix="/filled", compact=False))
    await store.list(NODE)
    began = time.perf_counter()
    await at_once(creates(store), "n", callers=FILLERS, each=-(-LISTED // FILLERS))
    taken = time.perf_counter() - began
    listing = await list_seconds(store)
    await store.aclose()
    return {"create_10000_seconds": taken, "list_10000_seconds": listing}


async def main(server: Server) -> None:
    store = await open_store(EtcdStorage(endpoints=(server.endpoint,), compact=False))
    assert isinstance(store, EtcdStore)
    url = f"etcd://{server.address}:{server.port}?compact=false"
    result = {
        "document_bytes": len(document("n")),
        "sequential": await compared(store, callers=1, each=SEQUENTIAL),
        f"callers_{CALLERS}": await compared(store, callers=CALLERS, each=PER_CALLER),
        **await filled(server),
        "watch_between_processes_ms": await watch_milliseconds(store, url, writes=WATCHED),
        "max_rss_mb": max_rss_mb(),
        "delivered_under_churn": await delivered(store, url),
        "loaded": loaded("etcd"),
    }
    await store.aclose()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    with etcd_server() as etcd:
        asyncio.run(main(etcd))
