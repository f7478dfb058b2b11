"""How benchmarks of the discovery module look on from outside: at what `k3 nodes -w` prints, and at what passes to Consul.

All times are time.monotonic(), which is the machine's: those of different processes may be compared.
"""

import json
import multiprocessing
import queue
import selectors
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Final, Self

from benchmarks.discovery_scene import MIRROR, Shelf, name_of
from k3.core import node
from tests.servers.server import Site

CHUNK: Final = 1024 * 1024
BIG: Final = 1_000_000
"""An answer of more bytes than this is one that tells of all machines."""
QUIET_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sight:
    """A Node as it was printed, and when."""

    at: float
    name: str
    is_ready: bool


class Viewer:
    """`k3 nodes -w -o json` on a store."""

    def __init__(self, shelf: Shelf, count: int, *, guard_seconds: float = 120.0) -> None:
        """Comes back when so many machines have been printed."""
        self._sights: queue.SimpleQueue[Sight] = queue.SimpleQueue()
        argv = [sys.executable, "-m", "k3.cli", "nodes", "-w", "-o", "json", "--store", shelf.url]
        self._process = subprocess.Popen(
            argv, env=shelf.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        deadline, names = time.monotonic() + guard_seconds, set[str]()
        while len(names) < count:
            names |= {self._next(deadline).name} - {MIRROR}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)

    def seen(self, number: int, *, well: bool, guard_seconds: float = 60.0) -> float:
        """When this machine was printed so. Others may be printed meanwhile."""
        deadline, name = time.monotonic() + guard_seconds, name_of(number)
        while True:
            sight = self._next(deadline)
            if sight.name == name and sight.is_ready == well:
                return sight.at

    def _next(self, deadline: float) -> Sight:
        try:
            return self._sights.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            msg = "k3 nodes -w did not show it"
            raise AssertionError(msg) from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        lines: list[str] = []
        with self._process.stdout as stream:
            for line in stream:
                lines.append(line)
                if line == "}\n":
                    at = time.monotonic()
                    manifest = json.loads("".join(lines))
                    lines.clear()
                    name = str(manifest["metadata"]["name"])
                    self._sights.put(Sight(at, name, node.view_manifest(name, manifest).is_ready))


class Wire:
    """A relay between one process and Consul, in a process of its own, that counts what Consul sends."""

    def __init__(self, address: str, port: int) -> None:
        spawning = multiprocessing.get_context("spawn")
        self.port = Site(None, None).free_port()
        self._bytes: Synchronized[int] = spawning.Value("q", 0)
        self._answered: Synchronized[float] = spawning.Value("d", 0.0)
        listening = spawning.Event()
        places = (self.port, address, port)
        self._process = spawning.Process(target=relay, args=(places, self._bytes, self._answered, listening), daemon=True)
        self._process.start()
        assert listening.wait(30), "the relay did not start"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join(10)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received(self) -> int:
        """Bytes that Consul sent so far."""
        return self._bytes.value

    @property
    def answered(self) -> float:
        """When the last byte of the first big answer was handed on."""
        assert self._answered.value, "Consul has not answered yet"
        return self._answered.value


Places = tuple[int, str, int]


def relay(places: Places, total: "Synchronized[int]", answered: "Synchronized[float]", listening: threading.Event) -> None:
    """Be the relay, for ever."""
    own, address, port = places
    first = _First(answered)
    with socket.create_server(("127.0.0.1", own)) as server:
        listening.set()
        while True:
            client, _ = server.accept()
            consul = socket.create_connection((address, port))
            threading.Thread(target=_relay, args=(client, consul, total, first), daemon=True).start()


class _First:
    """The first big answer of all connections."""

    def __init__(self, answered: "Synchronized[float]") -> None:
        self._answered = answered
        self._owner: tuple[int, int] | None = None

    def note(self, whose: tuple[int, int], size: int) -> None:
        """So many bytes of this answer have been handed on."""
        if size > BIG and self._owner is None:
            self._owner = whose
        if self._owner == whose:
            self._answered.value = time.monotonic()


def _relay(client: socket.socket, consul: socket.socket, total: "Synchronized[int]", first: _First) -> None:
    """One connection. An answer is what comes between two requests."""
    buffer, asked, size = memoryview(bytearray(CHUNK)), 0, 0
    with client, consul, selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        selector.register(consul, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                try:
                    count = source.recv_into(buffer)
                    (consul if source is client else client).sendall(buffer[:count])
                except OSError:
                    return
                if not count:
                    return
                if source is client:
                    asked, size = asked + 1, 0
                else:
                    size += count
                    with total.get_lock():
                        total.value += count
                    first.note((id(client), asked), size)
