"""A whole server for tests: in the test's own event loop, or as the process that `k3 server` is.

Clients that block run in threads (`asyncio.to_thread`); a test that speaks HTTP by hand uses `exchange`.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from k3.agent.faults import Faults
from k3.core.store import Store
from k3.server.access.settings import AccessSettings
from k3.server.serving import Serving
from k3.settings.listen import Listen
from k3.stores.memory import MemoryStore
from tests.servers.server import Server, Site

NODE: Final[Mapping[str, Any]] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "web1", "labels": {"role": "web"}}}
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    serving: Serving
    faults: Faults
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        """Returns where it is."""
        return self.serving.url

    @property
    def port(self) -> int:
        """Returns the port on 127.0.0.1."""
        return self.serving.port

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Returns the code and the JSON of an answer. `headers` by name, with `_` for `-`."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            named.setdefault("content-type", "application/json")
        async with self.session.request(method, self.url + path, data=data, headers=named) as answer:
            return answer.status, await answer.json(content_type=None)

    async def made(self, name: str, **labels: str) -> dict[str, Any]:
        """Returns a Node that has been made."""
        code, found = await self.ask("POST", "/api/v1/nodes", {**NODE, "metadata": {"name": name, "labels": labels}})
        assert code == 201, found
        return dict(found)

    async def labelled(self, name: str, **labels: str) -> dict[str, Any]:
        """Returns a Node whose labels have been changed."""
        body = {"metadata": {"labels": labels}}
        code, found = await self.ask("PATCH", f"/api/v1/nodes/{name}", body, content_type="application/merge-patch+json")
        assert code == 200, found
        return dict(found)

    @contextlib.asynccontextmanager
    async def watch(self, query: str, path: str = "/api/v1/nodes", **headers: str) -> AsyncIterator["Events"]:
        """Gives the events of a watch."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(f"{self.url}{path}?watch=true&{query}", headers=named) as answer:
            assert answer.status == 200, await answer.text()
            yield Events(answer)


class Events:
    """The events of one watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> tuple[str, Any]:
        """Returns the type and the object of the next event. Raises EOFError behind the last."""
        async with asyncio.timeout(10):
            line = await self._answer.content.readuntil(b"\n")
        if not line:
            raise EOFError
        found = json.loads(line)
        return found["type"], found["object"]

    async def names(self, count: int) -> list[tuple[str, str]]:
        """Returns the types and names of some events."""
        found = [await self.next() for _ in range(count)]
        return [(type_, item["metadata"]["name"]) for type_, item in found]

    async def rest(self) -> list[tuple[str, Any]]:
        """Returns all that is still to come."""
        found: list[tuple[str, Any]] = []
        with contextlib.suppress(EOFError):
            while True:
                found.append(await self.next())
        return found


@contextlib.asynccontextmanager
async def running(store: Store | None = None, *, tls: bool = False) -> AsyncIterator[Running]:
    """A server in this loop, over a store of the caller's, or one in memory. No fault may happen in it."""
    own = MemoryStore() if store is None else None
    faults = Faults()
    settings = AccessSettings(listen=Listen("127.0.0.1", 0), tls=tls)
    with tempfile.TemporaryDirectory(prefix="k3-server-") as folder:
        serving = Serving(store or own or MemoryStore(), settings, Path(folder), faults, frozenset)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(serving.run())
            try:
                async with aiohttp.ClientSession() as session:
                    await _until(lambda: serving.started.is_set() and serving.standing.is_current)
                    yield Running(serving=serving, faults=faults, session=session)
                await _until(lambda: not _is_served_in_vain())
            finally:
                task.cancel()
        if own is not None:
            await own.aclose()
    assert not faults.counts


def _is_served_in_vain() -> bool:
    """Whether a request is worked on whose client is gone."""
    found: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
    handlers = [each.cr_frame.f_locals["self"] for each in found if each.__qualname__ == "RequestHandler.start"]
    return any(handler.transport is None for handler in handlers)


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - there is no event for it, and it takes milliseconds
            await asyncio.sleep(0.002)


@contextlib.contextmanager
def server_process(store: str) -> Iterator[Server]:
    """`k3 server` over a store, on a port of its own that stays the same when it is started again."""
    site = Site(None, None)
    port = site.free_port()
    argv = [str(Path(sys.executable).with_name("k3")), "server", "--listen", f"127.0.0.1:{port}", "--store", store]
    server = Server("k3 server", site, argv, port=port, ready=lambda: site.get(f"http://127.0.0.1:{port}/readyz") == "ok")
    try:
        yield server
    finally:
        server.close()


async def exchange(port: int, *parts: bytes, seconds: float = 5.0, ends: bool = False) -> bytes:
    """Returns all that a server answers to bytes, until it closes the connection, or is silent for so long.

    `ends`: the client closes its sending side behind them.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if ends:
            writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while some := await reader.read(65_536):
                    found += some
    except ConnectionError:
        pass
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return found
