"""What asks the servers of benchmarks/server.py: clients as small as can be, so that the time is the server's.

`call` asks one thing; `Watchers` hold many watches open and note when each line came; `renew_leases` has many clients write.
"""

import asyncio
import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
JSON: Final = "application/json"
MARK: Final = "bench/mark"
MARKED: Final = "n00000"
"""The Node that the watched writes go to, and the annotation that tells them apart."""
_SEEN: Final = b'"%s":"' % MARK.encode()
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server that runs, and what a client needs to know of it."""

    name: str
    host: str
    port: int
    pids: tuple[int, ...]
    """Of the server, and of what it cannot do without."""
    token: str = ""
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def head(self, method: str, path: str, length: int = 0, accept: str = JSON) -> bytes:
        """The head of a request."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            f"Accept: {accept}",
            f"Content-Length: {length}",
        ]
        if length:
            lines.append("Content-Type: application/json")
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        return "\r\n".join([*lines, "", ""]).encode()

    def cpu_seconds(self) -> float:
        """Processor time so far of all its processes, in the scheduler's own nanoseconds."""
        tasks = (task for pid in self.pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9

    def rss_mb(self) -> float:
        """Resident memory of all its processes."""
        return sum(_rss_kb(pid) for pid in self.pids) / 1024


def _rss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@dataclass(frozen=True, slots=True)
class Took:
    """How long one call took, by the clock and of the server's processor."""

    seconds: float
    cpu_seconds: float
    body: bytes = field(repr=False)


class Caller:
    """One connection that is kept."""

    def __init__(self, target: Target) -> None:
        self.target = target
        make = http.client.HTTPConnection if target.tls is None else http.client.HTTPSConnection
        more: dict[str, Any] = {} if target.tls is None else {"context": target.tls}
        self._connection = make(target.host, target.port, timeout=120, **more)

    def call(self, method: str, path: str, document: object = None, *, accept: str = JSON, content_type: str = JSON) -> Took:
        """Asks once; the answer is to be one of the 200s."""
        headers = {"Accept": accept, "Content-Type": content_type}
        if self.target.token:
            headers["Authorization"] = f"Bearer {self.target.token}"
        data = None if document is None else json.dumps(document, separators=(",", ":"))
        cpu, began = self.target.cpu_seconds(), time.perf_counter()
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - began
        assert 200 <= answer.status < 300, body[:400]
        return Took(took, self.target.cpu_seconds() - cpu, body)

    def best(self, path: str, *, rounds: int, accept: str = JSON) -> Took:
        """Asks some times; returns the quickest."""
        return min((self.call("GET", path, accept=accept) for _ in range(rounds)), key=lambda took: took.seconds)

    def read_until(self, path: str, mark: bytes) -> Took:
        """Reads an answer that goes on until it says something; the connection is of no use after that."""
        headers = {"Authorization": f"Bearer {self.target.token}"} if self.target.token else {}
        cpu, began = self.target.cpu_seconds(), time.perf_counter()
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        parts, rest = [], b""
        while mark not in rest:
            part = answer.read1(_MIB)
            assert part, rest
            parts.append(part)
            rest = rest[-len(mark) :] + part
        return Took(time.perf_counter() - began, self.target.cpu_seconds() - cpu, b"".join(parts))

    def mark(self, number: int) -> None:
        """Writes a number into the Node that is watched."""
        document = {"metadata": {"annotations": {MARK: str(number)}}}
        self.call("PATCH", f"/api/v1/nodes/{MARKED}", document, content_type="application/merge-patch+json")

    def close(self) -> None:
        self._connection.close()


class _Watcher(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._rest = b""
        self.is_open = False
        self.seen: list[tuple[int, float]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.is_open = self.is_open or data.startswith(b"HTTP/1.1 200")
        text = self._rest + data
        place = 0
        while (found := text.find(_SEEN, place)) >= 0 and (end := text.find(b'"', found + len(_SEEN))) >= 0:
            self.seen.append((int(text[found + len(_SEEN) : end]), now))
            place = end
        self._rest = text[max(place, len(text) - 40) :]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the watchers of one server heard: seconds from the write to each of them, and how much was lost or came twice."""

    seconds: Sequence[float]
    lost: int
    twice: int
    cpu_seconds: float


async def watch(target: Target, path: str, watchers: int, writes: int, pause_seconds: float) -> Heard:
    """Opens so many watches of one Node's list, writes to one Node so many times, and waits until all have heard of it."""
    loop = asyncio.get_running_loop()
    request = target.head("GET", path)
    protocols, transports = [], []
    for _ in range(watchers):
        transport, protocol = await loop.create_connection(lambda: _Watcher(request), target.host, target.port, ssl=target.tls)
        protocols.append(protocol)
        transports.append(transport)
    await _until(lambda: all(each.is_open for each in protocols))
    writer = Caller(target)
    wrote: dict[int, float] = {}
    cpu = target.cpu_seconds()
    try:
        for number in range(writes):
            wrote[number] = time.perf_counter()
            await asyncio.to_thread(writer.mark, number)
            await asyncio.sleep(pause_seconds)
        await _until(lambda: all(len(each.seen) >= writes for each in protocols), seconds=20, is_needed=False)
    finally:
        writer.close()
        for transport in transports:
            transport.abort()
    seconds = [at - wrote[number] for each in protocols for number, at in each.seen]
    lost = sum(writes - len({number for number, _ in each.seen}) for each in protocols)
    twice = sum(len(each.seen) - len({number for number, _ in each.seen}) for each in protocols)
    return Heard(seconds, lost, twice, (target.cpu_seconds() - cpu) / writes)


async def _until(is_so: Callable[[], bool], *, seconds: float = 60, is_needed: bool = True) -> None:
    ends = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > ends:
            assert not is_needed, "it never came"
            return
        await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Renewed:
    """How often Leases were written in a second, and what each write cost the server's processor."""

    per_second: float
    cpu_seconds: float


async def renew_leases(target: Target, clients: int, seconds: float) -> Renewed:
    """Has each client keep a Lease of its own for so long, as a kubelet does: by PUT, at the revision of the last answer."""
    held = await asyncio.gather(*(_hold(target, number) for number in range(clients)))
    cpu, began = target.cpu_seconds(), time.perf_counter()
    counts = await asyncio.gather(*(_renew(target, each, began + seconds) for each in held))
    took = time.perf_counter() - began
    return Renewed(sum(counts) / took, (target.cpu_seconds() - cpu) / max(1, sum(counts)))


async def create_all(target: Target, path: str, documents: Iterable[object], clients: int) -> None:
    """Creates objects, by so many clients at once."""
    waiting = iter(documents)

    async def create() -> None:
        reader, writer = await asyncio.open_connection(target.host, target.port, ssl=target.tls, limit=_MIB)
        for document in waiting:
            status, body = await _ask(target, reader, writer, "POST", path, json.dumps(document).encode())
            assert status == 201, body[:400]
        writer.close()

    await asyncio.gather(*(create() for _ in range(clients)))


@dataclass(frozen=True, slots=True)
class _Held:
    """A Lease and the connection of its holder."""

    path: str
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def _hold(target: Target, number: int) -> _Held:
    reader, writer = await asyncio.open_connection(target.host, target.port, ssl=target.tls, limit=_MIB)
    name = f"lease{number}"
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"}
    lease: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": spec,
    }
    await _ask(target, reader, writer, "DELETE", f"{LEASES}/{name}", b"")
    status, body = await _ask(target, reader, writer, "POST", LEASES, json.dumps(lease).encode())
    assert status == 201, body[:400]
    return _Held(f"{LEASES}/{name}", body, reader, writer)


async def _renew(target: Target, held: _Held, ends: float) -> int:
    body, count = held.body, 0
    while time.perf_counter() < ends:
        lease = json.loads(body)
        lease["spec"]["renewTime"] = f"2026-01-01T00:00:00.{count % 1_000_000:06}Z"
        status, body = await _ask(target, held.reader, held.writer, "PUT", held.path, json.dumps(lease).encode())
        assert status == 200, body[:400]
        count += 1
    held.writer.close()
    return count


async def _ask(
    target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: bytes
) -> tuple[int, bytes]:
    writer.write(target.head(method, path, len(body)) + body)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    lower = head.lower()
    place = lower.find(b"content-length:")
    if place >= 0:
        return status, await reader.readexactly(int(lower[place + 15 : lower.find(b"\r", place)]))
    parts = []
    while size := int(await reader.readline(), 16):
        parts.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return status, b"".join(parts)
