"""What this machine says it is."""

import hashlib
import os
import re
import socket
from pathlib import Path

import pytest

from k3.agent import facts
from k3.core.errors import Invalid, StartFailed
from tests.lab import Host, Lan

ID = "0123456789abcdef0123456789abcdef"


def test_the_machine_id_is_the_first_one_there_is(tmp_path: Path) -> None:
    first, second = tmp_path / "etc", tmp_path / "dbus"
    second.write_text(f"{ID}\n", encoding="ascii")
    assert facts.machine_id(tmp_path, (first, second)) == ID
    first.write_text("f" * 32, encoding="ascii")
    assert facts.machine_id(tmp_path, (first, second)) == "f" * 32


@pytest.mark.parametrize("text", ["", "uninitialized\n", "0" * 32, "x" * 32, ID[:-1], ID + "0", "\xff" * 32])
def test_an_id_that_is_none_is_passed_over_and_a_random_one_kept(tmp_path: Path, text: str) -> None:
    broken = tmp_path / "machine-id-file"
    broken.write_text(text, encoding="latin-1")
    state = tmp_path / "deep" / "state"
    made = facts.machine_id(state, (broken,))
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert facts.machine_id(state, (broken,)) == made
    assert [file.name for file in state.iterdir()] == ["machine-id"], "nothing temporary is left"


def test_an_id_that_cannot_be_kept_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be", encoding="ascii")
    with pytest.raises(StartFailed, match="/etc/machine-id"):
        facts.machine_id(tmp_path / "state", ())
    (tmp_path / "machine-id").write_text("spoilt", encoding="ascii")
    with pytest.raises(StartFailed, match="remove it"):
        facts.machine_id(tmp_path, ())


@pytest.mark.parametrize(("hostname", "name"), [("Web1", "web1"), ("my_host", "my-host"), ("a.example.org", "a.example.org")])
def test_the_default_name(monkeypatch: pytest.MonkeyPatch, hostname: str, name: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: hostname)
    assert facts.default_node_name() == name


@pytest.mark.parametrize("hostname", ["", "-web", "web-", "büro", "a..b", "a b", "(none)"])
def test_a_host_name_that_cannot_be_a_name_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch, hostname: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: hostname)
    with pytest.raises(Invalid, match="--node-name"):
        facts.default_node_name()


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [
        ("x86_64", "amd64"),
        ("AMD64", "amd64"),
        ("aarch64", "arm64"),
        ("armv7l", "arm"),
        ("armv6l", "arm"),
        ("i686", "386"),
        ("riscv64", "riscv64"),
        ("ppc64le", "ppc64le"),
        ("s390x", "s390x"),
        ("loongarch64", "loong64"),
        ("vax", "vax"),
    ],
)
def test_architectures_in_kubernetes_spelling(machine: str, architecture: str) -> None:
    assert facts.architecture(machine) == architecture


def test_every_start_has_its_own_boot_id() -> None:
    boots = {facts.boot_id() for _ in range(100)}
    assert len(boots) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", boot) for boot in boots)


def test_default_routes_by_family_and_metric(tmp_path: Path) -> None:
    head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    rows = ["wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000", "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000"]
    rows += ["down0\t00000000\t0101A8C0\t0002\t0\t0\t1\t00000000", "eth1\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF", "torn"]
    (tmp_path / "route").write_text(head + "".join(f"{row}\t0\t0\t0\n" for row in rows), encoding="ascii")
    zero = "0" * 32
    row = f"{zero} 00 {zero} 00 fe80{'0' * 27}1 00000400 00000001 00000000 00000003    eth2\n"
    (tmp_path / "ipv6_route").write_text(row + row.replace("eth2", "  lo"), encoding="ascii")
    assert facts.default_route_interfaces(tmp_path) == ("eth0", "wlan0", "eth2")
    assert facts.default_route_interfaces(tmp_path / "nowhere") == ()


def test_the_holder_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert facts.holder_of_port(server.getsockname()[1]).endswith(f"(pid {os.getpid()})")
    assert facts.holder_of_port(1) == ""


def identity(host: Host, tmp_path: Path, *interfaces: str) -> str:
    return host.call(lambda: facts.identity(tmp_path, interfaces).id)


@pytest.mark.netns
def test_clones_of_one_image_are_different_machines(lan: Lan, tmp_path: Path) -> None:
    a, b = identity(lan.host("a"), tmp_path), identity(lan.host("b"), tmp_path)
    assert a != b
    assert re.fullmatch("[0-9a-f]{32}", a)


@pytest.mark.netns
def test_an_identity_survives_a_change_of_address(lan: Lan, tmp_path: Path) -> None:
    host = lan.host("a")
    before = identity(host, tmp_path)
    lan.nic(host).readdress("10.77.1.200/24")
    assert identity(host, tmp_path) == before


@pytest.mark.netns
def test_without_a_default_route_the_first_announced_interface_counts(lan: Lan, tmp_path: Path) -> None:
    host = lan.host("a", default_route=False)
    lan.attach(host, "eth1", default_route=False)
    by_eth0, by_eth1, by_none = (identity(host, tmp_path, *names) for names in (("eth0", "eth1"), ("eth1",), ()))
    assert len({by_eth0, by_eth1, by_none}) == 3
    assert identity(host, tmp_path, "lo", "nope", "eth0") == by_eth0


@pytest.mark.netns
def test_a_clone_has_an_identity_of_its_own_for_as_long_as_it_would_share_one(lan: Lan, tmp_path: Path) -> None:
    host = lan.host("a")
    shared = host.call(lambda: facts.identity(tmp_path))
    assert shared.clone_of == ""
    apart = facts.part_ways(tmp_path, shared)
    assert apart.clone_of == shared.id
    assert apart.id != shared.id
    assert host.call(lambda: facts.identity(tmp_path)) == apart, "the next start has it at once"
    assert facts.set_apart(tmp_path, shared) == facts.set_apart(tmp_path, apart) == apart, "and so has another process"
    again = facts.part_ways(tmp_path, apart)
    assert (again.clone_of, again.id == apart.id) == (shared.id, False), "a cloned state directory is set apart as well"
    assert [file.name for file in tmp_path.iterdir() if file.name != "machine-id"] == ["clones"]
    lan.nic(host).recreate()
    renewed = host.call(lambda: facts.identity(tmp_path))
    assert (renewed.clone_of, renewed.id in {shared.id, apart.id, again.id}) == ("", False)
    facts.part_ways(tmp_path, renewed)
    (tmp_path / "clones").write_bytes((tmp_path / "clones").read_bytes() + b"\xff torn")
    assert host.call(lambda: facts.identity(tmp_path)).clone_of == renewed.id


def test_the_identity_of_an_installation_stays_what_it_has_always_been(tmp_path: Path) -> None:
    (tmp_path / "id").write_text(ID, encoding="ascii")
    inherited = hashlib.sha256(f"k3 identity\n{facts.machine_id(tmp_path)}\n\n".encode()).hexdigest()[:32]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "default_route_interfaces", lambda: ())
        assert facts.identity(tmp_path) == facts.Identity(inherited)
