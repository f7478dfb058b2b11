"""The first mirror of 10,000 machines into each store, what memory that takes, and a restart in which nothing has changed.

The clock runs from the last byte of the first answer that tells of all machines, as a relay between `k3 discovery` and
Consul hands it on, to the moment a watcher of the store has been shown all of them. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/discovery_first.py [--quick] [--store NAME]...
"""

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Final

from benchmarks.discovery_eyes import Wire
from benchmarks.discovery_scene import (
    LOOP,
    MANY,
    METHODS,
    Registry,
    Shelf,
    Start,
    count_writes,
    ending,
    memory_mb,
    revision,
    settle,
    shown,
)
from benchmarks.figures import Figure, median, tell
from benchmarks.scene import cpu_seconds
from tests.servers import consul_agent, etcd_server, mariadb_server

STORES: Final = {"SQLite": 1.5, "etcd": 5.0, "MariaDB": 5.0}
"""What is aimed at, in seconds."""
GUARD_SECONDS: Final = 180.0
MARIADB: Final = ("--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=128M")

Fresh = Callable[[], Shelf]


@dataclass(frozen=True, slots=True)
class First:
    """One first mirror: from Consul's answer to all shown, and what the process used from its start until it was at rest."""

    seconds: float
    cpu_seconds: float
    rss_mb: float
    most_mb: float


@contextmanager
def fresh(store: str, folder: Path) -> Iterator[Fresh]:
    """Empty stores of one kind, as many as are asked for."""
    numbers = count()
    with ExitStack() as stack:
        if store == "etcd":
            etcd = stack.enter_context(etcd_server())
            yield lambda: Shelf(f"etcd://{etcd.address}:{etcd.port}/{next(numbers)}", folder)
        elif store == "MariaDB":
            server = stack.enter_context(mariadb_server(*MARIADB))

            def make() -> Shelf:
                database = server.new_database(f"n{next(numbers)}")
                return Shelf(f"mysql://{server.user}@{server.address}:{server.port}/{database}", folder, server.password)

            yield make
        else:
            yield lambda: Shelf(f"sqlite://{folder}/{next(numbers)}.db", folder)


async def first_mirror(registry: Registry, shelf: Shelf, start: Start) -> First:
    with Wire(registry.server.address, registry.server.port) as wire:
        async with shelf.open() as store:
            with ending(start(shelf, wire.endpoint)) as process:
                seconds = await shown(store, MANY, process, guard_seconds=GUARD_SECONDS) - wire.answered
                await asyncio.to_thread(settle, process)
                found = First(seconds, cpu_seconds(process), *memory_mb(process))
                await asyncio.to_thread(process.stop)
        return found


async def restart(registry: Registry, shelf: Shelf, seconds: float) -> dict[str, int]:
    """Node writes after a restart on a store that has all of it, in so many seconds behind Consul's answer."""
    with Wire(registry.server.address, registry.server.port) as wire:
        async with shelf.open() as store, asyncio.TaskGroup() as tasks:
            since = await revision(store)
            with ending(shelf.mirror(wire.endpoint)) as process:
                await asyncio.to_thread(settle, process)
                assert wire.answered
                counting = tasks.create_task(count_writes(store, since, seconds))
                found = await counting
                await asyncio.to_thread(process.stop)
    assert found.own, "the mirror did not write its own Node: did it lead?"
    return {"machines": found.machines, "own": found.own}


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured with one kind of store."""

    ours: list[First]
    plain: First
    talking: First
    """Ours at the default log level: one line for each machine."""
    written: dict[str, int]

    def rows(self, store: str) -> list[Figure]:
        name = f"k3 discovery, {MANY:,} machines into {store}"
        times = [each.seconds for each in self.ours]
        own = f"the mirror's own Node, which did change: {self.written['own']}"
        said = f"worst of {len(times)}: {max(times):.2f} s; at log level info: {self.talking.seconds:.2f} s"
        arrow = f"{name}: Consul's answer → all in the store, median"

        def row(what: str, unit: str, value: Callable[[First], float], high: float | None = None) -> Figure:
            ours = median([value(each) for each in self.ours])
            return Figure(f"{name}: {what}", ours, unit, None, high, LOOP, value(self.plain))

        return [
            Figure(arrow, median(times), "s", None, STORES[store], LOOP, self.plain.seconds, said),
            row("CPU from the start until at rest", "s", lambda each: each.cpu_seconds),
            row("RSS at rest", "MB", lambda each: each.rss_mb, 200.0),
            row("most RSS", "MB", lambda each: each.most_mb, 200.0),
            Figure(
                f"{name}: Nodes written after a restart, unchanged", self.written["machines"], "writes", None, 0, remark=own
            ),
        ]


async def measure(registry: Registry, store: str, *, rounds: int, window_seconds: float) -> Result:
    with tempfile.TemporaryDirectory(prefix="k3-bench-", dir="/tmp") as place, fresh(store, Path(place)) as make:
        plain = await first_mirror(registry, make(), METHODS["plain"])
        talking = await first_mirror(registry, make(), lambda shelf, consul: shelf.mirror(consul, "--log-level", "info"))
        ours, shelf = [], make()
        for _ in range(rounds):
            shelf = make()
            ours.append(await first_mirror(registry, shelf, METHODS["k3"]))
        return Result(ours, plain, talking, await restart(registry, shelf, window_seconds))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--store", action="append", choices=STORES)
    chosen = parser.parse_args()
    rounds, window_seconds = (1, 10.0) if chosen.quick else (3, 35.0)
    table, details = [], {}
    with consul_agent() as server:
        registry = Registry(server)
        loaded = registry.fill(MANY)
        for store in chosen.store or STORES:
            result = await measure(registry, store, rounds=rounds, window_seconds=window_seconds)
            table += result.rows(store)
            details[store] = asdict(result)
    tell(table, first=details, loaded_seconds=loaded)


if __name__ == "__main__":
    asyncio.run(main())
