"""The lock by which a second agent of one name on one machine is told so, and what is left of it."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from k3.core.errors import StartFailed
from k3.daemon.lock import lock_file, only_one

HOLD = """
import sys, time
from pathlib import Path
from k3.daemon.lock import only_one
with only_one("network", Path(sys.argv[1]), "web"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_one_is_told_which_process_runs(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StartFailed, match=rf'runs here already as "web" \(pid {holder.pid}\)'),
            only_one("network", tmp_path, "web"),
        ):
            pass
        with only_one("network", tmp_path, "other"), only_one("discovery", tmp_path, "web"):
            assert (lock_file("network", tmp_path, "web")).exists(), "a lock that is held stays"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert [file.name for file in tmp_path.iterdir()] == [lock_file("network", tmp_path, "web").name]
    with only_one("network", tmp_path, "renamed"):
        assert [file.name for file in tmp_path.iterdir()] == [lock_file("network", tmp_path, "renamed").name]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_replaced_meanwhile_is_taken_again(tmp_path: Path) -> None:
    path = lock_file("network", tmp_path, "web")
    with only_one("network", tmp_path, "web"):
        os.rename(path, tmp_path / "elsewhere")  # noqa: PTH104 - as another process would
        with only_one("network", tmp_path, "web"):
            assert path.read_text(encoding="ascii").split()[0] == str(os.getpid())
    assert [file.name for file in tmp_path.iterdir()] == ["elsewhere"]


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="ascii")
    with pytest.raises(StartFailed, match="cannot write"), only_one("network", tmp_path / "file", "web"):
        pass


def test_another_agent_that_sweeps_is_no_holder(tmp_path: Path) -> None:
    """It holds each file for a moment, to see whether anybody else does."""
    path = lock_file("network", tmp_path, "web1")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    threading.Timer(0.05, os.close, (descriptor,)).start()
    with only_one("network", tmp_path, "web1"):
        assert path.exists()


def _unshared(kind: str, tmp_path: Path) -> "subprocess.Popen[str]":
    """The same in a namespace of its own."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    return subprocess.Popen(["unshare", *kind.split(), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _is_held(process: "subprocess.Popen[str]") -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "held\n"


def _may_unshare() -> bool:
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


def test_two_networks_of_a_machine_may_each_have_an_agent_of_one_name(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or not _may_unshare():
        pytest.skip("needs unshare(1), and the right to make a network namespace")
    with only_one("network", tmp_path, "web"), _unshared("--net", tmp_path) as other:
        assert _is_held(other)
        assert len(list(tmp_path.iterdir())) == 2, "neither takes the other's for one that was left"
        other.kill()


def test_a_pid_of_another_namespace_is_not_named(tmp_path: Path) -> None:
    """Two containers in the host's network, with one volume for their state."""
    if shutil.which("unshare") is None or not _may_unshare():
        pytest.skip("needs unshare(1), and the right to make a namespace")
    with _unshared("--pid --fork --kill-child", tmp_path) as other:
        assert _is_held(other)
        with (
            pytest.raises(StartFailed, match=r'runs here already as "web" \(in another container\)'),
            only_one("network", tmp_path, "web"),
        ):
            pass
        other.kill()


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="ascii")
    lock_file("network", tmp_path, "web").symlink_to(victim)
    with pytest.raises(StartFailed, match="cannot write"), only_one("network", tmp_path, "web"):
        pass
    assert victim.read_text(encoding="ascii") == "precious"
