"""The table's rows of the parts that measure a store, made of the document that each prints. Measures nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.figures import Figure


@dataclass(frozen=True, slots=True)
class Aims:
    """What one backend is called, what stands beside it, and what is aimed at: creates per second, s, and ms."""

    name: str
    creates: str
    beside_one: str
    beside_many: str
    list_seconds: float
    watch_milliseconds: float
    many_per_second: float
    one_per_second: float | None = None


OF_RAW_PERCENT: Final = 70.0
CREATE_SECONDS: Final = 5.0
"""For 10,000 from empty."""

PARTS: Final[Mapping[str, Aims]] = {
    "stores_sqlite": Aims(
        "SQLite",
        "SQLite creates at synchronous=FULL",
        "raw sqlite3, one write in a transaction",
        "raw sqlite3, 32 writes in a transaction",
        list_seconds=0.5,
        watch_milliseconds=100.0,
        many_per_second=8_000,
        one_per_second=1_000,
    ),
    "stores_etcd": Aims(
        "etcd",
        "etcd creates",
        "bare grpc puts, one after the other",
        "bare grpc puts, 32 at once",
        list_seconds=0.5,
        watch_milliseconds=20.0,
        many_per_second=3_000,
    ),
    "stores_mysql": Aims(
        "MariaDB",
        "MariaDB creates, flushed at every commit",
        "raw asyncmy, one write in a transaction",
        "raw asyncmy, 32 writes in a transaction",
        list_seconds=1.0,
        watch_milliseconds=300.0,
        many_per_second=2_000,
    ),
}


def rows(part: str, result: Mapping[str, Any]) -> list[Figure]:
    """The part's figures."""
    aims = PARTS[part]
    one, many, waits, loaded = (result[field] for field in ("sequential", "callers_32", "watch_between_processes_ms", "loaded"))
    table = [
        _rate(f"{aims.creates}, one after the other", one, aims.one_per_second, aims.beside_one),
        _rate(f"{aims.creates}, with 32 callers", many, aims.many_per_second, aims.beside_many),
        Figure(f"{aims.name}: 32 callers' share of the raw driver's rate", many["of_raw"] * 100, "%", OF_RAW_PERCENT),
    ]
    if batched := result.get("batched_500"):
        table.append(_rate(f"{aims.creates}, with 500 callers", batched, None, "raw asyncmy, 500 writes in a transaction"))
    delivered = result["delivered_under_churn"]
    return [
        *table,
        Figure(f"{aims.name}: 10,000 Nodes created from empty", result["create_10000_seconds"], "s", None, CREATE_SECONDS),
        Figure(f"{aims.name} write → watcher in another process, p50", waits["p50"], "ms"),
        Figure(f"{aims.name} write → watcher in another process, p99", waits["p99"], "ms", None, aims.watch_milliseconds),
        Figure(
            f"{aims.name}: another process's changes that a watcher is shown",
            *(delivered["percent"], "%", 100.0),
            remark=f"{delivered['changes']:,.0f} changes, as many as it can make",
        ),
        Figure(f"{aims.name} list of 10,000 Nodes", result["list_10000_seconds"], "s", None, aims.list_seconds),
        _beside_memory(f"{aims.name}: import", "ms", loaded["import_ms"], loaded["memory_import_ms"]),
        _beside_memory(f"{aims.name}: RSS once imported", "MB", loaded["rss_mb"], loaded["memory_rss_mb"]),
    ]


def _rate(name: str, measured: Mapping[str, float], low: float | None, beside: str) -> Figure:
    rate = measured["ops_per_second"]
    return Figure(name, rate, "operations/s", low, None, beside, rate / measured["of_raw"])


def _beside_memory(name: str, unit: str, measured: float, memory: float) -> Figure:
    return Figure(name, measured, unit, None, None, "the memory backend", memory)
