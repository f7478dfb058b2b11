"""Machines of which something is wrong, one thing at a time: the cause is named first, with the command that mends it."""

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Host, Lan, until
from tests.lab.clock import clock
from tests.system.agents import Agent
from tests.system.test_clones import box

pytestmark = [pytest.mark.netns, pytest.mark.slow]

ON_THE_LIST = "This machine is on the list"
LOOKS = 5


class Examined:
    """What `k3 doctor -o json` said on a host. Where a look was not finished in time, it is done again, as the doctor says."""

    def __init__(self, host: Host, *arguments: str, env: dict[str, str] | None = None) -> None:
        command = ["k3", "doctor", "-o", "json", *arguments]
        done = host.run(command, env=env)
        for _ in range(LOOKS - 1):
            if '"unfinished": true' not in done.stdout:
                break
            done = host.run(command, env=env)
        assert not done.stderr
        document = json.loads(done.stdout)
        self.text = done.stdout
        self.code = done.returncode
        self.findings: Sequence[Any] = document["findings"]
        self.wrong = [each for each in self.findings if each["severity"] in {"problem", "warning"}]
        is_all = not any(each.get("unfinished") for each in self.findings)
        assert document["healthy"] is (not self.wrong and is_all)
        assert self.code == (0 if document["healthy"] else 1)
        assert next((each["severity"] for each in self.findings), "ok") in {"problem", "warning"} or not self.wrong

    def first(self, subject: str, *words: str, command: str = "") -> None:
        """The first finding is about this, in these words, with this command."""
        assert self.wrong, self.text
        first = self.wrong[0]
        assert first["subject"] == subject, self.text
        assert all(word in first["what"] for word in words), self.text
        assert first["why"]
        assert not command or any(command in each for each in first.get("commands", ())), self.text


def examined(*hosts: Host) -> list[Examined]:
    """All at the same time."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(Examined, hosts))


@pytest.fixture
def two(lan: Lan, tmp_path: Path) -> Iterator[tuple[Agent, Agent]]:
    """Two healthy machines that have found each other."""
    agents = [Agent(lan, lan.host(name), tmp_path / name) for name in ("a", "b")]
    for agent in agents:
        agent.start().wait_for(ON_THE_LIST)
    a, b = agents
    until(lambda: "b" in a.nodes() and a.nodes()["b"].view.is_ready)
    yield a, b
    for agent in agents:
        agent.close()


def rule(host: Host, hook: str, what: str, *, policy: str = "accept") -> None:
    host.namespace.nft(f"table inet f {{ chain c {{ type filter hook {hook} priority 0; policy {policy}\n {what}\n }}\n }}\n")


def opened(host: Host) -> None:
    host.namespace.nft("delete table inet f\n")


def test_two_machines_and_what_stands_between_them(two: tuple[Agent, Agent]) -> None:
    a, b = two
    lan = a.lan
    assert [each.wrong for each in examined(a.host, b.host)] == [[], []]
    rule(a.host, "input", "udp dport 5353 drop")
    Examined(a.host).first(
        "firewall",
        "does not come in on eth0: this machine's own firewall",
        command="nft insert rule inet f c udp dport 5353 accept",
    )
    opened(a.host)
    rule(a.host, "input", "iif lo accept; ct state established,related accept; udp dport 5353 accept", policy="drop")
    here, there = examined(a.host, b.host)
    here.first("firewall", "TCP port 7946", command="nft insert rule inet f c tcp dport 7946 accept")
    there.first("machines", "a announces itself at 10.77.1.1:7946", command="ufw allow 7946/tcp")
    opened(a.host)
    lan.drop_multicast()
    Examined(a.host).first("multicast", "Multicast is lost between eth0 and b (10.77.1.2)", command="ufw allow out 5353/udp")
    lan.drop_multicast(between=False)
    lan.cut(a.host)
    Examined(a.host).first("interfaces", "eth0 has no carrier", command="ip link show eth0")
    assert "Not well:   The interface eth0 has no carrier" in a.run("status").stdout
    a.host.ip("link set eth0 down")
    Examined(a.host).first("interfaces", "eth0 is down", command="ip link set eth0 up")
    status = a.run("status")
    assert "Not well:   The interface eth0 is down\nWhat to do: k3 doctor says it\n" in status.stdout
    assert status.returncode == 1
    a.host.ip(
        "link delete eth0", "link add docker0 type bridge", "link set docker0 up", "address add 172.17.0.1/16 dev docker0"
    )
    Examined(a.host).first("interfaces", "docker0", command="--network host")


def test_a_duplicated_name_and_a_wrong_clock(two: tuple[Agent, Agent]) -> None:
    a, b = two
    b.stop()
    b.host.run(["hostname", "a"])
    b.start().wait_for(ON_THE_LIST)
    for found in examined(a.host, b.host):
        found.first("name", "also has the name a", command="hostnamectl set-hostname")
    b.stop()
    b.host.run(["hostname", "b"])
    b.start(env=clock("-1h")).wait_for(ON_THE_LIST)
    Examined(a.host).first("clock", "The clock of b is 60m behind", command="timedatectl set-ntp true")


def test_a_clone(lan: Lan, tmp_path: Path) -> None:
    agents = [Agent(lan, lan.host(name), tmp_path / name) for name in ("first", "second")]
    for agent in agents:
        agent.host.ip("route delete default")
        box(agent.host, hostname="web")
        agent.start().wait_for(ON_THE_LIST)
    agents[1].process.wait_for("clone", guard_seconds=60)
    for found in examined(*(agent.host for agent in agents)):
        found.first("identity", "copies of one disk", command="systemd-machine-id-setup")
    for agent in agents:
        agent.close()


def test_a_clone_with_the_same_hardware_address(lan: Lan, tmp_path: Path) -> None:
    """Each takes the other's packets: they hear each other announce, and never answer."""
    agents = [Agent(lan, lan.host(name, machine_id="c" * 32), tmp_path / name) for name in ("one", "other")]
    mac = lan.nic(agents[0].host).mac
    agents[1].host.ip("link set eth0 down", f"link set eth0 address {mac}", "link set eth0 up")
    for agent in agents:
        agent.start().wait_for(ON_THE_LIST)
    for agent, copy in (agents, reversed(agents)):
        agent.process.wait_for("never answered")
        Examined(agent.host).first("identity", copy.name, "a copy of this machine, or", command="ip neigh show")
        why = agent.run("why", copy.name).stdout
        assert f"has {agent.name} (the machine at {lan.address(agent.host)}:7946): a copy of this machine" in " ".join(
            why.split()
        )
        assert f"{copy.name} ({lan.address(copy.host)}) has this machine's id" in agent.run("status").stdout
    for agent in agents:
        agent.close()


