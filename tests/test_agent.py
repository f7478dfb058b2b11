"""An agent's sources stand on one watch and one writer: each hears what the store shows, the store of each one's end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from k3.agent.agent import Agent
from k3.agent.cache import Listed, Lost, Notice
from k3.agent.source import Shared, Source
from k3.core import limits
from k3.core.decision import Create, Decision, Keep, Transition, new_node
from k3.core.objects import NODE, Key, Kind, Manifest, Object
from k3.core.observation import Evidence, Facts, Left
from k3.core.sources import DISCOVERY, NETWORK, SourceRow
from k3.core.store import Change, Store, Watch
from k3.stores.enduring import EnduringStore
from k3.stores.memory import MemoryStore
from k3.testing.faults import FaultyStore
from tests.lab import until_so

ME = Key(NODE, "me")


class Counting(FaultyStore):
    """Counts its watches; a write waits while `gate` is closed."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.watches = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def watch(self, kind: Kind, since: int) -> Watch:
        self.watches += 1
        return super().watch(kind, since)

    async def create(self, key: Key, manifest: Manifest) -> Object:
        await self.gate.wait()
        return await super().create(key, manifest)


class Quiet(Source):
    """Finds nothing; notes what it is told, and in what order."""

    row = NETWORK

    def __init__(self, shared: Shared, order: list[str]) -> None:
        super().__init__(shared, Facts(node="me", boot="b" * 16))
        self.notices: list[Notice] = []
        self.order = order

    def decide(self, current: Manifest | None, seen: Any, *, now: datetime) -> Decision:
        return Create(new_node(self.row), Transition("Registered", "")) if current is None else Keep("")

    def on_notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    async def run(self, port: int) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> Left:
        return Left("last", Evidence(), by_itself=True)

    async def leave(self) -> None:
        self.order.append("left")


class Beside(Quiet):
    row = DISCOVERY


@pytest.fixture
async def store() -> AsyncIterator[Counting]:
    memory = MemoryStore()
    yield Counting(memory)
    await memory.aclose()


@asynccontextmanager
async def running(store: Store, *kinds: type[Quiet]) -> AsyncIterator[tuple[Agent, list[Quiet], list[str]]]:
    agent = Agent(store)
    order: list[str] = []
    sources = [kind(agent.shared, order) for kind in kinds]
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        running = [tasks.create_task(agent.run()), tasks.create_task(agent.find(sources, 7946))]
        for source in sources:
            await source.listed.wait()
        yield agent, sources, order
        for task in running:
            task.cancel()


def mine(row: SourceRow = NETWORK, **notes: str) -> Manifest:
    made = new_node(row)
    made["metadata"]["annotations"] = {row.prefix + key: text for key, text in notes.items()}
    return made


async def test_two_sources_have_one_watch_and_hear_the_same(store: Counting) -> None:
    async with running(store, Quiet, Beside) as (agent, sources, _):
        await store.create(Key(NODE, "web"), {"metadata": {"name": "web"}})
        await until_so(lambda: all(isinstance(each.notices[-1], Change) for each in sources))
        assert store.watches == 1
        assert sources[0].notices == sources[1].notices
        assert agent.shared.cache.is_current


async def test_an_outage_is_told_once_however_many_sources_there_are(store: Counting, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="k3"):
        async with running(EnduringStore(store), Quiet, Beside) as (_, sources, _order):
            store.down = True
            store.cut_watches()
            await until_so(lambda: all(isinstance(each.notices[-1], Lost) for each in sources))
            for each in sources:
                each.submit(Left("web", Evidence(), by_itself=False))
            await asyncio.sleep(0.3)
            store.down = False
            await until_so(lambda: all(isinstance(each.notices[-1], Listed) for each in sources))
    said = [record.message for record in caplog.records if record.message.startswith("store.")]
    assert said == ["store.lost", "store.found"]


@pytest.mark.parametrize(
    ("kind", "manifest"),
    [
        (Quiet, mine(agent="b" * 16)),
        (Beside, mine(DISCOVERY, boot="b" * 16)),
        (Quiet, {"metadata": {"labels": {}}}),
        (Quiet, mine(DISCOVERY)),
        (Beside, mine()),
    ],
    ids=["by-its-agent", "by-consul", "a-controllers", "another-sources", "the-other-way-round"],
)
async def test_it_has_joined_once_its_node_of_this_run_is_there_or_one_it_leaves_alone(
    store: Counting, kind: type[Quiet], manifest: Manifest
) -> None:
    async with running(store, kind) as (_, (source,), _order):
        assert not source.joined.is_set()
        await store.create(ME, manifest)
        await until_so(source.joined.is_set)


@pytest.mark.parametrize("manifest", [mine(agent="a" * 16), mine(boot="b" * 16), mine(DISCOVERY, boot="a" * 16)])
async def test_a_node_of_another_run_is_not_its_own_yet(store: Counting, manifest: Manifest) -> None:
    kind = Beside if "k3.discovery/boot" in manifest["metadata"]["annotations"] else Quiet
    async with running(store, kind) as (_, (source,), _order):
        await store.create(ME, manifest)
        await until_so(lambda: isinstance(source.notices[-1], Change))
        assert not source.joined.is_set()


async def test_the_store_hears_of_the_end_first(store: Counting) -> None:
    async with running(store, Quiet) as (agent, sources, order):
        created = store.create

        async def create(key: Key, manifest: Manifest) -> Object:
            order.append("stored")
            return await created(key, manifest)

        store.create = create  # type: ignore[method-assign]
        await agent.leave(sources)
    assert order.index("stored") < order.index("left")


async def test_a_store_that_hangs_keeps_nobody_from_hearing(store: Counting) -> None:
    async with running(store, Quiet) as (agent, sources, order):
        store.gate.clear()
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(agent.leave(sources))
            await until_so(lambda: order == ["left"])
            assert not leaving.done(), "the store may still take it"
            store.gate.set()
    assert (await store.get(Key(NODE, "last"))).revision


async def test_a_source_that_was_cut_off_begins_with_the_whole_list(store: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCH_BUFFER", 3)
    async with running(store, Quiet) as (agent, (source,), _order):
        source.notices.clear()
        for number in range(10):  # in one go: the source gets no turn
            agent.shared.cache._publish(Lost(str(number)))
        await until_so(lambda: bool(source.notices))
        assert isinstance(source.notices[0], Listed)


async def test_what_a_source_that_ended_wanted_is_not_written(store: Counting) -> None:
    agent = Agent(store)
    source = Quiet(agent.shared, [])
    source.submit(Left("old", Evidence(), by_itself=False))
    async with asyncio.TaskGroup() as tasks:
        finding = tasks.create_task(agent.find([source], 7946))
        await asyncio.sleep(0)
        finding.cancel()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(agent.run())
        await until_so(lambda: agent.shared.cache.is_current)
        await asyncio.sleep(0.05)
        task.cancel()
    assert (await store.list(NODE)).objects == ()
