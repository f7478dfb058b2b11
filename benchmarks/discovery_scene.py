"""Where benchmarks of the discovery module take place: a real Consul with so many machines in it, and processes on a store.

The machines are entries of Consul's catalog, each with a service check and a node check; nobody answers for them. A
machine flips when its service check is registered again with another status.
"""

import asyncio
import contextlib
import http.client
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.scene import QUIET, cpu_seconds
from k3.agent.cache import Cache
from k3.core.objects import NODE, Key
from k3.core.store import Change, Store
from k3.settings.load import Flags, Place, here, load
from k3.stores import connect
from tests.lab import Process, until
from tests.servers import Server
from tests.servers.server import Site

ROOT: Final = Path(__file__).resolve().parent.parent
SERVICE: Final = "k3-node"
MIRROR: Final = f"mirror-{os.getpid()}"
"""The Node of the machine that mirrors: registered through the agent, and not one of the machines counted.

Another run of the benchmarks on this machine is not taken for this one.
"""
MANY: Final = 10_000
LOADERS: Final = 32
READS: Final = 5
IDLE_CPU_SECONDS: Final = 0.1
"""Less of it in a second: the process has nothing to do any more."""


def name_of(number: int) -> str:
    return f"n{number:05}"


class Registry:
    """Consul and the machines that are put into it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.count = 0
        self._local = threading.local()

    def fill(self, count: int) -> float:
        """Register so many; returns the seconds that took."""
        began = time.monotonic()
        with ThreadPoolExecutor(LOADERS) as pool:
            list(pool.map(self._add, range(count)))
        self.count = count
        return time.monotonic() - began

    def add(self) -> tuple[int, float]:
        """Register one more machine; returns its number, and when it was asked for (time.monotonic)."""
        self.count += 1
        return self.count - 1, self._add(self.count - 1)

    def _add(self, number: int) -> float:
        name = name_of(number)
        address = f"10.80.{number // 250}.{number % 250 + 1}"
        id_ = f"{number:032x}"
        meta = {"node": name, "pid": "4242", "id": id_, "boot": id_[16:], "version": "0.1.0", "os": "linux", "arch": "amd64"}
        service = {"Service": SERVICE, "ID": f"{SERVICE}-{name}", "Address": address, "Port": 7946, "Meta": meta}
        # A node check called serfHealth would have Consul's leader take the machine out again.
        alive = {"CheckID": "alive", "Name": "alive", "Status": "passing"}
        document = {"Node": name, "Address": address, "Service": service, "Checks": [self._check(name, "passing"), alive]}
        return self._register(document)

    def read_seconds(self, port: int) -> float:
        """The quickest of some bare GETs of all machines with their checks. `port`: Consul's, or that of a relay."""
        connection, taken = http.client.HTTPConnection(self.server.address, port, timeout=30), []
        for _ in range(READS):
            began = time.monotonic()
            connection.request("GET", f"/v1/health/service/{SERVICE}?stale")
            assert len(connection.getresponse().read()) > self.count
            taken.append(time.monotonic() - began)
        connection.close()
        return min(taken)

    def flip(self, number: int, *, well: bool) -> float:
        """Change the status of one machine's check; returns when that was asked for (time.monotonic)."""
        name = name_of(number)
        return self._register(
            {"Node": name, "SkipNodeUpdate": True, "Check": self._check(name, "passing" if well else "critical")}
        )

    def _check(self, name: str, status: str) -> dict[str, str]:
        id_ = f"{SERVICE}-{name}"
        return {"CheckID": f"service:{id_}", "Name": "k3 /healthz", "ServiceID": id_, "Status": status, "Output": "HTTP"}

    def _register(self, document: Mapping[str, Any]) -> float:
        """Nothing is tried twice: a lost connection ends the benchmark."""
        kept = getattr(self._local, "connection", None)
        connection = kept or http.client.HTTPConnection(self.server.address, self.server.port, timeout=30)
        self._local.connection = connection
        body = json.dumps(document)
        began = time.monotonic()
        connection.request("PUT", "/v1/catalog/register", body)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        return began