def test_a_machine_alone_and_who_holds_its_port(lan: Lan, tmp_path: Path) -> None:
    a = Agent(lan, lan.host("a"), tmp_path / "a")
    a.start("--listen", "10.77.1.1:7999").wait_for(ON_THE_LIST)
    found = Examined(a.host)
    assert found.wrong == []
    assert "k3 runs here as a and answers at TCP port 7999" in found.text, "which nobody has told it"
    assert any(each["subject"] == "multicast" and "Nobody else is heard" in each["what"] for each in found.findings)
    a.process.kill(9)
    Examined(a.host).first("agent", "k3 does not run on this machine", command="k3 network")
    other = a.host.start([sys.executable, "-m", "http.server", "7946"])
    until(lambda: "7946" in a.host.run(["ss", "-ltn"]).stdout)
    Examined(a.host).first("port", "TCP port 7946 is held by another program", command="k3 network --listen :7947")
    other.kill(9)
    a.close()


def test_a_full_disk_a_store_that_is_down_and_one_that_is_no_store(lan: Lan) -> None:
    host = lan.host("a")
    host.run(["sh", "-c", "mkdir -p /run/s && mount -t tmpfs -o size=1500k none /run/s && dd if=/dev/zero of=/run/s/b bs=1k"])
    Examined(host, "--store", "sqlite:///run/s/k3.db").first("store", "is full", command="df -h /run/s")
    assert "Not well:   The disk that holds the store is full: 0 KiB are free at /run/s" in (
        host.run(["k3", "status", "--store", "sqlite:///run/s/k3.db"]).stdout
    )
    Examined(host, "--store", "etcd://127.0.0.1:23999").first("store", "does not answer", command="etcdctl --endpoints")
    host.run(["sh", "-c", "head -c 5000 /dev/urandom > /run/odd.db"])
    Examined(host, "--store", "sqlite:///run/odd.db").first("store", "is not a k3 store", command="mv -t /run/odd.db.damaged")


def test_a_name_that_no_name_server_answers_for_is_no_silent_server(lan: Lan) -> None:
    a, b = lan.host("a"), lan.host("b")
    rule(b, "input", "udp dport 53 drop")
    a.run(["sh", "-c", f"echo nameserver {lan.address(b)} > /run/names && mount --bind /run/names /etc/resolv.conf"])
    for subject, *arguments in (("consul", "--consul-addr", "consul.lan:8500"), ("store", "--store", "mysql://k3@db.lan/k3")):
        host = f"{subject.replace('store', 'db')}.lan"
        found = Examined(a, *arguments)
        found.first(subject, f"the host name {host} cannot be looked up", command=f"getent hosts {host}")
    agent = a.start(["k3", "discovery", "--consul-addr", "consul.lan:8500"])
    agent.wait_for("the host name consul.lan cannot be looked up")
    agent.close()
