"""The laboratory itself, measured against the kernel."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from zeroconf._protocol.incoming import DNSIncoming

from tests.lab import Host, Lan, Process, mdns, until
from tests.lab.namespace import left_open

pytestmark = pytest.mark.netns

LISTENER = """
import socket, struct, sys
group, port = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", port))
if group:
    index = socket.if_nametoindex("eth0")
    member = struct.pack("=4s4si", socket.inet_aton(group), b"\\0" * 4, index)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
print("listening", flush=True)
while True:
    data, sender = sock.recvfrom(2000)
    print("got", len(data), data[:40], sender[0], flush=True)
"""


@pytest.fixture
def trio(lan: Lan) -> tuple[Host, Host, Host]:
    return lan.host("a"), lan.host("b"), lan.host("c")


def listen(host: Host, *, group: str = "", port: int = 9000) -> Process:
    process = host.start([sys.executable, "-c", LISTENER, group, str(port)])
    process.wait_for("listening")
    return process


def say(host: Host, text: str, address: str, port: int = 9000) -> None:
    """One datagram; an unreachable network is silence, as on a real machine."""
    with host.open_socket() as sock, contextlib.suppress(OSError):
        sock.sendto(text.encode(), (address, port))


def heard(process: Process, host: Host, address: str, text: str, port: int = 9000) -> bool:
    say(host, text, address, port)
    return text in process.text


def test_hosts_hear_each_other(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, _ = trio
    ears = listen(b)
    say(a, "hello", lan.address(b))
    assert lan.address(a) in ears.wait_for("hello")


def test_multicast_reaches_everyone_else(trio: tuple[Host, Host, Host]) -> None:
    a, b, c = trio
    ears = [listen(host, group="224.0.0.251", port=5353) for host in (b, c)]
    mdns.send(a, [b"hello multicast"])
    for each in ears:
        each.wait_for("hello multicast")


def test_zeroconf_understands_the_packets_we_forge(trio: tuple[Host, Host, Host]) -> None:
    a, b, _ = trio
    browser = b.start([
        sys.executable,
        "-c",
        textwrap.dedent("""
            import zeroconf
            class Ears:
                def add_service(self, zc, kind, name):
                    info = zeroconf.ServiceInfo(kind, name)
                    info.load_from_cache(zc)
                    print("added", name, info.port, info.parsed_addresses(), info.properties, flush=True)
                def remove_service(self, zc, kind, name): print("removed", name, flush=True)
                def update_service(self, zc, kind, name): pass
            zc = zeroconf.Zeroconf()
            zeroconf.ServiceBrowser(zc, "_k3._tcp.local.", Ears())
            print("browsing", flush=True)
            import threading; threading.Event().wait()
        """),
    ])  # fmt: skip
    browser.wait_for("browsing")
    mdns.send(a, [mdns.announcement("ghost", address="10.77.1.9", port=7946, txt={"node": "ghost"})])
    line = browser.wait_for("added ghost._k3._tcp.local.")
    assert "7946 ['10.77.1.9'] {b'node': b'ghost'}" in line
    mdns.send(a, [mdns.goodbye("ghost")])
    browser.wait_for("removed ghost._k3._tcp.local.")


def test_a_query_is_what_zeroconf_reads(trio: tuple[Host, Host, Host]) -> None:
    parsed = DNSIncoming(mdns.query())
    assert [question.name for question in parsed.questions] == [mdns.TYPE]


def test_cut_takes_carrier_and_heal_gives_it_back(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, c = trio
    ears = listen(b)
    until(lambda: heard(ears, a, lan.address(b), "before"))
    lan.cut(a)
    until(lambda: a.run(["cat", "/sys/class/net/eth0/carrier"]).stdout == "0\n", what="carrier gone")
    say(a, "lost", lan.address(b))
    until(lambda: heard(ears, c, lan.address(b), "others still talk"))
    assert "lost" not in ears.text
    lan.heal(a)
    until(lambda: heard(ears, a, lan.address(b), "back"), what="back")


def test_isolation_keeps_carrier(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, c = trio
    ears = listen(b)
    until(lambda: heard(ears, a, lan.address(b), "before"))
    lan.isolate(b)
    say(a, "lost", lan.address(b))
    assert a.run(["cat", "/sys/class/net/eth0/carrier"]).stdout == "1\n"
    lan.rejoin(b)
    until(lambda: heard(ears, c, lan.address(b), "after"))
    assert "lost" not in ears.text


def test_partition_lets_only_groups_talk(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, c = trio
    ears = listen(b)
    lan.partition([a, b], [c])
    say(c, "other side", lan.address(b))
    until(lambda: heard(ears, a, lan.address(b), "same side"))
    assert "other side" not in ears.text
    lan.partition()
    until(lambda: heard(ears, c, lan.address(b), "whole again"))


def test_loss_is_about_what_was_asked(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, _ = trio
    ears = listen(b)
    until(lambda: heard(ears, a, lan.address(b), "warm"))
    before = b.traffic().received_packets
    lan.loss(30)
    with a.open_socket() as sock:
        for _ in range(2000):
            sock.sendto(b"x", (lan.address(b), 9999))
    arrived = b.traffic().received_packets - before
    assert 1200 < arrived < 1600
    lan.loss(0)
    before = b.traffic().received_packets
    with a.open_socket() as sock:
        for _ in range(500):
            sock.sendto(b"x", (lan.address(b), 9999))
    assert b.traffic().received_packets - before >= 500


def test_a_firewall_is_silent(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, _ = trio
    with b.open_socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind((lan.address(b), 7946))
        server.listen()
        a.call(lambda: socket.create_connection((lan.address(b), 7946), 5)).close()
        lan.firewall(b, 7946)
        with pytest.raises(TimeoutError):
            a.call(lambda: socket.create_connection((lan.address(b), 7946), 0.3))
        lan.firewall(b)
        a.call(lambda: socket.create_connection((lan.address(b), 7946), 5)).close()


def test_addresses_change(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, _ = trio
    ears = listen(b)
    lan.nic(b).readdress("10.77.1.200/24")
    assert lan.address(b) == "10.77.1.200"
    until(lambda: heard(ears, a, "10.77.1.200", "moved"))
    lan.nic(b).readdress()
    assert "inet " not in b.run(["ip", "address", "show", "dev", "eth0"]).stdout


def test_an_interface_can_be_replaced(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, _ = trio
    nic = lan.nic(b)
    index, mac = interface_index(b), nic.mac
    nic.recreate()
    assert interface_index(b) != index
    assert nic.mac != mac
    ears = listen(b)
    until(lambda: heard(ears, a, lan.address(b), "again"))


def test_down_and_up_keep_addresses_and_route(lan: Lan) -> None:
    host = lan.host("a", addresses=["10.77.1.1/24", "fd00:77::1/64"])
    lan.nic(host).down()
    lan.nic(host).up()
    shown = host.run(["ip", "-oneline", "address", "show", "dev", "eth0"]).stdout
    assert "10.77.1.1/24" in shown
    assert "fd00:77::1/64" in shown
    assert "default via 10.77.1.254" in host.run(["ip", "route"]).stdout


def test_a_host_may_get_its_network_late_and_many(lan: Lan) -> None:
    host = lan.bare_host("late")
    assert interface_names(host) == ["lo"]
    for number in range(20):
        lan.attach(host, f"eth{number}")
    assert len(interface_names(host)) == 21
    assert len(set(lan.nics(host))) == 20


def test_one_host_on_two_lans(lan: Lan) -> None:
    with Lan("10.88.1.0/24") as other:
        middle, far = lan.host("middle"), other.host("far")
        nic = other.attach(middle, "eth1", default_route=False)
        ears = listen(far)
        until(lambda: heard(ears, middle, other.address(far), "hello"))
        assert nic.address in ears.text


def test_ipv6_only_with_ula_and_with_link_local_only() -> None:
    for prefix6 in ("fd00:77::/64", None):
        with Lan(None, prefix6=prefix6) as lan:
            a, b = lan.host("a"), lan.host("b")
            target = lan.address(b) if prefix6 else f"{lan.nic(b).link_local}%eth0"
            with b.open_socket(socket.AF_INET6) as server, a.open_socket(socket.AF_INET6) as client:
                server.bind(("::", 9000))
                server.settimeout(10)
                place = a.call(lambda t=target: socket.getaddrinfo(t, 9000, type=socket.SOCK_DGRAM)[0][4])  # type: ignore[misc]
                client.sendto(b"six", place)
                assert server.recv(10) == b"six"
            assert "inet " not in a.run(["ip", "address", "show", "dev", "eth0"]).stdout


def test_an_interface_without_the_multicast_flag(lan: Lan) -> None:
    host = lan.host("plain", multicast=False)
    assert "MULTICAST" not in host.run(["ip", "link", "show", "eth0"]).stdout


def test_a_switch_that_drops_multicast(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, _ = trio
    ears = listen(b, group="224.0.0.251", port=5353)
    lan.drop_multicast()
    mdns.send(a, [b"lost"])
    until(lambda: heard(ears, a, lan.address(b), "unicast", 5353))
    lan.drop_multicast(between=False)
    mdns.send(a, [b"multicast again"])
    ears.wait_for("multicast again")
    assert "lost" not in ears.text


def test_every_host_is_its_own_machine(lan: Lan, trio: tuple[Host, Host, Host], tmp_path: Path) -> None:
    a, b, _ = trio
    own = Path("/etc/machine-id").read_text(encoding="utf-8") if Path("/etc/machine-id").exists() else ""
    ids = {host.run(["cat", "/etc/machine-id"]).stdout for host in (a, b)} | {own}
    assert len(ids) == 3
    assert a.run(["uname", "-n"]).stdout == "a\n"
    a.run(["sh", "-c", "mkdir -p /var/lib/k3 && echo mine > /var/lib/k3/file"])
    assert b.run(["ls", "/var/lib/k3/file"]).returncode != 0
    assert a.path("/var/lib/k3/file").read_text(encoding="utf-8") == "mine\n"
    assert not Path("/var/lib/k3/file").exists()
    b.run(["sh", "-c", f"echo shared > {tmp_path}/file"])
    assert a.run(["cat", f"{tmp_path}/file"]).stdout == "shared\n"
    a.set_machine_id("f" * 32)
    assert a.run(["cat", "/etc/machine-id"]).stdout == "f" * 32
    assert lan.bare_host("none", machine_id="").run(["cat", "/etc/machine-id"]).stdout == ""


def test_environment_of_the_caller_stays_outside(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K3_STORE", "memory://")
    host = lan.bare_host("a")
    assert "K3_STORE" not in host.run(["env"]).stdout
    assert host.run(["env"], env={"K3_STORE": "x"}).stdout.count("K3_STORE=x") == 1


def test_freeze_thaw_and_crash(lan: Lan, trio: tuple[Host, Host, Host]) -> None:
    a, b, _ = trio
    ears = listen(b)
    b.freeze()
    until(lambda: state(ears) == "T")
    say(a, "while frozen", lan.address(b))
    assert "while frozen" not in ears.text
    b.thaw()
    ears.wait_for("while frozen")
    b.crash()
    assert ears.wait() == -signal.SIGKILL
    assert b.run(["true"]).returncode == 0, "the host outlives the crash of its processes"


def test_a_process_reports_its_use(lan: Lan) -> None:
    host = lan.bare_host("a")
    busy = host.start([sys.executable, "-c", "print('on')\nwhile True: pass"])
    busy.wait_for("on")
    until(lambda: busy.cpu_seconds() > 0.1)
    assert busy.rss_bytes() > 1_000_000
    assert busy.stop() == -signal.SIGTERM


def test_waiting_for_what_never_comes_says_what_came(lan: Lan) -> None:
    host = lan.bare_host("a")
    short = host.start(["echo", "only this"])
    with pytest.raises(AssertionError, match="it ended before 'something else'\nonly this"):
        short.wait_for("something else")


def test_an_exception_inside_a_network_comes_back(lan: Lan) -> None:
    with pytest.raises(ZeroDivisionError):
        lan.bare_host("a").call(lambda: 1 // 0)


def test_nothing_is_left_after_a_failure() -> None:
    kept: list[int] = []
    with contextlib.suppress(KeyboardInterrupt), Lan() as lan:
        host = lan.host("a")
        host.start(["sh", "-c", "setsid sleep 1000 & sleep 1000"])
        until(lambda: len(host.namespace.pids()) >= 3)
        kept += [*host.namespace.pids(), host.namespace.pid, lan.switch.pid]
        raise KeyboardInterrupt
    assert len(kept) >= 5
    assert not [pid for pid in kept if alive(pid)]


def test_nothing_is_left_when_the_test_process_is_killed() -> None:
    code = """
        import sys
        from tests.lab import Lan, until
        with Lan() as lan:
            host = lan.host("a")
            host.start(["sh", "-c", "setsid sleep 1000 & sleep 1000"])
            until(lambda: len(host.namespace.pids()) >= 3)
            print(*host.namespace.pids(), host.namespace.pid, lan.switch.pid, flush=True)
            sys.stdin.read()
    """
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdout is not None
        pids = [int(pid) for pid in victim.stdout.readline().split()]
        assert len(pids) >= 5
        victim.kill()
    until(lambda: not [pid for pid in pids if alive(pid)], guard_seconds=30)


def test_a_host_left_open_is_known() -> None:
    host = Host("forgotten")
    assert host.namespace in left_open()
    host.close()
    assert host.namespace not in left_open()


@pytest.fixture(scope="module", autouse=True)
def _root_network_untouched() -> Iterator[None]:
    """Names of ours never show up among the machine's own interfaces."""
    yield
    shown = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
    assert not [link["ifname"] for link in shown if link["ifname"] in {"p1", "p2", "br0"}]


def test_booting_is_quick(lan: Lan) -> None:
    """Thirty hosts, in a second or two; the guard is for a machine with much else to do."""
    began = time.monotonic()
    hosts = [lan.host(f"h{number}") for number in range(30)]
    assert time.monotonic() - began < 60
    assert len({host.run(["cat", "/etc/machine-id"]).stdout for host in hosts[:5]}) == 5


def interface_index(host: Host) -> str:
    return host.run(["cat", "/sys/class/net/eth0/ifindex"]).stdout


def interface_names(host: Host) -> list[str]:
    return sorted(host.run(["ls", "/sys/class/net"]).stdout.split())


def state(process: Process) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
