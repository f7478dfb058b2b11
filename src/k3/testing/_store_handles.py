"""The laws of closing, and of two handles on one store as two processes have them. Part of `StoreSuite`."""
# ruff: noqa: S101, PLR2004 - assert is how a test speaks, and expected numbers stand where they are expected

import asyncio
from typing import ClassVar

from k3.core.objects import NODE
from k3.core.store import Change, Store, modify
from k3.testing.store_steps import Opener, changes_until, next_change, node, unavailable


class HandleLaws:
    """One store, however many handles it has; and no caller that waits for a closed one."""

    opens_twice: ClassVar[bool] = True
    """Capability: a second handle on the same data, as another process would have."""

    async def test_closing_ends_watches_and_refuses_calls(self, open_store: Opener, store: Store) -> None:
        """With Unavailable: no caller waits for ever."""
        subject = await open_store() if self.opens_twice else store
        start = (await subject.list(NODE)).revision
        async with subject.watch(NODE, start) as events:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(unavailable(lambda: next_change(events)))
                await asyncio.sleep(0)
                await subject.aclose()
            assert reading.result()
        assert await unavailable(lambda: subject.get(node("n1")))
        assert await unavailable(lambda: subject.create(node("n1"), {}))
        assert await unavailable(lambda: subject.list(NODE))
        assert await unavailable(lambda: subject.watch(NODE, start).__aenter__())

    async def test_both_handles_are_one_store(self, store: Store, other: Store) -> None:
        """Same id, same objects, one counter of revisions."""
        assert other.id == store.id
        first = await store.create(node("n1"), {})
        assert await other.get(node("n1")) == first
        second = await other.create(node("n2"), {})
        assert second.revision > first.revision
        third = await store.create(node("n3"), {})
        assert third.revision > second.revision
        assert await store.list(NODE) == await other.list(NODE)

    async def test_a_watch_sees_the_other_handles_writes(self, store: Store, other: Store) -> None:
        """Mixed with one's own, in the order of their revisions."""
        start = (await store.list(NODE)).revision
        async with store.watch(NODE, start) as events:
            made = [await (store, other, other)[number % 3].create(node(f"n{number:02}"), {}) for number in range(30)]
            assert [change.object for change in await changes_until(events, made[-1].revision)] == made
            gone = await other.delete(node("n07"))
            assert await next_change(events) == Change("DELETED", gone)

    async def test_a_watch_from_what_the_other_handle_just_wrote(self, store: Store, other: Store) -> None:
        """A revision that this handle has not heard of yet is no future."""
        async with store.watch(NODE, (await store.list(NODE)).revision):
            for number in range(10):
                made = await other.create(node(f"n{number}"), {})
                async with store.watch(NODE, made.revision) as events:
                    late = await store.create(node(f"late{number}"), {})
                    assert (await next_change(events)).object == late

    async def test_writers_on_both_handles_lose_nothing(self, store: Store, other: Store) -> None:
        """Every increment of a counter by compare-and-swap is in the end result."""
        await store.create(node("counter"), {"n": 0})

        async def increment(handle: Store) -> None:
            for _ in range(10):
                await modify(handle, node("counter"), lambda manifest: {**manifest, "n": manifest["n"] + 1}, attempts=500)

        async with asyncio.TaskGroup() as group:
            for handle in (store, other, store, other):
                group.create_task(increment(handle))
        assert (await other.get(node("counter"))).manifest()["n"] == 40
