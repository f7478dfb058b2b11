"""The laws of a Store as tests, the same for every backend. Inherit `StoreSuite` and say how yours is opened:

    class TestMine(StoreSuite):
        @pytest.fixture
        async def open_store(self, tmp_path: Path) -> Opener:
            return lambda: connect(SqliteStorage(tmp_path / "k3.db"))

Runs under pytest-asyncio in auto mode. Each call of the opener gives one more handle on the same, at first empty, data.
After every test no task, thread or file descriptor may be left. What a backend cannot do is a named capability; the
tests that need it are skipped with that name.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import ClassVar, Final

import pytest

from k3.core import limits
from k3.core.errors import AlreadyExists, Conflict, Expired, Invalid, NotFound, TooLarge, Unavailable
from k3.core.objects import EVENT, LEASE, NODE, Key, Object
from k3.core.store import Bookmark, Change, Event, Store, modify

Opener = Callable[[], Awaitable[Store]]
Forget = Callable[[Store], Awaitable[None]]

HANG_SECONDS: Final = 20.0
"""Nothing here takes a tenth of this on a loaded machine; longer means never."""


def node(name: str) -> Key:
    """The key of a Node."""
    return Key(NODE, name)


async def next_change(events: AsyncIterator[Event]) -> Change:
    """The next change, past bookmarks."""
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            event = await anext(events)
            if isinstance(event, Change):
                return event


async def changes_until(events: AsyncIterator[Event], revision: int) -> list[Change]:
    """Every change up to and including the one at `revision`."""
    found = [await next_change(events)]
    while found[-1].object.revision < revision:
        found.append(await next_change(events))
    return found


async def create_many(store: Store, count: int, *, prefix: str) -> list[Object]:
    """That many Nodes, all asked for at once."""
    return await asyncio.gather(*(store.create(node(f"{prefix}-{number}"), {}) for number in range(count)))


async def unavailable(call: Callable[[], Awaitable[object]]) -> bool:
    """Whether the call ends with Unavailable."""
    try:
        async with asyncio.timeout(HANG_SECONDS):
            await call()
    except Unavailable:
        return True
    return False


class LeakCheck:
    """What was open before a test; anything more afterwards fails it."""

    def __init__(self) -> None:
        """Take stock."""
        self._before = self._now()

    def finish(self) -> None:
        """Fail with the names of what was left."""
        left = {what: names - self._before[what] for what, names in self._now().items() if names - self._before[what]}
        assert not left, f"left behind: {left}"

    @staticmethod
    def _now() -> dict[str, set[str]]:
        current = asyncio.current_task()
        return {
            "tasks": {repr(task) for task in asyncio.all_tasks() if task is not current and not task.done()},
            "threads": {repr(thread) for thread in threading.enumerate() if thread.is_alive()},
            "files": open_files(),
        }


def open_files() -> set[str]:
    """This process's open file descriptors and where they lead; empty where there is no /proc."""
    found: set[str] = set()
    for number in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue  # the descriptor of this very listing
    return found


