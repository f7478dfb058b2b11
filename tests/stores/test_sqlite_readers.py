"""Who may read a list and not write it: everybody, of root's. And no error of the system is left unsaid in words."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3.core.errors import Forbidden, K3Error, Unavailable
from k3.core.objects import NODE
from k3.settings.load import Place
from k3.stores import connect
from k3.stores.sqlite import SqliteStorage
from k3.stores.sqlite.store import SqliteStore
from k3.testing.store_steps import node
from tests.lab import until

HANG_SECONDS = 60.0
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not write")


@pytest.fixture
def path() -> Iterator[Path]:
    """Where everybody may look."""
    house = Path("/tmp") / f"k3-readers-{os.getpid()}"
    yield house / "k3.db"
    shutil.rmtree(house, ignore_errors=True)


def k3(*arguments: str) -> list[str]:
    if subprocess.run([*NOBODY, sys.executable, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"only root can run {sys.executable}")
    code = "import sys; from k3.cli import main; sys.exit(main(sys.argv[1:]))"
    return [*NOBODY, sys.executable, "-c", code, *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "HOME": "/nowhere", "PYTHONPATH": os.pathsep.join(sys.path)}


def said(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    done = subprocess.run(k3(*arguments), capture_output=True, text=True, timeout=HANG_SECONDS, check=False, env=environment())
    return done.returncode, done.stdout, done.stderr


def names(path: Path) -> list[str]:
    code, out, err = said("nodes", "--no-headers", "-o", "name", "--store", f"sqlite://{path}")
    assert (code, err) == (0, "")
    return [line.rpartition("/")[2] for line in out.split()]


DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from k3.stores.sqlite import SqliteStorage
from k3.stores import connect
from k3.testing.store_steps import node

async def main():
    store = await connect(SqliteStorage(Path(sys.argv[1])))
    await store.create(node("b"), {})
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@as_root
async def test_anybody_reads_the_list_of_root(path: Path) -> None:
    """While an agent writes it, after it has ended, and after it was killed."""
    store = await connect(SqliteStorage(path))
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert path.stat().st_mode & 0o777 == 0o644  # noqa: ASYNC240 - at once
    await store.create(node("a"), {})
    assert names(path) == ["a"]
    await store.aclose()
    assert sorted(each.name for each in path.parent.iterdir()) == ["k3.db"]
    assert names(path) == ["a"]
    dead = await asyncio.create_subprocess_exec(sys.executable, "-c", DIES, str(path), env=environment())
    assert await dead.wait() == -signal.SIGKILL
    assert path.with_name("k3.db-wal").exists()
    assert names(path) == ["a", "b"]


@as_root
async def test_a_watch_sees_what_is_written_after_the_agent_has_started_anew(path: Path) -> None:
    store = await connect(SqliteStorage(path))
    await store.create(node("a"), {})
    await store.aclose()
    out, command = path.with_name("said"), k3("nodes", "-w", "-o", "name", "--store", f"sqlite://{path}")
    with (
        out.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment()) as watch,  # noqa: ASYNC220 - starts at once
    ):
        try:
            until(lambda: "a" in out.read_text(), guard_seconds=HANG_SECONDS)
            for name in ("b", "c"):
                store = await connect(SqliteStorage(path))
                await store.create(node(name), {})
                until(lambda name=name: f"/{name}" in out.read_text(), guard_seconds=HANG_SECONDS)  # type: ignore[misc]
                await store.aclose()
        finally:
            watch.kill()


@as_root
async def test_writing_there_is_one_line_with_what_to_do(path: Path) -> None:
    store = await connect(SqliteStorage(path))
    await store.create(node("a"), {})
    code, out, err = said("delete", "node", "a", "--store", f"sqlite://{path}")
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert f"{path} cannot be written by this user" in err
    assert "run it as root (sudo)" in err
    code, out, err = said("store", "check", "--store", f"sqlite://{path}")
    assert code == 1
    assert "read: yes, write: no" in out
    assert err.count("\n") == 1
    code, out, err = said("network", "--store", f"sqlite://{path}", "--node-name", "x")
    assert code == 1
    assert err.count("\n") == 1
    assert "Traceback" not in err
    await store.aclose()


@as_root
@pytest.mark.parametrize("closed", ["directory", "file"])
async def test_a_list_that_is_its_owner_s_alone(path: Path, closed: str) -> None:
    store = await connect(SqliteStorage(path))
    await store.aclose()
    (path.parent if closed == "directory" else path).chmod(0o700 if closed == "directory" else 0o600)
    for command in (["nodes"], ["nodes", "-w"], ["store", "check"], ["delete", "node", "a"]):
        code, out, err = said(*command, "--store", f"sqlite://{path}")
        assert (code, out, err.count("\n")) == (1, "", 1), err
        assert f"{path} is for root (sudo) alone" in err
        assert f"chmod 755 {path.parent}" in err
        assert "Error" not in err


ODD_PLACES = ["/", "/proc/k3.db", "/dev/null", "/dev/null/k3.db", "/root/k3/k3.db", "/proc/1/root/k3.db", "/tmp"]


@pytest.mark.parametrize("place", ODD_PLACES)
@pytest.mark.parametrize("reading", [True, False])
async def test_an_odd_place_is_refused_in_words(place: str, reading: bool) -> None:
    """As whoever runs the tests; root meets the odd files, anybody else the closed doors too."""
    if os.geteuid() == 0 and place in {"/root/k3/k3.db", "/proc/1/root/k3.db"}:
        pytest.skip("root may write there")
    with pytest.raises(K3Error) as refused:
        await connect(SqliteStorage(Path(place)), reading=reading)
    assert "[Errno" not in str(refused.value)
    assert str(Path(place).parent) in str(refused.value)


async def test_a_reader_of_what_it_owns_may_write(tmp_path: Path) -> None:
    store = await connect(SqliteStorage(tmp_path / "k3.db"), reading=True)
    made = await store.create(node("a"), {})
    await store.delete(made.key)
    await store.aclose()


async def test_a_reader_makes_no_new_store_where_one_was_deleted(tmp_path: Path) -> None:
    """The list would be empty, as if every machine were gone, and the new log would spoil the old file when it is back."""
    path = tmp_path / "k3.db"
    store = await connect(SqliteStorage(path))
    await store.create(node("a"), {})
    await store.aclose()
    reader = await connect(SqliteStorage(path), reading=True)
    assert len((await reader.list(NODE)).objects) == 1
    path.rename(tmp_path / "away")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await reader.list(NODE)
    assert not path.exists()
    (tmp_path / "away").rename(path)
    assert len((await reader.list(NODE)).objects) == 1
    await reader.aclose()


async def test_a_reader_without_the_right_reads_what_a_foreign_user_writes(tmp_path: Path) -> None:
    """The same without root: a file and directory that nobody may write, here also not their owner."""
    path = tmp_path / "deep" / "k3.db"
    store = await connect(SqliteStorage(path))
    await store.create(node("a"), {})
    await store.aclose()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        reader = SqliteStore(path, reading=True)
        await reader.open()
        if os.geteuid() != 0:
            with pytest.raises(Forbidden, match="cannot be written by this user"):
                await reader.create(node("b"), {})
        assert (await reader.get(node("a"))).key == node("a")
        await reader.aclose()
    finally:
        path.parent.chmod(0o755)


def test_which_list_is_looked_at(tmp_path: Path) -> None:
    """One's own if there is one, else the machine's, else one's own again: it will be made."""
    machine, own = tmp_path / "machine", tmp_path / "state"
    person = Place({"XDG_STATE_HOME": str(own)}, is_root=False, system_state=machine)
    root = Place({}, is_root=True, system_state=machine)
    assert person.default_database(reading=True) == own / "k3/k3.db"
    machine.mkdir()
    (machine / "k3.db").touch()
    assert person.default_database(reading=True) == machine / "k3.db"
    assert person.default_database(reading=False) == own / "k3/k3.db"
    (own / "k3").mkdir(parents=True)
    (own / "k3/k3.db").touch()
    assert person.default_database(reading=True) == own / "k3/k3.db"
    assert root.default_database(reading=True) == root.default_database(reading=False) == machine / "k3.db"
