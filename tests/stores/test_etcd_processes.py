"""etcd between processes: who wins, who hears of what, and what a process that never chose etcd loads."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from k3.core.objects import NODE
from k3.core.store import Change
from k3.stores.etcd import EtcdStorage
from k3.stores.etcd.store import EtcdStore
from k3.testing.store_steps import changes_until, next_change, node
from tests.servers import Server, etcd_server
from tests.stores.etcd_lab import opened
from tests.stores.worker import Start, environment, starter

pytestmark = pytest.mark.servers("etcd")

HANG_SECONDS = 90.0


@pytest.fixture
def server() -> Iterator[Server]:
    with etcd_server() as server:
        yield server


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EtcdStore]:
    async with opened(EtcdStorage(endpoints=(server.endpoint,), compact=False)) as store:
        yield store


@pytest.fixture
async def start(store: EtcdStore, server: Server) -> AsyncIterator[Start]:
    url = f"etcd://{server.address}:{server.port}/kubernetes?compact=false"
    async with starter(url, hang_seconds=HANG_SECONDS) as start:
        yield start


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
        env=environment(),
        check=True,
    )
    assert done.stdout == "[]\n"
