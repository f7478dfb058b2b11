"""An agent and its terminal: whatever becomes of that, the agent goes on, or says goodbye."""

import signal
from collections.abc import Iterator

import pytest

from tests.lab import Host, Process, until

pytestmark = [pytest.mark.netns, pytest.mark.slow]

HANG_UP = """
import os, pty
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("k3", ["k3", "network"])
shown = b""
while b"on the list" not in shown:
    shown += os.read(terminal, 4096)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""A terminal that is closed; with it go the agent's standard streams, and writing to them fails with EIO."""

STOP = """
import os, pty, subprocess, time
terminal, line = pty.openpty()
os.write(terminal, b"\\x13")
agent = subprocess.Popen(["k3", "network", "--log-level", "debug"], stdout=line, stderr=line)
while " Ready " not in subprocess.run(["k3", "nodes"], capture_output=True, text=True).stdout:
    time.sleep(0.1)
agent.terminate()
print(agent.wait())
"""
"""A terminal that is stopped by Ctrl-S: whoever writes to it waits."""


@pytest.fixture
def host() -> Iterator[Host]:
    """A machine without a network."""
    with Host("lonely") as machine:
        yield machine


def shown(host: Host) -> str:
    return host.run(["k3", "nodes", "-o", "wide"]).stdout


def started(host: Host, script: str) -> Process:
    """Run as `sh` would, and wait until it is on the list."""
    process = host.start(["bash", "-ec", script])
    until(lambda: " Ready " in shown(host), every_seconds=0.2, what=script)
    return process


def test_a_closed_terminal_is_a_goodbye(host: Host) -> None:
    assert host.python(HANG_UP) == "0\n"
    assert "NodeShutdown" in shown(host)


def test_a_stopped_terminal_stops_no_agent(host: Host) -> None:
    assert host.python(STOP) == "0\n"
    assert "NodeShutdown" in shown(host)


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((signal.SIGHUP,) * 3, 0),
        ((signal.SIGTERM, signal.SIGHUP), 0),
        ((signal.SIGHUP, signal.SIGTERM), 0),
        ((signal.SIGUSR1, signal.SIGQUIT), 131),
    ],
    ids=["hup-hup-hup", "term-hup", "hup-term", "usr1-quit"],
)
def test_it_says_goodbye(host: Host, numbers: tuple[signal.Signals, ...], code: int) -> None:
    agent = started(host, "exec k3 network")
    for number in numbers:
        agent.send_signal(number)
    assert agent.wait() == code, agent.text
    assert "network.stopped" in agent.text
    assert "NodeShutdown" in shown(host)


def test_nohup_is_respected(host: Host) -> None:
    agent = started(host, "exec nohup k3 network")
    agent.send_signal(signal.SIGHUP)
    agent.send_signal(signal.SIGHUP)
    assert host.fetch("http://127.0.0.1:7946/healthz") == "ok"
    assert agent.running
    assert agent.stop() == 0


@pytest.mark.parametrize(
    "script",
    ["exec k3 network > >(head -n 1) 2>&1", "exec k3 network >/dev/full 2>&1", "exec k3 network <&- >&- 2>&-"],
    ids=["reader-gone", "disk-full", "no-streams"],
)
def test_no_output_no_matter(host: Host, script: str) -> None:
    agent = started(host, script)
    assert agent.stop() == 0, "the exit code is the agent's, not that of its output"
    assert "NodeShutdown" in shown(host)


def test_the_log_is_on_a_full_disk_and_hints_carry_the_file(host: Host) -> None:
    host.path("/run/k3.yaml").write_text("log: {path: /dev/full, level: debug}\nnetwork: {node-name: web1}\n")
    agent = host.start(["k3", "network", "--config", "/run/k3.yaml", "--store", "sqlite:///run/list.db"])
    agent.wait_for("Watch the list from another terminal: k3 nodes -w --config /run/k3.yaml --store sqlite:///run/list.db")
    assert agent.stop() == 0
    assert agent.text.count("log.lost") == 1
    assert "Traceback" not in agent.text


def test_a_log_file_is_rotated(host: Host) -> None:
    host.path("/run/k3.yaml").write_text("log: {path: /run/k3.log}\n")
    agent = started(host, "exec k3 network --config /run/k3.yaml")
    host.path("/run/k3.log").rename(host.path("/run/k3.log.1"))
    assert agent.stop() == 0
    assert "node.transition" in host.path("/run/k3.log.1").read_text()
    assert "network.stopped" in host.path("/run/k3.log").read_text()
