"""k3 agents on hosts of the laboratory, what their stores show, and when it was shown.

All hosts are namespaces of one machine and share its clock, so a time that an agent wrote may be compared with the time
at which a watcher saw it. Nothing here decides what is right; tests do.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

from k3.cli.follow import Shown, follow
from k3.cli.printers import Read
from k3.core import node, times
from k3.core.node import NodeView
from k3.core.objects import NODE, Manifest, Object
from k3.core.store import ChangeType, Store
from k3.stores import connect
from k3.stores.sqlite import SqliteStorage
from tests.lab import Host, Lan, Process, until

T = TypeVar("T")

STATE = "/var/lib/k3"
"""Where an agent that runs as root keeps its state and, when nobody says otherwise, its Nodes."""


@dataclass(frozen=True)  # not slotted: `cached_property` keeps its value in the instance's dict
class Sight:
    """A Node as a watcher was shown it, and when (UTC)."""

    at: datetime
    manifest: Manifest

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def revision(self) -> int:
        return int(self.manifest["metadata"]["resourceVersion"])

    @property
    def is_deleted(self) -> bool:
        return "deletionTimestamp" in self.manifest["metadata"]

    @cached_property
    def view(self) -> NodeView:
        return node.view_manifest(self.name, self.manifest)

    @property
    def ready(self) -> tuple[str, str]:
        """Status and reason of Ready; empty where there is none."""
        found = self.view.ready
        return (found.status, found.reason) if found else ("", "")

    @property
    def reachable(self) -> str:
        """Status of k3.network/Reachable; empty where there is none."""
        found = self.view.reachable
        return found.status if found else ""

    @property
    def last_seen(self) -> datetime | None:
        return times.parse_timestamp(self.view.last_seen)

    def condition(self, kind: str) -> Mapping[str, str]:
        """The condition as it was written."""
        return next(each for each in self.manifest["status"]["conditions"] if each["type"] == kind)


class Sights(ABC):
    """What a watcher was shown, with the time it was."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.remarks: list[str] = []
        self._sights: list[Sight] = []
        self._newest: dict[str, Sight] = {}
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sights(self) -> tuple[Sight, ...]:
        """All of them, oldest first."""
        with self._news:
            return tuple(self._sights)

    def of(self, name: str, *, since: datetime | None = None) -> list[Sight]:
        """What was shown of one Node, at or after `since`."""
        return [each for each in self.sights if each.name == name and (since is None or each.at >= since)]

    def last(self, name: str) -> Sight | None:
        """The newest sight of a Node; None while it was never shown, or is deleted."""
        with self._news:
            found = self._newest.get(name)
        return found if found and not found.is_deleted else None

    def ready(self) -> set[str]:
        """Who is Ready, and suspected by nobody, as shown last."""
        with self._news:
            newest = list(self._newest.values())
        return {each.name for each in newest if not each.is_deleted and is_ready(each)}

    def wait_for(
        self, name: str, wanted: Callable[[Sight], object], *, since: datetime | None = None, guard_seconds: float = 30.0
    ) -> Sight:
        """The first sight of a Node, at or after `since`, that fulfils the predicate. Raises AssertionError at the guard."""
        deadline = time.monotonic() + guard_seconds
        place = 0
        with self._news:
            while True:
                for sight in self._sights[place:]:
                    place += 1
                    if sight.name == name and (since is None or sight.at >= since) and wanted(sight):
                        return sight
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._news.wait(left)
        shown = "\n".join(brief(each) for each in self.of(name)[-12:])
        said = "\n".join(f"{process.label}:\n{process.text[-2000:]}" for process in self.host._processes[-2:])
        msg = f"{self.host.name} did not show {name} so within {guard_seconds:g} s; it showed\n{shown or self.remarks}\n{said}"
        raise AssertionError(msg)

    @abstractmethod
    def close(self) -> None:
        """Watch no longer."""

    def _show(self, manifest: Manifest) -> None:
        with self._news:
            sight = self._newest[manifest["metadata"]["name"]] = Sight(datetime.now(UTC), manifest)
            self._sights.append(sight)
            self._news.notify_all()


