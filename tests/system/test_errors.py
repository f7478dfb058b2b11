"""What a person is told when `k3 network` cannot start or is told to stop: one line, the right exit code, no traceback."""

import re
import signal
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab import Host, Process, until
from tests.system.refusals import STRANGER, refusal

pytestmark = [pytest.mark.netns, pytest.mark.slow]

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


@pytest.fixture
def host() -> Iterator[Host]:
    """A machine without a network: most mistakes are told before one is looked for."""
    with Host("lonely") as machine:
        yield machine


def write(host: Host, path: str, text: str) -> str:
    file = host.path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return path


def started(host: Host, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
    process = host.start(["k3", "network", *arguments], env=env)
    process.wait_for("This machine is on the list")
    return process


# --- the port


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1"])
def test_a_port_taken_by_a_stranger_names_the_stranger(host: Host, address: str) -> None:
    stranger = host.start([sys.executable, "-c", STRANGER, address])
    stranger.wait_for("listening")
    line = refusal(host, "network", code=1)
    assert "port 7946 is taken by python" in line
    assert f"(pid {stranger.pid})" in line
    assert "--listen" in line
    assert stranger.running


def test_an_address_that_is_not_here(host: Host) -> None:
    line = refusal(host, "network", "--listen", "10.99.0.1:7946", code=1)
    assert "cannot listen on 10.99.0.1:7946: this machine has no such address" in line


def test_a_second_agent_is_told_that_one_runs_already(host: Host) -> None:
    first = started(host)
    line = refusal(host, "network", code=1)
    assert 'k3 network runs here already as "lonely"' in line
    assert f"(pid {first.pid})" in line
    other = refusal(host, "network", "--node-name", "other", code=1)
    assert f"port 7946 is taken by k3 (pid {first.pid})" in other
    assert first.running
    assert first.stop() == 0
    assert "Traceback" not in first.text


def test_a_crashed_agent_is_not_in_its_own_way(host: Host) -> None:
    first = started(host)
    first.kill()
    assert started(host).stop() == 0


# --- the store


def test_a_read_only_file_system(host: Host) -> None:
    host.run(["sh", "-ec", "mkdir /run/ro && mount -t tmpfs -o ro ro /run/ro"])
    line = refusal(host, "network", "--store", "sqlite:///run/ro/k3.db", code=1)
    assert "/run/ro/k3.db cannot be written: its file system is read-only" in line
    assert "--store" in line


def test_the_default_place_read_only(host: Host) -> None:
    """The state directory comes first, and it too is named."""
    host.run(["sh", "-ec", "mount -o remount,ro /var/lib"])
    assert "/var/lib/k3" in refusal(host, "network", code=1)


def test_another_users_file(host: Host) -> None:
    host.run(["sh", "-ec", "install -d -o nobody /run/mine && touch /run/k3.db /run/mine/k3.db && chmod 600 /run/mine/k3.db"])
    state = {"XDG_STATE_HOME": "/run/mine"}
    line = refusal(host, "network", "--store", "sqlite:///run/mine/k3.db", code=1, before=NOBODY, env=state)
    assert "/run/mine/k3.db cannot be written by this user" in line
    line = refusal(host, "network", "--store", "sqlite:///run/k3.db", code=1, before=NOBODY, env=state)
    assert "/run/k3.db cannot be written by this user" in line


def test_a_state_directory_that_cannot_be_made(host: Host) -> None:
    line = refusal(host, "network", code=1, before=NOBODY, env={"HOME": "/run"})
    assert "cannot make the state directory /run/.local/state/k3" in line
    assert "XDG_STATE_HOME" in line


def test_a_corrupt_file_is_refused_and_left_as_it_is(host: Host) -> None:
    junk = "no database, but as long as the head of one would be " * 100
    path = write(host, "/run/k3.db", junk)
    line = refusal(host, "network", "--store", f"sqlite://{path}", code=1)
    assert "/run/k3.db is not a k3 store, or damaged" in line
    assert "move it away" in line
    assert host.path(path).read_text(encoding="utf-8") == junk


def test_a_store_with_a_torn_page(host: Host) -> None:
    """A real store whose pages were overwritten after the first: opening may succeed, working may not."""
    assert started(host).stop() == 0
    file = host.path("/var/lib/k3/k3.db")
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    line = refusal(host, "network", code=1)
    assert "/var/lib/k3/k3.db is not a k3 store, or damaged" in line


def test_a_network_file_system(host: Host) -> None:
    """None can be mounted here, so the kernel's own list of mounts is overlaid with one that says so."""
    script = (
        "mkdir -p /run/share; cp /proc/self/mountinfo /run/mounts;"
        "echo '999 22 0:99 / /run/share rw - nfs4 server:/export rw' >> /run/mounts;"
        "mount --bind /run/mounts /proc/$$/mountinfo; exec k3 network --store sqlite:///run/share/k3.db"
    )
    done = host.run(["sh", "-ec", script])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert "/run/share/k3.db lies on a network file system (nfs4)" in done.stderr
    assert "etcd" in done.stderr
    assert not host.path("/run/share/k3.db").exists()


def test_a_store_that_another_program_keeps_locked(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "k3.db"
    keeper = sqlite3.connect(path, isolation_level=None)
    try:
        keeper.execute("CREATE TABLE something (a)")
        keeper.execute("BEGIN EXCLUSIVE")
        line = refusal(host, "network", "--store", f"sqlite://{path}", "--store-wait", "0", code=4)
    finally:
        keeper.close()
    assert str(path) in line


def test_reading_what_is_not_there(host: Host) -> None:
    assert "sqlite:///run/none.db" in refusal(host, "nodes", "--store", "sqlite:///run/none.db", code=3)
    assert started(host).stop() == 0
    assert "ghost" in refusal(host, "nodes", "ghost", code=3)


# --- flags and the configuration file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("storage: {typ: sqlite}\n", r'storage\.typ: unknown key; did you mean "type"'),
        ("storage: {type: sqlite, sqlite: {paht: /run/x.db}}\n", r'storage\.sqlite\.paht: unknown key; did you mean "path"'),
        ("storage: {type: sqlit}\n", r"storage\.type: expected one of etcd, kubernetes, memory, mysql, sqlite"),
        ("storage: [1, 2]\n", r"storage: expected"),
        ("storage: {type: {\n", r"YAML"),
        ("- just\n- a list\n", r"/run/k3\.yaml"),
        ("\x00\x01\x02", r"YAML"),
        ("log: {level: loud}\n", r"log\.level: expected one of debug, info"),
    ],
)
def test_a_configuration_file_that_cannot_be_followed(host: Host, text: str, expected: str) -> None:
    path = write(host, "/run/k3.yaml", text)
    line = refusal(host, "network", "--config", path, code=2)
    assert path in line
    assert re.search(expected, line), line


