"""The laws of `list` and `watch`. Part of `StoreSuite`."""
# ruff: noqa: S101 - assert is how a test speaks, and expected numbers stand where they are expected

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from k3.core import limits
from k3.core.errors import Expired
from k3.core.objects import EVENT, LEASE, NODE, Key, Object
from k3.core.store import Bookmark, Change, Store
from k3.testing.store_steps import HANG_SECONDS, Forget, changes_until, create_many, next_change, node


class ReadLaws:
    """Order, completeness, one moment in time; and a gap is never silent."""

    async def test_a_list_is_in_key_order_at_one_revision(self, store: Store) -> None:
        """However it was filled."""
        made = [await store.create(node(name), {}) for name in ("b", "a.1", "c", "a", "a-1")]
        page = await store.list(NODE)
        assert [item.key.name for item in page.objects] == ["a", "a-1", "a.1", "b", "c"]
        assert page.revision >= made[-1].revision
        assert page.after is None

    async def test_pages_show_the_moment_of_the_first(self, store: Store) -> None:
        """Whatever is created, changed or deleted while paging through."""
        made = {f"n{number}": await store.create(node(f"n{number}"), {"n": 0}) for number in range(7)}
        page = await store.list(NODE, limit=2)
        seen = list(page.objects)
        await store.delete(node("n0"))
        await store.delete(node("n5"))
        await store.create(node("n5"), {"n": "again"})
        changed = await store.update(replace(made["n3"], document=b'{"n":1}'))
        await store.update(replace(changed, document=b'{"n":2}'))
        await store.create(node("n4a"), {})
        while page.after is not None:
            page = await store.list(NODE, limit=2, after=page.after, at=page.revision)
            seen.extend(page.objects)
        assert seen == list(made.values())
        assert [item.key.name for item in (await store.list(NODE)).objects] == ["n1", "n2", "n3", "n4", "n4a", "n5", "n6"]

    async def test_a_full_last_page_is_the_last(self, store: Store) -> None:
        """A limit that fits exactly promises no more."""
        for name in ("a", "b"):
            await store.create(node(name), {})
        assert (await store.list(NODE, limit=2)).after is None
        assert (await store.list(NODE, limit=1)).after == node("a")
        assert (await store.list(NODE, after=node("b"))).objects == ()

    async def test_a_list_begins_behind_any_key(self, store: Store) -> None:
        """Also behind one that is not there: its place in the order counts, within one namespace as well."""
        for name in ("web1.3", "web1.lan.1", "web2.1"):
            await store.create(Key(EVENT, name, "default"), {})
            await store.create(Key(EVENT, name, "other"), {})
        page = await store.list(EVENT, namespace="default", after=Key(EVENT, "web1.", "default"), limit=2)
        assert [str(item.key) for item in page.objects] == ["Event default/web1.3", "Event default/web1.lan.1"]
        rest = await store.list(EVENT, namespace="default", after=page.after, at=page.revision)
        assert [str(item.key) for item in rest.objects] == ["Event default/web2.1"]

    async def test_a_list_of_the_future_is_expired(self, store: Store) -> None:
        """Such a revision was never of this store."""
        page = await store.list(NODE)
        with pytest.raises(Expired):
            await store.list(NODE, at=page.revision + 1_000)

    async def test_list_then_watch_misses_and_repeats_nothing(self, store: Store) -> None:
        """Each change once, in order, with its type, its state and its revision."""
        before = await store.create(node("before"), {})
        page = await store.list(NODE)
        async with store.watch(NODE, page.revision) as events:
            made = await store.create(node("web1"), {"n": 0})
            changed = await store.update(replace(made, document=b'{"n":1}'))
            gone = await store.delete(node("web1"))
            again = await store.create(node("web1"), {"n": 2})
            seen = await changes_until(events, again.revision)
        assert page.objects == (before,)
        assert seen == [Change("ADDED", made), Change("MODIFIED", changed), Change("DELETED", gone), Change("ADDED", again)]
        assert (gone.document, gone.uid) == (b'{"n":1}', made.uid)

    async def test_a_watch_resumes_from_any_revision(self, store: Store) -> None:
        """The past is replayed and then goes over into the present."""
        start = (await store.list(NODE)).revision
        made = [await store.create(node(f"n{number}"), {}) for number in range(20)]
        for number in (0, 7, 20):
            since = made[number - 1].revision if number else start
            async with store.watch(NODE, since) as events:
                late = await store.create(node(f"late{number}"), {})
                seen = [change.object for change in await changes_until(events, late.revision)]
            assert seen[: 20 - number] == made[number:]
            assert seen[-1] == late

    async def test_a_watch_hears_its_kind_only(self, store: Store) -> None:
        """In the past and in the present."""
        start = (await store.list(NODE)).revision
        await store.create(Key(EVENT, "e1", "default"), {})
        first = await store.create(node("n1"), {})
        async with store.watch(NODE, start) as events:
            await store.create(Key(LEASE, "l1", "default"), {})
            second = await store.create(node("n2"), {})
            assert [change.object for change in await changes_until(events, second.revision)] == [first, second]

    async def test_a_cancelled_read_loses_nothing(self, store: Store) -> None:
        """A reader with a timeout goes on where it was."""
        start = (await store.list(NODE)).revision
        async with store.watch(NODE, start) as events:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(next_change(events))
                for _ in range(10):
                    await asyncio.sleep(0)
                reading.cancel()
            made = [await store.create(node(f"n{number}"), {}) for number in range(3)]
            assert [change.object for change in await changes_until(events, made[-1].revision)] == made

    async def test_many_watchers_hear_the_same(self, store: Store) -> None:
        """Each of them everything."""
        start = (await store.list(NODE)).revision
        async with AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(store.watch(NODE, start)) for _ in range(5)]
            made = [await store.create(node(f"n{number:02}"), {}) for number in range(30)]
            for events in watches:
                assert [change.object for change in await changes_until(events, made[-1].revision)] == made

    async def test_a_watch_is_bookmarked(self, store: Store) -> None:
        """Within a minute it learns how far it is, and may resume from there."""
        made = await store.create(node("n1"), {})
        async with store.watch(NODE, made.revision) as events, asyncio.timeout(60 + HANG_SECONDS):
            event = await anext(events)
            assert isinstance(event, Bookmark)
            assert event.revision >= made.revision
        async with store.watch(NODE, event.revision) as events:
            second = await store.create(node("n2"), {})
            assert (await next_change(events)).object == second

    async def test_a_bookmark_never_runs_ahead(self, store: Store) -> None:
        """Everything up to it has been delivered before it."""
        start = (await store.list(NODE)).revision
        made = [await store.create(node(f"n{number}"), {}) for number in range(5)]
        delivered = start
        async with store.watch(NODE, start) as events, asyncio.timeout(HANG_SECONDS):
            while delivered < made[-1].revision:
                event = await anext(events)
                if isinstance(event, Bookmark):
                    missing = [item for item in made if delivered < item.revision <= event.revision]
                    assert missing == []
                else:
                    delivered = event.object.revision

    async def test_a_watch_of_the_future_is_expired(self, store: Store) -> None:
        """Such a revision was never of this store."""
        page = await store.list(NODE)
        with pytest.raises(Expired):
            async with store.watch(NODE, page.revision + 1_000):
                pass

    async def test_a_slow_watcher_is_cut_off_and_never_skipped_over(self, store: Store) -> None:
        """It reads a beginning without gaps, and then either the rest or Expired."""
        start = (await store.list(NODE)).revision
        made: list[Object] = []
        seen: list[Object] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(limits, "WATCH_BUFFER", 250)
            async with store.watch(NODE, start) as events:
                while len(made) < limits.WATCH_BUFFER + 500:
                    made += await create_many(store, 250, prefix=f"n{len(made)}")
                made.sort(key=lambda item: item.revision)
                try:
                    while len(seen) < len(made):
                        seen.append((await next_change(events)).object)
                except Expired:
                    with pytest.raises(Expired):
                        await next_change(events)
        assert seen == made[: len(seen)]

    async def test_what_was_compacted_is_expired_and_the_state_is_whole(self, store: Store, forget: Forget) -> None:
        """A reader of the past is told to list again; a list shows all there is."""
        start = (await store.list(NODE)).revision
        kept = await store.create(node("kept"), {"n": 0})
        changed = await store.update(replace(await store.create(node("changed"), {}), document=b'{"n":1}'))
        await store.delete((await store.create(node("gone"), {})).key)
        await forget(store)
        with pytest.raises(Expired):
            async with store.watch(NODE, start):
                pass
        with pytest.raises(Expired):
            await store.list(NODE, at=start)
        page = await store.list(NODE)
        assert page.objects == (changed, kept)
        assert await store.list(NODE, at=page.revision) == page
        async with store.watch(NODE, page.revision) as events:
            late = await store.create(node("late"), {})
            assert (await next_change(events)).object == late
