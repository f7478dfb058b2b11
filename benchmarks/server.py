"""What `k3 server` carries: lists, pages, tables, watches and writes at 10,000 Nodes, each beside something in the same run.

Beside it run a server that only sends bytes (server_plain.py), the same store without a server, Python's own JSON, and a
kube-apiserver with its etcd where the machine has one (on the PATH, or named by K3_TEST_KUBE_APISERVER). A short run has fewer
Nodes and watchers. Times are by the clock, the quickest of some rounds; the details have the processor's time of the same
calls, which says more on a machine that does other things, too. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/server.py [--quick]
"""

import asyncio
import contextlib
import json
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.discovery_scene import SERVICE, Shelf, ending, name_of, settle
from benchmarks.figures import Figure, percentile, tell
from benchmarks.scene import is_quick
from benchmarks.server_clients import LEASES, Caller, Heard, Renewed, Target, create_all, renew_leases, watch
from k3.core.decision import Create
from k3.core.objects import LEASE, NODE, Key, Manifest
from k3.core.observation import Facts
from k3.core.store import Store
from k3.discovery.policy import Mirrored, decide
from tests.lab import Process, until
from tests.needs import find
from tests.servers.kubernetes import kube_apiserver
from tests.servers.server import Site

NODES: Final = 500 if is_quick() else 10_000
WATCHERS: Final = 50 if is_quick() else 1_000
WRITES: Final = 20
WRITE_PAUSE_SECONDS: Final = 0.2
CLIENTS: Final = 64
LEASE_SECONDS: Final = 2.0 if is_quick() else 5.0
LOADERS: Final = 64
ROUNDS: Final = 5
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
ALL: Final = "/api/v1/nodes"
PAGE: Final = f"{ALL}?limit=500"
SELECTED: Final = f"{ALL}?labelSelector=bench%2Ftenth%3D3"
STREAMED: Final = f"{ALL}?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
_MS: Final = 1_000


def node(number: int, now: datetime) -> Manifest:
    """One Node as `k3 discovery` writes it, with a label that every tenth has."""
    facts = Facts(
        node=name_of(number),
        addresses=(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",),
        port=7946,
        pid=4242,
        id=f"{number:032x}",
        boot="0" * 16,
    )
    seen = Mirrored(
        name=facts.node,
        facts=facts,
        service=SERVICE,
        service_id=f"{SERVICE}-{facts.node}",
        consul_node="host",
        datacenter="dc1",
        health="passing",
        message="all its checks in Consul pass",
    )
    decision = decide(None, seen, now=now)
    assert isinstance(decision, Create)
    manifest = decision.manifest
    manifest["metadata"].setdefault("labels", {})["bench/tenth"] = str(number % 10)
    return manifest


async def fill(store: Store) -> None:
    """Creates all Nodes."""
    now, numbers = datetime.now(UTC), iter(range(NODES))

    async def load() -> None:
        for number in numbers:
            await store.create(Key(NODE, name_of(number)), node(number, now))

    await asyncio.gather(*(load() for _ in range(LOADERS)))


async def bare_updates(store: Store) -> float:
    """Leases that as many callers write to the store in a second, without a server."""
    ends, count = time.monotonic() + LEASE_SECONDS, 0

    async def renew(number: int) -> None:
        nonlocal count
        spec = {"holderIdentity": "bench", "renewTime": "2026-01-01T00:00:00.000000Z"}
        item = await store.create(Key(LEASE, f"bare{number}", "kube-node-lease"), {"spec": spec})
        while time.monotonic() < ends:
            manifest = item.manifest()
            manifest["spec"]["renewTime"] = f"2026-01-01T00:00:00.{count % 1_000_000:06}Z"
            item = await store.update(item.with_manifest(manifest))
            count += 1

    await asyncio.gather(*(renew(number) for number in range(CLIENTS)))
    return count / LEASE_SECONDS


@dataclass(kw_only=True)
class Results:
    """What was measured at one server; seconds."""

    listed: float = 0
    page: float = 0
    table: float = 0
    selected: float = 0
    streamed: float | None = None
    kubectl: float | None = None
    renewed: Renewed = field(default_factory=lambda: Renewed(0, 0))
    heard: Heard = field(default_factory=lambda: Heard((), 0, 0, 0))
    rss_mb: float = 0
    rss_late_mb: float = 0
    cpu: dict[str, float] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict, repr=False)


