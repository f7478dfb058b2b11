"""An attacker on the link says whatever it likes over mDNS: nothing falls over, nobody is believed, nobody is lost."""

import random
import re
import struct
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from zeroconf import const
from zeroconf._dns import DNSPointer
from zeroconf._protocol.outgoing import DNSOutgoing

from k3.core import limits
from tests.lab import Host, Lan, mdns, until
from tests.system.agents import Agent, Fleet, Sight, is_ready, record
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SEPARATE_STORES = pytest.mark.parametrize("shared", [False], ids=["separate-stores"], indirect=True)
ODD_PORT = 6666
MEGABYTE = 2**20
COUNTERS = f"""
table inet watch {{
    counter off_link {{}}
    counter on_link {{}}
    chain output {{
        type filter hook output priority 0; policy accept;
        tcp dport {ODD_PORT} ip daddr 10.77.1.1-10.77.1.254 counter name on_link accept
        tcp dport {ODD_PORT} counter name off_link
        meta l4proto udp udp dport {ODD_PORT} counter name off_link
    }}
}}
"""
IMPOSTOR = """
import json, socket, sys
sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("0.0.0.0", int(sys.argv[1])))
sock.listen(64)
print("listening", flush=True)
body = json.dumps({"node": sys.argv[2], "port": int(sys.argv[1]), "pid": 1, "addrs": [], "id": sys.argv[3]}).encode()
while True:
    client, _ = sock.accept()
    client.settimeout(2)
    try:
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    except OSError:
        pass
    client.close()
    print("asked", flush=True)
"""


@pytest.fixture
def mallory(lan: Lan) -> Host:
    """The attacker, on the same bridge, with an address of its own."""
    return lan.host("mallory", addresses=["10.77.1.66/24"])


def instance(agent: Agent, name: str) -> str:
    """What a peer announces itself as."""
    seen = agent.watcher.last(name)
    assert seen is not None
    return f"{name}-{seen.view.id[:8]}"


def seen_twice(agent: Agent, name: str, since: datetime) -> None:
    """Wait until the Node's lastSeen has been renewed twice: its observers had every chance to think otherwise."""
    until(
        lambda: len({s.view.last_seen for s in agent.watcher.of(name, since=since)}) >= 2,
        what=f"{name} seen again twice by {agent.name}",
    )


def undisturbed(machines: Fleet, since: datetime, *, undoubted: bool = True) -> None:
    """In every view each machine stayed where it was, Ready and, if `undoubted`, reachable, in every revision since."""
    for agent in machines.agents:
        for other in machines.agents:
            before = [s for s in agent.watcher.of(other.name) if s.at < since][-1].view
            for sight in agent.watcher.of(other.name, since=since):
                is_well = is_ready(sight) if undoubted else sight.view.is_ready
                assert is_well, (agent.name, sight.name, sight.ready, sight.reachable)
                assert (sight.view.addresses, sight.view.port, sight.view.id) == (before.addresses, before.port, before.id)


def no_crash(machines: Fleet) -> None:
    for agent in machines.agents:
        assert agent.process.running, agent.process.text[-2000:]
        for sign in ("Traceback", "listener_failed", "our fault", "\x1b", "\x00"):
            assert sign not in agent.process.text, sign


def send_all(mallory: Host, machines: Fleet, packets: Iterable[bytes]) -> None:
    """Send them as fast as the agents read, so that every one of them arrives."""
    rest = iter(packets)
    while some := list(islice(rest, 200)):
        mdns.send(mallory, some)
        until(lambda: not any(_unread(agent.host) for agent in machines.agents), every_seconds=0.002, what="packets read")


def _unread(host: Host) -> int:
    """Bytes that wait in UDP sockets on the mDNS port."""
    waiting = 0
    for table in ("udp", "udp6"):
        rows = Path(f"/proc/{host.namespace.pid}/net/{table}").read_text(encoding="utf-8").splitlines()[1:]
        waiting += sum(int(row.split()[4].partition(":")[2], 16) for row in rows if row.split()[1].endswith(":14E9"))
    return waiting


def counted(host: Host, name: str) -> int:
    shown = host.run(["nft", "list", "counter", "inet", "watch", name]).stdout
    found = re.search(r"packets (\d+)", shown)
    assert found is not None, shown
    return int(found[1])


