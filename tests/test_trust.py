"""Another user's link or file, in a directory where everybody may write, does not decide where k3 writes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3.agent.log_output import FileOutput
from k3.agent.trust import foreign_file, foreign_link
from k3.core.errors import Forbidden, StartFailed
from k3.daemon import process
from k3.settings.load import Place
from k3.stores import connect
from k3.stores.sqlite import SqliteStorage
from k3.testing.store_steps import node

# ruff: noqa: ASYNC240 - each a moment on a local disk

NOBODY = 65534
WHERE = "in a directory where everybody may write"


@pytest.fixture(params=[0o1777, 0o777], ids=["sticky", "not-sticky"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """As /tmp."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make what another user would")
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(request.param)
    yield folder
    folder.chmod(0o755)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    return tmp_path / "victim"


def link(at: Path, to: Path, *, owner: int = NOBODY) -> Path:
    at.symlink_to(to)
    os.lchown(at, owner, owner)
    return at


async def test_a_store_is_not_made_through_it(shared: Path, victim: Path) -> None:
    path = link(shared / "k3.db", victim)
    for reading in (False, True):
        with pytest.raises(Forbidden, match=f"^{path} is a symbolic link of nobody, {WHERE}: name what is meant"):
            await connect(SqliteStorage(path), reading=reading)
    assert not victim.exists()


async def test_nor_in_a_directory_behind_it(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    path = link(shared / "k3", tmp_path / "theirs")
    with pytest.raises(Forbidden, match=f"^{path} is a symbolic link of nobody"):
        await connect(SqliteStorage(path / "state" / "k3.db"))
    assert list((tmp_path / "theirs").iterdir()) == []


async def test_nor_by_way_of_another_link(shared: Path, tmp_path: Path, victim: Path) -> None:
    path = link(shared / "second", victim)
    link(tmp_path / "first", Path("shared/../shared/second"), owner=0)
    with pytest.raises(Forbidden, match=f"^{path} is a symbolic link of nobody"):
        await connect(SqliteStorage(tmp_path / "first"))


async def test_one_that_comes_while_the_store_is_in_use_is_not_followed(shared: Path, victim: Path) -> None:
    path = shared / "k3.db"
    store = await connect(SqliteStorage(path))
    for file in shared.iterdir():
        file.unlink()
    link(path, victim)
    for _ in range(3):
        with pytest.raises(Exception, match=r"symbolic link of nobody|was deleted or replaced"):
            await store.create(node("n1"), {})
    assert not victim.exists()
    await store.aclose()


async def test_another_user_s_file_is_no_place_for_a_store(shared: Path) -> None:
    path = shared / "k3.db"
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(Forbidden, match=f"^{path} is a file of nobody, {WHERE}"):
        await connect(SqliteStorage(path))


def test_a_log_is_not_written_through_any_of_these(shared: Path, victim: Path) -> None:
    victim.write_text("precious")
    path = link(shared / "link.log", victim)
    with pytest.raises(OSError, match=f"{path} is a symbolic link of nobody, {WHERE}"):
        FileOutput(path)
    hard = shared / "hard.log"
    os.link(victim, hard)
    with pytest.raises(OSError, match=f"{hard} has another name too"):
        FileOutput(hard)
    assert victim.read_text() == "precious"


def test_a_log_that_was_rotated_away_is_not_made_anew_through_one(shared: Path, victim: Path) -> None:
    path = shared / "k3.log"
    output = FileOutput(path)
    path.rename(shared / "k3.log.1")
    link(path, victim)
    output.write("still in the former file\n")
    output.close()
    assert not victim.exists()
    assert (shared / "k3.log.1").read_text() == "still in the former file\n"


def test_a_state_directory_is_not_made_through_one(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = link(shared / "state", tmp_path / "theirs")
    place = Place({"XDG_STATE_HOME": str(path)}, is_root=False)
    monkeypatch.setattr(process, "here", lambda: place)
    with pytest.raises(StartFailed, match=f"^{path} is a symbolic link of nobody"):
        process.state_directory()
    assert not (tmp_path / "theirs").exists()


async def test_links_and_files_that_one_may_trust_are_followed(shared: Path, tmp_path: Path) -> None:
    """One's own, root's, those of the directory's owner, and any where only their owner may write."""
    own = link(shared / "own.db", tmp_path / "own.db", owner=os.geteuid())
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", NOBODY, NOBODY)
    private = link(tmp_path / "home" / "k3.db", tmp_path / "private.db")
    for path in (own, private, tmp_path / "none.db", Path("/dev/fd/0"), Path("/proc/self/root/etc")):
        assert (path, foreign_link(path), foreign_file(path)) == (path, "", "")
    store = await connect(SqliteStorage(own))
    await store.create(node("n1"), {})
    await store.aclose()
    os.chown(shared, NOBODY, NOBODY)
    link(shared / "k3.db", tmp_path / "of-the-owner.db")
    assert foreign_link(shared / "k3.db") == ""


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert foreign_link(tmp_path / "a") == ""
