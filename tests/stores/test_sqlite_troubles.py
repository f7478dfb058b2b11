"""What can happen to a database file, and what is said about it."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from k3.core import limits
from k3.core.errors import Damaged, Expired, K3Error, NotFound, StartFailed, Unavailable
from k3.core.objects import NODE, Object
from k3.core.store import Store
from k3.stores import connect
from k3.stores.sqlite import SqliteStorage, database
from k3.stores.sqlite.local_disk import file_system, prepare
from k3.stores.sqlite.store import SqliteStore
from k3.testing.clock import FakeClock
from k3.testing.leaks import LeakCheck
from k3.testing.store_steps import next_change, node
from tests.stores.filling import write_many
from tests.stores.worker import command, environment

HANG_SECONDS = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "k3.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    leaks = LeakCheck()
    store = await connect(SqliteStorage(path))
    yield store
    await store.aclose()
    leaks.finish()


async def refusal(path: Path, kind: type[K3Error]) -> str:
    """Why opening is refused; nothing stays open."""
    leaks = LeakCheck()
    with pytest.raises(kind) as refused:
        await connect(SqliteStorage(path))
    leaks.finish()
    assert str(path) in str(refused.value)
    return str(refused.value)


async def until_it_works(call: Callable[[], Awaitable[Object]]) -> Object:
    """The result, once Unavailable is over."""
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.01)


# --- opening


async def test_the_directory_is_made_for_its_owner_alone_unless_that_is_root(store: Store, path: Path) -> None:
    assert path.parent.stat().st_mode & 0o777 == (0o755 if os.geteuid() == 0 else 0o700)
    assert store.url == f"sqlite://{path}"


async def test_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("something of value" * 1000)
    assert "not a k3 store" in await refusal(path, StartFailed)
    assert path.read_text() == "something of value" * 1000


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE theirs (x)")
    theirs.close()
    before = path.read_bytes()
    assert "another program" in await refusal(path, StartFailed)
    assert path.read_bytes() == before


async def test_a_copy_without_its_log_is_told_as_one_and_left_alone(store: Store, path: Path, tmp_path: Path) -> None:
    await store.create(node("a"), {})
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    before = copy.read_bytes()
    with pytest.raises(Damaged, match=r"it has no tables, as a copy of copy.db has that was made without copy.db-wal"):
        await connect(SqliteStorage(copy), reading=True)
    assert copy.read_bytes() == before
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    reader = await connect(SqliteStorage(copy), reading=True)
    assert [each.key.name for each in (await reader.list(NODE)).objects] == ["a"]
    await reader.aclose()


async def test_a_store_of_a_newer_k3_is_refused(store: Store, path: Path) -> None:
    await store.aclose()
    database = sqlite3.connect(path)
    database.execute("UPDATE meta SET version = 99")
    database.commit()
    database.close()
    assert "newer k3" in await refusal(path, StartFailed)


async def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "is a directory" in await refusal(tmp_path, StartFailed)


async def test_a_file_in_the_way_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartFailed, match=r"not a directory|file exists"):
        await connect(SqliteStorage(tmp_path / "file" / "k3.db"))


@pytest.mark.parametrize("locked", ["file", "directory"])
def test_what_this_user_may_not_write_is_forbidden(tmp_path: Path, locked: str) -> None:
    """As another user, since root may write anything."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody who may not")
    path = Path("/tmp") / f"k3-test-{os.getpid()}" / "k3.db"
    path.parent.mkdir(mode=0o755 if locked == "directory" else 0o777)
    path.parent.chmod(0o755 if locked == "directory" else 0o777)
    try:
        if locked == "file":
            path.touch(mode=0o644)
        done = subprocess.run(
            command(f"sqlite://{path}", "as-nobody"),
            input="\n",
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            env=environment(),
            check=True,
        )
    finally:
        shutil.rmtree(path.parent)
    assert done.stdout.startswith(f"Forbidden: {path} cannot be written"), done


