"""What is measured of every store in the same way: one document, one load, one process beside it.

As a program it is that process. For each line it reads it writes one document and says when that was acknowledged
(CLOCK_MONOTONIC is the machine's); for the line `churn` it changes many at once and says how many changes that were.

K3_STORE_PASSWORD=... python store_figures.py URL
"""

import asyncio
import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from k3.core.errors import Expired
from k3.core.objects import NODE, Key, new_document
from k3.core.store import Change, Store
from k3.settings.load import Flags, Place, load
from k3.stores import connect

CONTENT: Final = {"metadata": {"labels": {f"label-{number}": "x" * 40 for number in range(20)}}, "spec": {"x": "y" * 1_800}}
CALLERS: Final = 32
LISTED: Final = 10_000
ROUNDS: Final = 3
CHURNED: Final = 20
"""So often each caller creates, updates and deletes an object."""
FENCE: Final = "fence"
GUARD_SECONDS: Final = 120.0

Write = Callable[[str], Awaitable[object]]


def document(name: str, *, uid: str = "") -> bytes:
    """What is written, as it is stored."""
    return new_document(Key(NODE, name), CONTENT, uid=uid, created="")


def creates(store: Store) -> Write:
    return lambda name: store.create(Key(NODE, name), CONTENT)


async def in_turn(write: Write, prefix: str, number: int) -> None:
    for index in range(number):
        await write(f"{prefix}-{index}")


async def at_once(write: Write, prefix: str, *, callers: int, each: int) -> None:
    await asyncio.gather(*(in_turn(write, f"{prefix}-{caller}", each) for caller in range(callers)))


async def rate(work: Awaitable[object], operations: int) -> tuple[float, float]:
    """Operations per second, and CPU microseconds of this process (all threads) per operation."""
    began, cpu = time.perf_counter(), time.process_time()
    await work
    return operations / (time.perf_counter() - began), (time.process_time() - cpu) / operations * 1e6


async def list_seconds(store: Store) -> float:
    """The quickest of some lists of all Nodes."""
    return min([await _one_list_seconds(store) for _ in range(ROUNDS)])


async def _one_list_seconds(store: Store) -> float:
    """The page is gone afterwards: two of them at once would count as the store's memory."""
    began = time.perf_counter()
    page = await store.list(NODE)
    taken = time.perf_counter() - began
    assert len(page.objects) >= LISTED
    return taken


def max_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- Another process --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The other process on the same store."""

    process: asyncio.subprocess.Process

    def ask(self, what: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n".encode())

    async def answer(self) -> float:
        assert self.process.stdout is not None
        return float(await self.process.stdout.readline())


@contextlib.asynccontextmanager
async def neighbour(url: str, password: str) -> AsyncIterator[Neighbour]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**_environment(), "K3_STORE_PASSWORD": password},
    )
    assert process.stdin is not None
    try:
        yield Neighbour(process)
    finally:
        process.stdin.close()
        await process.wait()


async def watch_milliseconds(
    store: Store, url: str, *, writes: int, pause_seconds: float = 0.005, password: str = ""
) -> dict[str, float]:
    """From the acknowledgement in another process to the watcher here: p50 and p99."""
    waits = []
    async with neighbour(url, password) as other, store.watch(NODE, (await store.list(NODE, limit=1)).revision) as events:
        for _ in range(writes):
            other.ask()
            while not isinstance(await anext(events), Change):
                pass
            heard = time.monotonic()
            waits.append(max(0.0, heard - await other.answer()) * 1e3)
            await asyncio.sleep(pause_seconds)
    waits.sort()
    return {"p50": waits[writes // 2], "p99": waits[writes * 99 // 100]}


async def delivered(store: Store, url: str, *, password: str = "") -> dict[str, float]:
    """How many of another process's changes a watcher here is shown while that process makes as many as it can."""
    seen = set()
    async with neighbour(url, password) as other:
        with contextlib.suppress(Expired, TimeoutError):  # then it is fewer than all
            async with store.watch(NODE, (await store.list(NODE, limit=1)).revision) as events, asyncio.timeout(GUARD_SECONDS):
                other.ask("churn")
                async for event in events:
                    if isinstance(event, Change):
                        seen.add(event.object.revision)
                        if event.object.key.name == FENCE:
                            break
        made = await other.answer()
    return {"changes": made, "percent": len(seen) / made * 100}


async def serve(url: str) -> None:
    """Be the other process."""
    place = Place({"K3_STORE_PASSWORD": os.environ["K3_STORE_PASSWORD"]}, is_root=False)
    store = await connect(load(Flags(store=url), place, reading=False).storage)
    for index in count():
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            break
        if line.strip() == "churn":
            print(await churn(store), flush=True)
        else:
            await store.create(Key(NODE, f"w-{index}"), CONTENT)
            print(time.monotonic(), flush=True)
    await store.aclose()


async def churn(store: Store) -> int:
    """How many changes it made; the fence is the last of them."""

    async def come_and_go(name: str) -> None:
        item = await store.create(Key(NODE, name), CONTENT)
        await store.update(item.with_manifest({**item.manifest(), "spec": {}}))
        await store.delete(item.key)

    await at_once(come_and_go, "churn", callers=CALLERS, each=CHURNED)
    await store.create(Key(NODE, FENCE), {})
    return 3 * CALLERS * CHURNED + 1


# --- A fresh process --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """What importing a backend took in a fresh process: time, and the resident memory before and after."""

    milliseconds: float
    before_mb: float
    after_mb: float


def imports(backend: str, *, after: str = "k3.stores") -> Import:
    """Once, all that opening it needs. `after`: what the process has imported already, as in an import statement."""
    module = f"k3.stores.{backend}" if backend == "memory" else f"k3.stores.{backend}.store"
    code = (
        "import time; rss = lambda: int(open('/proc/self/statm').read().split()[1]) * 4 / 1024;"
        f"import {after}; before, began = rss(), time.perf_counter(); import {module};"
        "print((time.perf_counter() - began) * 1e3, before, rss())"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, env=_environment(), capture_output=True, text=True, check=True)
    return Import(*map(float, done.stdout.split()))


def loaded(backend: str) -> dict[str, float]:
    """Importing the backend in a fresh process, beside the memory backend: milliseconds, and MB resident afterwards."""
    found: dict[str, list[Import]] = {"memory": [], backend: []}
    for name in ("memory", backend) * ROUNDS:
        found[name].append(imports(name))
    plain, best = min(found["memory"]), min(found[backend])
    return {
        "import_ms": best.milliseconds,
        "rss_mb": best.after_mb,
        "memory_import_ms": plain.milliseconds,
        "memory_rss_mb": plain.after_mb,
    }


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