def measure(target: Target) -> Results:
    """Asks one server for everything."""
    found, caller = Results(rss_mb=target.rss_mb()), Caller(target)
    questions = (
        ("listed", ALL, ""),
        ("page", PAGE, ""),
        ("table", PAGE, TABLE),
        ("selected", SELECTED, ""),
    )
    for name, path, accept in questions:
        first = caller.call("GET", path, accept=accept or "application/json")
        took = caller.best(path, rounds=ROUNDS, accept=accept or "application/json")
        setattr(found, name, took.seconds)
        found.cpu |= {name: took.cpu_seconds, f"{name}, first": first.cpu_seconds}
        found.bodies[name] = took.body
    with contextlib.suppress(AssertionError):  # a kube-apiserver on an etcd before 3.5 cannot
        took = caller.read_until(STREAMED, b"k8s.io/initial-events-end")
        found.streamed, found.cpu["streamed"] = took.seconds, took.cpu_seconds
    revision = json.loads(found.bodies["page"])["metadata"]["resourceVersion"]
    caller.close()
    found.kubectl = kubectl_seconds(target)
    found.renewed = asyncio.run(renew_leases(target, CLIENTS, LEASE_SECONDS))
    found.heard = asyncio.run(watch(target, f"{ALL}?watch=1&resourceVersion={revision}", WATCHERS, WRITES, WRITE_PAUSE_SECONDS))
    found.rss_late_mb = target.rss_mb()
    return found


def kubectl_seconds(target: Target) -> float | None:
    """How long `kubectl get nodes` takes, once it has discovered the API; None where there is no kubectl."""
    if (command := find("kubectl")) is None:
        return None
    with tempfile.TemporaryDirectory(prefix="k3-bench-") as folder:
        argv = [command, "--server", target.url, "--kubeconfig=/dev/null", f"--cache-dir={folder}", "get", "nodes"]
        argv += ["--insecure-skip-tls-verify", f"--token={target.token}"] if target.tls else []
        taken = []
        for _ in range(3):
            began = time.perf_counter()
            done = subprocess.run(argv, check=True, capture_output=True)
            taken.append(time.perf_counter() - began)
            assert len(done.stdout.splitlines()) > NODES, done.stderr
        return min(taken)


def first_answer_seconds(process: Process, target: Target, began: float) -> float:
    """Until the first list was answered."""

    def answers() -> bool:
        caller = Caller(target)
        try:
            caller.call("GET", f"{ALL}?limit=1")
        except (OSError, AssertionError):
            assert process.running, process.text
            return False
        finally:
            caller.close()
        return True

    until(answers, guard_seconds=60, every_seconds=0.01, what="the first answer")
    return time.perf_counter() - began


@contextlib.contextmanager
def served(shelf: Shelf) -> Iterator[tuple[Target, float]]:
    """`k3 server` on a store, and how long it took to answer."""
    port = Site(None, None).free_port()
    began = time.perf_counter()
    argv = ("-m", "k3.cli", "server", "--listen", f"127.0.0.1:{port}", "--store", shelf.url, "--log-level", "warning")
    with ending(shelf.run(*argv)) as process:
        target = Target(name="k3", host="127.0.0.1", port=port, pids=(process.pid,))
        seconds = first_answer_seconds(process, target, began)
        settle(process)
        yield target, seconds


@contextlib.contextmanager
def real() -> Iterator[Target]:
    """A kube-apiserver with as many Nodes."""
    with kube_apiserver() as api:
        assert api.server is not None
        assert api.etcd is not None
        pids = (api.server.process.pid, api.etcd.process.pid)
        tls = ssl.create_default_context(cafile=api.ca_file)
        target = Target(name="kube-apiserver", host="127.0.0.1", port=api.server.port, pids=pids, token=api.token, tls=tls)
        now = datetime.now(UTC)
        asyncio.run(create_all(target, ALL, (_named(number, now) for number in range(NODES)), LOADERS))
        yield target


def _named(number: int, now: datetime) -> Manifest:
    found = node(number, now)
    return {**found, "apiVersion": "v1", "kind": "Node", "metadata": {**found["metadata"], "name": name_of(number)}}


def plain(shelf: Shelf, answer: bytes) -> tuple[float, float, Heard]:
    """What the same bytes take when nothing is made: seconds, processor time, and a watch."""
    file = shelf.folder / "answer"
    file.write_bytes(answer)
    with ending(shelf.run("-m", "benchmarks.server_plain", str(file))) as process:
        port = int(process.wait_for(lambda line: line.startswith("port ")).split()[1])
        target = Target(name="plain", host="127.0.0.1", port=port, pids=(process.pid,))
        caller = Caller(target)
        took = caller.best("/bytes", rounds=ROUNDS)
        caller.close()
        return took.seconds, took.cpu_seconds, asyncio.run(watch(target, "/watch", WATCHERS, WRITES, WRITE_PAUSE_SECONDS))


def encoding_seconds(body: bytes) -> float:
    """How long Python's own JSON takes to write what it has read of this."""
    document, encoder = json.loads(body), json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        encoder.encode(document).encode()
        taken.append(time.perf_counter() - began)
    return min(taken)


