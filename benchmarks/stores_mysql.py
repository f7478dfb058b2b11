"""The MySQL store beside raw asyncmy doing the same work in the same run. Prints one JSON object; takes some twenty seconds.

Starts a MariaDB of its own that is flushed to disk at every commit. PYTHONPATH=src:. python benchmarks/stores_mysql.py
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
from statistics import median
from typing import Any

import asyncmy

from k3.config import MysqlStorage
from k3.core.objects import NODE, Key, new_document
from k3.core.store import Change, Store
from k3.stores.mysql import MysqlStore
from tests.servers import Mariadb, mariadb_server

CONTENT = {"metadata": {"labels": {f"label-{number}": "x" * 40 for number in range(20)}}, "spec": {"x": "y" * 1_800}}
ROUNDS = 5
SEQUENTIAL = 100
CALLERS = 32
PER_CALLER = 30
BATCH = 500
LISTED = 10_000
WATCHED = 100
TABLES = (
    "CREATE TABLE meta (id INT PRIMARY KEY, rev BIGINT) ENGINE=InnoDB",
    "CREATE TABLE cur (k VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, rev BIGINT) ENGINE=InnoDB",
    "CREATE TABLE log (rev BIGINT PRIMARY KEY, k VARCHAR(255), doc MEDIUMBLOB) ENGINE=InnoDB",
    "INSERT INTO meta VALUES (1, 0)",
)


async def raw_connection(storage: MysqlStorage) -> Any:  # noqa: ANN401 - the driver has no better name
    return await asyncmy.connect(
        host=storage.host, port=storage.port, user=storage.user, password=storage.password, database=storage.database
    )


async def raw(storage: MysqlStorage, writes: int, at_once: int) -> float:
    """Operations per second of plain asyncmy on one connection, `at_once` in one transaction of multi-row statements."""
    connection = await raw_connection(storage)
    cursor = connection.cursor()
    began = time.perf_counter()
    for _ in range(writes // at_once):
        await connection.begin()
        await cursor.execute("SELECT rev FROM meta WHERE id = 1 FOR UPDATE")
        first = (await cursor.fetchall())[0][0] + 1
        keys = [f"/v1/Node/n{first + index}" for index in range(at_once)]
        await cursor.execute(f"SELECT k FROM cur WHERE k IN ({','.join(['%s'] * at_once)})", keys)  # noqa: S608 - our own
        assert not await cursor.fetchall()
        rows = [
            (first + index, key, new_document(Key(NODE, key[9:]), CONTENT, uid=key, created=""))
            for index, key in enumerate(keys)
        ]
        await cursor.executemany("INSERT INTO log (rev, k, doc) VALUES (%s, %s, %s)", rows)
        await cursor.executemany("INSERT INTO cur (k, rev) VALUES (%s, %s)", [(key, revision) for revision, key, _ in rows])
        await cursor.execute("UPDATE meta SET rev = %s WHERE id = 1", (first + at_once - 1,))
        await connection.commit()
    taken = time.perf_counter() - began
    connection.close()
    return writes / taken


async def rate(work: Awaitable[object], operations: int) -> tuple[float, float]:
    """Operations per second, and CPU microseconds of this process per operation."""
    began, cpu = time.perf_counter(), time.process_time()
    await work
    return operations / (time.perf_counter() - began), (time.process_time() - cpu) / operations * 1e6


async def create_in_turn(store: Store, prefix: str, number: int) -> None:
    for index in range(number):
        await store.create(Key(NODE, f"{prefix}-{index}"), CONTENT)


async def create_at_once(store: Store, prefix: str) -> None:
    await asyncio.gather(*(create_in_turn(store, f"{prefix}-{caller}", PER_CALLER) for caller in range(CALLERS)))


async def create_all(store: Store) -> None:
    """From empty, all asked for at once, as far as callers go."""
    await asyncio.gather(*(create_in_turn(store, f"b{caller}", LISTED // BATCH) for caller in range(BATCH)))


async def serve_writes(storage: MysqlStorage) -> None:
    """The other process: one write per line; answers with when it was acknowledged (CLOCK_MONOTONIC is the machine's)."""
    store = MysqlStore(storage)
    await store.open()
    for index in count():
        if not sys.stdin.readline():
            break
        await store.create(Key(NODE, f"w-{index}"), CONTENT)
        print(time.monotonic(), flush=True)
    await store.aclose()


async def watch_milliseconds(store: Store, storage: MysqlStorage) -> list[float]:
    """From the acknowledgement in another process to the watcher here, sorted."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--serve", storage.host, str(storage.port), storage.database, storage.password),
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
            await asyncio.sleep(0.037)  # not in step with the polling
    child.stdin.close()
    await child.wait()
    return sorted(waits)


async def best(measure: Callable[[], Awaitable[float]]) -> float:
    return min([await measure() for _ in range(3)])


async def list_seconds(store: Store) -> float:
    began = time.perf_counter()
    page = await store.list(NODE)
    taken = time.perf_counter() - began
    assert len(page.objects) >= LISTED
    return taken


def loading() -> dict[str, float]:
    """What the backend costs a process that has asyncio and k3's settings already."""
    code = (
        "import asyncio, logging, pathlib, ssl, time; import k3.stores, k3.settings;"
        "rss = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * 4 / 1024;"
        "t, m = time.perf_counter(), rss();"
        "import k3.stores.mysql; print((time.perf_counter() - t) * 1e3, rss() - m)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True) for _ in range(3)]
    figures = [[float(word) for word in run.stdout.split()] for run in runs]
    return {"milliseconds": min(ms for ms, _ in figures), "rss_mb": min(mb for _, mb in figures)}


def storage_on(server: Mariadb, name: str) -> MysqlStorage:
    return MysqlStorage(server.address, server.port, server.user, server.password, server.new_database(name))


async def opened(storage: MysqlStorage) -> MysqlStore:
    store = MysqlStore(storage)
    await store.open()
    return store


async def side_by_side(
    ours: Callable[[int], Awaitable[object]], theirs: Callable[[], Awaitable[float]], operations: int, *, rounds: int
) -> dict[str, float]:
    """Medians over some rounds in which both take turns, as other load comes and goes."""
    measured = []
    for number in range(rounds):
        speed, cpu = await rate(ours(number), operations)
        measured.append((speed, cpu, speed / await theirs()))
    names = ("ops_per_second", "cpu_us", "of_raw")
    return {name: median(values) for name, values in zip(names, zip(*measured, strict=True), strict=True)}


async def main(server: Mariadb) -> None:
    plain = storage_on(server, "raw")
    server.sql(f"USE {plain.database}; {';'.join(TABLES)}")
    store = await opened(storage_on(server, "one"))
    sequential = await side_by_side(
        lambda number: create_in_turn(store, f"s{number}", SEQUENTIAL),
        lambda: raw(plain, SEQUENTIAL, 1),
        SEQUENTIAL,
        rounds=ROUNDS,
    )
    many = CALLERS * PER_CALLER
    together = await side_by_side(
        lambda number: create_at_once(store, f"c{number}"), lambda: raw(plain, many, CALLERS), many, rounds=ROUNDS
    )
    await store.aclose()
    storage = storage_on(server, "two")
    store = await opened(storage)
    batched = await side_by_side(lambda _: create_all(store), lambda: raw(plain, LISTED, BATCH), LISTED, rounds=1)
    listing = await best(lambda: list_seconds(store))
    waits = await watch_milliseconds(store, storage)
    await store.aclose()
    result = {
        "server": server.sql("SELECT VERSION()").strip(),
        "document_bytes": len(new_document(Key(NODE, "n"), CONTENT, uid="u" * 36, created="")),
        "sequential": sequential,
        "callers_32": together,
        "batched_500": batched,
        "create_10000_seconds": LISTED / batched["ops_per_second"],
        "list_10000_seconds": listing,
        "watch_between_processes_ms": {"p50": waits[WATCHED // 2], "p99": waits[WATCHED * 99 // 100]},
        "import": loading(),
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        host, port, database, password = sys.argv[2:]
        asyncio.run(serve_writes(MysqlStorage(host, int(port), password=password, database=database)))
    else:
        with mariadb_server("--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=128M") as server:
            asyncio.run(main(server))
