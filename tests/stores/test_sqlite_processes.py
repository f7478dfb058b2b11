"""SQLite between processes: who hears of what, who wins, and what a killed writer leaves behind."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from statistics import median

import pytest

from k3.core.objects import NODE
from k3.core.store import Bookmark, Store
from k3.stores.sqlite import store as sqlite
from k3.stores.sqlite.store import SqliteStore
from k3.testing.leaks import LeakCheck
from k3.testing.store_steps import changes_until, next_change, node
from tests.stores.worker import Start, starter

WAKE_SECONDS = 0.1
"""Within this a write in one process reaches a watcher in another; asserted five times as long."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "k3.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    leaks = LeakCheck()
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.aclose()
    leaks.finish()


@pytest.fixture
async def start(store: Store, path: Path) -> AsyncIterator[Start]:
    async with starter(f"sqlite://{path}") as start:
        yield start


async def test_a_write_wakes_a_watcher_in_another_process(store: Store, start: Start) -> None:
    worker = await start("write", 10, "n")
    waits = []
    async with store.watch(NODE, (await store.list(NODE)).revision) as events:
        for _ in range(10):
            began = time.perf_counter()
            await worker.go()
            change = await next_change(events)
            waits.append(time.perf_counter() - began)
            assert change.object.revision == int(await worker.line())
    assert median(waits) < 5 * WAKE_SECONDS


async def test_another_processes_write_is_heard_among_ones_own(store: Store, start: Start) -> None:
    """Although one's own touches of the file are no news."""
    worker = await start("write", 10, "theirs")
    waits = []
    theirs = asyncio.Event()

    async def write_all_the_time() -> None:
        for number in count():
            await store.create(node(f"ours-{number}"), {})
            if theirs.is_set():
                return

    async with store.watch(NODE, (await store.list(NODE)).revision) as events, asyncio.TaskGroup() as group:
        group.create_task(write_all_the_time())
        for _ in range(10):
            began = time.perf_counter()
            await worker.go()
            change = await next_change(events)
            while not change.object.key.name.startswith("theirs"):
                change = await next_change(events)
            waits.append(time.perf_counter() - began)
            assert change.object.revision == int(await worker.line())
        theirs.set()
    assert median(waits) < 5 * WAKE_SECONDS


async def test_without_inotify_it_is_polled(store: SqliteStore, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(24, "no instance to spare")

    monkeypatch.setattr(sqlite, "TouchListener", refuse)
    worker = await start("write", 3, "n")
    async with store.watch(NODE, (await store.list(NODE)).revision) as events:
        for _ in range(3):
            began = time.perf_counter()
            await worker.go()
            change = await next_change(events)
            assert time.perf_counter() - began < 5 * WAKE_SECONDS
            assert change.object.revision == int(await worker.line())


async def test_a_process_that_only_watches_is_idle(store: Store) -> None:
    async with store.watch(NODE, (await store.list(NODE)).revision) as events:
        assert isinstance(await anext(events), Bookmark)  # it has caught up
        began = time.process_time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await anext(events)
    assert time.process_time() - began < 0.02


@pytest.mark.slow
async def test_of_fifty_processes_one_creates_a_name(store: Store, start: Start) -> None:
    workers = await start("create", "web1", processes=50)
    await workers.go()
    said = await workers.rest()
    assert len(said) == 50
    assert said.count("taken") == 49
    assert (await store.get(node("web1"))).uid in said


async def test_many_processes_make_one_store(tmp_path: Path, start: Start) -> None:
    workers = await asyncio.gather(*(start("open", url=f"sqlite://{tmp_path}/new/k3.db") for _ in range(4)))
    ids = set()
    for worker in workers:
        await worker.go()
        ids.add(await worker.line())
    assert len(ids) == 1


@pytest.mark.slow
async def test_eight_writers_and_a_watcher_that_sees_every_change_once(store: Store, start: Start) -> None:
    """A conflict in ten: no revision is lost, none is used twice, and none is left out."""
    workers = [await start("contend", 60, f"n{number}") for number in range(8)]
    first = (await store.list(NODE)).revision
    async with store.watch(NODE, first) as events:
        await asyncio.gather(*(worker.go() for worker in workers))
        said = [line for lines in await asyncio.gather(*(worker.rest() for worker in workers)) for line in lines]
        last = (await store.list(NODE)).revision
        seen = [change.object.revision for change in await changes_until(events, last)]
    assert said.count("conflict") == 8 * 6
    written = sorted(int(line) for line in said if line != "conflict")
    assert len(written) == 8 * 54
    assert seen == list(range(first + 1, last + 1))
    assert set(written) <= set(seen)
    assert len(seen) == 8 * 55  # the creates are not said


async def test_a_killed_writer_leaves_what_it_acknowledged(store: Store, start: Start) -> None:
    first = (await store.list(NODE)).revision
    async with store.watch(NODE, first) as events:
        worker = await start("forever", "n")
        await worker.go()
        said = [await worker.line() for _ in range(30)]
        worker.process.kill()
        said += [line for line in await worker.rest() if line.count(" ") == 1]
        late = await store.create(node("zz"), {})
        seen = await changes_until(events, late.revision)
    listed = {item.key.name: item.revision for item in (await store.list(NODE)).objects}
    assert {line: listed[line.split()[0]] for line in said} == {line: int(line.split()[1]) for line in said}
    assert [change.object.revision for change in seen] == list(range(first + 1, late.revision + 1))