def fake(number: int, address: str, *, port: int = ODD_PORT) -> bytes:
    txt = {"node": f"fake{number}", "port": str(port), "pid": "1", "id": f"{number:032x}"}
    return mdns.announcement(f"fake{number}-{number:08x}", address=address, port=port, txt=txt)


def unproven(sights: Sequence[Sight]) -> list[int]:
    """How many never-proven Nodes there were at a time, sight by sight."""
    there: set[str] = set()
    counts = []
    for sight in sights:
        (there.discard if sight.is_deleted or not sight.view.is_unproven else there.add)(sight.name)
        counts.append(len(there))
    return counts


def newcomer_is_found(machines: Fleet, tmp_path: Path, *, name: str = "late") -> float:
    """A good peer joins now; returns how long it took until every view showed it Ready (seconds)."""
    first = machines.agents[0]
    store = f"sqlite://{first.path}" if machines.shared else ""
    newcomer = Agent(first.lan, first.lan.host(name), tmp_path / f"{name}-state", store=store)
    began = time.monotonic()
    try:
        newcomer.start()
        for agent in machines.agents:
            agent.watcher.wait_for(name, is_ready)
        took = time.monotonic() - began
        newcomer.stop()
    finally:
        newcomer.close()
    return took


def test_a_forged_goodbye(fleet: MakeFleet, mallory: Host) -> None:
    machines = fleet("a", "b", "c")
    since = datetime.now(UTC)
    a = machines["a"]
    victims = [instance(a, "b"), instance(a, "c")]
    for _ in range(2):
        mark = datetime.now(UTC)
        mdns.send(mallory, [mdns.goodbye(victim) for victim in victims] * 5)
        seen_twice(a, "b", mark)
    undisturbed(machines, since)
    no_crash(machines)


@pytest.mark.parametrize("listening", [True, False], ids=["somebody-answers", "nobody-answers"])
def test_forged_records_of_a_live_machine(fleet: MakeFleet, mallory: Host, listening: bool) -> None:
    """Another port and address for its name, under its own instance and under others, with its id, another, and none."""
    machines = fleet("a", "b")
    a, since = machines["a"], datetime.now(UTC)
    seen = a.watcher.last("b")
    assert seen is not None
    own, other = seen.view.id, "f" * 32
    if listening:
        mallory.start(["python3", "-c", IMPOSTOR, str(ODD_PORT), "b", other]).wait_for("listening")
    here, victim = "10.77.1.66", instance(a, "b")
    forged = [
        mdns.announcement(name, address=here, port=ODD_PORT, txt={"node": "b", "port": str(ODD_PORT), **id_}, server=server)
        for name in (victim, "b-evil", "mallory")
        for server in (f"{victim}.local.", "mallory.local.")
        for id_ in ({"id": own}, {"id": other}, {})
    ]
    poisoned = mdns.announcement(victim, address="8.8.8.8", port=7946, txt={"node": "b"}, server=f"{victim}.local.")
    for _ in range(2):
        mark = datetime.now(UTC)
        send_all(mallory, machines, [*forged, poisoned])
        seen_twice(a, "b", mark)
    undisturbed(machines, since)
    no_crash(machines)
    shown = a.nodes()
    beside = shown.pop("b-ffffff", None)  # another machine of that name, which counts for what it proves
    assert set(shown) == {"a", "b"}
    assert beside is None or is_ready(beside) is listening


def test_a_forgery_that_leads_a_machine_to_itself(fleet: MakeFleet, mallory: Host) -> None:
    """Somebody claims b's name at b's own address: b asks, is answered by itself, and must not give way to itself."""
    machines = fleet("a", "b")
    a, since = machines["a"], datetime.now(UTC)
    seen = a.watcher.last("b")
    assert seen is not None
    here, port = seen.view.addresses[0], seen.view.port
    ids: list[dict[str, str]] = [{}, {"id": seen.view.id}, {"id": "f" * 32}]
    send_all(
        mallory,
        machines,
        [mdns.announcement(f"b-evil{n}", address=here, port=port, txt={"node": "b", **id_}) for n, id_ in enumerate(ids)],
    )
    seen_twice(a, "b", datetime.now(UTC))
    undisturbed(machines, since)
    no_crash(machines)
    assert set(a.nodes()) == {"a", "b"}


