"""What watchers get that no backend can be made to show quickly: bookmarks when idle, the cut, the order of ends."""

import asyncio
from collections.abc import Sequence

import pytest

from k3.core import limits
from k3.core.errors import Expired, Unavailable
from k3.core.objects import LEASE, NODE, Key, Kind, Object
from k3.core.store import Bookmark, Change
from k3.stores.log.fanout import Fanout


def change(revision: int, kind: Kind = NODE) -> Change:
    return Change("ADDED", Object(key=Key(kind, f"n{revision}", "default"), uid="u", revision=revision, document=b"{}"))


async def no_replay(_kind: Kind, _since: int, _until: int) -> tuple[Sequence[Change], int]:
    pytest.fail("there is nothing to replay")


async def test_an_idle_watcher_gets_bookmarks_as_far_as_was_published() -> None:
    fanout = Fanout(10, bookmark_seconds=0.01)
    with fanout.subscribe(NODE, 10, no_replay) as events:
        assert await anext(events) == Bookmark(10)
        fanout.publish([change(11, LEASE), change(12, LEASE)], 12)
        assert await anext(events) == Bookmark(12)
        assert await anext(events) == Bookmark(12)
        fanout.publish([change(13)], 13)
        assert await anext(events) == change(13)


async def test_nothing_is_delivered_twice_nor_from_before() -> None:
    fanout = Fanout(10, bookmark_seconds=0.01)
    with fanout.subscribe(NODE, 12, no_replay) as events:
        assert await anext(events) == Bookmark(12)
        fanout.publish([change(11), change(12), change(13)], 13)
        fanout.publish([change(12), change(13), change(14)], 14)
        assert [await anext(events), await anext(events)] == [change(13), change(14)]
        assert await anext(events) == Bookmark(14)


async def test_what_is_missed_comes_in_parts_before_what_is_live() -> None:
    async def replay(_kind: Kind, since: int, until: int) -> tuple[Sequence[Change], int]:
        upto = min(since + 2, until)
        return [change(revision) for revision in range(since + 1, upto + 1)], upto

    fanout = Fanout(5)
    with fanout.subscribe(NODE, 0, replay) as events:
        fanout.publish([change(6)], 6)
        got = [await anext(events) for _ in range(7)]
    assert got == [*(change(revision) for revision in range(1, 6)), Bookmark(5), change(6)]


async def test_the_buffer_is_bounded_and_its_end_is_expired() -> None:
    fanout = Fanout(0)
    with fanout.subscribe(NODE, 0, no_replay) as slow, fanout.subscribe(LEASE, 0, no_replay) as other:
        for revision in range(1, limits.WATCH_BUFFER + 2):
            fanout.publish([change(revision)], revision)
        assert await anext(slow) == Bookmark(0)
        for _ in range(2):
            with pytest.raises(Expired):
                await anext(slow)
        assert await anext(other) == Bookmark(0)


async def test_an_end_comes_after_what_was_given_and_wakes_whoever_waits() -> None:
    fanout = Fanout(0)
    with fanout.subscribe(NODE, 0, no_replay) as events:
        assert await anext(events) == Bookmark(0)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(anext(events))
            await asyncio.sleep(0)
            fanout.publish([change(1), change(2)], 2)
            fanout.cut(Unavailable, "gone")
        assert reading.result() == change(1)
        assert await anext(events) == change(2)
        with pytest.raises(Unavailable, match="gone"):
            await anext(events)
    assert not fanout.watched


async def test_too_many_watchers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCHERS", 1)
    fanout = Fanout(0)
    with fanout.subscribe(NODE, 0, no_replay), pytest.raises(Unavailable), fanout.subscribe(NODE, 0, no_replay):
        pass
    with fanout.subscribe(NODE, 0, no_replay):
        assert fanout.watched
