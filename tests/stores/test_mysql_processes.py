"""MySQL between processes, while its server is killed, frozen and started again."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from k3.core import limits
from k3.core.errors import Unavailable
from k3.core.objects import NODE
from k3.core.store import Store
from k3.stores.mysql import MysqlStorage, text
from k3.stores.mysql.store import MysqlStore
from k3.testing.store_steps import changes_until, next_change, node
from tests.servers import Mariadb, mariadb_server
from tests.stores.mysql_places import leak_check, settled, storage_on
from tests.stores.worker import HANG_SECONDS, Start, Worker, starter

pytestmark = [pytest.mark.servers("mariadb"), pytest.mark.xdist_group("mariadb-processes")]

RECOVER_SECONDS = 5.0


@pytest.fixture(scope="module")
def server() -> Iterator[Mariadb]:
    with mariadb_server() as server:
        yield server


@pytest.fixture
def storage(server: Mariadb) -> MysqlStorage:
    return storage_on(server, "processes")


@pytest.fixture
async def store(storage: MysqlStorage, server: Mariadb) -> AsyncIterator[MysqlStore]:
    process = server.process
    leaks = await leak_check()
    store = MysqlStore(storage)
    await store.open()
    yield store
    await store.aclose()
    if server.process is process:  # else it is the server's own pipes that differ
        await settled(leaks)


@pytest.fixture
async def start(store: Store, storage: MysqlStorage) -> AsyncIterator[Start]:
    url = f"mysql://{storage.user}@{storage.host}:{storage.port}/{storage.database}"
    async with starter(url, password=storage.password) as start:
        yield start


async def revisions_until(worker: Worker, revision: int) -> list[int]:
    seen = [int(await worker.line())]
    while seen[-1] < revision:
        seen.append(int(await worker.line()))
    return seen


@pytest.mark.slow
async def test_eight_writers_and_a_watcher_that_sees_every_change_once(store: Store, start: Start) -> None:
    """A conflict in ten: no revision is lost, none is used twice, and none is left out."""
    first = (await store.list(NODE)).revision
    watcher = await start("watch", first)
    writers = await asyncio.gather(*(start("contend", 60, f"n{number}") for number in range(8)))
    await asyncio.gather(*(worker.go() for worker in (watcher, *writers)))
    said = [line for lines in await asyncio.gather(*(worker.rest() for worker in writers)) for line in lines]
    last = (await store.list(NODE)).revision
    assert said.count("conflict") == 8 * 6
    written = sorted(int(line) for line in said if line != "conflict")
    assert len(written) == 8 * 54
    assert await revisions_until(watcher, last) == list(range(first + 1, last + 1))
    assert last - first == 8 * 55  # the creates are not said


@pytest.mark.slow
async def test_of_fifty_processes_one_creates_a_name(store: Store, start: Start) -> None:
    workers = await start("create", "web1", processes=50)
    await workers.go()
    said = await workers.rest()
    assert len(said) == 50
    assert said.count("taken") == 49
    assert (await store.get(node("web1"))).uid in said


async def test_another_process_hears_of_a_write(store: Store, start: Start) -> None:
    first = (await store.list(NODE)).revision
    watcher = await start("watch", first)
    await watcher.go()
    waits = []
    for number in range(10):
        made = await store.create(node(f"n{number}"), {})
        began = time.perf_counter()
        assert int(await watcher.line()) == made.revision
        waits.append(time.perf_counter() - began)
    assert sorted(waits)[5] < 5 * 0.3


async def test_a_list_is_of_one_moment_whoever_writes(store: Store, start: Start) -> None:
    """Every write is a create, so a revision tells how many there are."""
    first = (await store.list(NODE)).revision
    writer = await start("regardless", "n")
    await writer.go()
    revisions: set[int] = set()
    while len(revisions) < 50:
        page = await store.list(NODE)
        assert len(page.objects) == page.revision - first
        revisions.add(page.revision)


@pytest.mark.slow
async def test_a_killed_server_loses_nothing_it_acknowledged(store: Store, start: Start, server: Mariadb) -> None:
    """Killed and started again under load, twice: writers and watchers go on by themselves."""
    first = (await store.list(NODE)).revision
    watcher, writer = await asyncio.gather(start("watch", first), start("regardless", "n"))
    await asyncio.gather(watcher.go(), writer.go())
    said = []
    for _ in range(2):
        said += [await writer.line() for _ in range(200)]
        server.close()
        server.start()
        back = time.monotonic()
        await store.create(node(f"after{len(said)}"), {})
        said += [await writer.line() for _ in range(200)]
        assert time.monotonic() - back < 5 * RECOVER_SECONDS
    writer.process.kill()
    said += [line for line in await writer.rest() if line.count(" ") == 1]
    fence = await store.create(node("zz"), {})
    listed = {item.key.name: item.revision for item in (await store.list(NODE)).objects}
    acknowledged = {name: int(revision) for name, revision in (line.split() for line in said)}
    assert {name: listed.get(name) for name in acknowledged} == acknowledged
    assert await revisions_until(watcher, fence.revision) == list(range(first + 1, fence.revision + 1))


@pytest.mark.slow
async def test_a_writer_that_freezes_holding_the_counter_is_let_go_of(store: MysqlStore, storage: MysqlStorage) -> None:
    """The server ends its session, as it says nothing for five seconds."""
    other = MysqlStore(storage)
    await other.open()
    async with other._server._places:
        frozen = await other._server._dial()
        await frozen.run(text.BEGIN_WRITE)
        began = time.monotonic()
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                try:
                    await store.create(node("n1"), {})
                    break
                except Unavailable:
                    continue
        assert time.monotonic() - began > 3
        frozen.drop()
    await other.aclose()


async def test_a_server_that_does_not_answer_is_unavailable_in_time(
    store: MysqlStore, server: Mariadb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen for a while: nobody waits longer than the timeout, and all is well again afterwards."""
    made = await store.create(node("n1"), {})
    async with store.watch(NODE, made.revision) as events:
        monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.3)
        server.process.freeze()
        try:
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "get": lambda: store.get(node("n1")),
                "list": lambda: store.list(NODE),
                "create": lambda: store.create(node("n2"), {"x": "x" * 900_000}),
                "delete": lambda: store.delete(node("n1"), uid="another"),
                "watch": lambda: next_change(events),
            }
            for name, call in calls.items():
                began = time.monotonic()
                with pytest.raises(Unavailable):
                    await call()
                assert time.monotonic() - began < 10 * limits.STORE_TIMEOUT_SECONDS, name
        finally:
            server.process.thaw()
    monkeypatch.undo()
    began = time.monotonic()
    assert await store.get(node("n1")) == made
    async with store.watch(NODE, made.revision) as events:
        late = await store.create(node("n3"), {})
        assert time.monotonic() - began < RECOVER_SECONDS
        seen = [change.object.key.name for change in await changes_until(events, late.revision)]
    assert seen in (["n3"], ["n2", "n3"])


async def test_a_stopped_server_is_unavailable_at_once_and_comes_back(store: Store, server: Mariadb) -> None:
    made = await store.create(node("n1"), {})
    server.stop()
    for call in (store.get(node("n1")), store.list(NODE), store.create(node("n2"), {})):
        with pytest.raises(Unavailable, match=f"mysql {server.address}:{server.port}"):
            await call
    server.start()
    assert await store.get(node("n1")) == made
    assert (await store.create(node("n2"), {})).revision == made.revision + 1
