"""The SQLite store beside raw `sqlite3` doing the same work in the same run. Prints one JSON object; takes some ten seconds.

PYTHONPATH=src:. python benchmarks/stores_sqlite.py [DIRECTORY]
"""

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.store_figures import (
    CALLERS,
    CONTENT,
    LISTED,
    at_once,
    creates,
    delivered,
    document,
    in_turn,
    list_seconds,
    loaded,
    max_rss_mb,
    rate,
    watch_milliseconds,
)
from k3.core.objects import NODE, Key
from k3.core.store import Store
from k3.stores.sqlite.store import SqliteStore

SEQUENTIAL = 1_000
PER_CALLER = 250
FILLERS = 500
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
            assert database.execute("SELECT rev FROM cur WHERE k = ?", (key,)).fetchall() == []
            database.execute("INSERT INTO log VALUES (?, ?, ?)", (revision, key, document(f"n{revision}", uid=str(revision))))
            database.execute("INSERT INTO cur VALUES (?, ?)", (key, revision))
        database.execute("UPDATE meta SET rev = ?", (revision,))
        database.execute("COMMIT")
    taken = time.perf_counter() - began
    database.close()
    return writes / taken


async def paced(store: Store) -> float:
    """CPU microseconds for one write, alone, after a pause in which everything has gone to sleep."""
    spent = 0.0
    for index in range(PACED):
        await asyncio.sleep(0.01)
        cpu = time.process_time()
        await store.create(Key(NODE, f"p-{index}"), CONTENT)
        spent += time.process_time() - cpu
    return spent / PACED * 1e6


async def create_seconds(path: Path) -> float:
    """For that many, from empty."""
    store = SqliteStore(path)
    await store.open()
    speed, _ = await rate(at_once(creates(store), "n", callers=FILLERS, each=LISTED // FILLERS), LISTED)
    await store.aclose()
    return LISTED / speed


async def main(directory: Path) -> None:
    path = directory / "k3.db"
    store = SqliteStore(path)
    await store.open()
    create, many = creates(store), CALLERS * PER_CALLER
    sequential, sequential_cpu = await rate(in_turn(create, "s", SEQUENTIAL), SEQUENTIAL)
    raw_sequential = raw(directory / "raw.db", SEQUENTIAL, 1)
    together, together_cpu = await rate(at_once(create, "c", callers=CALLERS, each=PER_CALLER), many)
    raw_together = raw(directory / "raw.db", many, CALLERS)
    await in_turn(create, "more", LISTED - SEQUENTIAL - many)
    result = {
        "document_bytes": len(document("n", uid="u" * 36)),
        "sequential": {"ops_per_second": sequential, "cpu_us": sequential_cpu, "of_raw": sequential / raw_sequential},
        "callers_32": {"ops_per_second": together, "cpu_us": together_cpu, "of_raw": together / raw_together},
        "paced": {"cpu_us": await paced(store)},
        "watch_between_processes_ms": await watch_milliseconds(store, f"sqlite://{path}", writes=WATCHED),
        "list_10000_seconds": await list_seconds(store),
        "max_rss_mb": max_rss_mb(),
        "delivered_under_churn": await delivered(store, f"sqlite://{path}"),
        "create_10000_seconds": await create_seconds(directory / "filled.db"),
        "loaded": loaded("sqlite"),
    }
    await store.aclose()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as place:
        asyncio.run(main(Path(place)))