class Watcher(Sights):
    """`k3 nodes -w -o json` on a host: every Node it printed."""

    def __init__(self, host: Host, *arguments: str) -> None:
        super().__init__(host)
        argv = host.namespace.entering(["k3", "nodes", "-w", "-o", "json", *arguments])
        self._process = subprocess.Popen(
            argv,
            env=host._environment(None),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
        self._reader.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        lines: list[str] = []
        with self._process.stdout as stream:
            for line in stream:
                if not lines and line != "{\n":
                    self.remarks.append(line.rstrip("\n"))
                    continue
                lines.append(line)
                if line == "}\n":
                    self._show(json.loads("".join(lines)))
                    lines.clear()


class FileWatcher(Sights):
    """The same from a SQLite file, on a thread of the test: a process for each agent is a fifth of what the tests cost."""

    def __init__(self, host: Host, path: Path) -> None:
        super().__init__(host)
        self._loop = asyncio.new_event_loop()
        self._following = self._loop.create_task(self._follow(path))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._following.cancel)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def everything(self, items: Sequence[Object], read: Read) -> None:
        """Take in the Nodes there are, as a printer does."""
        for item in items:
            self.change("ADDED", item, read)

    def change(self, kind: ChangeType, item: Object, read: Read) -> None:
        """Take in one change. A deleted Node carries the time of its deletion, as in Kubernetes."""
        manifest = item.manifest()
        if kind == "DELETED":
            manifest["metadata"].setdefault("deletionTimestamp", times.timestamp(read(item).at.now))
        self._show(manifest)

    def face(self, item: Object, read: Read) -> object:
        """Every revision is shown."""
        return item.revision

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._following)
        self._loop.close()

    async def _follow(self, path: Path) -> None:
        store = await connect(SqliteStorage(path))
        try:
            page = await store.list(NODE)
            shown = Shown(self, lambda _: True, lambda: datetime.now(UTC))
            shown.first(page.objects, ())
            await follow(store, NODE, page, shown)
        finally:
            await store.aclose()