MOUNTS = """\
22 28 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /home rw,relatime shared:1 - nfs4 server:/home rw
31 30 0:26 / /home/with\\040space rw - ext4 /dev/vdb rw
32 22 0:27 / /mnt rw shared:9 master:2 - fuse.sshfs me@there:/ rw
33 22 0:28 / /mnt rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/var/lib/k3", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/k3", "nfs4"),
        ("/homeless", "ext4"),
        ("/home/with space/k3", "ext4"),
        ("/mnt/x", "tmpfs"),
    ],
)
def test_the_file_system_is_found(path: str, found: str) -> None:
    assert file_system(Path(path), MOUNTS) == found


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS + f"40 22 0:30 / {tmp_path} rw - nfs4 server:/export rw\n")
    with pytest.raises(StartFailed, match=r"network file system \(nfs4\).*local path, or storage type mysql or etcd"):
        prepare(tmp_path / "k3.db", mountinfo=mounts)


# --- running


async def test_a_deleted_file_is_noticed_and_begun_anew(store: Store, path: Path) -> None:
    """What was there is gone, and nobody who watched or resumes is led to believe otherwise."""
    made = await store.create(node("n1"), {})
    first = store.id
    async with store.watch(NODE, made.revision) as events:
        for file in path.parent.iterdir():
            file.unlink()
        with suppress(Unavailable):  # none where the watcher has noticed first
            await store.create(node("n2"), {})
        with pytest.raises((Unavailable, Expired)):
            await next_change(events)
    again = await until_it_works(lambda: store.create(node("n3"), {}))
    assert store.id != first
    assert again.revision > made.revision
    with pytest.raises(NotFound):
        await until_it_works(lambda: store.get(node("n1")))
    with pytest.raises(Expired):
        async with store.watch(NODE, made.revision):
            pass


async def test_a_file_deleted_under_an_idle_watcher_ends_the_watch(store: Store, path: Path) -> None:
    async with store.watch(NODE, (await store.list(NODE)).revision) as events:
        path.unlink()  # noqa: ASYNC240 - a moment on a local disk
        with pytest.raises((Unavailable, Expired)):
            await next_change(events)


async def test_a_replaced_file_is_noticed_and_used(store: Store, path: Path, tmp_path: Path) -> None:
    await store.create(node("old"), {})
    replacement = await connect(SqliteStorage(tmp_path / "other.db"))
    await replacement.create(node("new"), {})
    await replacement.aclose()
    for file in path.parent.iterdir():
        if file != path:
            file.unlink()
    (tmp_path / "other.db").replace(path)
    with pytest.raises(Unavailable):
        await store.create(node("lost"), {})
    found = await until_it_works(lambda: store.get(node("new")))
    assert found.key == node("new")
    assert store.id == replacement.id


async def test_a_directory_may_go_and_come_back(store: Store, path: Path, tmp_path: Path) -> None:
    made = await store.create(node("n1"), {})
    path.parent.rename(tmp_path / "away")
    for call in (store.get(node("n1")), store.create(node("n2"), {}), store.list(NODE)):
        with pytest.raises(Unavailable):
            await call
    (tmp_path / "away").rename(path.parent)
    assert await until_it_works(lambda: store.get(node("n1"))) == made
    assert (await until_it_works(lambda: store.create(node("n2"), {}))).revision == made.revision + 1


async def test_upkeep_leaves_a_write_its_time_to_wait_for_a_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the write that waits behind it is given up before it can say what was in its way."""
    monkeypatch.setattr(limits, "HISTORY_REVISIONS", 2)
    store = SqliteStore(path, clock=(clock := FakeClock()).time)
    await store.open()
    await store.create(node("web0"), {})
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        await store._writer.run(store._forget)  # there is nothing to forget yet: nobody is waited for
        other.execute("ROLLBACK")
        last = [await store.create(node(f"web{number}"), {}) for number in range(1, 4)][-1]
        clock.advance(limits.HISTORY_SECONDS + 1)
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        with pytest.raises(Unavailable, match="another process is writing"):
            await store._writer.run(store._forget)
        assert time.monotonic() - began < database.BUSY_SECONDS / 2
        other.execute("ROLLBACK")
    other.close()
    await store._writer.run(store._forget)
    assert (await store.facts())["history"] == f"kept from revision {last.revision - 2}"
    await store.aclose()


async def test_a_lock_held_for_long_is_unavailable(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    subject = await connect(SqliteStorage(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="another process has been writing"):
        await subject.create(node("n1"), {})
    assert (await subject.list(NODE)).objects == ()
    other.execute("ROLLBACK")
    other.close()
    await subject.create(node("n1"), {})
    await subject.aclose()


async def test_a_disk_that_does_not_answer_is_unavailable_in_time(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread waits; its callers do not."""
    answers = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_database: object) -> None:
        asyncio.run_coroutine_threadsafe(answers.wait(), loop).result(HANG_SECONDS)

    monkeypatch.setattr(limits, "STORE_TIMEOUT_SECONDS", 0.1)
    for thread, call in (
        (store._writer, lambda: store.create(node("n1"), {})),
        (store._reader, lambda: store.list(NODE)),
    ):
        with pytest.raises(Unavailable):
            await thread.run(hang)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await call()
        assert time.monotonic() - began < 5 * limits.STORE_TIMEOUT_SECONDS
    answers.set()
    await until_it_works(lambda: store.create(node("n2"), {}))
    with pytest.raises(NotFound):  # given up before it was begun
        await until_it_works(lambda: store.get(node("n1")))


async def test_a_full_disk_loses_nothing_that_was_acknowledged() -> None:
    """On a file system of 1.5 MB, in a mount namespace that ends with the process."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare(1), for a small file system")
    script = 'mount -t tmpfs -o size=1500k none /mnt && head -c 300000 /dev/zero > /mnt/ballast && exec "$0" "$@"'
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "sh", "-c", script, *command("sqlite:///mnt/k3.db", "fill", "n")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    async with asyncio.timeout(HANG_SECONDS):
        out, _ = await process.communicate(b"\n")
    said = out.decode().splitlines()
    if process.returncode:
        pytest.skip("may not mount a file system here")
    assert said[0] == "ready"
    assert said[-1] == "every acknowledged object is there, and there is room again"
    assert any("disk" in line and line.startswith("Unavailable") for line in said), said


@pytest.mark.slow
async def test_file_and_log_stay_as_large_as_the_history(path: Path) -> None:
    """With its history, a store is as large after many updates as after a few."""
    clock = FakeClock()
    store = SqliteStore(path, clock=clock.time)
    await store.open()
    sizes = []
    for _ in range(6):
        await write_many(store, 6_000)
        clock.advance(limits.HISTORY_SECONDS)
        sizes.append(sum(file.stat().st_size for file in path.parent.iterdir()))
    await store.aclose()
    assert sizes[-1] < 1.1 * sizes[2], sizes


def test_memory_does_not_load_sqlite_nor_sqlite_a_server_driver() -> None:
    code = (
        "import asyncio, sys; from k3.stores import connect; from k3.stores.memory import MemoryStorage;"
        "asyncio.run(connect(MemoryStorage()));"
        "print([name for name in ('sqlite3', 'k3.stores.sqlite.store', 'ctypes', 'grpc', 'asyncmy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        env=environment(),
        check=True,
    )
    assert done.stdout == "[]\n"
