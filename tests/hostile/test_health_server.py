"""Whatever is thrown at the health server, the next honest client is answered."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from k3.agent import health
from k3.agent.health import HealthServer
from k3.core import limits
from k3.settings.listen import Listen

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def server(caplog: pytest.LogCaptureFixture) -> AsyncIterator[HealthServer]:
    async with await health.serve(Listen("127.0.0.1", 0), lambda: {"node": "a"}) as running:
        yield running
        assert await answer(running.port, GET) == b"ok", "an honest client is served afterwards"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def answer(port: int, sent: bytes) -> bytes:
    """Everything that comes back, body only if it is an HTTP answer. The sending side is closed after the request."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            if writer.can_write_eof():
                writer.write_eof()
            received = await reader.read()
        except OSError:  # it was cut off
            received = b""
        finally:
            writer.transport.abort()
    return received.partition(b"\r\n\r\n")[2] or received


async def drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"X")
        await writer.drain()
        await asyncio.sleep(0.01)


async def ask_for_ever(client: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(client, b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        await asyncio.sleep(0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=400))
@example(b"")
@example(b"\r\n" * 1000)
@example(b"GET /info HTTP/9.9\r\n\r\n")
@example(b"GET  /info HTTP/1.1\r\nHost: x\r\n\r\n")
@example(b"GET /info HTTP/1.1\r\n\r\n")
@example(b"GET /info HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
@example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@example(b"GET /info HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nbody")
@example(b"POST /info HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n")
@example(b"GET /info HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n")
@example(b"GET /info HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
@example(b"GET /info HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
@example(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n")
@example(b"GET /\x00\xff HTTP/1.1\r\nHost: x\r\n\r\n")
def test_any_bytes(sent: bytes) -> None:
    async def attack() -> None:
        async with await health.serve(Listen("127.0.0.1", 0), lambda: {"node": "a"}) as server:
            received = await answer(server.port, sent)
            assert b"Traceback" not in received
            assert await answer(server.port, GET) == b"ok"

    asyncio.run(attack())


async def test_a_head_without_end_is_cut(server: HealthServer) -> None:
    received = await answer(server.port, b"GET /info HTTP/1.1\r\nX: " + b"x" * (4 * limits.HTTP_HEAD_BYTES))
    assert b" 431 " in received or b" 400 " in received or received == b""


async def test_a_body_is_not_read(server: HealthServer) -> None:
    sent = b"GET /info HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1_000_000
    assert await answer(server.port, sent) in {b'{"node":"a"}', b""}


async def test_a_client_that_says_nothing_is_dropped(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.transport.abort()


async def test_a_client_that_drips_is_dropped_however_busy_it_looks(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_SECONDS", 0.3)
    loop = asyncio.get_running_loop()
    started = loop.time()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(20):
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await drip(writer)
    assert loop.time() - started >= 0.25
    writer.transport.abort()


async def test_more_clients_than_allowed_do_not_push_out_those_after_them(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_CONNECTIONS", 8)
    monkeypatch.setattr(limits, "HTTP_SECONDS", 0.5)
    with ExitStack() as idle:
        for _ in range(40):
            idle.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        async with asyncio.timeout(20):
            while await answer(server.port, GET) != b"ok":
                pass


async def test_a_client_that_asks_on_and_on_keeps_the_agent_from_nothing(server: HealthServer) -> None:
    """Of 256 KiB, which asyncio reads at once, each request would be answered before anything else is done."""
    asked = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n"
    received = await answer(server.port, asked * (2**18 // len(asked)))
    assert 1 <= received.count(b"HTTP/1.1 200 OK") + 1 <= limits.HTTP_HEAD_BYTES / len(asked) + 1


async def test_a_client_that_asks_without_reading_is_dropped(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        async with asyncio.timeout(20):
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await ask_for_ever(client)
