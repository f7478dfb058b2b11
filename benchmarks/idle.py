"""One agent that knows 100 machines and has nothing to do, on its own store: CPU, memory and traffic at the default TTL.

The machines are stand-ins in four processes on four other hosts, each with an address of its own. They do all that a real
one does to its peers: announce, answer `/info`, ask this agent once in 15 s, and once a minute ask who is there, with
the answers they know. Beside the agent, in the same window: a Python process that sleeps, and one that does as many bare
GETs and nothing else. Needs root. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/idle.py [--quick]
"""

import asyncio
import hashlib
import random
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from zeroconf import IPVersion, ServiceInfo, Zeroconf
from zeroconf._dns import DNSPointer
from zeroconf.asyncio import AsyncZeroconf
from zeroconf.const import _CLASS_IN, _TYPE_PTR

from benchmarks.figures import Figure, tell
from benchmarks.scene import PORT, SERVICE, cpu_seconds, is_quick, role, stage
from k3.agent import health
from k3.agent.info import info_document
from k3.core import node
from k3.core.objects import NODE
from k3.core.observation import Facts
from k3.core.store import Store
from k3.network.messages import Endpoint, Target
from k3.network.probe import probe
from k3.network.questions import ask_who
from k3.settings.listen import Listen
from tests.lab import Process, Traffic, until

PEERS: Final = 100
HOSTS: Final = 4
PERIOD_SECONDS: Final = 15.0
QUESTION_SECONDS: Final = 60.0
TTL_SECONDS: Final = 4_500
SLEEP: Final = "import asyncio; print('READY', flush=True); asyncio.run(asyncio.sleep(1e6))"
SETTLED_SECONDS: Final = 20.0
"""After the last one came: announcements are repeated and the agent's opening questions asked by then."""


def facts(number: int) -> Facts:
    """What a stand-in says of itself."""
    id_ = hashlib.blake2b(f"peer {number}".encode(), digest_size=16).hexdigest()
    return Facts(
        node=f"peer-{number:03}",
        addresses=(address(number),),
        port=PORT,
        pid=4242,
        id=id_,
        boot=id_[16:],
        os="linux",
        arch="amd64",
        links=("10.77.0.0/16",),
        peer_ttl_seconds=90.0,
    )


def address(number: int) -> str:
    return f"10.77.{10 + number // 25}.{number % 25 + 1}"


def full_name(number: int) -> str:
    who = facts(number)
    return f"{who.node}-{who.id[:8]}.{SERVICE}"


async def stand_in(first: int, count: int, asked: str) -> None:
    """Be so many machines, which come one after the other. `asked` is the agent's address."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        responder = AsyncZeroconf(interfaces=[address(first)], ip_version=IPVersion.V4Only)
        await responder.zeroconf.async_wait_for_start()
        ask_who(responder.zeroconf, SERVICE, (), unicast=False)
        for number in range(first, first + count):
            await stack.enter_async_context(await health.serve(Listen(address(number), PORT), partial(document, number)))
            tasks.create_task(join(responder.zeroconf, number))
            tasks.create_task(ask(asked))
            tasks.create_task(question(responder.zeroconf))


async def join(zeroconf: Zeroconf, number: int) -> None:
    """Machines that come in one instant are asked in one instant ever after, which is cheaper, and rare."""
    await asyncio.sleep(random.uniform(0, PERIOD_SECONDS))
    info = service(number)
    zeroconf.registry.async_add(info)
    zeroconf.async_send(zeroconf.generate_service_broadcast(info, None))


def document(number: int) -> Mapping[str, Any]:
    return info_document(facts(number), time.monotonic(), f"store-{number}")


def service(number: int) -> ServiceInfo:
    who = facts(number)
    text = {"node": who.node, "port": str(who.port), "pid": str(who.pid), "id": who.id, "boot": who.boot}
    full = full_name(number)
    server = f"{full.partition('.')[0]}.local."
    return ServiceInfo(SERVICE, full, port=PORT, properties=text, server=server, addresses=[socket.inet_aton(address(number))])


async def ask(asked: str) -> None:
    """Look after the agent, as one peer of it does."""
    target = Target("agent", ((Endpoint(asked, PORT),),))
    await asyncio.sleep(random.uniform(0, PERIOD_SECONDS))
    while True:
        await probe(target, timeout_seconds=2.0)
        await asyncio.sleep(PERIOD_SECONDS)


async def question(zeroconf: Zeroconf) -> None:
    """Ask who is there, as one peer does."""
    known = [DNSPointer(SERVICE, _TYPE_PTR, _CLASS_IN, TTL_SECONDS, full_name(number)) for number in range(PEERS)]
    await asyncio.sleep(random.uniform(0, QUESTION_SECONDS))
    while True:
        heard = (each for each in zeroconf.cache.async_entries_with_name(SERVICE) if isinstance(each, DNSPointer))
        ask_who(zeroconf, SERVICE, [*known, *(each for each in heard if each.alias.startswith("agent-"))], unicast=False)
        await asyncio.sleep(QUESTION_SECONDS * random.uniform(0.8, 1.2))


async def get_only() -> None:
    """The agent's probes and nothing else: connect, ask, read once, close."""
    loop = asyncio.get_running_loop()
    number = 0
    print("READY", flush=True)
    while True:
        await asyncio.sleep(PERIOD_SECONDS / PEERS)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await loop.sock_connect(sock, (address(number % PEERS), PORT))
            await loop.sock_sendall(sock, b"GET /info HTTP/1.1\r\nHost: peer\r\n\r\n")
            assert await loop.sock_recv(sock, 65_536)
        number += 1


