"""The SQLite store beside raw `sqlite3` doing the same work in the same run. Prints one JSON object; takes some ten seconds.

PYTHONPATH=src python benchmarks/stores_sqlite.py [DIRECTORY]
"""

import asyncio
import json
import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from k3.core.objects import NODE, Key, new_document
from k3.core.store import Change, Store
from k3.stores.sqlite import SqliteStore

CONTENT = {"metadata": {"labels": {f"label-{number}": "x" * 40 for number in range(20)}}, "spec": {"x": "y" * 1_800}}
SEQUENTIAL = 1_000
CALLERS = 32
PER_CALLER = 250
LISTED = 10_000
PACED = 200
WATCHED = 100


def raw(path: Path, writes: int, at_once: int) -> float:
    """Operations per second of plain `sqlite3` on the caller's thread, `at_once` in one transaction."""
    database = sqlite3.connect(path, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE IF NOT EXISTS meta (id INTEGER PRIMARY KEY, rev INTEGER)",
        "CREATE TABLE IF NOT EXISTS cur (k TEXT PRIMARY KEY, rev INTEGER) WITHOUT ROWID",
        "CREATE TABLE IF NOT EXISTS log (rev INTEGER PRIMARY KEY, k TEXT, doc BLOB)",
        "INSERT OR IGNORE INTO meta VALUES (1, 0)",
    ):
        database.execute(statement).fetchall()
    began = time.perf_counter()
    for _ in range(writes // at_once):
        database.execute("BEGIN IMMEDIATE")
        revision = database.execute("SELECT rev FROM meta").fetchall()[0][0]
        for _ in range(at_once):
            revision += 1
            key = f"/v1/Node/n{revision}"
            document = new_document(Key(NODE, f"n{revision}"), CONTENT, uid=str(revision), created="")
            assert database.execute("SELECT rev FROM cur WHERE k = ?", (key,)).fetchall() == []
            database.execute("INSERT INTO log VALUES (?, ?, ?)", (revision, key, document))
            database.execute("INSERT INTO cur VALUES (?, ?)", (key, revision))
        database.execute("UPDATE meta SET rev = ?", (revision,))
        database.execute("COMMIT")
    taken = time.perf_counter() - began
    database.close()
    return writes / taken


async def rate(work: Awaitable[object], operations: int) -> tuple[float, float]:
    """Operations per second, and CPU microseconds of this process (all threads) per operation."""
    began, cpu = time.perf_counter(), time.process_time()
    await work
    return operations / (time.perf_counter() - began), (time.process_time() - cpu) / operations * 1e6


async def create_in_turn(store: Store, prefix: str, number: int) -> None:
    for index in range(number):
        await store.create(Key(NODE, f"{prefix}-{index}"), CONTENT)


async def create_at_once(store: Store) -> None:
    await asyncio.gather(*(create_in_turn(store, f"c{caller}", PER_CALLER) for caller in range(CALLERS)))


async def paced(store: Store) -> float:
    """CPU microseconds for one write, alone, after a pause in which everything has gone to sleep."""
    spent = 0.0
    for index in range(PACED):
        await asyncio.sleep(0.01)
        cpu = time.process_time()
        await store.create(Key(NODE, f"p-{index}"), CONTENT)
        spent += time.process_time() - cpu
    return spent / PACED * 1e6


async def serve_writes(path: Path) -> None:
    """The other process: one write per line; answers with when it was acknowledged (CLOCK_MONOTONIC is the machine's)."""
    store = SqliteStore(path)
    await store.open()
    for index in count():
        if not sys.stdin.readline():
            break
        await store.create(Key(NODE, f"w-{index}"), CONTENT)
        print(time.monotonic(), flush=True)
    await store.aclose()


async def watch_milliseconds(store: Store, path: Path) -> list[float]:
    """From the acknowledgement in another process to the watcher here, sorted."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--serve", str(path)),
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


async def best(measure: Callable[[], Awaitable[float]]) -> float:
    return min([await measure() for _ in range(3)])


async def list_seconds(store: Store) -> float:
    began = time.perf_counter()
    page = await store.list(NODE)
    taken = time.perf_counter() - began
    assert len(page.objects) >= LISTED
    return taken


async def main(directory: Path) -> None:
    store = SqliteStore(directory / "k3.db")
    await store.open()
    sequential, sequential_cpu = await rate(create_in_turn(store, "s", SEQUENTIAL), SEQUENTIAL)
    raw_sequential = raw(directory / "raw.db", SEQUENTIAL, 1)
    together, together_cpu = await rate(create_at_once(store), CALLERS * PER_CALLER)
    raw_together = raw(directory / "raw.db", CALLERS * PER_CALLER, CALLERS)
    await create_in_turn(store, "more", LISTED - SEQUENTIAL - CALLERS * PER_CALLER)
    paced_cpu = await paced(store)
    waits = await watch_milliseconds(store, directory / "k3.db")
    listing = await best(lambda: list_seconds(store))
    await store.aclose()
    document = len(new_document(Key(NODE, "n"), CONTENT, uid="u" * 36, created=""))
    result = {
        "document_bytes": document,
        "sequential": {"ops_per_second": sequential, "cpu_us": sequential_cpu, "of_raw": sequential / raw_sequential},
        "callers_32": {"ops_per_second": together, "cpu_us": together_cpu, "of_raw": together / raw_together},
        "paced": {"cpu_us": paced_cpu},
        "watch_between_processes_ms": {"p50": waits[WATCHED // 2], "p99": waits[WATCHED * 99 // 100]},
        "list_10000_seconds": listing,
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve_writes(Path(sys.argv[2])))
    else:
        with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as place:
            asyncio.run(main(Path(place)))
