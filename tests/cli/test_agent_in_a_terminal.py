"""An agent and its terminal: whatever becomes of that, the agent goes on or says goodbye. Real processes, no network."""

import os
import pty
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from k3 import settings
from k3.core.objects import Manifest
from tests.cli.conftest import StoreFile
from tests.lab.waiting import until

Agent = Callable[..., "subprocess.Popen[bytes]"]


class Place:
    """A store, and the command of an agent there, on a port of its own."""

    def __init__(self, directory: Path) -> None:
        self.store = StoreFile(directory / "list.db")
        name = f"test-{uuid4()}"  # one agent per name on a machine, and tests run side by side
        self.lock = settings.here().state_directory / f"network-{name}.lock"
        where = ["--interface", "lo", "--listen", "127.0.0.1:0", "--node-name", name, "--store", self.store.url]
        self.argv = [sys.executable, "-m", "k3.cli", "network", *where]

    def node(self) -> Manifest:
        """As it is in the store; empty: there is none yet."""
        found = self.store.manifests() if self.store.path.exists() else []
        return found[0] if found else {}

    def answers(self) -> bool:
        port = self.node()["metadata"]["annotations"]["k3.network/port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False

    def reason(self) -> str:
        """Why it is Ready or not."""
        conditions = self.node().get("status", {}).get("conditions", [])
        return "".join(each["reason"] for each in conditions if each["type"] == "Ready")

    def has_joined(self) -> bool:
        return self.reason() == "SelfRegistered" and self.answers()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.lock.unlink(missing_ok=True)


@pytest.fixture
def agent(place: Place) -> Iterator[Agent]:
    """Start one and wait until it is on the list."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**how: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(how.pop("argv", place.argv), stdin=subprocess.DEVNULL, **how)
        started.append(process)
        until(place.has_joined, guard_seconds=15, every_seconds=0.1, what="joined")
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_closed_terminal_is_a_goodbye(place: Place) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, place.argv)  # noqa: S606 - this is the child, on its terminal
    try:
        until(place.has_joined, guard_seconds=15, every_seconds=0.1, what="joined")
    finally:
        os.close(terminal)  # its standard streams are gone with it: writing to them fails with EIO
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert place.reason() == "NodeShutdown"


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((signal.SIGHUP,) * 3, 0),
        ((signal.SIGTERM, signal.SIGHUP), 0),
        ((signal.SIGHUP, signal.SIGTERM), 0),
        ((signal.SIGQUIT,), 131),
    ],
    ids=["hup-hup-hup", "term-hup", "hup-term", "quit"],
)
def test_it_says_goodbye(place: Place, agent: Agent, numbers: tuple[signal.Signals, ...], code: int) -> None:
    process = agent(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for number in numbers:
        process.send_signal(number)
    assert process.wait(timeout=30) == code
    assert place.reason() == "NodeShutdown"


def test_nohup_is_respected(place: Place, agent: Agent) -> None:
    process = agent(argv=["nohup", *place.argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR1)  # log rotation
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    assert place.answers()
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_a_reader_that_goes_away_ends_no_agent(place: Place, agent: Agent) -> None:
    process = agent(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stderr.close()
    process.terminate()
    assert process.wait(timeout=30) == 0, "the exit code is not that of the output"
    assert place.reason() == "NodeShutdown"


def test_a_full_disk_under_its_output_ends_no_agent(place: Place, agent: Agent) -> None:
    with Path("/dev/full").open("wb") as full:
        process = agent(stdout=full, stderr=full)
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert place.reason() == "NodeShutdown"


def test_it_starts_without_standard_streams(place: Place, agent: Agent) -> None:
    process = agent(argv=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *place.argv])
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert place.reason() == "NodeShutdown"


def test_a_stopped_terminal_does_not_stop_the_agent(place: Place, agent: Agent) -> None:
    terminal, line = pty.openpty()
    os.write(terminal, b"\x13")  # Ctrl-S
    process = agent(stdout=line, stderr=line)
    assert place.answers()
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert place.reason() == "NodeShutdown"
    os.close(line)
    os.close(terminal)


def test_the_log_file_is_on_a_full_disk(place: Place, agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "full.log").symlink_to("/dev/full")
    (tmp_path / "k3.yaml").write_text(f"log: {{path: {tmp_path}/full.log, level: debug}}")
    process = agent(argv=[*place.argv, "--config", str(tmp_path / "k3.yaml")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f" nodes -w --config {tmp_path}/k3.yaml --store {place.store.url}\n" in out.decode()
    assert err.decode().count("log.lost") == 1
    assert "Traceback" not in err.decode()