async def ready_count(store: Store) -> int:
    return sum(node.view(item).is_ready for item in (await store.list(NODE)).objects)


@dataclass(frozen=True, slots=True)
class Use:
    """What one process took in the window: percent of a core, and MB at its end."""

    cpu_percent: float
    rss_mb: float


def measure(processes: Sequence[Process], seconds: float) -> list[Use]:
    before, began = [cpu_seconds(each) for each in processes], time.monotonic()
    time.sleep(seconds)
    taken = time.monotonic() - began
    return [
        Use((cpu_seconds(each) - cpu) / taken * 100, each.rss_bytes() / 2**20)
        for each, cpu in zip(processes, before, strict=True)
    ]


def main() -> None:
    seconds = 30.0 if is_quick() else 120.0  # whole write periods, T/3
    each = PEERS // HOSTS
    with stage("10.77.0.0/16") as scene:
        agent = scene.agent("agent", shared=False)
        agent.start()
        agent.process.wait_for("This machine is on the list")
        for number in range(0, PEERS, each):
            addresses = [f"{address(n)}/16" for n in range(number, number + each)]
            host = scene.lan.host(f"peers-{number}", addresses=addresses)
            role(host, __file__, "peers", str(number), str(each), scene.lan.address(agent.host))
        beside = scene.lan.host("beside")
        others = [beside.start([sys.executable, "-c", SLEEP]), role(beside, __file__, "gets")]
        for process in others:
            process.wait_for("READY")
        until(lambda: agent.in_store(ready_count) == PEERS + 1, guard_seconds=120, every_seconds=0.5)
        time.sleep(SETTLED_SECONDS)
        before, writes = agent.host.traffic(), agent.in_store(revision)
        ours, sleeping, gets = measure([agent.process, *others], seconds)
        traffic, written = since(before, agent.host.traffic(), seconds), agent.in_store(revision) - writes
        alive = agent.in_store(ready_count)
        assert all(process.running for process in others), others[1].text
    assert alive == PEERS + 1, f"only {alive} of {PEERS + 1} are still Ready"
    name = f"idle agent with {PEERS} peers on separate stores"
    table = [
        Figure(f"{name}: CPU", ours.cpu_percent, "% of a core", None, 0.5, "as many bare GETs", gets.cpu_percent),
        Figure(f"{name}: RSS", ours.rss_mb, "MB", None, 50.0, "a Python that sleeps", sleeping.rss_mb),
        *(Figure(f"{name}: {what}", rate, "per second") for what, rate in traffic.items()),
        Figure(f"{name}: store writes", written / seconds * 60 / (PEERS + 1), "per Node and minute", None, 2.2),
    ]
    tell(table, seconds=seconds, sleeping=asdict(sleeping))


def since(before: Traffic, after: Traffic, seconds: float) -> dict[str, float]:
    """What passed per second, by what it is."""
    return {
        "bytes sent": (after.sent_bytes - before.sent_bytes) / seconds,
        "bytes received": (after.received_bytes - before.received_bytes) / seconds,
        "packets sent": (after.sent_packets - before.sent_packets) / seconds,
        "packets received": (after.received_packets - before.received_packets) / seconds,
    }


async def revision(store: Store) -> int:
    return (await store.list(NODE, limit=1)).revision


def play(who: str, *arguments: str) -> None:
    if who == "peers":
        asyncio.run(stand_in(int(arguments[0]), int(arguments[1]), arguments[2]))
    else:
        asyncio.run(get_only())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--role"]:
        play(*sys.argv[2:])
    else:
        main()
