"""An HTTP server that answers as Consul does, until it is told to say something else: for what no Consul says."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.discovery.answering import reply
from tests.discovery.consul_lab import eventually

HEALTH: Final = "/v1/health/service/k3-node"
MEMBERS: Final = "/v1/catalog/service/k3-node"
DATACENTERS: Final = "/v1/catalog/datacenters"
SELF: Final = "/v1/agent/self"
HELD: Final = "/v1/agent/service/k3-node-web1"
BLOCK_SECONDS: Final = 5.0
"""The longest blocking query here."""


def check(name: str, status: str, **more: Any) -> dict[str, Any]:
    """A check of a machine."""
    its = {"Node": f"host-{name}", "CheckID": f"service:k3-node-{name}", "Status": status, "Output": "it said so"}
    return {**its, "ServiceID": f"k3-node-{name}", "ServiceName": "k3-node", "Type": "http", **more}


def entry(name: str, status: str = "passing", *checks: Any, **service: Any) -> dict[str, Any]:
    """A machine, as `/v1/health/service` shows it."""
    its = {"ID": f"k3-node-{name}", "Service": "k3-node", "Address": "10.0.0.7", "Port": 7946, "Meta": {"node": name}}
    serf = {"Node": f"host-{name}", "CheckID": "serfHealth", "Status": "passing", "Output": "", "ServiceID": "", "Type": ""}
    shown = [serf, check(name, status), *checks]
    return {"Node": {"Node": f"host-{name}", "Address": "10.0.0.8"}, "Service": {**its, **service}, "Checks": shown}


class OddConsul:
    """What it shows, and what it was asked."""

    def __init__(self) -> None:
        self.address = ""
        self.entries: list[Any] = []
        self.datacenters: list[Any] = ["dc1"]
        self.only_in = ""
        """The one datacenter that has the machines; empty: all have."""
        self.held: dict[str, Any] | None = None
        self.index = 10
        self.headers = ""
        """Instead of the index."""
        self.said: dict[str, bytes] = {}
        """Whole answers, by path; empty: it hangs up."""
        self.drips = b""
        """What it goes on to say behind a whole answer of these, for as long as the client stays."""
        self.is_patient = True
        """Whether it waits, where it is asked to."""
        self.asked: list[str] = []
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.StreamWriter] = set()

    def show(self, *entries: Any) -> None:
        """Show these machines from now on."""
        self.entries = list(entries)
        self.change()

    def say(self, path: str, answer: bytes | None) -> None:
        """Answer with these bytes from now on, or again as Consul does."""
        self.said.pop(path, None)
        if answer is not None:
            self.said[path] = answer
        self.change()

    def change(self) -> None:
        """End every blocking query."""
        self.index += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def times(self, path: str) -> int:
        """How often this was asked."""
        return sum(each.partition("?")[0] == path for each in self.asked)

    async def is_asked(self, path: str, *, more: int = 2) -> None:
        """Wait until it was asked that some times more."""
        until = self.times(path) + more

        async def is_so() -> bool:
            return self.times(path) >= until

        await eventually(is_so, guard_seconds=60)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._tasks.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()
        self._tasks.discard(writer)

    def hang_up(self) -> None:
        """End every connection."""
        for each in list(self._tasks):
            each.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.partition("\r\n")[0].split(" ")
        length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        self.asked.append(target)
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if self.is_patient and query.get("index", query.get("hash")) in {str(self.index), "hash"}:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BLOCK_SECONDS):
                    await self._changed.wait()
        said = self.said.get(url.path)
        writer.write(self._usual(method, unquote(url.path), query, body) if said is None else said)
        await writer.drain()
        while said is not None and self.drips:
            writer.write(self.drips)
            await writer.drain()
            await asyncio.sleep(0.001)
        return said is None

    def _usual(self, method: str, path: str, query: dict[str, str], body: bytes) -> bytes:
        if method == "PUT":
            if path.endswith("/register"):
                its = json.loads(body)
                self.held = {**its, "Service": its["Name"], "ContentHash": "hash"}
            elif "/service/deregister/" in path:
                self.held = None
            return reply(b"")
        if path.startswith("/v1/agent/service/"):
            return reply(json.dumps(self.held).encode()) if self.held else reply(b"unknown", status="404 Not Found")
        found = json.dumps(self._listed(path, query))
        headers = self.headers or f"X-Consul-Index: {self.index}\r\n"
        return reply(found.encode(), headers=f"X-Consul-Knownleader: true\r\nX-Consul-Lastcontact: 0\r\n{headers}")

    def _listed(self, path: str, query: dict[str, str]) -> Any:  # noqa: PLR0911 - one for each question
        objects = [each for each in self.entries if isinstance(each, dict) and isinstance(each.get("Checks"), list)]
        match path.split("/")[2:]:
            case ["health", "service", _]:
                return self.entries if self.only_in in {"", query.get("dc", "")} else []
            case ["catalog", "service", _]:
                wanted = json.loads(query.get("filter", 'ServiceID == ""').split(" == ")[1].partition(" and ")[0])
                its = {"ServiceID": wanted, "ServiceMeta": self.held and self.held["Meta"]}
                return [its] if self.held and self.held["ID"] == wanted else []
            case ["catalog", "datacenters"]:
                return self.datacenters
            case ["catalog", "nodes"]:
                return [{"Node": "consul"}]
            case ["agent", "self"]:
                return {"Config": {"Datacenter": "dc1", "NodeName": "consul", "Version": "1.14.11"}, "Member": {}}
            case ["health", "state", status]:
                checks = [each for one in objects for each in one["Checks"]]
                return [each for each in checks if not isinstance(each, dict) or each.get("Status") == status]
            case ["health", "node", name]:
                return [each for one in objects if one["Node"].get("Node") == name for each in one["Checks"]]
        return None


@contextlib.asynccontextmanager
async def odd_consul(*entries: Any) -> AsyncIterator[OddConsul]:
    """One that shows these machines."""
    made = OddConsul()
    made.entries = list(entries)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        made.hang_up()
        await server.wait_closed()
