"""A change in Consul until `k3 nodes -w` shows it, on etcd: among 100 machines and among 10,000; what that costs both sides.

The clock runs from the moment before Consul is asked to take the change to the line that ends the Node in the output of
`k3 nodes -w -o json`. Beside `k3 discovery`, in the same run and through the same relay, which counts bytes: the
specification's own method and a plain blocking-query loop (discovery_beside.py). Prints one JSON object.

PYTHONPATH=src:. python benchmarks/discovery_flips.py [--quick]
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.discovery_beside import PERIOD_SECONDS
from benchmarks.discovery_eyes import Viewer, Wire
from benchmarks.discovery_first import fresh
from benchmarks.discovery_scene import (
    LOOP,
    MANY,
    METHODS,
    POLL,
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
from benchmarks.figures import Figure, median, percentile, tell
from benchmarks.report import number
from benchmarks.scene import cpu_seconds, is_quick
from tests.lab import Process
from tests.servers import consul_agent

FEW: Final = 100
GUARD_SECONDS: Final = 120.0
PAUSE_SECONDS: Final = (0.2, 0.7)
"""Between two changes: a whole round of whoever watches, so that the next one meets it at rest, in no step with it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured of one method: changes there and back, machines added, and for how long nothing changes."""

    pairs: int
    added: int = 0
    idle_seconds: float = 0.0
    pause_seconds: tuple[float, float] = PAUSE_SECONDS
    rests: bool = True
    """Whether it comes to rest when all is mirrored."""


@dataclass(slots=True)
class Taken:
    """What was measured of one method. The costs are of one flip, what is used without any taken off."""

    down: list[float] = field(default_factory=list)
    up: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0
    consul_cpu_seconds: float = 0.0
    bytes: float = 0.0
    idle_cpu_percent: float = 0.0
    idle_consul_cpu_percent: float = 0.0
    idle_bytes: float = 0.0
    """Per second."""
    writes: float = 0.0
    """Per Node and minute, without any change."""
    rss_mb: float = 0.0
    most_mb: float = 0.0
    read_seconds: float = 0.0
    """A bare GET of all machines, for comparison."""
    relayed_seconds: float = 0.0
    """The same through the relay, which every method here goes through."""

    @property
    def flips(self) -> list[float]:
        """Both directions."""
        return [*self.down, *self.up]


@dataclass(frozen=True, slots=True)
class Meter:
    """What has been used so far."""

    at: float
    cpu_seconds: float
    consul_cpu_seconds: float
    bytes: int


class Bench:
    """One method at work on one store."""

    def __init__(self, registry: Registry, wire: Wire, shelf: Shelf, process: Process) -> None:
        self.registry = registry
        self.wire = wire
        self.shelf = shelf
        self.process = process
        self.taken = Taken()

    def meter(self) -> Meter:
        return Meter(time.monotonic(), cpu_seconds(self.process), cpu_seconds(self.registry.server.process), self.wire.received)

    async def idle(self, seconds: float) -> None:
        """Watch it for so long while nothing changes."""
        async with self.shelf.open() as store:
            since = await revision(store)
            before = self.meter()
            written = (await count_writes(store, since, seconds)).machines
            after = self.meter()
        passed, taken = after.at - before.at, self.taken
        taken.idle_cpu_percent = (after.cpu_seconds - before.cpu_seconds) / passed * 100
        taken.idle_consul_cpu_percent = (after.consul_cpu_seconds - before.consul_cpu_seconds) / passed * 100
        taken.idle_bytes = (after.bytes - before.bytes) / passed
        taken.writes = written / self.registry.count / passed * 60

    def flip(self, viewer: Viewer, plan: Plan) -> None:
        """Down and up again, one machine after another."""
        before = self.meter()
        for which in random.Random(1).sample(range(self.registry.count), plan.pairs):
            for well, times in ((False, self.taken.down), (True, self.taken.up)):
                times.append(self._changed(viewer, which, plan, well=well))
        after, flips, taken = self.meter(), 2 * plan.pairs, self.taken
        passed = after.at - before.at
        taken.cpu_seconds = _each(after.cpu_seconds - before.cpu_seconds, taken.idle_cpu_percent / 100 * passed, flips)
        consul = after.consul_cpu_seconds - before.consul_cpu_seconds
        taken.consul_cpu_seconds = _each(consul, taken.idle_consul_cpu_percent / 100 * passed, flips)
        taken.bytes = _each(after.bytes - before.bytes, taken.idle_bytes * passed, flips)

    def _changed(self, viewer: Viewer, number: int, plan: Plan, *, well: bool) -> float:
        """Seconds until one change is seen."""
        time.sleep(random.uniform(*plan.pause_seconds))
        asked = self.registry.flip(number, well=well)
        return viewer.seen(number, well=well, guard_seconds=GUARD_SECONDS) - asked

    def add(self, viewer: Viewer, plan: Plan) -> None:
        """New machines, one after another."""
        for _ in range(plan.added):
            time.sleep(random.uniform(*plan.pause_seconds))
            number, asked = self.registry.add()
            self.taken.added.append(viewer.seen(number, well=True, guard_seconds=GUARD_SECONDS) - asked)


def _each(used: float, idle: float, flips: int) -> float:
    return max(0.0, used - idle) / flips


async def measure(registry: Registry, shelf: Shelf, start: Start, plan: Plan) -> Taken:
    """Let it mirror all machines into an empty store, then measure."""
    with Wire(registry.server.address, registry.server.port) as wire, ending(start(shelf, wire.endpoint)) as process:
        async with shelf.open() as store:
            await shown(store, registry.count, process, guard_seconds=GUARD_SECONDS)
        bench = Bench(registry, wire, shelf, process)
        if plan.rests:
            settle(process)
        bench.taken.rss_mb, _ = memory_mb(process)
        bench.taken.read_seconds = registry.read_seconds(registry.server.port)
        bench.taken.relayed_seconds = registry.read_seconds(wire.port)
        if plan.idle_seconds:
            await bench.idle(plan.idle_seconds)
        with Viewer(shelf, registry.count) as viewer:
            bench.flip(viewer, plan)
            bench.add(viewer, plan)
        _, bench.taken.most_mb = memory_mb(process)
        return bench.taken


def latency(name: str, taken: Mapping[str, Taken], high: float) -> list[Figure]:
    ours, plain = taken["k3"], taken["plain"]
    down, up = median(ours.down) * 1e3, median(ours.up) * 1e3
    said = f"{len(ours.flips)} flips; to NotReady {down:.0f} ms, to Ready {up:.0f} ms"
    if "poll" in taken:
        polled = taken["poll"].flips
        said += f"; {POLL}: {median(polled):.1f} s, worst of {len(polled)} {max(polled):.1f} s"
    bare = f"a bare GET of all machines {ours.read_seconds * 1e3:.0f} ms, through the relay {ours.relayed_seconds * 1e3:.0f} ms"
    return [
        Figure(f"{name}, p50", median(ours.flips) * 1e3, "ms", None, None, LOOP, median(plain.flips) * 1e3, said),
        Figure(
            f"{name}, p95", percentile(ours.flips, 95) * 1e3, "ms", None, high, LOOP, percentile(plain.flips, 95) * 1e3, bare
        ),
    ]


def costs(taken: Mapping[str, Taken]) -> list[Figure]:
    """What each takes. A poll costs the same whether anything has changed or not, so one poll stands beside one flip."""
    name = f"k3 discovery, {MANY:,} machines on etcd"
    ours, plain, poll = (taken[method] for method in METHODS)

    def row(what: str, unit: str, value: Callable[[Taken], float], high: float | None = None) -> Figure:
        other = f"{POLL}: {number(value(poll))} {unit}"
        return Figure(f"{name}: {what}", value(ours), unit, None, high, LOOP, value(plain), other)

    def flip(what: str, unit: str, value: Callable[[Taken], float], each_second: float) -> Figure:
        other = f"one poll: {number(each_second * PERIOD_SECONDS)} {unit}"
        return Figure(f"{name}: {what} of one flip", value(ours), unit, None, None, LOOP, value(plain), other)

    return [
        flip("CPU", "s", lambda each: each.cpu_seconds, poll.idle_cpu_percent / 100),
        flip("Consul's CPU", "s", lambda each: each.consul_cpu_seconds, poll.idle_consul_cpu_percent / 100),
        flip("bytes from Consul", "bytes", lambda each: each.bytes, poll.idle_bytes),
        row("CPU while nothing changes", "% of a core", lambda each: each.idle_cpu_percent),
        row("Consul's CPU while nothing changes", "% of a core", lambda each: each.idle_consul_cpu_percent),
        row("bytes from Consul while nothing changes", "per second", lambda each: each.idle_bytes),
        row("Nodes written while nothing changes, before a refresh is due", "per Node and minute", lambda each: each.writes),
        row("RSS at rest", "MB", lambda each: each.rss_mb, 200.0),
        row("most RSS, flips included", "MB", lambda each: each.most_mb, 200.0),
    ]


def added(taken: Mapping[str, Taken]) -> Figure:
    name = f"a machine registered among {MANY:,} → shown, etcd, median"
    times, other = [each * 1e3 for each in taken["k3"].added], median(taken["plain"].added) * 1e3
    return Figure(name, median(times), "ms", None, None, LOOP, other, f"worst of {len(times)}: {max(times):.0f} ms")


async def compared(count: int, folder: Path, plans: Mapping[str, Plan]) -> dict[str, Taken]:
    """Each method in turn, on the same Consul with so many machines."""
    with consul_agent() as server, fresh("etcd", folder) as make:
        registry = Registry(server)
        registry.fill(count)
        return {name: await measure(registry, make(), METHODS[name], plan) for name, plan in plans.items()}


async def main(*, quick: bool) -> None:
    pairs, idle_seconds, turns = (10, 30.0, 2) if quick else (30, 60.0, 5)
    at_ease = (0.0, 15.0)
    with tempfile.TemporaryDirectory(prefix="k3-bench-", dir="/tmp") as place:
        few = await compared(FEW, Path(place), {"k3": Plan(pairs), "plain": Plan(pairs)})
        plans = {
            "k3": Plan(pairs, added=pairs // 2, idle_seconds=idle_seconds),
            "plain": Plan(pairs // 2, added=pairs // 2, idle_seconds=idle_seconds),
            "poll": Plan(turns, idle_seconds=30.0, pause_seconds=at_ease, rests=False),
        }
        many = await compared(MANY, Path(place), plans)
    table = [
        *latency(f"a flip among {FEW} machines → shown, etcd", few, 100.0),
        *latency(f"a flip among {MANY:,} machines → shown, etcd", many, 300.0),
        added(many),
        *costs(many),
    ]
    tell(
        table,
        few={name: asdict(taken) for name, taken in few.items()},
        many={name: asdict(taken) for name, taken in many.items()},
    )


if __name__ == "__main__":
    asyncio.run(main(quick=is_quick()))
