"""Whatever is thrown at the health server, the next honest client is answered."""

import asyncio
import gc
import logging
import resource
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from k3.agent import health
from k3.agent.health import HealthServer
from k3.agent.listener import SILENT_SECONDS
from k3.core import limits
from k3.settings.listen import Listen

FLOODS: Final = 5
"""A flood is one only where it is fast enough, which a busy machine may not be at the first attempt."""
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def server(caplog: pytest.LogCaptureFixture) -> AsyncIterator[HealthServer]:
    async with await health.serve(Listen("127.0.0.1", 0), lambda: {"node": "a"}) as running:
        yield running
        assert await answer(running.port, GET) == b"ok", "an honest client is served afterwards"
    told = {record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING}
    assert told <= {"health.crowded", "health.flooded", "health.refused"}


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


async def test_who_says_nothing_is_dropped_before_one_whose_head_has_begun(
    server: HealthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HTTP_LINE_SECONDS", 0.2)
    monkeypatch.setattr(limits, "HTTP_SECONDS", 1.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    ends = []
    for sent in (b"", b"GET /info HTTP/1.1", b"GET /info HTTP/1.1\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        ends.append((reader, writer))
    took = []
    async with asyncio.timeout(20):
        for reader, writer in ends:
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            took.append(loop.time() - began)
            writer.transport.abort()
    assert took[1] < took[2]
    assert took[2] >= 0.95


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


def sources(count: int) -> list[str]:
    """As many addresses of this machine, none of them the honest client's."""
    return [f"127.66.{number // 250}.{number % 250 + 1}" for number in range(count)]


async def opened(port: int, source: str) -> socket.socket:
    """A connection that says nothing. Where the kernel drops what this source sends, it is not made."""
    client = socket.socket()
    client.setblocking(False)
    client.bind((source, 0))
    with suppress(BlockingIOError):
        client.connect(("127.0.0.1", port))
    await asyncio.sleep(0)
    return client


def told(caplog: pytest.LogCaptureFixture, *events: str) -> list[Mapping[str, Any]]:
    """The fields of each line that tells of one of these events."""
    return [record.fields for record in caplog.records if record.getMessage() in events]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("count", "connections"), [(1, 300), (30, 600), (250, 600)])
async def test_idle_connections_push_out_each_other_and_no_honest_client(
    server: HealthServer, count: int, connections: int, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(FLOODS):
        with ExitStack() as idle:
            for number in range(connections):
                source = sources(count)[number % count]
                idle.enter_context(await opened(server.port, source))
                if number % 50 == 0:
                    async with asyncio.timeout(5):
                        assert await answer(server.port, GET) == b"ok"
            for _ in range(6):
                await asyncio.sleep(SILENT_SECONDS / 4)  # until the last ones have waited in the kernel, and a while longer
                assert await answer(server.port, GET) == b"ok"
        if told(caplog, "health.crowded", "health.flooded"):
            break
    said = told(caplog, "health.crowded", "health.flooded")
    assert said
    assert all(each["from"] in sources(count) for each in said)


@pytest.mark.parametrize("count", [1, 30, 250])
async def test_connections_that_are_opened_and_closed_at_once_do_not_keep_others_waiting(
    server: HealthServer, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert await answer(server.port, GET) == b"ok", "so that it is known"
    loop = asyncio.get_running_loop()
    slowest = 0.0
    for number in range(4_000):
        (await opened(server.port, sources(count)[number % count])).close()
        if number % 400 == 0:
            began = loop.time()
            assert await answer(server.port, GET) == b"ok"
            slowest = max(slowest, loop.time() - began)
    assert slowest < 5
    said = told(caplog, "health.flooded")
    assert {each["from"] for each in said} <= set(sources(count))
    assert said


async def ask_again_and_again(port: int, times: int, *, at_once: int) -> int:
    """Asks over one connection, so many times and then again. Returns how often it was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.66.0.1", 0))
    try:
        for number in range(times):
            if number % at_once == 0:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * at_once)
            try:
                await reader.readuntil(b"\r\n\r\nok")
            except (ConnectionResetError, asyncio.IncompleteReadError):
                return number
        return times
    finally:
        writer.transport.abort()


async def test_a_connection_on_which_questions_flood_in_is_ended(
    server: HealthServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(10 * FLOODS):
        assert await ask_again_and_again(server.port, limits.HTTP_VISITS_PER_SECOND // 2, at_once=1) >= 100
        for _ in range(FLOODS):
            assert await ask_again_and_again(server.port, 10_000, at_once=100) < 10_000
            if told(caplog, "health.flooded"):
                break
    assert told(caplog, "health.flooded")


async def test_without_descriptors_it_does_not_spin_and_answers_once_there_are_some(server: HealthServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.connect(("127.0.0.1", server.port))
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        gc.disable()  # the garbage of the tests before it may take as long
        try:
            began = time.thread_time()
            await asyncio.sleep(0.5)
            spent_seconds = time.thread_time() - began
        finally:
            gc.enable()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert spent_seconds < 0.25
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, GET)
        async with asyncio.timeout(10):
            assert (await loop.sock_recv(client, 4_096)).endswith(b"ok")


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
