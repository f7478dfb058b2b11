"""Many agents on one store: probes per second of each, and writes per Node and minute, at the default time to live.

Where hosts do not fit, the fleet is simulated with a fake clock; real agents on one SQLite file, counted on the wire and
in the store's watch, say whether the simulation can be believed. Needs root. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/shared.py [--quick]
"""

import asyncio
import socket
import threading
import time
from dataclasses import dataclass
from typing import Final, Self

from benchmarks.figures import Figure, tell
from benchmarks.scene import PORT, cpu_seconds, is_quick, stage
from k3.core import node
from k3.core.objects import NODE
from k3.core.store import Change, Store
from k3.testing.fleet import Fleet
from tests.lab import Lan, until
from tests.system.agents import Agent

TTL_SECONDS: Final = 90.0
SETTLING_SECONDS: Final = 60.0
WINDOW_SECONDS: Final = 60.0
"""A multiple of the write period, T/3, and of the probe period."""

WRITES_PER_MINUTE: Final = 2.2

_ALL_PROTOCOLS: Final = 3
_OUTGOING: Final = 4
_TCP: Final = 6
_SYN_AND_ACK: Final = 0x12
_SYN: Final = 0x02


@dataclass(frozen=True, slots=True)
class Rates:
    """What each machine does: probes per second, and writes of its Node per minute."""

    probes: float
    writes: float


def simulated(count: int, window_seconds: float = WINDOW_SECONDS) -> Rates:
    """Agents that resume over a store that knows all of them."""
    fleet = Fleet(count, ttl=TTL_SECONDS, shared=True)
    fleet.resume()
    fleet.run(SETTLING_SECONDS)
    store = fleet.hosts[0].store
    probes, writes = sum(host.probes for host in fleet.hosts), store.writes.total()
    fleet.run(window_seconds)
    probed, written = sum(host.probes for host in fleet.hosts) - probes, store.writes.total() - writes
    return Rates(probed / window_seconds / count, written / (window_seconds / 60) / count)


class Switch:
    """Counts connections asked for on the bridge, each once: where it comes in."""

    def __init__(self, lan: Lan) -> None:
        self._socket = lan.switch.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS)))
        self._socket.settimeout(0.2)
        self._ended = False
        self.asked = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._ended:
            try:
                packet, (port, _, kind, *_) = self._socket.recvfrom(128)
            except TimeoutError:
                continue
            if kind != _OUTGOING and port != "br0" and is_question(packet):
                self.asked += 1


def is_question(packet: bytes) -> bool:
    """Whether an Ethernet frame carries the first packet of a connection to a health server, over IPv4."""
    return (
        packet[12:14] == b"\x08\x00"
        and packet[23] == _TCP
        and int.from_bytes(packet[36:38]) == PORT
        and packet[47] & _SYN_AND_ACK == _SYN
    )


async def changes(store: Store, seconds: float) -> int:
    """How many Node writes a watcher is shown in that time; Events are none."""
    seen = 0
    async with store.watch(NODE, (await store.list(NODE, limit=1)).revision) as events:
        try:
            async with asyncio.timeout(seconds):
                async for event in events:
                    seen += isinstance(event, Change)
        except TimeoutError:
            pass
    return seen


async def ready(store: Store) -> int:
    return sum(node.view(item).is_ready for item in (await store.list(NODE)).objects)


def real(count: int, settling_seconds: float, window_seconds: float) -> tuple[Rates, float]:
    """As many agents in namespaces on one SQLite file; with percent of a core that each of them took."""
    with stage() as scene, Switch(scene.lan) as switch:
        agents = [scene.agent(f"real-{number}", shared=True) for number in range(count)]
        for agent in agents:
            agent.start()
        first = agents[0]
        until(lambda: first.in_store(ready) == count, guard_seconds=240, every_seconds=0.5)
        time.sleep(settling_seconds)
        asked, cpu, began = switch.asked, total_cpu(agents), time.monotonic()
        written = first.in_store(lambda store: changes(store, window_seconds))
        taken = time.monotonic() - began
        asked, cpu = switch.asked - asked, total_cpu(agents) - cpu
        alive = first.in_store(ready)
    assert alive == count, f"only {alive} of {count} are still Ready"
    return Rates(asked / taken / count, written / (taken / 60) / count), cpu / taken / count * 100


def total_cpu(agents: list[Agent]) -> float:
    return sum(cpu_seconds(agent.process) for agent in agents)


def rows(name: str, rates: Rates, beside: str, model: Rates) -> list[Figure]:
    writes = (rates.writes, "per Node and minute", None, WRITES_PER_MINUTE, beside, model.writes)
    return [
        Figure(f"{name}: probes", rates.probes, "per second and machine", None, None, beside, model.probes),
        Figure(f"{name}: store writes", *writes),
    ]


def main() -> None:
    quick = is_quick()
    table = []
    smallest = simulated(10)
    for count in (10, 100, 300) if quick else (10, 100, 1_000):
        name = f"{count:,} simulated agents on one store"
        table += rows(name, simulated(count), "10 simulated agents", smallest)
    for count in (10,) if quick else (10, 40):
        model = simulated(count)
        rates, cpu = real(count, 20.0 if quick else 45.0, 60.0 if quick else 120.0)
        name = f"{count} real agents on one SQLite file"
        table += rows(name, rates, f"{count} simulated agents", model)
        table.append(Figure(f"{name}: CPU of each", cpu, "% of a core"))
    tell(table)


if __name__ == "__main__":
    main()
