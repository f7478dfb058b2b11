"""Where benchmarks of the network module take place: hosts of the laboratory, and how to listen in on them.

All hosts are namespaces of one machine and share its clock, so times taken on different hosts may be compared.
"""

import argparse
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self

from benchmarks.figures import median
from tests.lab import Host, Lan, Process, until
from tests.system.agents import Agent, is_ready

SERVICE: Final = "_k3._tcp.local."
PORT: Final = 7946
QUIET: Final = ("--log-level", "warning")
"""Tests run agents with debug logs; a benchmark does not pay for them."""

_ALL_PROTOCOLS: Final = 3
_SO_TIMESTAMPNS: Final = 35
_ETHERNET: Final = 14
_HEADERS: Final = {b"\x08\x00": _ETHERNET + 20 + 8, b"\x86\xdd": _ETHERNET + 40 + 8}
_MDNS: Final = b"\x14\xe9"
_RESPONSE: Final = 0x80
_PACKET_BYTES: Final = 9_000


def is_quick() -> bool:
    """Whether `--quick` was given: fewer rounds, shorter windows."""
    return bool(_given().quick)


def churn_seconds(else_seconds: float) -> float:
    """How long machines come and go (`--churn`)."""
    return _given().churn or else_seconds


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--churn", type=float, default=0.0)
    return parser.parse_args()


def role(host: Host, part: str, *arguments: str) -> Process:
    """Run a part's file on a host in one of its other roles."""
    paths = [path for path in sys.path if path]
    return host.start([sys.executable, part, "--role", *arguments], env={"PYTHONPATH": os.pathsep.join(paths)})


class Stage:
    """A LAN and a place for files, gone at the end."""

    def __init__(self, lan: Lan, place: Path) -> None:
        self.lan = lan
        self._place = place
        self._shared = f"sqlite://{place}/shared/k3.db"
        self._stack = ExitStack()

    def agent(self, name: str, *, shared: bool, ttl: str = "90s") -> Agent:
        """An agent on a new host, not started. /tmp is one for all hosts, so a shared store lies there."""
        store = self._shared if shared else ""
        agent = Agent(self.lan, self.lan.host(name), self._place / name, store=store, ttl=ttl, options=QUIET)
        self._stack.callback(agent.close)
        return agent

    def close(self) -> None:
        """End every agent."""
        self._stack.close()


@contextmanager
def stage(prefix: str = "10.77.1.0/24") -> Iterator[Stage]:
    """A new LAN."""
    with tempfile.TemporaryDirectory(prefix="k3-bench-", dir="/tmp") as place, Lan(prefix) as lan:
        made = Stage(lan, Path(place))
        try:
            yield made
        finally:
            made.close()


def settle(*agents: Agent, guard_seconds: float = 60.0) -> None:
    """Until each of these has all of them Ready in its own store."""
    names = [agent.name for agent in agents]
    until(lambda: all(is_ready(each.watch().last(name)) for each in agents for name in names), guard_seconds=guard_seconds)


class Ear:
    """What mDNS answers pass one host's network, with the kernel's time of each (seconds since 1970)."""

    def __init__(self, host: Host) -> None:
        self._socket = host.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS)))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.settimeout(0.2)
        self._heard: deque[tuple[float, bytes]] = deque(maxlen=10_000)
        self._news = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self._socket.close()

    def first_of(self, node: str, *, since: float, guard_seconds: float = 30.0) -> float:
        """When the first answer with an instance of this Node's name came, after `since`."""
        deadline = time.monotonic() + guard_seconds
        wanted = f"{node}-".encode()
        with self._news:
            while time.monotonic() < deadline:
                for at, packet in self._heard:
                    if at >= since and wanted in packet:
                        return at
                self._news.wait(0.2)
        msg = f"{node} was not announced within {guard_seconds:g} s"
        raise AssertionError(msg)

    def _listen(self) -> None:
        while not self._ended:
            try:
                packet, extra, _, _ = self._socket.recvmsg(_PACKET_BYTES, 64)
            except TimeoutError:
                continue
            start = _HEADERS.get(packet[12:14], 0)
            if start and packet[start - 6 : start - 4] == _MDNS and packet[start + 2] & _RESPONSE:
                seconds, nanoseconds = struct.unpack("qq", extra[0][2])
                with self._news:
                    self._heard.append((seconds + nanoseconds / 1e9, packet[start:]))
                    self._news.notify_all()


def connect_seconds(host: Host, address: str, port: int = PORT, *, rounds: int = 20) -> float:
    """The median time of a bare TCP connection from a host: one round trip on the same bridge."""

    def inside() -> float:
        taken = []
        for _ in range(rounds):
            began = time.perf_counter()
            with socket.create_connection((address, port), timeout=5):
                taken.append(time.perf_counter() - began)
        return median(taken)

    return host.call(inside)


def cpu_seconds(process: Process) -> float:
    """Processor time of all its threads so far, in the scheduler's own nanoseconds rather than in ticks."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9