def test_a_configuration_file_that_is_not_there(host: Host) -> None:
    assert "/run/none.yaml: No such file" in refusal(host, "network", "--config", "/run/none.yaml", code=2)
    assert "/run/none.yaml: No such file" in refusal(host, "network", code=2, env={"CONFIG_PATH": "/run/none.yaml"})
    host.run(["mkdir", "/run/directory"])
    assert "/run/directory" in refusal(host, "network", "--config", "/run/directory", code=2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--peer-ttl", "90"), '--peer-ttl: bad duration "90", expected like 90s'),
        (("--peer-ttl", "soon"), '--peer-ttl: bad duration "soon"'),
        (("--peer-ttl", "1999ms"), "--peer-ttl: bad value"),
        (("--peer-ttl=-5s",), '--peer-ttl: bad duration "-5s"'),
        (("--forget-after", "1 day"), "--forget-after: bad duration"),
        (("--interface", "eth7"), "there is no such interface here; there are lo"),
        (("--interface", "a/b"), "--interface"),
        (("--listen", "everywhere"), "--listen"),
        (("--service", "k3"), "--service"),
        (("--domain", "example.org."), "--domain"),
        (("--node-name", ""), "--node-name"),
    ],
)
def test_a_flag_that_cannot_be_followed(host: Host, arguments: tuple[str, ...], expected: str) -> None:
    assert expected in refusal(host, "network", *arguments, code=2)


def test_an_unknown_flag_also_says_where_to_look(host: Host) -> None:
    done = host.run(["k3", "network", "--peer-tll", "5s"])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 2)
    assert 'Run "k3 network --help"' in done.stderr


# --- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order(host: Host, number: int, code: int) -> None:
    agent = started(host)
    agent.send_signal(number)
    assert agent.wait() == code, agent.text
    assert "network.stopped" in agent.text
    assert "Traceback" not in agent.text
    assert "NodeShutdown" in host.run(["k3", "nodes", "-o", "wide"]).stdout


def test_a_signal_before_it_has_started(host: Host) -> None:
    """While it waits for the name to settle, say: an orderly end, whichever moment it was."""
    agent = host.start(["k3", "network", "--log-level", "debug"])
    agent.wait_for("mdns.interfaces")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait() == 0, agent.text
    assert "Traceback" not in agent.text


def test_a_second_signal_ends_it_at_once(host: Host, tmp_path: Path) -> None:
    """The store is locked, so an orderly end takes its time; exit code 143 says that it was not waited for."""
    path = tmp_path / "k3.db"
    agent = started(host, "--store", f"sqlite://{path}")
    keeper = sqlite3.connect(path, isolation_level=None)
    try:
        keeper.execute("BEGIN IMMEDIATE")
        agent.send_signal(signal.SIGTERM)
        until(lambda: not _listens(host), what="the health server closed")
        assert agent.running
        agent.send_signal(signal.SIGTERM)
        assert agent.wait() == 128 + signal.SIGTERM, agent.text
    finally:
        keeper.close()
    assert "Traceback" not in agent.text


def test_a_store_that_does_not_answer_does_not_keep_it_from_ending(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "k3.db"
    agent = started(host, "--store", f"sqlite://{path}")
    keeper = sqlite3.connect(path, isolation_level=None)
    try:
        keeper.execute("BEGIN IMMEDIATE")
        assert agent.stop() == 0, agent.text
    finally:
        keeper.close()
    assert "Traceback" not in agent.text


def _listens(host: Host) -> bool:
    return ":7946 " in host.run(["ss", "-ltn"]).stdout
