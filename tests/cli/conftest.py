"""The command line as a person meets it: a SQLite file with some Nodes, `k3` in this process, and `k3` as a process."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from k3.cli import main
from k3.core.errors import NotFound
from k3.core.objects import EVENT, NODE, Key, Manifest, Object
from k3.core.store import Store
from k3.core.times import precise_timestamp, timestamp
from k3.stores import connect
from k3.stores.sqlite import SqliteStorage
from tests.lab import Process


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


T = TypeVar("T")
K3 = Callable[..., Result]
Start = Callable[..., Process]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("K3_STORE", "K3_STORE_PASSWORD", "CONFIG_PATH", "NODE_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    root, ours = logging.getLogger(), logging.getLogger("k3")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def k3(capsys: pytest.CaptureFixture[str]) -> K3:
    """Run a command in this process."""

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return run


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command as a process; ended with the test."""
    started: list[Process] = []

    def run(*arguments: str, **env: str) -> Process:
        argv = [sys.executable, "-m", "k3.cli", *arguments]
        process = Process(argv, env={**os.environ, **env}, label=f"k3 {' '.join(arguments)}")
        started.append(process)
        return process

    yield run
    for process in started:
        process.close()


def node(name: str, *, seen_ago: float | None = 1.0, **changes: Any) -> Manifest:
    """A Node that `k3 network` keeps, last seen so many seconds ago; `changes` replace parts of its metadata or status."""
    now = datetime.now(UTC)
    notes = {"k3.network/peer-ttl": "90s", "k3.network/port": "7946"}
    if seen_ago is not None:
        notes["k3.network/lastSeen"] = precise_timestamp(now - timedelta(seconds=seen_ago))
    return {
        "metadata": {"labels": {"k3.network/managed": "true", **changes.get("labels", {})}, "annotations": notes},
        "spec": changes.get("spec", {}),
        "status": {
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "10.0.0.7"}],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "PeerAlive", "lastTransitionTime": "2026-11-23T08:00:00Z"},
                *changes.get("conditions", []),
            ],
            "nodeInfo": changes.get("info", {}),
        },
    }


class StoreFile:
    """A SQLite store, opened for one write at a time from this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite://{path}"

    def put(self, name: str, manifest: Manifest | None = None) -> Object:
        """Create a Node, or replace its manifest."""
        return self.write(Key(NODE, name), node(name) if manifest is None else manifest)

    def event(self, name: str, number: int, reason: str, message: str, **changes: Any) -> Object:
        """Write the Event of that number about a Node, as k3 does."""
        stamp = changes.get("at") or timestamp(datetime.now(UTC))
        manifest = {
            "involvedObject": {"apiVersion": "v1", "kind": changes.get("kind", "Node"), "name": name},
            "reason": reason,
            "message": message,
            "type": "Warning" if changes.get("warning") else "Normal",
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": changes.get("count", 1),
        }
        return self.write(Key(EVENT, f"{name}.{number}", "default"), manifest)

    def write(self, key: Key, wanted: Manifest) -> Object:
        """Create an object, or replace its manifest."""

        async def work(store: Store) -> Object:
            try:
                found = await store.get(key)
            except NotFound:
                return await store.create(key, wanted)
            return await store.update(found.with_manifest({**found.manifest(), **wanted}))

        return self._do(work)

    def delete(self, name: str) -> None:
        self._do(lambda store: store.delete(Key(NODE, name)))

    def names(self) -> list[str]:
        return [item.key.name for item in self._do(lambda store: store.list(NODE)).objects]

    def _do(self, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
        async def session() -> T:
            store = await connect(SqliteStorage(self.path))
            try:
                return await work(store)
            finally:
                await store.aclose()

        return asyncio.run(session())


@pytest.fixture
def store(tmp_path: Path) -> StoreFile:
    """A store with three Nodes: web1 and web2 of k3's, and box of a kubelet's."""
    file = StoreFile(tmp_path / "k3.db")
    file.put("web1", node("web1", labels={"tier": "front", "node-role.kubernetes.io/worker": ""}))
    file.put("web2", node("web2", labels={"tier": "back"}))
    file.put("box", kubelet_node())
    return file


def kubelet_node() -> Manifest:
    """A Node as a kubelet reports it."""
    info = {"kubeletVersion": "v1.32.4", "osImage": "Debian 12", "kernelVersion": "6.1.0", "containerRuntimeVersion": "x://1"}
    return {
        "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}], "nodeInfo": info},
    }
