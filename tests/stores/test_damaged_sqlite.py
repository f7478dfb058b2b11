"""A file that is damaged under a running store: said once, with what to do, and used again once it is mended."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from k3.core.errors import AlreadyExists, Damaged, Expired, K3Error, StartFailed, Unavailable
from k3.core.objects import NODE, Object
from k3.core.store import Store
from k3.daemon.opening import open_store
from k3.stores import connect
from k3.stores.enduring import EnduringStore
from k3.stores.sqlite import SqliteStorage, thread
from k3.testing.store_steps import next_change, node
from tests.damage import DAMAGED, OTHERS, by_sql

T = TypeVar("T")
HANG_SECONDS = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "k3.db"


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections stay open; else SQLite may have put the file together again from its log before a reader comes.

    So a test of what that reader hears writes nothing before, since a look at the history follows each write.
    """
    monkeypatch.setattr(thread, "LOOK_SECONDS", 60.0)


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    """As an agent has it."""
    store = EnduringStore(await connect(SqliteStorage(path)))
    yield store
    await store.aclose()


async def until_it_works(call: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.05)


async def until_it_fails(call: Callable[[], Awaitable[T]]) -> str:
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            try:
                await call()
            except K3Error as error:
                return str(error)
            await asyncio.sleep(0.05)


def names(items: tuple[Object, ...]) -> list[str]:
    return [item.key.name for item in items]


def copy_of(path: Path, to: Path) -> Path:
    with sqlite3.connect(path) as file:
        file.execute("VACUUM INTO ?", (str(to),))
    file.close()
    return to


@pytest.mark.parametrize("kind", [*DAMAGED, *OTHERS])
async def test_it_is_said_once_and_mended_by_a_copy(
    store: Store, path: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    await store.create(node("n1"), {})
    good = copy_of(path, tmp_path / "good.db")
    damage, words = (DAMAGED | OTHERS)[kind]
    damage(path)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.list(NODE),
        lambda: store.get(node("n1")),
        lambda: store.create(node("n2"), {}),
    ]
    for _ in range(3):
        for call in calls:
            with suppress(Unavailable, AlreadyExists):
                await call()
    lost = [record for record in caplog.records if record.getMessage() == "store.lost"]
    assert len(lost) <= 2, [record.fields for record in lost]  # type: ignore[attr-defined]  # silence, then the refusal
    assert not [record for record in caplog.records if record.exc_info], "no trace: it is no fault of k3's"
    if kind not in {"garbage", "cut", "no-database", "application"}:  # what SQLite still remembers of these is used
        assert words in lost[-1].fields["why"]  # type: ignore[attr-defined]
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    good.replace(path)
    await until_it_works(lambda: store.create(node("n3"), {}))
    assert names((await until_it_works(lambda: store.list(NODE))).objects) == ["n1", "n3"]


async def test_a_starting_agent_says_it_at_once(path: Path) -> None:
    """Waiting mends nothing, so it is not waited for (`--store-wait`)."""
    await (await connect(SqliteStorage(path))).aclose()
    by_sql("DROP TABLE log")(path)
    async with asyncio.timeout(HANG_SECONDS):
        with pytest.raises(Damaged, match="its table log is gone"):
            await open_store(SqliteStorage(path), wait_seconds=600)


@pytest.mark.usefixtures("_patient")
async def test_a_file_emptied_under_a_running_store_is_said_to_everybody(store: Store, path: Path) -> None:
    """The agent within a moment, even if it only watches; a reader at once, not "another process has been writing"."""
    revision = (await store.list(NODE)).revision
    async with store.watch(NODE, revision) as events:
        os.truncate(path, 0)
        with pytest.raises((Damaged, StartFailed), match="was emptied while in use"):
            await connect(SqliteStorage(path), reading=True)
        with pytest.raises((Unavailable, Expired)):
            await next_change(events)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    again = await until_it_works(lambda: store.create(node("n2"), {}))
    assert again.revision > revision
    assert names((await until_it_works(lambda: store.list(NODE))).objects) == ["n2"]


@pytest.mark.usefixtures("_patient")
async def test_it_is_said_too_where_a_link_leads_to_the_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    store = await connect(SqliteStorage(tmp_path / "link"))
    os.truncate(path, 0)
    with pytest.raises(Damaged, match="was emptied while in use"):
        await connect(SqliteStorage(tmp_path / "link"))
    await store.aclose()


async def test_an_empty_file_that_nobody_uses_becomes_a_store(path: Path) -> None:
    path.touch()  # noqa: ASYNC240 - a moment on a local disk
    store = await connect(SqliteStorage(path))
    await store.create(node("n1"), {})
    await store.aclose()


@pytest.mark.parametrize("removed", [("-wal",), ("-shm",), ("-wal", "-shm")], ids="+".join)
async def test_a_log_removed_under_a_running_store_loses_nothing(store: Store, path: Path, removed: tuple[str, ...]) -> None:
    made = [await store.create(node(f"n{number}"), {}) for number in range(5)]
    async with store.watch(NODE, made[-1].revision) as events:
        for suffix in removed:
            path.with_name(path.name + suffix).unlink()
        late = await until_it_works(lambda: store.create(node("late"), {}))
        with suppress(K3Error):
            assert (await next_change(events)).object == late
    expected = ["late", "n0", "n1", "n2", "n3", "n4"]
    assert names((await until_it_works(lambda: store.list(NODE))).objects) == expected
    other = await until_it_works(lambda: connect(SqliteStorage(path)))
    assert names((await other.list(NODE)).objects) == expected
    await other.create(node("other"), {})
    await other.aclose()
    assert names((await until_it_works(lambda: store.list(NODE))).objects) == [*expected, "other"]
    await store.aclose()
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    file.close()


async def test_a_counter_set_back_is_damage_to_a_writer_and_to_a_check(store: Store, path: Path) -> None:
    for number in range(5):
        await store.create(node(f"n{number}"), {})
    by_sql("UPDATE meta SET rev = rev - 3")(path)
    assert "UNIQUE constraint failed: log.rev" in await until_it_fails(lambda: store.create(node("n9"), {}))
    assert len((await store.list(NODE)).objects) == 5


async def test_another_store_in_the_same_file_is_noticed(store: Store, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await store.create(node("n1"), {})
    await store.list(NODE)
    first = store.id
    by_sql("UPDATE meta SET store_id = 'another'")(path)
    assert "holds another store than before" in await until_it_fails(lambda: store.list(NODE))
    await until_it_works(lambda: store.list(NODE))
    assert store.id == "another" != first