class Agent:
    """`k3 network` on a host; it may be started and ended many times.

    `directory` is made, and is the host's /var/lib/k3. `store` empty: the agent's default, a file in there.
    """

    def __init__(
        self, lan: Lan, host: Host, directory: Path, *, store: str = "", ttl: str = "5s", options: Sequence[str] = ()
    ) -> None:
        self.lan = lan
        self.host = host
        directory.mkdir(parents=True)
        done = host.run(["sh", "-c", f"mkdir -p {STATE} && mount --bind {directory} {STATE}"])
        assert done.returncode == 0, done.stderr
        self.ttl_seconds = times.seconds(ttl)
        self._store = ["--store", store] if store else []
        self.path = Path(store.removeprefix("sqlite://")) if store else directory / "k3.db"
        """The store's file, as the test can open it."""
        self._options = ["--peer-ttl", ttl, *options]
        self._watcher: Sights | None = None
        self.runs: list[Process] = []

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def process(self) -> Process:
        """The newest run."""
        return self.runs[-1]

    @property
    def watcher(self) -> Sights:
        """The one of `watch`."""
        return self.watch()

    def watch(self) -> Sights:
        """Follow this agent's store, from the first call on; the store is made if need be."""
        if self._watcher is None:
            self._watcher = FileWatcher(self.host, self.path)
        return self._watcher

    def start(self, *options: str, env: Mapping[str, str] | None = None) -> Process:
        argv = ["k3", "network", "--log-level", "debug", *self._options, *options, *self._store]
        self.runs.append(self.host.start(argv, env=env))
        return self.process

    def kill(self) -> datetime:
        """SIGKILL. Returns when (UTC, taken before)."""
        at = datetime.now(UTC)
        self.process.kill(signal.SIGKILL)
        return at

    def stop(self) -> datetime:
        """SIGTERM, and wait for the end, which has to be clean. Returns when (UTC, taken before)."""
        at = datetime.now(UTC)
        assert self.process.stop() == 0, self.process.text[-3000:]
        return at

    def nodes(self) -> dict[str, Sight]:
        """What `k3 nodes -o json` prints on this host, by name."""
        done = self.host.run(["k3", "nodes", "-o", "json", *self._store])
        assert done.returncode == 0, done.stderr
        now = datetime.now(UTC)
        document = json.loads(done.stdout or '{"items": []}')
        return {each["metadata"]["name"]: Sight(now, each) for each in document["items"]}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another k3 command on this host, with this agent's store: `run("delete", "node", "b")`."""
        return self.host.run(["k3", *arguments, *self._store])

    def in_store(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        """Open this agent's store from the test itself and do something in it."""

        async def session() -> T:
            store = await connect(SqliteStorage(self.path))
            try:
                return await work(store)
            finally:
                await store.aclose()

        return asyncio.run(session())

    def close(self) -> None:
        """End the newest run and the watcher, if they still run."""
        if self._watcher is not None:
            self._watcher.close()
        for process in self.runs:
            process.close()


class Fleet:
    """Agents on one LAN, all on one store or each on its own."""

    def __init__(self, agents: Iterable[Agent], *, shared: bool) -> None:
        self.agents = list(agents)
        self.shared = shared

    def __getitem__(self, name: str) -> Agent:
        return next(agent for agent in self.agents if agent.name == name)

    def others(self, *names: str) -> list[Agent]:
        return [agent for agent in self.agents if agent.name not in names]

    def start(self) -> None:
        """Start a watcher on every host, then all agents; wait until every host is shown every machine Ready."""
        for agent in self.agents:
            agent.watch()
        for agent in self.agents:
            agent.start()
        self.wait_ready()

    def wait_ready(self, *, guard_seconds: float = 60.0) -> None:
        """Until every host is shown every machine Ready and reachable."""
        try:
            until(self._all_ready, guard_seconds=guard_seconds)
        except AssertionError as error:
            shown = [f"{a.name}: {brief(s)}" for a in self.agents for s in a.watcher.sights[-6:]]
            logs = [f"{a.name} ({'runs' if a.process.running else 'ENDED'}):\n{a.process.text[-2000:]}" for a in self.agents]
            msg = "\n".join(["not everyone is Ready everywhere", *shown, *logs])
            raise AssertionError(msg) from error

    def downs(self, *names: str) -> list[str]:
        """Every sight of these machines, on any host and at any time, in which they were not Ready."""
        sights = [sight for agent in self.agents for sight in agent.watcher.sights if sight.name in names]
        return [brief(sight) for sight in sights if not sight.is_deleted and not sight.view.is_ready]

    def close(self) -> None:
        for agent in self.agents:
            agent.close()

    def _all_ready(self) -> bool:
        ended = [agent for agent in self.agents if not agent.process.running]
        assert not ended, f"{ended[0].name} has ended"
        names = [agent.name for agent in self.agents]
        return all(is_ready(agent.watcher.last(name)) for agent in self.agents for name in names)


def is_ready(sight: Sight | None) -> bool:
    """Ready, and nobody suspects it."""
    return sight is not None and sight.view.is_ready and sight.view.is_reachable


def brief(sight: Sight) -> str:
    """One line for a failed assertion."""
    seen = sight.view
    return f"{sight.at:%H:%M:%S.%f} {sight.name} r{sight.revision} {sight.ready} reachable={sight.reachable} {seen.last_seen}"


def record(name: str, seconds: float, *, beside: Mapping[str, float | str] | None = None) -> None:
    """Keep a measured time for the benchmarks: one JSON line in the file that K3_BENCH_RECORD names, if it names one.

    `beside` is what the time is to be read against, measured in the same run.
    """
    path = os.environ.get("K3_BENCH_RECORD")
    if path:
        line = {"name": name, "seconds": round(seconds, 4), "beside": dict(beside or {}), "load": os.getloadavg()[0]}
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
