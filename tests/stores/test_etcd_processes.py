"""etcd between processes: who wins, who hears of what, and what a process that never chose etcd loads."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from k3.config import EtcdStorage
from k3.core.objects import NODE
from k3.core.store import Change
from k3.stores.etcd import EtcdStore
from k3.testing.store_steps import changes_until, next_change, node
from tests.servers import Server, etcd_server
from tests.stores.etcd_lab import opened

pytestmark = pytest.mark.servers("etcd")

WORKER = Path(__file__).with_name("etcd_worker.py")
HANG_SECONDS = 90.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Start(Protocol):
    def __call__(self, *arguments: object) -> Awaitable["Worker"]: ...


class Worker:
    """Another process on the same etcd."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(HANG_SECONDS):
            return (await self.process.stdout.readline()).decode().strip()

    async def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        await self.process.stdin.drain()

    async def rest(self) -> list[str]:
        assert self.process.stdout is not None
        async with asyncio.timeout(HANG_SECONDS):
            return (await self.process.stdout.read()).decode().split("\n")[:-1]


@pytest.fixture
def server() -> Iterator[Server]:
    with etcd_server() as server:
        yield server


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EtcdStore]:
    async with opened(EtcdStorage((server.endpoint,), compact=False)) as store:
        yield store


@pytest.fixture
async def start(store: EtcdStore, server: Server) -> AsyncIterator[Start]:
    workers: list[Worker] = []

    async def started(*arguments: object) -> Worker:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(WORKER), server.endpoint, "/kubernetes", *map(str, arguments)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=ENVIRONMENT,
        )
        worker = Worker(process)
        workers.append(worker)
        assert await worker.line() == "ready"
        return worker

    yield started
    for worker in workers:
        if worker.process.returncode is None:
            worker.process.kill()
        await worker.process.communicate()


@pytest.mark.slow
async def test_of_fifty_processes_one_creates_a_name(store: EtcdStore, start: Start) -> None:
    workers = await asyncio.gather(*(start("create", "web1") for _ in range(50)))
    await asyncio.gather(*(worker.go() for worker in workers))
    said = await asyncio.gather(*(worker.line() for worker in workers))
    assert [line for line in said if line != "taken"] == [(await store.get(node("web1"))).uid]


@pytest.mark.slow
async def test_eight_writers_and_a_watcher_that_sees_every_change_once(store: EtcdStore, start: Start) -> None:
    """A conflict in ten: nothing is missed, repeated or out of order. Nobody else writes, so revisions have no gap."""
    workers = await asyncio.gather(*(start("contend", 200, f"n{number}") for number in range(8)))
    first = (await store.list(NODE)).revision
    async with store.watch(NODE, first) as events:
        await asyncio.gather(*(worker.go() for worker in workers))
        said = [line for lines in await asyncio.gather(*(worker.rest() for worker in workers)) for line in lines]
        last = (await store.list(NODE)).revision
        seen = [change.object.revision for change in await changes_until(events, last)]
    assert said.count("conflict") == 8 * 20
    written = sorted(int(line) for line in said if line != "conflict")
    assert len(written) == 8 * 180
    assert seen == list(range(first + 1, last + 1))
    assert set(written) <= set(seen)
    assert len(seen) == 8 * 181  # the creates are not said


async def test_processes_share_the_store_and_hear_of_each_other(store: EtcdStore, start: Start) -> None:
    worker = await start("create", "web1")
    async with store.watch(NODE, (await store.list(NODE)).revision) as events:
        await worker.go()
        uid = await worker.line()
        change = await next_change(events)
        assert change == Change("ADDED", await store.get(node("web1")))
        assert change.object.uid == uid


def test_no_other_backend_loads_grpc_and_etcd_no_other_driver() -> None:
    code = (
        "import sys; import k3.stores.memory; assert not {'grpc', 'google.protobuf'} & set(sys.modules);"
        "import k3.stores.etcd; print([name for name in ('sqlite3', 'asyncmy', 'zeroconf') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env=ENVIRONMENT,
        check=True,
    )
    assert done.stdout == "[]\n"
