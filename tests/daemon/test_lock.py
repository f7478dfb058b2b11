"""The lock by which a second agent of one name on one machine is told so, and what is left of it."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from k3.core.errors import StartFailed
from k3.daemon.lock import only_one

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
            assert (tmp_path / "network-web.lock").exists(), "a lock that is held stays"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert [file.name for file in tmp_path.iterdir()] == ["network-web.lock"]
    with only_one("network", tmp_path, "renamed"):
        assert [file.name for file in tmp_path.iterdir()] == ["network-renamed.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_replaced_meanwhile_is_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "network-web.lock"
    with only_one("network", tmp_path, "web"):
        os.rename(path, tmp_path / "elsewhere")  # noqa: PTH104 - as another process would
        with only_one("network", tmp_path, "web"):
            assert path.read_text(encoding="ascii") == f"{os.getpid()}\n"
    assert [file.name for file in tmp_path.iterdir()] == ["elsewhere"]


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="ascii")
    with pytest.raises(StartFailed, match="cannot write"), only_one("network", tmp_path / "file", "web"):
        pass


def test_another_agent_that_sweeps_is_no_holder(tmp_path: Path) -> None:
    """It holds each file for a moment, to see whether anybody else does."""
    path = tmp_path / "network-web1.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    threading.Timer(0.05, os.close, (descriptor,)).start()
    with only_one("network", tmp_path, "web1"):
        assert path.exists()