class StoreSuite:
    """Inherit in a class whose name begins with `Test`, with the fixture `open_store`."""

    opens_twice: ClassVar[bool] = True
    """Capability: a second handle on the same data, as another process would have."""

    @pytest.fixture
    async def open_store(self) -> Opener:
        """Override: how to open one more handle on this test's data."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self, open_store: Opener) -> AsyncIterator[Store]:
        """The store under test."""
        leaks = LeakCheck()
        store = await open_store()
        yield store
        async with asyncio.timeout(HANG_SECONDS):
            await store.aclose()
            await store.aclose()
        leaks.finish()

    @pytest.fixture
    async def other(self, store: Store, open_store: Opener) -> AsyncIterator[Store]:
        """A second handle on the same data."""
        if not self.opens_twice:
            pytest.skip(f"{store.url} lacks the capability opens_twice")
        other = await open_store()
        yield other
        await other.aclose()

    # --- get, create

    async def test_what_was_created_can_be_read(self, store: Store) -> None:
        """A new object has a uid, a revision and a creation time, and `get` gives the same."""
        made = await store.create(node("web1"), {"metadata": {"labels": {"a": "ä"}}, "spec": {"x": [1, None]}})
        assert await store.get(node("web1")) == made
        manifest = made.manifest()
        assert manifest["metadata"]["labels"] == {"a": "ä"}
        assert manifest["spec"] == {"x": [1, None]}
        assert manifest["metadata"]["uid"] == made.uid
        assert manifest["metadata"]["resourceVersion"] == str(made.revision)
        assert manifest["metadata"]["creationTimestamp"]

    async def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        """By any verb that needs it."""
        ghost = Object(node("ghost"), uid="u", revision=1, document=b"{}")
        for call in (lambda: store.get(ghost.key), lambda: store.update(ghost), lambda: store.delete(ghost.key)):
            with pytest.raises(NotFound):
                await call()

    @pytest.mark.parametrize("name", ["", "a/b", "a" * (limits.NAME_BYTES + 1), "nul\0", "\udc80", "a\nb"])
    async def test_an_impossible_name_is_refused(self, store: Store, name: str) -> None:
        """On creating it is Invalid; anywhere else it is just not there."""
        with pytest.raises(Invalid):
            await store.create(node(name), {})
        with pytest.raises(NotFound):
            await store.get(node(name))
        with pytest.raises(NotFound):
            await store.delete(node(name))
        assert (await store.list(NODE)).objects == ()

    async def test_a_name_is_taken_once(self, store: Store) -> None:
        """The second create changes nothing."""
        first = await store.create(node("web1"), {"spec": {"first": True}})
        with pytest.raises(AlreadyExists):
            await store.create(node("web1"), {"spec": {"first": False}})
        assert await store.get(node("web1")) == first

    async def test_kinds_and_namespaces_are_apart(self, store: Store) -> None:
        """The same name in each is another object."""
        keys = [node("x"), Key(EVENT, "x", "a"), Key(EVENT, "x", "b"), Key(LEASE, "x", "a")]
        made = [await store.create(key, {"spec": {"n": number}}) for number, key in enumerate(keys)]
        assert [await store.get(key) for key in keys] == made
        assert (await store.list(EVENT)).objects == (made[1], made[2])
        assert (await store.list(EVENT, namespace="b")).objects == (made[2],)
        assert (await store.list(EVENT, namespace="c")).objects == ()

    async def test_what_json_cannot_say_is_invalid(self, store: Store) -> None:
        """And nothing is stored."""
        for odd in ({"x": float("nan")}, {"x": object()}, {"x": "\udc80"}):
            with pytest.raises(Invalid):
                await store.create(node("web1"), odd)
        assert (await store.list(NODE)).objects == ()

    async def test_too_large_is_refused_and_the_limit_is_not(self, store: Store) -> None:
        """For create and update; the object stays as it was."""
        with pytest.raises(TooLarge):
            await store.create(node("big"), {"x": "x" * limits.OBJECT_BYTES})
        made = await store.create(node("big"), {"x": ""})
        most = b'{"x":"' + b"x" * (limits.OBJECT_BYTES - 8) + b'"}'
        stored = await store.update(replace(made, document=most))
        assert (await store.get(node("big"))).document == most
        with pytest.raises(TooLarge):
            await store.update(replace(stored, document=most[:-2] + b'x"}'))
        assert await store.get(node("big")) == stored

    # --- update, delete: compare-and-swap

    async def test_an_update_needs_the_newest_revision(self, store: Store) -> None:
        """Of two writers who read the same, one must read again."""
        made = await store.create(node("web1"), {"n": 0})
        first = await store.update(made.with_manifest({**made.manifest(), "n": 1}))
        with pytest.raises(Conflict):
            await store.update(made.with_manifest({**made.manifest(), "n": 2}))
        assert await store.get(node("web1")) == first
        assert (first.uid, first.created) == (made.uid, made.created)

    async def test_a_recreated_name_is_another_object(self, store: Store) -> None:
        """It has a new uid, and whoever still holds the old one can neither write nor delete it."""
        old = await store.create(node("web1"), {"n": 0})
        await store.delete(node("web1"))
        new = await store.create(node("web1"), {"n": 0})
        assert new.uid != old.uid
        assert new.revision > old.revision
        with pytest.raises(Conflict):
            await store.update(replace(old, document=b'{"n":1}'))
        with pytest.raises(Conflict):
            await store.update(replace(old, revision=new.revision, document=b'{"n":1}'))
        with pytest.raises(Conflict):
            await store.delete(node("web1"), uid=old.uid)
        assert await store.get(node("web1")) == new

    async def test_a_delete_may_name_what_it_expects(self, store: Store) -> None:
        """Another revision or uid is a conflict; the answer is the last state at the revision of the delete."""
        made = await store.create(node("web1"), {"n": 0})
        for wrong in ({"revision": made.revision + 1}, {"uid": "another"}, {"revision": made.revision, "uid": "another"}):
            with pytest.raises(Conflict):
                await store.delete(node("web1"), **wrong)  # type: ignore[arg-type]
        gone = await store.delete(node("web1"), revision=made.revision, uid=made.uid)
        assert gone.revision > made.revision
        assert (gone.uid, gone.document) == (made.uid, made.document)
        with pytest.raises(NotFound):
            await store.get(node("web1"))

    async def test_an_update_that_changes_nothing_writes_nothing(self, store: Store) -> None:
        """Same bytes or same JSON: no revision, no event; but a stale reader is still told."""
        made = await store.create(node("web1"), {"a": 1, "b": {"c": 2, "d": 3}})
        other_order = b'{"b": {"d": 3, "c": 2}, "a": 1, ' + made.document[1:].replace(b',"a":1,"b":{"c":2,"d":3}', b"")
        async with store.watch(NODE, made.revision) as events:
            assert await store.update(made) == made
            assert await store.update(replace(made, document=other_order)) == made
            with pytest.raises(Conflict):
                await store.update(replace(made, revision=made.revision - 1))
            fence = await store.create(node("fence"), {})
            assert (await next_change(events)).object == fence

    async def test_one_true_and_one_point_zero_differ(self, store: Store) -> None:
        """Equal in Python, not in JSON: such an update is written."""
        item = await store.create(node("web1"), {})
        for document in (b'{"x":1}', b'{"x":true}', b'{"x":1.0}'):
            item = await store.update(replace(item, document=document))
            assert (await store.get(node("web1"))).document == document

    async def test_unknown_fields_survive(self, store: Store) -> None:
        """Through read, change and write."""
        await store.create(node("web1"), {"metadata": {"odd": {"deep": [1]}}, "future": {"x": None}})
        await modify(store, node("web1"), lambda manifest: {**manifest, "spec": {"unschedulable": True}})
        manifest = (await store.get(node("web1"))).manifest()
        assert manifest["metadata"]["odd"] == {"deep": [1]}
        assert manifest["future"] == {"x": None}
        assert manifest["spec"] == {"unschedulable": True}

    async def test_writers_at_once_lose_nothing(self, store: Store) -> None:
        """Every increment of a counter by compare-and-swap is in the end result."""
        await store.create(node("counter"), {"n": 0})

        async def increment() -> None:
            for _ in range(5):
                await modify(store, node("counter"), lambda manifest: {**manifest, "n": manifest["n"] + 1}, attempts=500)

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(increment())
        assert (await store.get(node("counter"))).manifest()["n"] == 40

    async def test_of_many_creators_one_wins(self, store: Store) -> None:
        """And what it wrote is what is there."""
        results = await asyncio.gather(
            *(store.create(node("web1"), {"n": number}) for number in range(50)), return_exceptions=True
        )
        won = [result for result in results if isinstance(result, Object)]
        assert len(won) == 1
        assert sum(isinstance(result, AlreadyExists) for result in results) == 49
        assert await store.get(node("web1")) == won[0]

    async def test_revisions_rise_across_kinds(self, store: Store) -> None:
        """One counter for the whole store; no two writes share a number."""
        seen = [(await store.list(NODE)).revision]
        for number in range(5):
            seen.append((await store.create(node(f"n{number}"), {})).revision)
            seen.append((await store.create(Key(EVENT, f"e{number}", "default"), {})).revision)
            seen.append((await store.delete(node(f"n{number}"))).revision)
        assert seen == sorted(set(seen))
        assert (await store.list(LEASE)).revision >= seen[-1]

    async def test_a_cancelled_writer_leaves_nothing_odd(self, store: Store) -> None:
        """Whether it was written or not, the store and its watchers agree."""
        start = await store.list(NODE)
        async with store.watch(NODE, start.revision) as events:
            tasks = [asyncio.create_task(store.create(node(f"n{number:02}"), {})) for number in range(30)]
            for number, task in enumerate(tasks):
                if number % 3 == 0:
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait(tasks)
            fence = await store.create(node("zz"), {})
            seen = [change.object for change in await changes_until(events, fence.revision)]
        listed = (await store.list(NODE)).objects
        assert sorted(seen, key=lambda item: item.key.path) == list(listed)

    # --- list

    async def test_a_list_is_in_key_order_at_one_revision(self, store: Store) -> None:
        """However it was filled."""
        for name in ("b", "a.1", "c", "a", "a-1"):
            made = await store.create(node(name), {})
        page = await store.list(NODE)
        assert [item.key.name for item in page.objects] == ["a", "a-1", "a.1", "b", "c"]
        assert page.revision >= made.revision
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

    async def test_a_list_of_the_future_is_expired(self, store: Store) -> None:
        """Such a revision was never of this store."""
        page = await store.list(NODE)
        with pytest.raises(Expired):
            await store.list(NODE, at=page.revision + 1_000)

    # --- watch

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
            reading = asyncio.create_task(next_change(events))
            for _ in range(10):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
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
        async with store.watch(NODE, start) as events:
            while len(made) < limits.WATCH_BUFFER + 500:
                made += await create_many(store, 250, prefix=f"n{len(made)}")
            made.sort(key=lambda item: item.revision)
            seen: list[Object] = []
            try:
                while len(seen) < len(made):
                    seen.append((await next_change(events)).object)
            except Expired:
                with pytest.raises(Expired):
                    await next_change(events)
        assert seen == made[: len(seen)]

    # --- history

    @pytest.fixture
    async def forget(self) -> Forget:
        """Override: how to make the store compact everything that is now in its log."""
        pytest.skip("lacks the capability forget (making the store compact its history at will)")

    async def test_what_was_compacted_is_expired_and_the_state_is_whole(self, store: Store, forget: Forget) -> None:
        """A reader of the past is told to list again; whoever lists sees all there is."""
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

    # --- the end

    async def test_closing_ends_watches_and_refuses_calls(self, open_store: Opener, store: Store) -> None:
        """With Unavailable: who waits does not wait for ever."""
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

    # --- a second handle, as another process has it

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
