"""Every way a peer can answer, or not, against real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from k3.agent import health
from k3.agent.info import info_document
from k3.core import limits
from k3.core.observation import Facts
from k3.network.messages import Answered, Endpoint, Impostor, LocalFault, NoAnswer, Outcome, Refused, Target
from k3.network.probe import HEAD_START_SECONDS, probe
from k3.settings.listen import Listen
from tests.lab import Host, Lan

FACTS = Facts(
    node="web1",
    addresses=("10.0.0.1",),
    port=7946,
    pid=4242,
    id="0" * 32,
    boot="1" * 16,
    hostname="web1",
    os="linux",
    arch="amd64",
    version="0.1.0",
    links=("10.0.0.0/24",),
    peer_ttl_seconds=90.0,
)
BODY = json.dumps(info_document(FACTS, 1.5, "store-1")).encode()
HANG_GUARD_SECONDS = 20.0

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def target(*groups: tuple[Endpoint, ...], name: str = "web1", id_: str = "") -> Target:
    return Target(name, groups, id_)


@pytest.fixture
async def peer() -> AsyncIterator[Endpoint]:
    async with await health.serve(Listen.parse(":0"), lambda: info_document(FACTS, 1.5, "store-1")) as server:
        yield Endpoint("127.0.0.1", server.port)


@pytest.fixture
def closed() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Endpoint("127.0.0.1", server.getsockname()[1])


@asynccontextmanager
async def speaking(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[Endpoint]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(guarded, host, 0)
    async with server:
        yield Endpoint(host, server.sockets[0].getsockname()[1])


async def outcome_of(answer: bytes, *, timeout_seconds: float = HANG_GUARD_SECONDS) -> Outcome:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with speaking(handler) as endpoint:
        return await probe(target((endpoint,)), timeout_seconds=timeout_seconds)


def response(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    head = [b"HTTP/1.1 " + status, b"Content-Length: " + str(len(body)).encode(), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


async def test_an_answer_brings_everything(peer: Endpoint) -> None:
    found = await probe(target((peer,), id_=FACTS.id), timeout_seconds=HANG_GUARD_SECONDS)
    assert found == Answered(facts=FACTS, endpoint=peer, group=0, uptime_seconds=1.5, store_id="store-1")


async def test_the_go_program_answers_in_chunks_and_with_less() -> None:
    body = b'{"node":"web1","port":7946,"pid":3,"addrs":null}'
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for answer in (response(body), chunked, b"HTTP/1.0 200 OK\r\n\r\n" + body):
        found = await outcome_of(answer)
        assert isinstance(found, Answered)
        assert found.facts == Facts(node="web1", addresses=(), port=7946, pid=3)


@pytest.mark.parametrize(("name", "id_"), [("web2", ""), ("web1", "f" * 32), ("web2", "0" * 32)])
async def test_somebody_else_is_an_impostor(peer: Endpoint, name: str, id_: str) -> None:
    assert await probe(target((peer,), name=name, id_=id_), timeout_seconds=HANG_GUARD_SECONDS) == Impostor(
        "web1", "0" * 32, peer
    )


async def test_nobody_listening_is_a_refusal(closed: Endpoint) -> None:
    assert await probe(target((closed,)), timeout_seconds=HANG_GUARD_SECONDS) == Refused()
    assert await probe(target((closed, closed), (closed,)), timeout_seconds=HANG_GUARD_SECONDS) == Refused()


@pytest.mark.parametrize("address", ["fe80::1%nowhere9", "fe80::1"])
async def test_what_we_cannot_even_ask_is_our_fault(address: str) -> None:
    found = await probe(target((Endpoint(address, 7946),)), timeout_seconds=HANG_GUARD_SECONDS)
    assert isinstance(found, LocalFault)


async def test_nothing_to_ask_is_our_fault() -> None:
    assert isinstance(await probe(target(), timeout_seconds=1), LocalFault)
    assert isinstance(await probe(target((), ()), timeout_seconds=1), LocalFault)


async def test_the_next_address_is_asked_at_once_after_a_failure(peer: Endpoint, closed: Endpoint) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    found = await probe(target((closed, closed, peer)), timeout_seconds=HANG_GUARD_SECONDS)
    assert isinstance(found, Answered)
    assert loop.time() - started < 2 * HEAD_START_SECONDS, "three addresses, no head start waited for"


async def test_the_next_address_is_asked_while_the_first_is_silent(peer: Endpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = Endpoint("127.0.0.1", silent.getsockname()[1])
        found = await probe(target((mute, peer)), timeout_seconds=HANG_GUARD_SECONDS)
        assert isinstance(found, Answered)
        assert found.endpoint == peer


async def test_a_late_first_answer_still_counts(peer: Endpoint) -> None:
    release = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(response(BODY))

    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        release.set()
        await reader.read()

    async with speaking(late) as first, speaking(never) as second:
        found = await probe(target((first, second), (peer,)), timeout_seconds=HANG_GUARD_SECONDS)
    assert isinstance(found, Answered)
    assert found.endpoint == first


async def test_a_later_group_is_asked_only_when_the_earlier_failed(peer: Endpoint, closed: Endpoint) -> None:
    found = await probe(target((closed,), (peer,)), timeout_seconds=HANG_GUARD_SECONDS)
    assert isinstance(found, Answered)
    assert found.group == 1
    found = await probe(target((peer,), (closed,)), timeout_seconds=HANG_GUARD_SECONDS)
    assert isinstance(found, Answered)
    assert found.group == 0


async def test_an_impostor_weighs_more_than_a_refusal_and_silence_more_than_that(peer: Endpoint, closed: Endpoint) -> None:
    assert isinstance(await probe(target((closed, peer), name="x"), timeout_seconds=HANG_GUARD_SECONDS), Impostor)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = Endpoint("127.0.0.1", silent.getsockname()[1])
        assert isinstance(await probe(target((closed, mute)), timeout_seconds=0.3), NoAnswer)
    fault = Endpoint("fe80::1%nowhere9", 1)
    assert await probe(target((fault, closed)), timeout_seconds=HANG_GUARD_SECONDS) == Refused()


async def test_a_server_that_accepts_and_is_silent_runs_into_the_timeout() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = loop.time()
        found = await probe(target((Endpoint("127.0.0.1", silent.getsockname()[1]),)), timeout_seconds=0.2)
        assert isinstance(found, NoAnswer)
        assert loop.time() - started >= 0.19


async def test_a_server_that_drips_is_cut() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in response(BODY):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.01)

    async with speaking(drip) as endpoint:
        assert isinstance(await probe(target((endpoint,)), timeout_seconds=0.3), NoAnswer)


async def test_a_server_that_never_stops_is_cut() -> None:
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            sent += 65_536
            await writer.drain()

    async with speaking(flood) as endpoint:
        assert await probe(target((endpoint,)), timeout_seconds=HANG_GUARD_SECONDS) == NoAnswer(
            "an answer of more than 16,384 bytes"
        )
    assert sent < 100 * 1024 * 1024


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (2 * limits.HTTP_HEAD_BYTES),
        b"HTTP/1.1 100 Continue\r\n\r\n",
        response(b"not json"),
        response(b"{}"),
        response(b'{"node":"UPPER"}'),
        response(BODY, status=b"404 Not Found"),
        response(BODY, status=b"500 Oops"),
        response(b" " * (limits.INFO_BYTES + 1)),
    ],
)
async def test_what_is_no_answer(answer: bytes) -> None:
    assert isinstance(await outcome_of(answer), NoAnswer)


async def test_a_redirect_is_not_followed(peer: Endpoint) -> None:
    location = f"Location: http://127.0.0.1:{peer.port}/info".encode()
    assert await outcome_of(response(b"", location, status=b"302 Found")) == NoAnswer("HTTP status 302")


async def read_to_the_end(connection: socket.socket) -> None:
    async with asyncio.timeout(HANG_GUARD_SECONDS):
        while await asyncio.get_running_loop().sock_recv(connection, 4096):
            pass


async def test_cancelling_a_probe_leaves_nothing_open(peer: Endpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = Endpoint("127.0.0.1", silent.getsockname()[1])
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(probe(target((mute, mute)), timeout_seconds=HANG_GUARD_SECONDS))
            silent.setblocking(False)
            connection, _ = await asyncio.get_running_loop().sock_accept(silent)
            running.cancel()
        with connection:
            connection.setblocking(False)
            with pytest.raises(ConnectionResetError):
                await read_to_the_end(connection)
    assert isinstance(await probe(target((peer,)), timeout_seconds=HANG_GUARD_SECONDS), Answered)


# --- In real networks ---------------------------------------------------------------------------------------------------


def ask_from(host: Host, address: str, *, timeout_seconds: float = 1.0, port: int = 7946) -> Outcome:
    wanted = target((Endpoint(address, port),))
    return host.call(lambda: asyncio.run(probe(wanted, timeout_seconds=timeout_seconds)))


@pytest.mark.netns
def test_who_is_to_blame(lan: Lan) -> None:
    asker, other = lan.host("asker", default_route=False), lan.host("other")
    assert ask_from(asker, "10.77.1.2") == Refused()
    assert isinstance(ask_from(asker, "10.99.0.1"), LocalFault), "no route"
    assert isinstance(ask_from(asker, "10.77.1.99"), NoAnswer), "nobody there"
    lan.firewall(other, 7946)
    assert isinstance(ask_from(asker, "10.77.1.2", timeout_seconds=0.5), NoAnswer), "a firewall that drops"
    reject = "tcp dport 7000 reject with icmp type host-unreachable"
    other.namespace.nft(f"table inet f {{ chain i {{ type filter hook input priority -10\n {reject}\n }}\n }}\n")
    assert isinstance(ask_from(asker, "10.77.1.2", port=7000), NoAnswer), "a firewall that says host unreachable is the peer's"
    asker.ip("route add unreachable 10.50.0.0/16")
    assert isinstance(ask_from(asker, "10.50.0.1"), LocalFault), "an unreachable route of our own"
    asker.ip("link set eth0 down")
    assert isinstance(ask_from(asker, "10.77.1.2"), LocalFault), "our interface is down"


@pytest.mark.netns
def test_no_connection_lingers(lan: Lan) -> None:
    host = lan.host("a")
    wanted = 50

    async def many() -> None:
        async with await health.serve(Listen.parse("127.0.0.1:0"), lambda: info_document(FACTS, 1.5, "")) as server:
            for _ in range(wanted):
                found = await probe(target((Endpoint("127.0.0.1", server.port),)), timeout_seconds=HANG_GUARD_SECONDS)
                assert isinstance(found, Answered)

    def waiting() -> list[str]:
        rows = Path("/proc/thread-self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        return [row for row in rows if row.split()[3] == "06"]

    host.call(lambda: asyncio.run(many()))
    assert host.call(waiting) == []
