"""The etcd store beside bare grpc puts of the same document in the same run. Prints one JSON object; takes half a minute.

PYTHONPATH=src:. python benchmarks/stores_etcd.py
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import count

from k3.config import EtcdStorage
from k3.core.objects import NODE, Key, new_document
from k3.core.store import Change, Store
from k3.stores.etcd import EtcdStore, messages, open_store
from tests.servers import Server, etcd_server

CONTENT = {"metadata": {"labels": {f"label-{number}": "x" * 40 for number in range(20)}}, "spec": {"x": "y" * 1_800}}
SEQUENTIAL = 1_000
CALLERS = 32
PER_CALLER = 150
FILLERS = 64
LISTED = 10_000
WATCHED = 200
ROUNDS = 3

Write = Callable[[str], Awaitable[object]]


async def in_turn(write: Write, prefix: str, number: int) -> None:
    for index in range(number):
        await write(f"{prefix}-{index}")


async def rate(write: Write, prefix: str, *, callers: int, each: int) -> tuple[float, float]:
    """Operations per second, and CPU microseconds of this process (all threads) per operation."""
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(in_turn(write, f"{prefix}-{caller}", each) for caller in range(callers)))
    operations = callers * each
    return operations / (time.perf_counter() - began), (time.process_time() - cpu) / operations * 1e6


async def compared(store: EtcdStore, *, callers: int, each: int) -> dict[str, float]:
    """Creates and updates beside bare puts, in turn, the best of each; the puts encode the same document."""
    endpoint = store._client.endpoint  # noqa: SLF001 - the same connection, without the store

    async def put(name: str) -> None:
        document = new_document(Key(NODE, name), CONTENT, uid="", created="")
        await endpoint.call(messages.PUT, messages.PutRequest(key=f"/raw/{name}".encode(), value=document), timeout=5)

    async def create(name: str) -> None:
        await store.create(Key(NODE, name), CONTENT)

    async def update(name: str) -> None:
        item = await store.get(Key(NODE, name))
        await store.update(item.with_manifest({**item.manifest(), "spec": {"x": "z" * 1_800}}))

    found: dict[str, list[tuple[float, float]]] = {"put": [], "create": [], "get_and_update": []}
    for number in range(ROUNDS):
        for name, write in (("put", put), ("create", create), ("get_and_update", update)):
            found[name].append(await rate(write, f"r{number}-{callers}", callers=callers, each=each))
    best = {name: max(rounds) for name, rounds in found.items()}
    return {
        "ops_per_second": best["create"][0],
        "cpu_us": best["create"][1],
        "of_raw": best["create"][0] / best["put"][0],
        "raw_ops_per_second": best["put"][0],
        "get_and_update_per_second": best["get_and_update"][0],
    }


async def serve_writes(endpoint: str) -> None:
    """The other process: one write per line; answers with when it was acknowledged (CLOCK_MONOTONIC is the machine's)."""
    store = await open_store(EtcdStorage((endpoint,), compact=False))
    for index in count():
        if not await asyncio.to_thread(sys.stdin.readline):
            break
        await store.create(Key(NODE, f"w-{index}"), CONTENT)
        print(time.monotonic(), flush=True)
    await store.aclose()


async def watch_milliseconds(store: Store, server: Server) -> list[float]:
    """From the acknowledgement in another process to the watcher here, sorted."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--serve", server.endpoint),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    waits = []
    async with store.watch(NODE, (await store.list(NODE, limit=1)).revision) as events:
        for _ in range(WATCHED):
            child.stdin.write(b"\n")
            while not isinstance(await anext(events), Change):
                pass
            heard = time.monotonic()
            waits.append(max(0.0, heard - float(await child.stdout.readline())) * 1e3)
            await asyncio.sleep(0.005)
    child.stdin.close()
    await child.wait()
    return sorted(waits)


async def filled(server: Server) -> dict[str, float]:
    """Many objects from empty, and the quickest of three lists of them."""
    store = await open_store(EtcdStorage((server.endpoint,), prefix="/filled", compact=False))
    await store.list(NODE)

    async def create(name: str) -> None:
        await store.create(Key(NODE, name), CONTENT)

    began = time.perf_counter()
    await rate(create, "n", callers=FILLERS, each=-(-LISTED // FILLERS))
    taken, listings = time.perf_counter() - began, []
    for _ in range(3):
        began = time.perf_counter()
        assert len((await store.list(NODE)).objects) >= LISTED
        listings.append(time.perf_counter() - began)
    await store.aclose()
    return {"create_10000_seconds": taken, "list_10000_seconds": min(listings)}


def loaded() -> dict[str, float]:
    """Importing the backend in a fresh process, beside the memory backend: milliseconds, and MB resident afterwards."""
    code = (
        "import time, k3.stores; began = time.perf_counter(); import k3.stores.{name}; took = time.perf_counter() - began;"
        "print(took * 1e3, int(open('/proc/self/statm').read().split()[1]) * 4 / 1024)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found: dict[str, list[tuple[float, ...]]] = {"memory": [], "etcd": []}
    for name in ("memory", "etcd") * ROUNDS:
        command = [sys.executable, "-c", code.format(name=name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found[name].append(tuple(map(float, done.stdout.split())))
    (plain_ms, plain_mb), (ms, mb) = min(found["memory"]), min(found["etcd"])
    return {"import_ms": ms, "rss_mb": mb, "memory_import_ms": plain_ms, "memory_rss_mb": plain_mb}


async def main(server: Server) -> None:
    store = await open_store(EtcdStorage((server.endpoint,), compact=False))
    result = {
        "document_bytes": len(new_document(Key(NODE, "n"), CONTENT, uid="", created="")),
        "sequential": await compared(store, callers=1, each=SEQUENTIAL),
        f"callers_{CALLERS}": await compared(store, callers=CALLERS, each=PER_CALLER),
        "watch_between_processes_ms": {},
        **await filled(server),
    }
    waits = await watch_milliseconds(store, server)
    result["watch_between_processes_ms"] = {"p50": waits[WATCHED // 2], "p99": waits[WATCHED * 99 // 100]}
    await store.aclose()
    result |= {"max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "loaded": loaded()}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve_writes(sys.argv[2]))
    else:
        with etcd_server() as etcd:
            asyncio.run(main(etcd))
