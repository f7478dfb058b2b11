"""The health server as its clients see it, and two processes of one machine that want the same port."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from k3.agent import health
from k3.agent.health import HealthServer
from k3.core import limits
from k3.core.errors import StartFailed
from k3.settings.listen import Listen

INFO = {"node": "web1", "port": 7946, "pid": 1, "addrs": ["10.0.0.1"], "id": "0" * 32}


def info() -> Mapping[str, Any]:
    return INFO


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    async with await health.serve(Listen.parse("127.0.0.1:0"), info) as running:
        yield running


async def ask(port: int, request: bytes, host: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
    """One request with the connection closed after it; status, headers (lower case) and body."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode("ascii").split("\r\n")
    pairs = (field.split(": ", 1) for field in fields)
    return int(status.split()[1]), {name.lower(): value for name, value in pairs}, body


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


async def test_healthz_says_ok(server: HealthServer) -> None:
    status, headers, body = await ask(server.port, get("/healthz"))
    assert (status, body) == (200, b"ok")
    assert headers["content-type"].startswith("text/plain")


async def test_info_is_what_it_was_given(server: HealthServer) -> None:
    status, headers, body = await ask(server.port, get("/info?x=1"))
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", INFO)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("GET", "//info", 404),
        ("GET", "/info/", 404),
        ("GET", "/../info", 404),
        ("POST", "/info", 405),
        ("DELETE", "/healthz", 405),
        ("OPTIONS", "*", 405),
        ("BREW", "/", 405),
    ],
)
async def test_anything_else_is_refused(server: HealthServer, method: str, path: str, expected: int) -> None:
    status, headers, _ = await ask(server.port, get(path, method))
    assert status == expected
    assert ("allow" in headers) == (expected == 405)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET http://web1:7946/info HTTP/1.1\r\nHost: web1\r\nConnection: close\r\n\r\n", 200),
        (b"GET HTTPS://web1/info?x=http://y HTTP/1.1\r\nHost: web1\r\nConnection: close\r\n\r\n", 200),
        (b"GET http://web1 HTTP/1.1\r\nHost: web1\r\nConnection: close\r\n\r\n", 404),
        (b"GET ftp://web1/info HTTP/1.1\r\nHost: web1\r\nConnection: close\r\n\r\n", 404),
        (b"GET info HTTP/1.1\r\nHost: web1\r\nConnection: close\r\n\r\n", 404),
        (b"GET /info\r\n\r\n", 400),
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 1234 7946\r\nGET /info HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\0" * 12 + b"GET /info HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 500, 400),
        (b"POST /info HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"GET /info HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    ],
)
async def test_what_other_programs_send(server: HealthServer, sent: bytes, expected: int) -> None:
    assert (await ask(server.port, sent))[0] == expected


async def test_head_is_get_without_a_body(server: HealthServer) -> None:
    status, headers, body = await ask(server.port, get("/info", "HEAD"))
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) == len(json.dumps(INFO, separators=(",", ":")))


async def test_a_connection_may_ask_again_and_ask_ahead(server: HealthServer) -> None:
    again = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(again + again + get("/info"))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_old_clients_are_served(server: HealthServer) -> None:
    status, _, body = await ask(server.port, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (status, body) == (200, b"ok")


@pytest.mark.parametrize(
    ("listen", "clients"),
    [(":0", ["127.0.0.1", "::1"]), ("127.0.0.1:0", ["127.0.0.1"]), ("[::1]:0", ["::1"]), ("0.0.0.0:0", ["127.0.0.1"])],
)
async def test_where_it_listens(listen: str, clients: list[str]) -> None:
    async with await health.serve(Listen.parse(listen), info) as server:
        for client in clients:
            assert (await ask(server.port, get("/healthz"), client))[0] == 200


async def test_a_port_held_by_something_else_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]

        def accept_and_close() -> None:
            holder.accept()[0].close()

        hang_up = threading.Thread(target=accept_and_close)
        hang_up.start()
        with pytest.raises(StartFailed, match=rf"port {port} is taken by .*\(pid {os.getpid()}\).*--listen"):
            await health.serve(Listen.parse(f"127.0.0.1:{port}"), info)
        hang_up.join(20)


async def test_an_address_that_is_not_ours_is_said_so() -> None:
    with pytest.raises(StartFailed, match="no such address"):
        await health.serve(Listen.parse("192.0.2.200:0"), info)


async def test_another_machines_server_on_the_port_is_not_shared(server: HealthServer) -> None:
    with pytest.raises(StartFailed, match="is taken by"):
        await health.serve(Listen.parse(f"127.0.0.1:{server.port}"), lambda: INFO | {"id": "1" * 32})


async def test_an_answer_without_identity_is_not_shared() -> None:
    async with await health.serve(Listen.parse("127.0.0.1:0"), lambda: {"node": "web1"}) as first:
        with pytest.raises(StartFailed):
            await health.serve(Listen.parse(f"127.0.0.1:{first.port}"), lambda: {"node": "web1"})


async def test_our_own_other_process_is_shared_and_succeeded() -> None:
    first = await health.serve(Listen.parse("127.0.0.1:0"), info)
    async with (
        await health.serve(Listen.parse(f"127.0.0.1:{first.port}"), lambda: INFO | {"pid": 2}) as second,
        asyncio.TaskGroup() as tasks,
    ):
        assert second.shared
        assert second.port == first.port
        waiting = tasks.create_task(second.run())
        await first.aclose()
        async with asyncio.timeout(20):
            await waiting
        assert second.port == first.port
        assert json.loads((await ask(second.port, get("/info")))[2])["pid"] == 2


async def test_closing_ends_open_connections(server: HealthServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(get("/healthz")[:-2])
    await writer.drain()
    await server.aclose()
    async with asyncio.timeout(20):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.transport.abort()


def connected_from(source: str, port: int) -> bool:
    """Whether the kernel lets in a client at this address of loopback, while the server does nothing at all."""
    with socket.socket() as client:
        client.bind((source, 0))
        client.settimeout(0.3)
        try:
            client.connect(("127.0.0.1", port))
        except TimeoutError:
            return False
        return True


@pytest.mark.parametrize("was_covering", [False, True])
async def test_a_flood_that_fills_the_queue_of_strangers_keeps_out_no_client_that_is_known(
    server: HealthServer, was_covering: bool
) -> None:
    """Handshakes that the kernel has no place for are lost, and are tried again a second later: too late for a probe."""
    assert (await ask(server.port, get("/info")))[0] == 200
    if was_covering:
        server.cover(["lo"])
        assert (await ask(server.port, get("/info")))[0] == 200
        server.cover(())
    await asyncio.sleep(2 * health.LOOK_SECONDS)
    flood = [socket.socket() for _ in range(limits.HTTP_BACKLOG + 10)]
    try:
        for client in flood:
            client.bind(("127.0.0.66", 0))
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", server.port))
            with suppress(OSError):
                client.send(b"G")  # who says nothing waits elsewhere, and takes no place
        assert not connected_from("127.0.0.3", server.port), "the queue is not full"
        assert connected_from("127.0.0.1", server.port)
    finally:
        for client in flood:
            client.close()