@dataclass(frozen=True, slots=True)
class Shelf:
    """A store as every process opens it."""

    url: str
    folder: Path
    password: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Of every process that is measured: nothing of the caller's settings."""
        kept = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        home = {"HOME": str(self.folder), "XDG_STATE_HOME": f"{self.folder}/state", "PYTHONUNBUFFERED": "1"}
        return {**kept, **home, **({"K3_STORE_PASSWORD": self.password} if self.password else {})}

    def run(self, *arguments: str) -> Process:
        """Start Python there."""
        return Process([sys.executable, *arguments], env=self.environment, label=" ".join(arguments[:4]))

    def mirror(self, consul: str, *flags: str) -> Process:
        """`k3 discovery` on this store."""
        port = str(Site(None, None).free_port())
        own = ("--node-name", MIRROR, "--service-address", "127.0.0.1", "--service-port", port)
        return self.run("-m", "k3.cli", "discovery", "--consul-addr", consul, "--store", self.url, *own, *(flags or QUIET))

    def beside(self, method: str, consul: str) -> Process:
        """One of the mirrors of discovery_beside.py on this store."""
        return self.run("-m", "benchmarks.discovery_beside", method, consul, self.url)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Store]:
        """The store, for looking only."""
        place = Place(self.environment, is_root=False)
        store = await connect(load(Flags(store=self.url), place, reading=False).storage)
        try:
            yield store
        finally:
            await store.aclose()


Start = Callable[[Shelf, str], Process]
"""Starts one method on a store and a Consul."""
METHODS: Final[Mapping[str, Start]] = {
    "k3": Shelf.mirror,
    "plain": lambda shelf, consul: shelf.beside("plain", consul),
    "poll": lambda shelf, consul: shelf.beside("poll", consul),
}
LOOP: Final = "plain blocking query"
POLL: Final = "poll every 15 s"


@contextlib.contextmanager
def ending(process: Process) -> Iterator[Process]:
    """End it in any case, at once, and leave no lock behind: root's do not lie with the store."""
    try:
        yield process
    finally:
        process.close()
        here().state_directory.joinpath(f"discovery-{MIRROR}.lock").unlink(missing_ok=True)


async def shown(store: Store, count: int, process: Process, *, guard_seconds: float) -> float:
    """When (time.monotonic) a watcher of the store had so many machines before it. `process` is to put them there."""
    cache, found = Cache(store, NODE, random=Random(1)), 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(guard_seconds):
            following = tasks.create_task(cache.run())
            with cache.subscribe() as notices:
                async for _ in notices:
                    found = len(cache.objects)
                    if found >= count and found - (Key(NODE, MIRROR) in cache.objects) >= count:
                        break
            at = time.monotonic()
            following.cancel()
        return at
    state = "runs" if process.running else "has ended"
    msg = f"{found} of {count} machines are in the store after {guard_seconds:g} s; the mirror {state}:\n{process.text[-3000:]}"
    raise AssertionError(msg)


@dataclass(slots=True)
class Counted:
    """Writes of Nodes as a watcher of the store was shown them: of the machines, and of the mirror's own Node."""

    machines: int = 0
    own: int = 0
    at: dict[str, list[float]] = field(default_factory=dict)


async def count_writes(store: Store, since: int, seconds: float) -> Counted:
    """Node writes behind a revision, for so long. Leases and Events are none."""
    found = Counted()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), store.watch(NODE, since) as events:
            async for event in events:
                if isinstance(event, Change):
                    name = event.object.key.name
                    found.own += name == MIRROR
                    found.machines += name != MIRROR
                    found.at.setdefault(name, []).append(time.monotonic())
    return found


async def revision(store: Store) -> int:
    return (await store.list(NODE, limit=1)).revision


def settle(process: Process, *, guard_seconds: float = 120.0) -> None:
    """Until it has nothing to do for a second."""
    former = cpu_seconds(process)

    def is_idle() -> bool:
        nonlocal former
        now = cpu_seconds(process)
        used, former = now - former, now
        return used < IDLE_CPU_SECONDS

    time.sleep(1)
    until(is_idle, guard_seconds=guard_seconds, every_seconds=1.0, what=f"{process.label} at rest")


def memory_mb(process: Process) -> tuple[float, float]:
    """Resident now, and the most it ever was."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in text.splitlines())
    now, most = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, most
