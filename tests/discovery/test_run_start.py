"""`k3 discovery` on real hosts: what a person is told when it cannot start, or has to wait for Consul."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.discovery.conftest import MakeFleet
from tests.discovery.fleet import PASSING, PORT, STOPPED
from tests.lab import Host, Lan, Process, until
from tests.system.agents import record
from tests.system.refusals import STRANGER, refusal

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture
def host() -> Iterator[Host]:
    """A machine without a network: most mistakes are told before one is looked for."""
    with Host("lonely") as machine:
        yield machine


# --- Consul


def refused(host: Host) -> int:
    """How many connections this host has refused since it was made."""
    rows = [line.split() for line in Path(f"/proc/{host.namespace.pid}/net/snmp").read_text(encoding="utf-8").splitlines()]
    titles, numbers = (row for row in rows if row[0] == "Tcp:")
    return int(numbers[titles.index("OutRsts")])


@pytest.mark.servers("consul")
def test_consul_down_at_start_is_waited_for_and_told_once(fleet: MakeFleet) -> None:
    machines = fleet()
    machines.registry.server.close()
    before = refused(machines.hub)
    a, b = machines.host("a"), machines.host("b")
    for member in (a, b):
        member.start().wait_for(" consul.unavailable ")
    until(lambda: refused(machines.hub) >= before + 12, what="they try and try")
    assert a.host.fetch(f"http://127.0.0.1:{PORT}/healthz") == "ok"
    assert machines.run("nodes", "-o", "name").stdout == ""
    machines.registry.server.start()
    back = datetime.now(UTC)
    seen = [machines.shows(name, PASSING) for name in ("a", "b")]
    record("discovery.consul_up.to_ready", (max(each.at for each in seen) - back).total_seconds())
    for member in (a, b):
        assert len(member.said("consul.unavailable")) == 1, member.process.text
        member.process.wait_for(" consul.back ")
        assert len(member.said("consul.back")) == 1, member.process.text
        assert "is the agent running, is --consul-addr right?" in member.said("consul.unavailable")[0]
        assert "Traceback" not in member.process.text


@pytest.mark.servers("consul")
def test_consul_gone_does_not_keep_it_from_ending(fleet: MakeFleet) -> None:
    machines = fleet("a", "b")
    machines.registry.server.close()
    machines["b"].stop()
    stopped = machines["a"].stop()
    assert machines["a"].said("consul.not_deregistered")
    ended = datetime.now(UTC)
    record("discovery.sigterm_without_consul.to_end", (ended - stopped).total_seconds())
    machines.shows("a", STOPPED)
    machines.shows("b", STOPPED)


# --- the port and the name


def test_a_port_taken_by_a_stranger_names_the_stranger(lan: Lan) -> None:
    host = lan.host("web1")
    stranger = host.start([sys.executable, "-c", STRANGER, "::"])
    stranger.wait_for("listening")
    line = refusal(host, "discovery", code=1)
    assert f"port {PORT} is taken by python" in line
    assert f"(pid {stranger.pid})" in line
    assert "--service-port" in line
    assert "--listen" not in line
    assert stranger.running


def test_a_second_one_is_told_that_one_runs_already(lan: Lan) -> None:
    host = lan.host("web1")
    first = started(host)
    line = refusal(host, "discovery", code=1)
    assert f'k3 discovery runs here already as "web1" (pid {first.pid})' in line
    line = refusal(host, "discovery", "--node-name", "other", code=1)
    assert f"port {PORT} is taken by k3 (pid {first.pid})" in line
    other = started(host, "--node-name", "other", "--service-port", "0")
    first.kill()
    for process in (started(host), other):
        assert process.stop() == 0, process.text


def started(host: Host, *arguments: str) -> Process:
    """One that runs, though there is no Consul."""
    process = host.start(["k3", "discovery", *arguments])
    process.wait_for(" consul.unavailable ")
    return process


# --- flags


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--node-name", ""), '--node-name: bad value "", expected'),
        (("--node-name", "Web_1"), '--node-name: bad value "Web_1", expected lower-case letters'),
        (("--service-name", "k3 node"), '--service-name: bad value "k3 node", expected'),
        (("--service-id", "k3 node"), '--service-id: bad value "k3 node", expected no spaces'),
        (("--service-port", "70000"), '--service-port: bad value "70000", expected 0 to 65535'),
        (("--service-port", "http"), '--service-port: bad value "http", expected 0 to 65535'),
        (("--service-address", "nowhere"), '--service-address: bad value "nowhere", expected an IP address'),
        (("--service-address", "224.0.0.251"), '--service-address: bad value "224.0.0.251"'),
        (("--datacenter", ""), '--datacenter: bad value ""'),
        (("--consul-addr", "ftp://consul"), '--consul-addr: bad value "ftp://consul", expected HOST:PORT'),
        (("--consul-addr", "consul:99999"), '--consul-addr: bad value "consul:99999"'),
        (("--consul-addr", "unix://run/consul.sock"), "expected HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///"),
        (("--consul-addr", "http://me:secret@consul"), '"http://me:***@consul"'),
        (("--consul-token", "two words"), "--consul-token: not a token"),
        (("--watch-interval", "15"), '--watch-interval: bad duration "15", expected like 90s'),
        (("--watch-interval", "0s"), '--watch-interval: bad value "0s", expected 1s or more'),
        (("--health-check-interval", "500ms"), '--health-check-interval: bad value "0.5s"'),
        (("--health-check-timeout", "0s"), '--health-check-timeout: bad value "0s"'),
        (("--deregister-after", "soon"), '--deregister-after: bad duration "soon"'),
        (("--register-self", "maybe"), '--register-self: bad value "maybe", expected true or false'),
        (("--controller-heartbeat", "often"), '--controller-heartbeat: bad value "often"'),
        (("--store", "consul://x"), "--store: "),
        (("--config", "/run/none.yaml"), "/run/none.yaml: No such file"),
    ],
)
def test_a_flag_that_cannot_be_followed(host: Host, arguments: tuple[str, ...], expected: str) -> None:
    line = refusal(host, "discovery", *arguments, code=2)
    assert expected in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CONSUL_HTTP_ADDR", "ftp://consul", 'CONSUL_HTTP_ADDR: bad value "ftp://consul"'),
        ("CONSUL_HTTP_SSL", "perhaps", 'CONSUL_HTTP_SSL: bad value "perhaps"'),
        ("CONSUL_HTTP_TOKEN_FILE", "/run/none", "CONSUL_HTTP_TOKEN_FILE: cannot read /run/none: No such file"),
        ("CONSUL_CLIENT_KEY", "/run/key.pem", "CONSUL_CLIENT_KEY: a key without CONSUL_CLIENT_CERT"),
        ("NODE_NAME", "Web_1", 'bad value "Web_1"'),
    ],
)
def test_an_environment_that_cannot_be_followed(host: Host, name: str, value: str, expected: str) -> None:
    assert expected in refusal(host, "discovery", code=2, env={name: value})


@pytest.mark.parametrize("arguments", [("--dry-run",), ("--watch-intervall", "5s"), ("web1",)])
def test_a_line_that_is_not_understood_also_says_where_to_look(host: Host, arguments: tuple[str, ...]) -> None:
    done = host.run(["k3", "discovery", *arguments])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 2), done.stderr
    assert done.stderr.startswith("k3: ")
    assert 'Run "k3 discovery --help"' in done.stderr
