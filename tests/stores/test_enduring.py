"""Whatever a store answers, an agent that has started goes on, and an outage is said once."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from k3.agent.cache import Cache, Listed, Lost
from k3.core.errors import (
    AlreadyExists,
    ConfigInvalid,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    K3Error,
    NotFound,
    NotPermitted,
    StartFailed,
    TooLarge,
    Unavailable,
)
from k3.core.objects import NODE, Key, Kind, Manifest, Object
from k3.core.store import Event, Page, Store, Watch
from k3.daemon import opening
from k3.daemon.opening import open_store
from k3.stores import connect, enduring
from k3.stores.enduring import EnduringStore
from k3.stores.memory import MemoryStore
from k3.stores.sqlite import SqliteStorage
from k3.testing.faults import FaultyStore
from k3.testing.store_steps import next_change, node
from k3.testing.store_suite import Opener, StoreSuite
from tests.lab import until

HANG_SECONDS = 30.0


class TestEnduringStore(StoreSuite):
    """It breaks none of the laws."""

    opens_twice = False
    can_forget = False

    @pytest.fixture
    async def open_store(self) -> Opener:
        async def opened() -> Store:
            return EnduringStore(MemoryStore())

        return opened


class Angry(MemoryStore):
    """Answers everything with one error, once it is set."""

    error: Exception | None = None

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    async def get(self, key: Key) -> Object:
        self._fail()
        return await super().get(key)

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        self._fail()
        return await super().list(kind, namespace=namespace, limit=limit, after=after, at=at)

    async def create(self, key: Key, manifest: Manifest) -> Object:
        self._fail()
        return await super().create(key, manifest)

    async def update(self, item: Object) -> Object:
        self._fail()
        return await super().update(item)

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        self._fail()
        return await super().delete(key, revision=revision, uid=uid)

    def watch(self, kind: Kind, since: int) -> Watch:
        return self._angry_watch(kind, since)

    @asynccontextmanager
    async def _angry_watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        self._fail()
        async with super().watch(kind, since) as events:
            yield events


REFUSALS = [
    StartFailed("made by a newer k3: upgrade k3"),
    Forbidden("user k3 is locked: ALTER USER"),
    ConfigInvalid("no such file"),
    K3Error("odd"),
    IndexError("a row too short"),
    OSError(24, "Too many open files"),
    RecursionError("deep"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_whatever_goes_wrong_is_unavailable_with_its_remedy(error: Exception) -> None:
    inner = Angry()
    store = EnduringStore(inner)
    item = await store.create(node("n1"), {})
    inner.error = error
    calls = [store.get(item.key), store.list(NODE)]
    if not isinstance(error, Invalid):  # a document that cannot be: an answer to its writer
        calls += [store.create(node("n2"), {}), store.update(item), store.delete(item.key)]
    for call in calls:
        with pytest.raises(Unavailable, match=str(error.args[-1])):
            await call
    with pytest.raises(Unavailable):
        async with store.watch(NODE, item.revision):
            pass
    inner.error = None
    assert await store.get(item.key) == item


@pytest.mark.parametrize("error", [NotFound, AlreadyExists, Conflict, TooLarge, Invalid, NotPermitted])
async def test_an_answer_of_the_port_is_passed_on(error: type[K3Error]) -> None:
    inner = Angry()
    inner.error = error("so it is")
    with pytest.raises(error, match="so it is"):
        await EnduringStore(inner).create(node("n1"), {})


async def test_a_cache_outlives_every_answer(caplog: pytest.LogCaptureFixture) -> None:
    """One outage with several answers: one warning of silence, one of a refusal, one word that it is over."""
    inner = Angry()
    store = EnduringStore(inner)
    faulty = FaultyStore(store)
    cache = Cache(faulty, NODE, random=Random(1))
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(HANG_SECONDS):
        running = tasks.create_task(cache.run())
        with cache.subscribe() as notices, caplog.at_level("INFO", logger="k3.stores.enduring"):
            assert isinstance(await anext(notices), Listed)
            for error in (Unavailable("gone"), REFUSALS[0], REFUSALS[1], REFUSALS[3]):
                inner.error = error
                faulty.cut_watches()
                assert isinstance(await anext(notices), Lost)
                with suppress(Unavailable):
                    await store.create(node("n1"), {})
            inner.error = None
            while not isinstance(await anext(notices), Listed):
                pass
        running.cancel()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [("WARNING", "store.lost"), ("WARNING", "store.lost"), ("INFO", "store.found")]
    assert "upgrade k3" in vars(caplog.records[1])["fields"]["why"], "what to do is not kept back"


async def test_an_outage_is_one_warning_and_one_word_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    inner = Angry()
    store = EnduringStore(inner)
    with caplog.at_level("INFO", logger="k3.stores.enduring"):
        for why in ("connection refused", "no answer for 5 s", "no such host"):
            inner.error = Unavailable(why)
            for call in (store.get(node("n1")), store.create(node("n1"), {}), store.list(NODE)):
                with pytest.raises(Unavailable, match=why):
                    await call
        inner.error = None
        await store.list(NODE)
        await store.create(node("n1"), {})
    assert [record.getMessage() for record in caplog.records] == ["store.lost", "store.found"]


async def test_where_writes_alone_fail_reads_do_not_end_the_outage(caplog: pytest.LogCaptureFixture) -> None:
    inner = Angry()
    store = EnduringStore(inner)
    with caplog.at_level("INFO", logger="k3.stores.enduring"):
        for _ in range(3):
            inner.error = Unavailable("disk full")
            with pytest.raises(Unavailable):
                await store.create(node("n1"), {})
            inner.error = None
            await store.list(NODE)
        await store.create(node("n1"), {})
    assert [record.getMessage() for record in caplog.records] == ["store.lost", "store.found"]


@pytest.mark.parametrize(
    ("error", "is_over"), [(Unavailable("the server only reads"), True), (Forbidden("user k3 lacks rights"), False)]
)
async def test_that_somebody_else_writes_ends_an_outage_of_writes_but_for_a_right_of_one_s_own(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: K3Error, is_over: bool
) -> None:
    inner = Angry()
    store = EnduringStore(inner)
    with caplog.at_level("INFO", logger="k3.stores.enduring"):
        async with store.watch(NODE, (await store.list(NODE)).revision) as events:
            inner.error = error
            with pytest.raises(Unavailable):
                await store.create(node("n1"), {})
            inner.error = None
            await inner.create(node("n2"), {})
            await next_change(events)
            assert not store.takes_writes, "it may be late, and was written before"
            monkeypatch.setattr(enduring, "QUIET_SECONDS", 0.0)
            await inner.create(node("n3"), {})
            await next_change(events)
            assert store.takes_writes is is_over
    assert [record.getMessage() for record in caplog.records] == ["store.lost", "store.found"][: 1 + is_over]


async def test_a_write_for_which_the_right_is_missing_is_no_outage_and_ends_none(caplog: pytest.LogCaptureFixture) -> None:
    inner = Angry()
    store = EnduringStore(inner)
    with caplog.at_level("INFO", logger="k3.stores.enduring"):
        for error, names in ((NotPermitted("web1 alone"), []), (Unavailable("disk full"), ["store.lost"])):
            inner.error = error
            with pytest.raises(type(error)):
                await store.create(node("n1"), {})
            assert [record.getMessage() for record in caplog.records] == names
        inner.error = NotPermitted("web1 alone")
        with pytest.raises(NotPermitted):
            await store.create(node("n1"), {})
        assert [record.getMessage() for record in caplog.records] == ["store.lost"]
        inner.error = None
        await store.create(node("n1"), {})
    assert [record.getMessage() for record in caplog.records] == ["store.lost", "store.found"]


async def test_a_list_that_is_expired_again_and_again_is_not_asked_for_without_a_pause() -> None:
    class Forgetful(MemoryStore):
        lists = 0

        async def list(
            self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
        ) -> Page:
            self.lists += 1
            return await super().list(kind, namespace=namespace, limit=limit, after=after, at=at)

        def watch(self, kind: Kind, since: int) -> Watch:
            msg = "the log has a hole: list again"
            raise Expired(msg)

    store = Forgetful()

    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await Cache(store, NODE, random=Random(1)).run()
    assert 2 <= store.lists < 12


# --- a file that is no longer what it was


async def test_a_file_of_another_program_in_place_of_the_store(tmp_path: Path) -> None:
    """At the start it is refused; a store that runs is Unavailable until its file is right again."""
    path = tmp_path / "k3.db"
    store = EnduringStore(await connect(SqliteStorage(path)))
    await store.create(node("n1"), {})
    for left in path.parent.iterdir():
        left.rename(tmp_path / f"old-{left.name}")
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (n)")
    other.close()
    with pytest.raises(StartFailed, match="another program"):
        await connect(SqliteStorage(path))
    for _ in range(3):  # the first one meets the old connection
        with pytest.raises(Unavailable):
            await store.create(node("n2"), {})
    with pytest.raises(Unavailable, match="another program; choose another place"):
        await store.list(NODE)
    path.unlink()
    made = await store.create(node("n3"), {})
    assert (await store.get(made.key)).uid == made.uid
    await store.aclose()


# --- waiting for it


async def test_a_store_is_waited_for_and_said_to_be(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "AGAIN_SECONDS", 0.3)
    answers = iter([Unavailable("connection refused"), Unavailable("no such host"), None])

    async def slow(_: object) -> Store:
        await asyncio.sleep(0.2)
        if (error := next(answers)) is not None:
            raise error
        return MemoryStore()

    with caplog.at_level("INFO", logger="k3"):
        store = await open_store(SqliteStorage(Path("/nowhere")), wait_seconds=60, connect=slow)
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "store.waiting"
    assert 2 <= said.count("store.waiting") <= 5
    assert said[-1] == "store.found"
    assert "connection refused" in str(vars(caplog.records[0])["fields"])
    await store.aclose()


async def test_a_store_that_says_nothing_at_all_is_told_of_within_a_second(caplog: pytest.LogCaptureFixture) -> None:
    async def silent(_: object) -> Store:
        await asyncio.sleep(1.3)
        msg = "no answer for 1.3 s"
        raise Unavailable(msg)

    with (
        caplog.at_level("INFO", logger="k3"),
        pytest.raises(Unavailable, match=r"no answer for 1.3 s \(waited 1s: --store-wait\)"),
    ):
        await open_store(SqliteStorage(Path("/nowhere")), wait_seconds=1, connect=silent)
    assert "no answer yet" in str(vars(caplog.records[0])["fields"])


@pytest.mark.parametrize("error", [Forbidden("wrong password"), StartFailed("no package"), ConfigInvalid("bad URL")])
async def test_what_waiting_does_not_mend_is_not_waited_for(error: K3Error, caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(_: object) -> Store:
        raise error

    with pytest.raises(type(error), match=str(error)):
        await open_store(SqliteStorage(Path("/nowhere")), wait_seconds=60, connect=refuse)
    assert not caplog.records


async def test_zero_is_no_wait() -> None:
    async def refuse(_: object) -> Store:
        msg = "connection refused"
        raise Unavailable(msg)

    with pytest.raises(Unavailable, match=r"^connection refused$"):
        await open_store(SqliteStorage(Path("/nowhere")), wait_seconds=0, connect=refuse)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_wait_at_once(tmp_path: Path, number: signal.Signals, code: int) -> None:
    argv = [sys.executable, "-m", "k3.cli", "discovery", "--store", "mysql://k3@127.0.0.1:1/k3", "--node-name", "waiting"]
    said = tmp_path / "said"
    with (
        said.open("wb") as log,
        subprocess.Popen(argv, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)}, stderr=log) as process,
    ):
        try:
            until(lambda: "store.waiting" in said.read_text(), guard_seconds=2 * HANG_SECONDS, what=said.read_text)
            process.send_signal(number)
            assert process.wait(HANG_SECONDS) == code, said.read_text()
        finally:
            process.kill()
    assert 1 <= said.read_text().count("store.waiting") <= 2, "at once, and again where the reason took its time"
    assert said.read_text().count("\n") == said.read_text().count("store.waiting")
