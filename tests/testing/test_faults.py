"""The faulty store fails exactly where it was told to."""

import asyncio
from itertools import islice

import pytest

from k3.core.errors import NotFound, Unavailable
from k3.core.objects import NODE
from k3.core.store import Bookmark
from k3.stores.memory import MemoryStore
from k3.testing.clock import FakeClock
from k3.testing.faults import FINE, LOST, REFUSED, Fault, FaultyStore, seeded_faults
from k3.testing.leaks import LeakCheck
from k3.testing.store_steps import next_change, node


async def test_refused_has_no_effect_and_lost_has_one() -> None:
    store = FaultyStore(MemoryStore(), [REFUSED, FINE, LOST, FINE])
    with pytest.raises(Unavailable):
        await store.create(node("n1"), {})
    with pytest.raises(NotFound):
        await store.get(node("n1"))
    with pytest.raises(Unavailable):
        await store.create(node("n1"), {})
    assert (await store.get(node("n1"))).key == node("n1")
    assert [item.key.name for item in (await store.list(NODE)).objects] == ["n1"]
    assert store.calls == 5


async def test_down_is_down_until_it_is_up() -> None:
    store = FaultyStore(MemoryStore())
    store.down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await store.list(NODE)
    store.down = False
    assert (await store.list(NODE)).objects == ()


def test_a_seeded_plan_is_repeatable_and_as_probable_as_said() -> None:
    plan = list(islice(seeded_faults(7, refused=0.2, lost=0.3, delay_seconds=1.0), 2_000))
    assert plan == list(islice(seeded_faults(7, refused=0.2, lost=0.3, delay_seconds=1.0), 2_000))
    assert plan != list(islice(seeded_faults(8, refused=0.2, lost=0.3, delay_seconds=1.0), 2_000))
    assert 300 < sum(fault.refused for fault in plan) < 500
    assert 500 < sum(fault.lost for fault in plan) < 700
    assert all(0.0 <= fault.delay_seconds <= 1.0 for fault in plan)


async def test_a_delay_is_waited_out_by_the_clock_given() -> None:
    clock = FakeClock()
    store = FaultyStore(MemoryStore(), [Fault(delay_seconds=3.0)], sleep=clock.sleep)
    async with asyncio.TaskGroup() as group:
        call = group.create_task(store.create(node("n1"), {}))
        await clock.run_for(2.9)
        assert not call.done()
        await clock.run_for(0.1)
        assert call.done()


async def test_a_watch_passes_everything_on_until_it_is_cut() -> None:
    leaks = LeakCheck()
    store = FaultyStore(MemoryStore())
    start = (await store.list(NODE)).revision
    async with store.watch(NODE, start) as events:
        assert await anext(events) == Bookmark(start)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(next_change(events))
            await asyncio.sleep(0)
            reading.cancel()
        made = await store.create(node("n1"), {})
        assert (await next_change(events)).object == made
        store.cut_watches()
        with pytest.raises(Unavailable):
            await next_change(events)
    async with store.watch(NODE, made.revision) as events:
        assert await anext(events) == Bookmark(made.revision)
    leaks.finish()
