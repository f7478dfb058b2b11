"""Floods on the link: a newcomer is listed as soon as ever, no machine turns NotReady, and an agent's cost stays small."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k3.core import limits
from tests.lab import Host, Lan, mdns, until
from tests.system.agents import Fleet, is_ready, record
from tests.system.conftest import MakeFleet
from tests.system.test_hostile import SEPARATE_STORES, fake, newcomer_is_found, no_crash

pytestmark = [pytest.mark.netns, pytest.mark.slow]

NAMES_PER_SECOND = 800
FLOOD_SECONDS = 6.0
MEGABYTE = 2**20
MANY_PORTS = """
import json, resource, selectors, socket, sys
count, address = int(sys.argv[1]), sys.argv[2]
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
chosen = selectors.DefaultSelector()
for number in range(count):
    sock = socket.socket()
    sock.bind((address, 10000 + number))
    sock.listen(8)
    chosen.register(sock, selectors.EVENT_READ, number)
print("listening", flush=True)
while True:
    for key, _ in chosen.select():
        client, _ = key.fileobj.accept()
        client.settimeout(1)
        port = 10000 + key.data
        said = {"node": f"m{key.data}", "port": port, "pid": 1, "addrs": [address], "id": f"{key.data:032x}"}
        body = json.dumps(said).encode()
        try:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
        except OSError:
            pass
        client.close()
"""


@pytest.fixture
def mallory(lan: Lan) -> Host:
    """The attacker, on the same bridge."""
    return lan.host("mallory", addresses=["10.77.1.66/24"])


def paced(packet: Callable[[int], bytes], count: int) -> Iterator[bytes]:
    """So many packets a second, in ten bursts."""
    began = time.monotonic()
    for number in range(count):
        if number % (NAMES_PER_SECOND // 10) == 0:
            time.sleep(max(0.0, began + number / NAMES_PER_SECOND - time.monotonic()))
        yield packet(number)


Sent = Callable[[Host, Iterator[bytes]], None]


@contextmanager
def flood(mallory: Host, packet: Callable[[int], bytes], count: int, send: Sent = mdns.send) -> Iterator[None]:
    """Beside what is done in the block, which may take shorter or longer."""
    sender = threading.Thread(target=lambda: send(mallory, paced(packet, count)))
    sender.start()
    try:
        yield
    finally:
        sender.join()


def measured(
    machines: Fleet,
    name: str,
    mallory: Host,
    packet: Callable[[int], bytes],
    count: int,
    tmp_path: Path,
    *,
    send: Sent = mdns.send,
) -> None:
    """A newcomer joins in the middle of a flood."""
    [agent] = machines.agents
    cpu, rss, began = agent.process.cpu_seconds(), agent.process.rss_bytes(), time.monotonic()
    with flood(mallory, packet, count, send):
        time.sleep(1.5)
        took = newcomer_is_found(machines, tmp_path)
    lasted = time.monotonic() - began
    used = agent.process.cpu_seconds() - cpu
    grown = (agent.process.rss_bytes() - rss) / MEGABYTE
    beside = {"cpu_seconds": used, "cpu_share": used / lasted, "rss_megabytes": grown, "packets": count}
    record(f"flood.{name}.newcomer", took, beside=beside)
    assert took < 10, "five times what it may take"
    assert grown < 2 * 20
    assert is_ready(agent.watcher.last(agent.name))
    no_crash(machines)


@SEPARATE_STORES
@pytest.mark.parametrize("addresses", [1, 250], ids=["one-address", "changing-addresses"])
def test_invented_names(fleet: MakeFleet, mallory: Host, tmp_path: Path, addresses: int) -> None:
    def packet(number: int) -> bytes:
        return fake(number, f"10.77.1.{4 + number % addresses}")

    machines = fleet("a")
    measured(machines, f"names-{addresses}", mallory, packet, round(NAMES_PER_SECOND * FLOOD_SECONDS), tmp_path)


@SEPARATE_STORES
@pytest.mark.parametrize("senders", ["the newcomer", "the whole network"])
def test_invented_names_with_forged_senders(fleet: MakeFleet, mallory: Host, tmp_path: Path, senders: str) -> None:
    """What the newcomer announces is not told from the flood; so it is asked, and its answer is."""
    machines = fleet("a")
    late = ["10.77.1.3"]
    forged = late if senders == "the newcomer" else [f"10.77.1.{number}" for number in range(1, 251)]

    def packet(number: int) -> bytes:
        return fake(number, f"10.77.1.{4 + number % 250}")

    def send(host: Host, packets: Iterator[bytes]) -> None:
        mdns.send_as(host, ((forged[number % len(forged)], each) for number, each in enumerate(packets)))

    measured(machines, f"forged-{len(forged)}", mallory, packet, round(NAMES_PER_SECOND * FLOOD_SECONDS), tmp_path, send=send)
    said = [line for line in machines["a"].process.lines if " mdns.flooded " in line]
    assert len(said) == 1


@SEPARATE_STORES
def test_a_host_that_answers_on_thousands_of_ports(fleet: MakeFleet, mallory: Host, tmp_path: Path) -> None:
    count = 4_600
    mallory.start(["python3", "-c", MANY_PORTS, str(count), "10.77.1.66"]).wait_for("listening")

    def packet(number: int) -> bytes:
        txt = {"node": f"m{number}", "port": str(10_000 + number), "pid": "1", "id": f"{number:032x}"}
        return mdns.announcement(f"m{number}-{number:08x}", address="10.77.1.66", port=10_000 + number, txt=txt)

    machines = fleet("a")
    measured(machines, "ports", mallory, packet, count, tmp_path)
    [agent] = machines.agents
    assert sum(name.startswith("m") for name in agent.nodes()) <= limits.PEERS_PER_ADDRESS
    assert agent.process.text.count("machines at one address") == 1


@SEPARATE_STORES
def test_a_forged_name_hides_no_machine(fleet: MakeFleet, mallory: Host, tmp_path: Path) -> None:
    """Its name under other ids at silent addresses, for as long as records live, before the machine is there and after."""
    machines = fleet("a")
    forged = [
        mdns.announcement(
            f"late-{number}", address=f"10.77.1.{90 + number}", port=7946, txt={"node": "late", "id": f"{number:032x}"}
        )
        for number in range(20)
    ]
    mdns.send(mallory, forged)
    until(lambda: machines["a"].watcher.last("late"), what="the never-proven Node of the forgery")
    record("forged-name.newcomer", newcomer_is_found(machines, tmp_path))
    no_crash(machines)