@SEPARATE_STORES
def test_a_machine_is_found_again_after_its_records_were_forged(fleet: MakeFleet, mallory: Host) -> None:
    """The forgery lies in everybody's cache when the victim restarts: it must not keep them from finding it."""
    machines = fleet("a", "b")
    a, b = machines.agents
    victim = instance(a, "b")
    forged = mdns.announcement(victim, address="10.77.1.66", port=ODD_PORT, txt={"node": "b"}, server=f"{victim}.local.")
    send_all(mallory, machines, [forged] * 3)
    b.stop()
    a.watcher.wait_for("b", lambda s: not s.view.is_ready)
    since = datetime.now(UTC)
    b.start()
    back = a.watcher.wait_for("b", is_ready, since=since)
    assert back.view.addresses == (b.lan.address(b.host),)
    no_crash(machines)


def test_ten_thousand_fakes(fleet: MakeFleet, mallory: Host, tmp_path: Path) -> None:
    machines = fleet("a", "b")
    for agent in machines.agents:
        agent.host.namespace.nft(COUNTERS)
    since, a = datetime.now(UTC), machines["a"]
    addresses = ["10.77.1.{}", "203.0.113.{}", "10.77.2.{}"]
    places = [addresses[n % 3].format(100 + n % 150) for n in range(10_000)]
    before = [(agent.process.cpu_seconds(), agent.process.rss_bytes()) for agent in machines.agents]
    began = time.monotonic()
    send_all(mallory, machines, (fake(n, place) for n, place in enumerate(places)))
    sent_seconds = time.monotonic() - began
    took = newcomer_is_found(machines, tmp_path)
    until(lambda: any(s.view.is_unproven for s in a.watcher.sights), what="a never-proven Node: the flood was heard at all")
    record("newcomer-after-flood", took)
    for agent, (cpu, rss) in zip(machines.agents, before, strict=True):
        record("flood-cpu", agent.process.cpu_seconds() - cpu, beside={"sent": sent_seconds, "packets": 10_000})
        assert agent.process.rss_bytes() < rss + 64 * MEGABYTE
        assert counted(agent.host, "off_link") == 0
    assert sum(counted(agent.host, "on_link") for agent in machines.agents) > 0, "the counters count"
    undisturbed(machines, since)

    for agent in machines.agents:
        assert max(unproven(agent.watcher.sights)) <= limits.UNPROVEN_NODES
        assert not [s for s in agent.watcher.sights if s.name.startswith("fake") and s.ready[0] != "False"]
    undisturbed(machines, since)
    no_crash(machines)


