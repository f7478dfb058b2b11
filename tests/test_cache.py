"""One watch, many subscribers: each hears the whole list, then every change in order, or that it was too slow."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from k3.agent.cache import TURN, Cache, Listed, Lost
from k3.core import limits
from k3.core.errors import Expired
from k3.core.objects import NODE, Key
from k3.core.store import Change, Store
from k3.stores.memory import MemoryStore
from k3.testing.faults import FaultyStore
from tests.lab import until_so

WEB = Key(NODE, "web")


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    memory = MemoryStore()
    yield memory
    await memory.aclose()


@asynccontextmanager
async def following(store: Store) -> AsyncIterator[Cache]:
    cache = Cache(store, NODE, random=Random(1))
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
        task = tasks.create_task(cache.run())
        yield cache
        task.cancel()


async def put(store: Store, *names: str) -> None:
    for name in names:
        await store.create(Key(NODE, name), {"metadata": {"name": name}})
        await asyncio.sleep(0)


async def test_the_cache_lists_follows_and_says_when_the_store_is_away(store: Store) -> None:
    faulty = FaultyStore(store)
    async with following(faulty) as cache:
        with cache.subscribe() as notices:
            assert isinstance(await anext(notices), Listed)
            await put(store, "web")
            change = await anext(notices)
            assert isinstance(change, Change)
            assert change.type == "ADDED"
            assert WEB in cache.objects
            faulty.down = True
            faulty.cut_watches()
            assert isinstance(await anext(notices), Lost)
            assert not cache.is_current
            await store.delete(WEB)
            assert WEB in cache.objects, "what was known is kept"
            faulty.down = False
            while not isinstance(await anext(notices), Listed):
                pass
            assert WEB not in cache.objects
            assert cache.is_current


async def test_whoever_subscribes_late_hears_the_whole_list_first(store: Store) -> None:
    async with following(store) as cache:
        with cache.subscribe() as early:
            await anext(early)
            await put(store, "a", "b")
            assert [(await anext(early)).object.key.name for _ in range(2)] == ["a", "b"]  # type: ignore[union-attr]
            with cache.subscribe() as late:
                listed = await anext(late)
                assert isinstance(listed, Listed)
                assert [item.key.name for item in listed.objects] == ["a", "b"]
                assert listed.revision == listed.objects[-1].revision
                await put(store, "c")
                for subscriber in (early, late):
                    change = await anext(subscriber)
                    assert isinstance(change, Change)
                    assert change.object.key.name == "c"


async def test_whoever_subscribes_while_the_store_is_away_hears_that_first(store: Store) -> None:
    faulty = FaultyStore(store)
    async with following(faulty) as cache:
        with cache.subscribe() as notices:
            await anext(notices)
            faulty.down = True
            faulty.cut_watches()
            assert isinstance(await anext(notices), Lost)
        with cache.subscribe() as notices:
            assert isinstance(await anext(notices), Lost)
            faulty.down = False
            while not isinstance(await anext(notices), Listed):
                pass


async def test_a_list_is_a_picture_of_its_own_revision(store: Store) -> None:
    """What the subscriber has read is one history, however far the cache is ahead of it."""
    async with following(store) as cache:
        with cache.subscribe() as notices:
            await anext(notices)
            await put(store, "a")
            await anext(notices)
        with cache.subscribe() as notices:
            await store.delete(Key(NODE, "a"))
            await put(store, "b")
            await until_so(lambda: Key(NODE, "b") in cache.objects)
            listed = await anext(notices)
            assert isinstance(listed, Listed)
            assert [item.key.name for item in listed.objects] == ["a"]
            kinds = [(await anext(notices)).type for _ in range(2)]  # type: ignore[union-attr]
            assert kinds == ["DELETED", "ADDED"]


async def test_a_slow_subscriber_is_cut_off_and_keeps_nobody_waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCH_BUFFER", 2 * TURN)
    seen = 0

    async def read(cache: Cache) -> None:
        nonlocal seen
        with cache.subscribe() as notices:
            async for notice in notices:
                seen += isinstance(notice, Change)

    async with following(store) as cache, asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(read(cache))
        with cache.subscribe() as slow:
            await anext(slow)
            await put(store, *(f"n{number}" for number in range(10 * TURN)))
            await until_so(lambda: seen == 10 * TURN)
            for _ in range(2):
                with pytest.raises(Expired):
                    await anext(slow)
        with cache.subscribe() as again:
            listed = await anext(again)
            assert isinstance(listed, Listed)
            assert len(listed.objects) == 10 * TURN
        reader.cancel()


async def test_load_reads_once(store: Store) -> None:
    await put(store, "web")
    cache = Cache(store, NODE, random=Random(1))
    await cache.load()
    assert WEB in cache.objects
