"""Broken twins of the memory store: proof that the suite and the state machine notice what they are there for."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from k3.core.errors import AlreadyExists, Expired, K3Error
from k3.core.objects import NODE, Key, Kind, Manifest, Object
from k3.core.store import Bookmark, Change, Event, Page, Store, Watch
from k3.stores.memory import MemoryStore
from k3.testing import store_steps
from k3.testing.store_machine import StoreMachine
from k3.testing.store_suite import StoreSuite

HANG_SECONDS = 0.5


class WithoutCompareAndSwap(MemoryStore):
    async def update(self, item: Object) -> Object:
        stored = await self.get(item.key)
        return await super().update(replace(stored, document=item.document))


class WithoutUidCheck(MemoryStore):
    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        return await super().delete(key, revision=revision)


class CheckThenAct(MemoryStore):
    async def create(self, key: Key, manifest: Manifest) -> Object:
        if key in self._objects:
            raise AlreadyExists(str(key))
        await asyncio.sleep(0)
        self._objects.pop(key, None)
        return await super().create(key, manifest)


class SilentDelete(MemoryStore):
    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        fanout, self._fanout = self._fanout, type(self._fanout)(self._revision)
        try:
            gone = await super().delete(key, revision=revision, uid=uid)
        finally:
            fanout.revision, self._fanout = self._revision, fanout
        return gone


class DeleteAtOldRevision(MemoryStore):
    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        stored = await self.get(key)
        return replace(await super().delete(key, revision=revision, uid=uid), revision=stored.revision)


class ReusedUid(MemoryStore):
    def __init__(self) -> None:
        super().__init__(new_uid=lambda: "the same for all")


class RewritesTheSame(MemoryStore):
    async def update(self, item: Object) -> Object:
        return await super().update(replace(item, document=item.document[:-1] + b',"written":%d}' % self._revision))


class FromNowOn(MemoryStore):
    def watch(self, kind: Kind, since: int) -> Watch:
        return super().watch(kind, max(since, self._revision))


class UnpinnedPages(MemoryStore):
    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        page = await super().list(kind, namespace=namespace, limit=limit, after=after)
        return page if at is None else replace(page, revision=at)


class WatchTwin(MemoryStore):
    """A store whose watches go through `spoil`."""

    def spoil(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        raise NotImplementedError

    def watch(self, kind: Kind, since: int) -> Watch:
        return self._spoiled(super().watch(kind, since))

    @asynccontextmanager
    async def _spoiled(self, watch: Watch) -> AsyncIterator[AsyncIterator[Event]]:
        async with watch as events:
            yield self.spoil(events)


class SkippingWatcher(WatchTwin):
    async def spoil(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        number = 0
        async for event in events:
            number += isinstance(event, Change)
            if number % 3 or not isinstance(event, Change):
                yield event


class RepeatingWatcher(WatchTwin):
    async def spoil(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in events:
            yield event
            if isinstance(event, Change) and event.type == "MODIFIED":
                yield event


class WatcherThatStopsWaking(WatchTwin):
    async def spoil(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        for _ in range(4):
            yield await anext(events)
        await asyncio.Event().wait()


class HastyBookmarks(WatchTwin):
    async def spoil(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        yield Bookmark(self._revision)
        async for event in events:
            yield event


class SilentOverflow(WatchTwin):
    async def spoil(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        try:
            async for event in events:
                yield event
        except Expired:
            async with MemoryStore.watch(self, NODE, self._revision - 10) as late:
                async for event in late:
                    yield event


def failures(make: Callable[[], MemoryStore]) -> set[str]:
    """The names of the suite's tests that this store fails."""
    return {name for name in dir(StoreSuite) if name.startswith("test_") and not passes(getattr(StoreSuite, name), make)}


def passes(test: Callable[..., Awaitable[None]], make: Callable[[], MemoryStore]) -> bool:
    wanted = list(inspect.signature(test).parameters)
    if wanted == ["self", "store"]:
        try:
            asyncio.run(within(test, make))
        except (AssertionError, K3Error, TimeoutError, pytest.fail.Exception, KeyError, StopAsyncIteration, ExceptionGroup):
            return False
    return True


async def within(test: Callable[..., Awaitable[None]], make: Callable[[], MemoryStore]) -> None:
    async with asyncio.timeout(20 * HANG_SECONDS):
        await test(StoreSuite(), make())


def machine_notices(make: Callable[[], Store]) -> bool:
    class TwinMachine(StoreMachine):
        hang_seconds = HANG_SECONDS

        async def open(self) -> Store:
            return make()

    plan = settings(
        max_examples=60,
        stateful_step_count=30,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    try:
        run_state_machine_as_test(TwinMachine, settings=plan)
    except (AssertionError, K3Error, TimeoutError, KeyError, ExceptionGroup):
        return True
    return False


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_steps, "HANG_SECONDS", HANG_SECONDS)


def test_the_honest_store_passes() -> None:
    assert failures(MemoryStore) == set()
    assert not machine_notices(MemoryStore)


@pytest.mark.parametrize(
    ("twin", "test"),
    [
        (WithoutCompareAndSwap, "test_an_update_needs_the_newest_revision"),
        (WithoutUidCheck, "test_a_recreated_name_is_another_object"),
        (CheckThenAct, "test_of_many_creators_one_wins"),
        (SilentDelete, "test_list_then_watch_misses_and_repeats_nothing"),
        (DeleteAtOldRevision, "test_a_delete_may_name_what_it_expects"),
        (ReusedUid, "test_a_recreated_name_is_another_object"),
        (RewritesTheSame, "test_an_update_that_changes_nothing_writes_nothing"),
        (FromNowOn, "test_a_watch_resumes_from_any_revision"),
        (UnpinnedPages, "test_pages_show_the_moment_of_the_first"),
        (SkippingWatcher, "test_list_then_watch_misses_and_repeats_nothing"),
        (RepeatingWatcher, "test_list_then_watch_misses_and_repeats_nothing"),
        (WatcherThatStopsWaking, "test_list_then_watch_misses_and_repeats_nothing"),
        (HastyBookmarks, "test_a_bookmark_never_runs_ahead"),
        (SilentOverflow, "test_a_slow_watcher_is_cut_off_and_never_skipped_over"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_suite_notices(twin: type[MemoryStore], test: str) -> None:
    assert not passes(getattr(StoreSuite, test), twin)


@pytest.mark.parametrize(
    "twin",
    [
        WithoutCompareAndSwap,
        WithoutUidCheck,
        SilentDelete,
        DeleteAtOldRevision,
        ReusedUid,
        RewritesTheSame,
        FromNowOn,
        UnpinnedPages,
        SkippingWatcher,
        RepeatingWatcher,
        WatcherThatStopsWaking,
    ],
)
def test_the_machine_notices(twin: type[MemoryStore]) -> None:
    assert machine_notices(twin)