@SEPARATE_STORES
def test_a_flood_that_goes_on_does_not_grow_memory(fleet: MakeFleet, mallory: Host) -> None:
    """More names than the tables hold have been heard by the end of the first wave: the later ones find the room they leave."""
    machines = fleet("a")
    a = machines["a"]
    sizes = []
    for start in (0, 6_000, 12_000):
        send_all(mallory, machines, (fake(start + n, f"10.77.1.{100 + n % 150}") for n in range(6_000)))
        sizes.append(a.process.rss_bytes())
    assert sizes[2] - sizes[1] < 12 * MEGABYTE, [size // MEGABYTE for size in sizes]
    no_crash(machines)


ODD_ADDRESSES = (
    *("8.8.8.8", "127.0.0.1", "127.9.9.9", "0.0.0.0", "255.255.255.255", "224.0.0.251", "239.1.2.3", "169.254.169.254"),
    *("10.77.1.255", "10.77.1.0", "10.77.2.1", "192.0.2.1", "240.0.0.1"),
    *("::1", "::", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.77.1.9", "ff02::1", "ff02::fb", "2001:db8::1"),
    *("64:ff9b::808:808", "fd00:99::1", "fec0::1"),
)


@SEPARATE_STORES
def test_addresses_that_are_not_on_the_link_are_never_asked(fleet: MakeFleet, mallory: Host) -> None:
    machines = fleet("a", "b")
    a, since = machines["a"], datetime.now(UTC)
    for agent in machines.agents:
        agent.host.namespace.nft(COUNTERS)
    packets = [
        mdns.announcement(f"odd{n}", address=address, port=ODD_PORT, txt={"node": f"odd{n}", "port": str(ODD_PORT)})
        for n, address in enumerate(ODD_ADDRESSES)
    ]
    for ipv6 in (False, True):
        mdns.send(mallory, packets, ipv6=ipv6)
    # The last to be announced is on the link, dead: once it is shown, everything before it has been looked at.
    mdns.send(mallory, [fake(1, "10.77.1.99")])
    for agent in machines.agents:
        agent.watcher.wait_for("fake1", lambda s: s.ready == ("False", "PeerUnreachable"))
        assert set(agent.nodes()) == {"a", "b", "fake1"}
        assert counted(agent.host, "off_link") == 0
        assert counted(agent.host, "on_link") >= 2
    assert "no on-link address" in a.process.text
    undisturbed(machines, since)
    no_crash(machines)


def test_a_second_network_is_not_reached_through_the_first(fleet: MakeFleet, lan: Lan, mallory: Host, shared: bool) -> None:
    """A records with addresses of a network behind a router: the router sees no connection."""
    if shared:
        pytest.skip("the stores make no difference")
    machines = fleet("a", "b")
    with Lan("10.88.1.0/24") as other:
        router = lan.host("router", addresses=["10.77.1.254/24"], default_route=False)
        other.attach(router, "eth1", addresses=["10.88.1.254/24"], default_route=False)
        victim = other.host("victim")
        asked = victim.start(["python3", "-c", IMPOSTOR, str(ODD_PORT), "prey", "e" * 32])
        asked.wait_for("listening")
        router.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
        reach = f"import socket; socket.create_connection(('{other.address(victim)}', {ODD_PORT}), 10).close()"
        machines["a"].host.python(reach)
        asked.wait_for("asked")
        txt = {"node": "prey", "port": str(ODD_PORT), "id": "e" * 32}
        mdns.send(mallory, [mdns.announcement("prey", address=other.address(victim), port=ODD_PORT, txt=txt)] * 3)
        mdns.send(mallory, [fake(1, "10.77.1.99")])
        for agent in machines.agents:
            agent.watcher.wait_for("fake1", lambda s: not s.view.is_ready)
            assert "prey" not in agent.nodes()
        assert asked.text.count("asked") == 1
    no_crash(machines)


ODD_INSTANCES = (
    *("../../etc/passwd", "a/b", "..", ".", "-", "--", "-a", "a-", "UPPER", "sp ace", "%s%n{0}", "a\x00b", "\x1b[31mred"),
    *("new\nline", "tab\t", "\u202egnp", "w\u00e9b", "\ufffd", "'; DROP TABLE cur;--", "x" * 63, "${HOME}", "*", "_k3", "a..b"),
    *("\x7f", "null", "kube-system/x"),
)


def odd_packets() -> list[bytes]:
    """Announcements that break one rule each, all with an address on the link."""
    here = "10.77.1.66"
    packets = [_named(name) for name in ODD_INSTANCES]
    texts: list[dict[str, str] | bytes] = [
        *({"node": name} for name in ("../../x", "a/b", "\x1b[31m", "n" * 249, "UPPER", "a b", "", "-", "\u202e", "x" * 64)),
        *({"node": "good", "port": port} for port in ("0", "-1", "99999", "22", "99999999999999999999", "x")),
        *({"node": "good", "pid": pid} for pid in ("-1", "0x10", "9" * 40)),
        *({"node": "good", "id": id_} for id_ in ("xyz", "F" * 32, "../x")),
        {"node": "good", "boot": "zz"},
        b"",
        b"\x00",
        b"\xff" * 300,
        b"\x05node",
        b"\x09node=\xff\xfe\xfd\xfc",
        b"".join(bytes([250]) + b"k%03d=" % n + b"v" * 245 for n in range(32)),  # 8 kB
    ]
    packets += [mdns.announcement(f"text{n}", address=here, port=ODD_PORT, txt=txt) for n, txt in enumerate(texts)]
    return packets + [
        _pointer(alias) for alias in ("google.com.", mdns.TYPE, "local.", f"a.b.c.d.{mdns.TYPE}", f"_sub.{mdns.TYPE}")
    ]


def _named(name: str) -> bytes:
    """An instance's pointer, whatever the name: written by hand, since a decent library refuses some."""
    label = name.encode()[:63]
    kind = b"".join(bytes([len(part)]) + part for part in (b"_k3", b"_tcp", b"local"))
    alias = bytes([len(label)]) + label + b"\xc0\x0c"
    record_ = kind + b"\0" + struct.pack("!2HIH", const._TYPE_PTR, const._CLASS_IN, 4500, len(alias)) + alias
    return struct.pack("!6H", 0, const._FLAGS_QR_RESPONSE | const._FLAGS_AA, 0, 1, 0, 0) + record_


def _pointer(alias: str) -> bytes:
    out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
    out.add_answer_at_time(DNSPointer(mdns.TYPE, const._TYPE_PTR, const._CLASS_IN, 4500, alias), 0)
    return b"".join(out.packets())


@SEPARATE_STORES
def test_names_and_texts_that_break_the_rules(fleet: MakeFleet, mallory: Host, tmp_path: Path) -> None:
    """None becomes a Node, none shows raw in the log, and a good machine that comes after them is found."""
    machines = fleet("a", "b")
    since = datetime.now(UTC)
    packets = odd_packets()
    random.Random(7).shuffle(packets)
    send_all(mallory, machines, packets * 3)
    assert newcomer_is_found(machines, tmp_path) < 30
    mdns.send(mallory, [fake(1, "10.77.1.99")])
    for agent in machines.agents:
        agent.watcher.wait_for("fake1", lambda s: not s.view.is_ready)
        bad = [s.name for s in agent.watcher.sights if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", s.name)]
        assert not bad
        ready = {s.name for s in agent.watcher.sights if s.view.is_ready}
        assert ready == {"a", "b", "late"}
        assert agent.process.text.isprintable() or all(line.isprintable() for line in agent.process.lines)
    assert "announcement.refused" in machines["a"].process.text
    undisturbed(machines, since)
    no_crash(machines)


def noise(rng: random.Random, sample: bytes) -> Iterable[bytes]:
    """Random bytes, truncated packets, compression loops, and real packets with a few bits turned over."""
    header = struct.pack("!6H", 0, const._FLAGS_QR_RESPONSE | const._FLAGS_AA, 0, 4, 0, 0)
    for _ in range(1_500):
        yield rng.randbytes(rng.randrange(1, 1400))
        yield header + rng.randbytes(rng.randrange(1, 600))
        yield header + b"\xc0\x0c" * rng.randrange(1, 200)
        yield sample[: rng.randrange(1, len(sample))]
        mutated = bytearray(sample)
        for _ in range(rng.randrange(1, 8)):
            mutated[rng.randrange(len(mutated))] ^= 1 << rng.randrange(8)
        yield bytes(mutated)


def test_noise(fleet: MakeFleet, mallory: Host, tmp_path: Path) -> None:
    """The bits turned over are those of a live machine's own announcement."""
    machines = fleet("a", "b")
    a, since = machines["a"], datetime.now(UTC)
    seen = a.watcher.last("b")
    assert seen is not None
    txt = {"node": "b", "port": "7946", "pid": str(seen.view.pid), "id": seen.view.id, "boot": seen.view.boot}
    sample = mdns.announcement(instance(a, "b"), address=seen.view.addresses[0], port=7946, txt=txt)
    rss = [agent.process.rss_bytes() for agent in machines.agents]
    send_all(mallory, machines, noise(random.Random(20_260), sample))
    mark = datetime.now(UTC)
    seen_twice(a, "b", mark)
    record("newcomer-after-noise", newcomer_is_found(machines, tmp_path))
    for agent, before in zip(machines.agents, rss, strict=True):
        assert agent.process.rss_bytes() < before + 48 * MEGABYTE
        assert {s.name for s in agent.watcher.sights if s.view.is_ready} == {"a", "b", "late"}
        assert max(unproven(agent.watcher.sights)) <= limits.UNPROVEN_NODES
    undisturbed(machines, since)
    no_crash(machines)
