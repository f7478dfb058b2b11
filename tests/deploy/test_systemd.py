"""The units under a real systemd: they start, keep their state where readers look, end in order, and know when to give up."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.deploy.image import Image
from tests.deploy.systemd_machine import UNITS, Machine, booted
from tests.docs.pages import ROOT
from tests.lab import Lan, until
from tests.servers import consul_agent, etcd_server, mariadb_server

pytestmark = [
    pytest.mark.netns,
    pytest.mark.servers("systemd as process 1"),
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("deploy"),
]

LAB = """
[Service]
# A lab has no journal, and no patience.
StandardOutput=append:/run/lab.log
StandardError=append:/run/lab.log
RestartSec=1
"""


@pytest.fixture
def machine(lan: Lan, image: Image, tmp_path: Path) -> Iterator[Machine]:
    with booted(lan.host("alpha"), image, tmp_path / "alpha") as machine:
        for module in ("network", "discovery", "up"):
            machine.write(f"{UNITS}/k3-{module}.service.d/lab.conf", LAB)
        machine.systemctl("daemon-reload")
        yield machine


def shows(machine: Machine, status: str, settings: Mapping[str, str] | None = None) -> bool:
    """Whether root sees this machine so; without settings, without saying where the list is."""
    environ = [f"{name}={value}" for name, value in (settings or {}).items()]
    rows = machine.run(*environ, "k3", "nodes", "--no-headers").stdout.splitlines()
    return [row.split()[:2] for row in rows] == [["alpha", status]]


def state_of(machine: Machine, unit: str) -> tuple[str, str, str]:
    found = machine.properties(unit, "ActiveState", "Result", "ExecMainStatus")
    return found["ActiveState"], found["Result"], found["ExecMainStatus"]


def test_k3_network_as_a_service(machine: Machine) -> None:
    machine.write("/etc/k3.yaml", "network: {peer-ttl: 30s}\nlog: {path: /var/log/k3/k3.log}\n", mode=0o644)
    machine.write("/etc/default/k3-network", "K3_ARGS=--config /etc/k3.yaml\n")
    machine.systemctl("start", "k3-network")
    until(lambda: shows(machine, "Ready"), every_seconds=0.2, what="Ready for root")
    annotations = json.loads(machine.run("k3", "nodes", "alpha", "-o", "json").stdout)["metadata"]["annotations"]
    assert annotations["k3.network/peer-ttl"] == "30s", annotations
    assert machine.run("k3", "store", "check").returncode == 0
    is_confined(machine, "k3-network")
    log = machine.root / "var/log/private/k3/k3.log"
    log.rename(log.with_suffix(".1"))

    began = time.monotonic()
    machine.systemctl("stop", "k3-network")
    assert time.monotonic() - began < 14, "not ended by TimeoutStopSec"
    assert state_of(machine, "k3-network") == ("inactive", "success", "0")

    assert "node.transition" in log.with_suffix(".1").read_text(encoding="utf-8")
    assert "network.stopped" in log.read_text(encoding="utf-8"), "rotated, with nobody telling it"

    # Root is the first to open the file now; what it makes beside it must not lock k3's own user out.
    assert shows(machine, "NotReady")
    machine.systemctl("start", "k3-network")
    until(lambda: shows(machine, "Ready"), every_seconds=0.2, what="Ready again")
    owners = {file.stat().st_uid for file in (machine.root / "var/lib/private/k3").iterdir()}
    assert len(owners) == 1
    assert 0 not in owners

    machine.systemctl("kill", "--signal=KILL", "k3-network")
    until(lambda: machine.properties("k3-network", "NRestarts")["NRestarts"] == "1", every_seconds=0.2, what="restarted")
    until(lambda: state_of(machine, "k3-network")[0] == "active", every_seconds=0.2, what="active")
    until(lambda: shows(machine, "Ready"), every_seconds=0.2, what="Ready once more")
    machine.systemctl("kill", "--signal=HUP", "k3-network")
    until(lambda: machine.properties("k3-network", "NRestarts")["NRestarts"] == "2", every_seconds=0.2, what="restarted")


def is_confined(machine: Machine, unit: str) -> None:
    """The kernel's word for it, not the unit's."""
    pid = machine.properties(unit, "MainPID")["MainPID"]
    lines = machine.run("cat", f"/proc/{pid}/status").stdout.splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert "0" not in fields["Uid"].split()
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    uid = fields["Uid"].split()[0]
    enter = [
        "nsenter",
        "--target",
        pid,
        "--mount",
        "--root",
        "--",
        "setpriv",
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
    ]
    for place, expected in (("/etc/x", 1), ("/opt/k3/x", 1), ("/var/lib/x", 1), ("/var/lib/k3/x", 0)):
        assert machine.run(*enter, "touch", place).returncode == expected, place


def test_a_mistake_in_the_settings_is_not_repeated_for_ever(machine: Machine) -> None:
    machine.write("/etc/default/k3-network", "K3_ARGS=--no-such-flag\n")
    machine.run("systemctl", "start", "k3-network")
    until(lambda: state_of(machine, "k3-network") == ("failed", "exit-code", "2"), every_seconds=0.2, what="failed")
    assert machine.properties("k3-network", "NRestarts") == {"NRestarts": "0"}
    assert "--no-such-flag" in machine.logged()


@pytest.mark.servers("consul")
def test_k3_discovery_beside_it_with_secrets_of_root_alone(machine: Machine, lan: Lan) -> None:
    drop_in = (ROOT / "deploy" / "systemd" / "credentials.conf").read_text(encoding="utf-8")
    machine.write(f"{UNITS}/k3-discovery.service.d/credentials.conf", drop_in)
    machine.write("/etc/k3/config.yaml", "storage: {type: sqlite}\n")
    machine.write("/etc/k3/consul-token", "no-secret\n")
    with consul_agent(lan=lan, host=lan.host("consul")) as consul:
        machine.write("/etc/default/k3-discovery", f"CONSUL_HTTP_ADDR={consul.endpoint}\n")
        machine.systemctl("daemon-reload")
        machine.systemctl("start", "k3-network", "k3-discovery")

        # One name, one file and one port 7946 for both.
        agent = f"{consul.endpoint}/v1/agent/services"
        until(lambda: "k3-node-alpha" in consul.site.get(agent), guard_seconds=60, every_seconds=0.2, what="registered")
        until(lambda: shows(machine, "Ready"), guard_seconds=60, every_seconds=0.2, what="Ready")
        assert state_of(machine, "k3-network")[0] == state_of(machine, "k3-discovery")[0] == "active"
        pid = machine.properties("k3-discovery", "MainPID")["MainPID"]
        environ = machine.run("cat", f"/proc/{pid}/environ").stdout.split("\0")
        assert "CONSUL_HTTP_TOKEN_FILE=/run/credentials/k3-discovery.service/consul-token" in environ
        assert not [each for each in environ if "no-secret" in each]
        machine.systemctl("stop", "k3-network", "k3-discovery")
        assert state_of(machine, "k3-network") == state_of(machine, "k3-discovery") == ("inactive", "success", "0")


@pytest.mark.servers("consul")
def test_k3_up_takes_the_place_of_the_other_two(machine: Machine, lan: Lan) -> None:
    machine.systemctl("start", "k3-network")
    with consul_agent(lan=lan, host=lan.host("consul")) as consul:
        machine.write("/etc/default/k3-up", f"CONSUL_HTTP_ADDR={consul.endpoint}\n")
        machine.systemctl("start", "k3-up")
        assert state_of(machine, "k3-network") == ("inactive", "success", "0")
        agent = f"{consul.endpoint}/v1/agent/services"
        until(lambda: "k3-node-alpha" in consul.site.get(agent), guard_seconds=60, every_seconds=0.2, what="registered")
        until(lambda: shows(machine, "Ready"), guard_seconds=60, every_seconds=0.2, what="Ready")
        machine.systemctl("stop", "k3-up")
        assert state_of(machine, "k3-up") == ("inactive", "success", "0")
        assert "k3-node-alpha" not in consul.site.get(agent)
        assert shows(machine, "NotReady")


@pytest.mark.servers("etcd", "mariadb")
def test_the_confinement_lets_every_driver_work(machine: Machine, lan: Lan) -> None:
    hub = lan.host("hub")
    with etcd_server(lan=lan, host=hub) as etcd, mariadb_server(lan=lan, host=hub) as mariadb:
        name = mariadb.new_database("deploy")
        stores = {
            f"etcd://{etcd.address}:{etcd.port}": "",
            f"mysql://{mariadb.user}@{mariadb.address}:{mariadb.port}/{name}": mariadb.password,
        }
        for store, password in stores.items():
            settings = {"K3_STORE": store, "K3_STORE_PASSWORD": password}
            machine.write("/etc/default/k3-network", "".join(f"{key}={value}\n" for key, value in settings.items()))
            machine.systemctl("restart", "k3-network")
            until(lambda: shows(machine, "Ready", settings), every_seconds=0.2, what=store)  # noqa: B023 - used at once
        machine.systemctl("stop", "k3-network")
        assert state_of(machine, "k3-network") == ("inactive", "success", "0")
