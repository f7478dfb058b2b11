"""`k3 nodes -w` when the store has a bad time: the view is right again, nothing comes twice, and trouble is said once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from k3.cli import follow
from k3.cli.follow import Shown
from k3.cli.printers import Read
from k3.core.errors import Expired, Unavailable
from k3.core.objects import NODE, Key, Kind, Object
from k3.core.sources import DISCOVERY, NETWORK, SourceRow
from k3.core.store import ChangeType, Event, Page, Store
from k3.core.times import precise_timestamp
from k3.stores import connect
from k3.stores.memory import MemoryStorage

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


class Line:
    """A memory store at the far end of a bad line: watches end when the test says so, and listing fails as often."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.url = store.url
        self.refusals = 0
        self.cuts: asyncio.Queue[Exception | Event] = asyncio.Queue(16)
        self._was_cut = False

    async def cut(self, error: Exception) -> None:
        """End the watch, and wait until there is the next one."""
        await self.cuts.put(error)
        await self.cuts.join()

    async def list(self, kind: Kind) -> Page:
        if self.refusals:
            self.refusals -= 1
            msg = "no answer from memory://"
            raise Unavailable(msg)
        return await self.store.list(kind)

    @asynccontextmanager
    async def watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        if self._was_cut:
            self._was_cut = False
            self.cuts.task_done()
        yield self._events()

    async def _events(self) -> AsyncIterator[Event]:
        while True:
            item = await self.cuts.get()
            self._was_cut = True
            if isinstance(item, Exception):
                raise item
            yield item


class Record:
    """A printer that remembers what it was told."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def everything(self, items: Sequence[Object], read: Read) -> None:
        self.rows += [("LISTED", item.key.name) for item in items]

    def change(self, kind: ChangeType, item: Object, read: Read) -> None:
        self.rows.append((kind, item.key.name))

    def face(self, item: Object, read: Read) -> object:
        return (item.revision, str(read(item).state))


def labelled(**labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": labels}}


def everything(_: Object) -> bool:
    return True


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(follow, "LONGEST_PAUSE_SECONDS", 0.004)


async def followed(test: Callable[[Line, Record], Any], wanted: Callable[[Object], bool] = everything) -> None:
    """Run a test beside a follower of a store with a, b and c."""
    line, record = Line(await connect(MemoryStorage())), Record()
    for name in "abc":
        await line.store.create(Key(NODE, name), labelled(app="x"))
    shown = Shown(record, wanted, lambda: NOW)
    page = await line.list(NODE)
    shown.first(page.objects, "abc")
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow.follow(line, NODE, page, shown))  # type: ignore[arg-type] # has what follow needs
        async with asyncio.timeout(20):
            await test(line, record)
        following.cancel()
    await line.store.aclose()


async def change_everything(line: Line) -> None:
    """Delete a, change b, leave c alone, add d, and let none of it through."""
    await line.store.delete(Key(NODE, "a"))
    item = await line.store.get(Key(NODE, "b"))
    await line.store.update(item.with_manifest(item.manifest() | {"spec": {"unschedulable": True}}))
    await line.store.create(Key(NODE, "d"), labelled(app="x"))


DIFFERENCE = [("DELETED", "a"), ("MODIFIED", "b"), ("ADDED", "d")]


async def test_after_a_gap_only_what_differs_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    async def test(line: Line, record: Record) -> None:
        await change_everything(line)
        await line.cut(Expired("too old"))
        assert record.rows[3:] == DIFFERENCE
        await line.cut(Expired("too old"))
        assert record.rows[6:] == []
        await line.store.delete(Key(NODE, "d"))
        await line.cut(Expired("too old"))
        assert record.rows[6:] == [("DELETED", "d")]

    await followed(test)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("quick")
async def test_a_lost_store_is_said_once_and_the_view_is_right_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    async def test(line: Line, record: Record) -> None:
        await change_everything(line)
        for _ in range(2):
            line.refusals = 5
            await line.cut(Unavailable("connection lost"))
            assert line.refusals == 0
            assert record.rows[3:] == DIFFERENCE

    await followed(test)
    once = ["k3: connection lost; trying again", "k3: memory:// answers again"]
    assert capsys.readouterr().err.splitlines() == once * 2


@pytest.mark.usefixtures("quick")
async def test_an_error_that_ends_in_a_question_stays_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    async def test(line: Line, record: Record) -> None:
        await line.cut(Unavailable("no answer from etcd://h: is it on?"))

    await followed(test)
    assert capsys.readouterr().err.splitlines()[0] == "k3: no answer from etcd://h: is it on? Trying again"


async def test_what_stops_fitting_is_gone_and_what_starts_fitting_is_new() -> None:
    async def test(line: Line, record: Record) -> None:
        for name, app in (("a", "y"), ("a", "x"), ("b", "y"), ("b", "z")):
            item = await line.store.get(Key(NODE, name))
            await line.store.update(item.with_manifest(item.manifest() | labelled(app=app)))
            await line.cut(Expired("too old"))
        assert record.rows[3:] == [("DELETED", "a"), ("ADDED", "a"), ("DELETED", "b")]

    await followed(test, lambda item: item.manifest()["metadata"]["labels"]["app"] == "x")


@pytest.mark.parametrize(
    ("source", "reason", "limit"),
    [(NETWORK, "PeerAlive", 180), (DISCOVERY, "ConsulPassing", 720)],
    ids=["network", "discovery"],
)
async def test_a_node_that_is_no_longer_refreshed_is_shown_once_more_as_unknown(
    source: SourceRow, reason: str, limit: float
) -> None:
    """Of each source: printed once, not again while it is fresh, and its turn to Unknown exactly once."""
    now, record, states = 7.0, Record(), []
    notes = {source.prefix + "lastSeen": precise_timestamp(NOW)}
    manifest = {
        "metadata": {"labels": source.labels, "annotations": notes},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": reason}]},
    }
    store = await connect(MemoryStorage())
    item = await store.create(Key(NODE, "n"), manifest)
    shown = Shown(record, everything, lambda: NOW, lambda: now)
    shown.first([item], {"n"})
    assert record.rows == [("LISTED", "n")]
    for seconds, count in ((1, 0), (limit / 2, 0), (limit, 0), (limit + 0.001, 1), (limit + 1, 1), (5_000, 1)):
        now = 7.0 + seconds
        shown.tick()
        assert record.rows[1:] == [("MODIFIED", "n")] * count
        states.append(str(shown._read(item).state))
    assert states == ["Ready"] * 3 + ["Unknown (no observer)"] * 3
    await store.aclose()
