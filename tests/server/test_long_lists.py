"""Lists that are too long to be put together: the same bytes, piece by piece, to clients that read and to those that do not."""

import asyncio
import gzip
import json
import socket
from contextlib import suppress

import pytest

from k3.core.objects import NODE, Key
from k3.server import app
from k3.server.api import WHOLE_BYTES
from k3.stores.memory import MemoryStore
from tests.server.running import Running, running

NODES = 450
BIG = "x" * 5_000
PATH = "/api/v1/nodes"


async def filled() -> MemoryStore:
    store = MemoryStore()
    for number in range(NODES):
        await store.create(Key(NODE, f"n{number:03}"), {"metadata": {"annotations": {"big": BIG}}})
    return store


async def answer(server: Running, path: str, **headers: str) -> tuple[dict[str, str], bytes]:
    """Returns what was sent, as it was sent."""
    async with server.session.get(server.url + path, headers=headers, auto_decompress=False) as found:
        assert found.status == 200
        return dict(found.headers), await found.read()


async def test_a_long_list_has_a_length_and_is_the_same_in_every_encoding() -> None:
    async with running(await filled()) as server:
        heads, body = await answer(server, PATH, **{"Accept-Encoding": "identity"})
        assert (int(heads["Content-Length"]), "Transfer-Encoding" in heads) == (len(body), False)
        assert len(body) > 2 * WHOLE_BYTES
        items = json.loads(body)["items"]
        assert [item["metadata"]["name"] for item in items] == [f"n{number:03}" for number in range(NODES)]
        heads, packed = await answer(server, PATH, **{"Accept-Encoding": "gzip"})
        assert heads["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed) == body
        _, page = await answer(server, f"{PATH}?limit=150", **{"Accept-Encoding": "identity"})
        assert len(page) < WHOLE_BYTES
        assert json.loads(page)["items"] == items[:150]


@pytest.mark.slow
async def test_a_client_that_takes_nothing_of_a_long_list_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "WRITE_SECONDS", 0.5)
    store = await filled()
    for number in range(NODES, 2_000):
        await store.create(Key(NODE, f"n{number:03}"), {"metadata": {"annotations": {"big": BIG}}})
    async with running(store) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", server.port))
            await loop.sock_sendall(client, b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % PATH.encode())
            taken = len(await loop.sock_recv(client, 1))
            await asyncio.sleep(1.5)
            with suppress(ConnectionResetError):
                async with asyncio.timeout(10):
                    while some := await loop.sock_recv(client, 1 << 20):
                        taken += len(some)
        assert taken < 2_000 * len(BIG)
        assert (await server.ask("GET", f"{PATH}?limit=1"))[0] == 200