def figures(k3: Results, kube: Results | None, beside: dict[str, Any], start: float) -> list[Figure]:
    at = f"k3 server, {NODES:,} Nodes"
    page, table = encoding_seconds(k3.bodies["page"]), encoding_seconds(k3.bodies["table"])
    heard, aim = k3.heard, None if is_quick() else 1.0

    def other(name: str, unit: str = "ms", scale: float = _MS) -> str:
        value = getattr(kube, name) if kube else None
        return f"kube-apiserver: {value * scale:,.1f} {unit}" if value is not None else "no kube-apiserver"

    kube_watch = f"kube-apiserver: {percentile(kube.heard.seconds, 99) * _MS:,.1f} ms" if kube else ""
    return [
        Figure(f"{at}: start to first answer", start, "s", None, aim),
        Figure(
            f"{at}: list, times the cost of sending",
            k3.listed / beside["sent"],
            "",
            None,
            2,
            remark=f"{k3.listed * _MS:.1f} ms; {other('listed')}",
        ),
        Figure(f"{at}: page of 500", k3.page * _MS, "ms", None, 10, "json.dumps of it", page * _MS, other("page")),
        Figure(f"{at}: table of 500", k3.table * _MS, "ms", None, 15, "json.dumps of it", table * _MS, other("table")),
        Figure(f"{at}: one in ten by label", k3.selected * _MS, "ms", remark=other("selected")),
        Figure(f"{at}: streamed as a watch", (k3.streamed or 0) * _MS, "ms", None, 1_500, remark=other("streamed")),
        *(
            [Figure(f"{at}: kubectl get nodes", k3.kubectl, "s", None, 2, remark=other("kubectl", "s", 1))]
            if k3.kubectl is not None
            else []
        ),
        Figure(
            f"{at}, {WATCHERS:,} watchers: write → heard, p99",
            percentile(heard.seconds, 99) * _MS,
            "ms",
            None,
            150,
            "as many writes to plain sockets",
            percentile(beside["heard"].seconds, 99) * _MS,
            kube_watch,
        ),
        Figure(f"{at}, {WATCHERS:,} watchers: lost or twice", heard.lost + heard.twice, "events", None, 0),
        Figure(
            f"{at}: Lease updates, {CLIENTS} clients, SQLite",
            k3.renewed.per_second,
            "per second",
            2_000,
            None,
            "the store without a server",
            beside["sqlite"],
            f"{k3.renewed.cpu_seconds * _MS:.2f} ms of CPU each; {_leases(kube)}",
        ),
        Figure(
            f"k3 server: Lease updates, {CLIENTS} clients, memory",
            beside["memory"].per_second,
            "per second",
            2_000,
            remark=f"{beside['memory'].cpu_seconds * _MS:.2f} ms of CPU each",
        ),
        Figure(
            f"{at}: RSS",
            k3.rss_late_mb,
            "MB",
            None,
            250,
            "kube-apiserver and etcd" if kube else "",
            kube.rss_late_mb if kube else None,
            f"before the first question {k3.rss_mb:.0f} MB",
        ),
    ]


def _leases(kube: Results | None) -> str:
    if kube is None:
        return "no kube-apiserver"
    return f"kube-apiserver: {kube.renewed.per_second:,.0f} per second, {kube.renewed.cpu_seconds * _MS:.2f} ms of CPU each"


async def prepared(shelf: Shelf) -> float:
    async with shelf.open() as store:
        await fill(store)
        rate = await bare_updates(store)
        for number in range(CLIENTS):
            await store.delete(Key(LEASE, f"bare{number}", "kube-node-lease"))
        return rate


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="k3-bench-", dir="/var/tmp") as place:
        shelf = Shelf(f"sqlite:///{place}/k3.db", Path(place))
        beside: dict[str, Any] = {"sqlite": asyncio.run(prepared(shelf))}
        with served(shelf) as (target, _):
            pass  # the first start compiles
        with served(shelf) as (target, start):
            k3 = measure(target)
        with served(Shelf("memory://", Path(place))) as (target, _):
            beside["memory"] = asyncio.run(renew_leases(target, CLIENTS, LEASE_SECONDS))
        beside["sent"], sent_cpu, beside["heard"] = plain(shelf, k3.bodies["listed"])
        kube = None
        if find("kube-apiserver") and find("etcd"):
            with real() as target:
                kube = measure(target)
    details = {each.name: _told(found) for each, found in ((target, kube),) if found} | {"k3": _told(k3)}
    plainly = {"cpu": {"listed": sent_cpu, "a watched write": beside["heard"].cpu_seconds}}
    tell(figures(k3, kube, beside, start), nodes=NODES, path=LEASES, plain=plainly, **details)


def _told(found: Results) -> dict[str, Any]:
    heard = {f"p{percent}": percentile(found.heard.seconds, percent) for percent in (50, 99)}
    cpu = {**found.cpu, "a watched write": found.heard.cpu_seconds, "a Lease update": found.renewed.cpu_seconds}
    rss = {"before": found.rss_mb, "after": found.rss_late_mb}
    return {"cpu": cpu, "heard": heard, "lost": found.heard.lost, "twice": found.heard.twice, "rss_mb": rss}


if __name__ == "__main__":
    main()
