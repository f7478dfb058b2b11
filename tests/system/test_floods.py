"""A neighbour floods the health server of a healthy machine: that stays Ready for everybody, and newcomers find it."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.exposition import parse
from tests.lab import Host, Lan
from tests.lab.process import Process
from tests.system.agents import record
from tests.system.conftest import MakeFleet
from tests.system.test_hostile import SEPARATE_STORES, newcomer_is_found, no_crash, undisturbed

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SECONDS = 7.0
MEGABYTE = 2**20
FLOOD = """
import socket, sys, time
target, kind, count, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
is_v6 = ":" in target
sources = [f"fd00:{n + 1:x}::1" if is_v6 else f"10.88.{n // 250}.{n % 250 + 1}" for n in range(count)]
made = 0
def connection():
    global made
    sock = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
    sock.setblocking(False)
    sock.bind((sources[made % count], 0))
    made += 1
    try:
        sock.connect((target, 7946))
    except BlockingIOError:
        pass
    return sock
until = time.monotonic() + seconds
held = [connection() for _ in range(600)]
print("flooding", flush=True)
while time.monotonic() < until:
    if kind == "churn":
        held.append(connection())
        held.pop(0).close()
        continue
    time.sleep(0.02)
    for number, sock in enumerate(held):
        try:
            if kind == "drip":
                sock.send(b"X")
            elif not sock.recv(1):
                raise ConnectionResetError
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            held[number] = connection()
print("made", made, flush=True)
"""


def settle(a: Host, mallory: Host, *, is_v6: bool, count: int) -> None:
    """Gives the attacker its addresses, each the only one of its /64 or the like, and the victim a way back to them."""
    if is_v6:
        a.ip("address add fd00:ffff::1/64 dev eth0 nodad", "route add fd00::/17 dev eth0")
        mallory.ip(
            *(f"address add fd00:{number + 1:x}::1/64 dev eth0 nodad" for number in range(count)),
            "route add fd00:ffff::/64 dev eth0",
        )
    else:
        a.ip("route add 10.88.0.0/16 dev eth0")
        mallory.ip(*(f"address add 10.88.{n // 250}.{n % 250 + 1}/32 dev eth0" for n in range(count)))


def slowest_answer(host: Host, url: str, flood: Process) -> float:
    """Asks from this host until the flood is over. Returns how long it took at the worst (seconds).

    One refusal is let pass: in the first second of a flood only clients that have been known for a minute keep their share
    (`visitors.DELUGE`), and nobody here is known for so long.
    """
    slowest, refusals = 0.0, 0
    while "made" not in flood.text:
        asked = time.monotonic()
        try:
            host.fetch(url)
        except ConnectionResetError:
            refusals += 1
            assert refusals == 1
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.2)
    return slowest


@SEPARATE_STORES
@pytest.mark.parametrize(
    ("kind", "count", "is_v6"), [("silent", 30, False), ("drip", 30, False), ("churn", 250, False), ("churn", 250, True)]
)
def test_a_flood_of_connections_makes_nobody_not_ready(
    fleet: MakeFleet, lan: Lan, tmp_path: Path, kind: str, count: int, is_v6: bool
) -> None:
    machines = fleet("a", "b")
    a, b = machines.agents
    mallory = lan.host("mallory", addresses=["10.77.1.66/24"])
    settle(a.host, mallory, is_v6=is_v6, count=count)
    target = "fd00:ffff::1" if is_v6 else lan.address(a.host)
    url = f"http://{lan.address(a.host)}:7946/metrics"
    for agent in machines.agents if is_v6 else ():
        agent.watcher.wait_for("a", lambda sight: target in sight.view.addresses)
    b.host.fetch(url)  # who was answered before is known
    since = datetime.now(UTC)
    cpu, rss = a.process.cpu_seconds(), a.process.rss_bytes()
    flood = mallory.start(["python3", "-c", FLOOD, target, kind, str(count), str(SECONDS)])
    flood.wait_for("flooding")
    began = time.monotonic()
    took = newcomer_is_found(machines, tmp_path)
    slowest = slowest_answer(b.host, url, flood)
    share = (a.process.cpu_seconds() - cpu) / (time.monotonic() - began)
    refused = parse(b.host.fetch(url))["k3_refusals_total"]
    closed, unserved = refused.of(bound="connections"), refused.of(bound="visits")
    made = int(flood.text.split("made ")[1])
    grown = (a.process.rss_bytes() - rss) / MEGABYTE
    beside = {"newcomer": took, "slowest_answer": slowest, "made": made, "closed": closed, "unserved": unserved}
    record(f"flood.{kind}.{'v6' if is_v6 else 'v4'}.cpu_share", share, beside={**beside, "rss_megabytes": grown})
    undisturbed(machines, since, undoubted=False)  # two probes in a row may be refused, too, or come too late
    machines.wait_ready()
    no_crash(machines)
    assert grown < 20
    assert closed + unserved > 0
    said = [line for line in a.process.lines if re.search(r" health\.(crowded|flooded) ", line)]
    assert 1 <= len(said) <= 62, "one line a minute for each origin, and no more than 30 of a kind and one for the rest"
