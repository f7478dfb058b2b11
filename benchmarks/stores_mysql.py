"""The MySQL store beside raw asyncmy doing the same work in the same run. Prints one JSON object; takes some twenty seconds.

Starts a MariaDB of its own that is flushed to disk at every commit. PYTHONPATH=src:. python benchmarks/stores_mysql.py
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import asyncmy

from benchmarks.store_figures import (
    CALLERS,
    LISTED,
    at_once,
    creates,
    delivered,
    document,
    imports,
    in_turn,
    list_seconds,
    loaded,
    max_rss_mb,
    rate,
    watch_milliseconds,
)
from k3.stores.mysql import MysqlStorage, open_store
from tests.servers import Mariadb, mariadb_server

ROUNDS = 5
SEQUENTIAL = 100
PER_CALLER = 30
BATCH = 500
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
        rows = [(first + index, key, document(key[9:], uid=key)) for index, key in enumerate(keys)]
        await cursor.executemany("INSERT INTO log (rev, k, doc) VALUES (%s, %s, %s)", rows)
        await cursor.executemany("INSERT INTO cur (k, rev) VALUES (%s, %s)", [(key, revision) for revision, key, _ in rows])
        await cursor.execute("UPDATE meta SET rev = %s WHERE id = 1", (first + at_once - 1,))
        await connection.commit()
    taken = time.perf_counter() - began
    connection.close()
    return writes / taken


def loading() -> dict[str, float]:
    """What the backend costs a process that has asyncio and k3's settings already."""
    runs = [imports("mysql", after="asyncio, logging, pathlib, ssl, k3.stores, k3.settings.load") for _ in range(3)]
    return {
        "milliseconds": min(run.milliseconds for run in runs),
        "rss_mb": min(run.after_mb - run.before_mb for run in runs),
    }


def storage_on(server: Mariadb, name: str) -> MysqlStorage:
    return MysqlStorage(
        host=server.address, port=server.port, user=server.user, password=server.password, database=server.new_database(name)
    )


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


async def compared(storage: MysqlStorage, plain: MysqlStorage) -> dict[str, dict[str, float]]:
    """One caller and many, beside the raw driver."""
    store = await open_store(storage)
    create, many = creates(store), CALLERS * PER_CALLER
    sequential = await side_by_side(
        lambda number: in_turn(create, f"s{number}", SEQUENTIAL), lambda: raw(plain, SEQUENTIAL, 1), SEQUENTIAL, rounds=ROUNDS
    )
    together = await side_by_side(
        lambda number: at_once(create, f"c{number}", callers=CALLERS, each=PER_CALLER),
        lambda: raw(plain, many, CALLERS),
        many,
        rounds=ROUNDS,
    )
    await store.aclose()
    return {"sequential": sequential, "callers_32": together}


async def main(server: Mariadb) -> None:
    plain = storage_on(server, "raw")
    server.sql(f"USE {plain.database}; {';'.join(TABLES)}")
    few = await compared(storage_on(server, "one"), plain)
    storage = storage_on(server, "two")
    url = f"mysql://{storage.user}@{storage.host}:{storage.port}/{storage.database}"
    store = await open_store(storage)
    batched = await side_by_side(
        lambda _: at_once(creates(store), "b", callers=BATCH, each=LISTED // BATCH),
        lambda: raw(plain, LISTED, BATCH),
        LISTED,
        rounds=1,
    )
    listing = await list_seconds(store)
    # The pause is not in step with the polling.
    waits = await watch_milliseconds(store, url, writes=WATCHED, pause_seconds=0.037, password=storage.password)
    most_mb = max_rss_mb()
    churned = await delivered(store, url, password=storage.password)
    await store.aclose()
    result = {
        "server": server.sql("SELECT VERSION()").strip(),
        "document_bytes": len(document("n", uid="u" * 36)),
        **few,
        "batched_500": batched,
        "create_10000_seconds": LISTED / batched["ops_per_second"],
        "list_10000_seconds": listing,
        "watch_between_processes_ms": waits,
        "import": loading(),
        "max_rss_mb": most_mb,
        "delivered_under_churn": churned,
        "loaded": loaded("mysql"),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    with mariadb_server("--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=128M") as mariadb:
        asyncio.run(main(mariadb))
