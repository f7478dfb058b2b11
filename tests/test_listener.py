"""Who is let in and when: as soon as a client says something or hangs up, and after a second if it does neither."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from k3.agent.listener import MEANWHILE, SILENT_SECONDS, Listener, listening_socket
from k3.agent.refusals import Trouble
from tests.lab.waiting import until_so

# Linux counts a silent client's time in retransmissions, the first of which may come a little before the second is over.
LEAST_SECONDS = SILENT_SECONDS / 2
log = logging.getLogger(__name__)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger, socket(7)


class Echo(asyncio.Protocol):
    """Answers with all that came, once the client has closed its side."""

    def __init__(self) -> None:
        self._said = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._said += data

    def eof_received(self) -> bool:
        self._transport.write(self._said)
        return False


@dataclass(slots=True)
class Door:
    """A listener, who has come to it, and whom it has let in."""

    host: str
    port: int
    admits: bool = True
    came: list[str] = field(default_factory=list)
    came_at: float = 0.0
    entered: list[str] = field(default_factory=list)

    def ask(self, address: str) -> bool:
        self.came.append(address)
        self.came_at = asyncio.get_running_loop().time()
        return self.admits

    def protocol(self, address: str) -> Echo:
        self.entered.append(address)
        return Echo()

    def client(self) -> socket.socket:
        sock = socket.create_connection((self.host, self.port), 10)
        sock.setblocking(False)
        return sock


@pytest.fixture(params=["127.0.0.1", "::1"])
async def door(request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    sock = listening_socket(request.param, 0)
    made = Door(request.param, sock.getsockname()[1])
    trouble = Trouble(log, "test.refused", MEANWHILE)
    listener = Listener(sock, made.protocol, trouble=trouble, admits=made.ask)
    yield made
    listener.close()
    await asyncio.sleep(0)


async def all_of(client: socket.socket) -> bytes:
    """Everything that comes until the other side closes."""
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(10):
        while data := await loop.sock_recv(client, 4_096):
            received += data
    return received


async def test_a_client_that_says_something_and_closes_its_side_is_answered(door: Door) -> None:
    with door.client() as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert await all_of(client) == b"hello"


async def test_a_client_that_says_nothing_is_let_in_later_and_may_then_speak(door: Door) -> None:
    began = asyncio.get_running_loop().time()
    with door.client() as client:
        await until_so(lambda: door.entered)
        assert door.came_at - began >= LEAST_SECONDS
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert await all_of(client) == b"hello"


async def test_a_client_that_hangs_up_without_a_word_is_counted_and_costs_no_more(door: Door) -> None:
    with door.client() as client:
        client.shutdown(socket.SHUT_WR)
        assert await all_of(client) == b"", "it is told that the other side has closed, too: no reset"
    assert (door.came, door.entered) == ([door.host], [])


async def test_a_client_that_breaks_off_is_not_even_seen(door: Door) -> None:
    with door.client() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    await asyncio.sleep(1.5 * SILENT_SECONDS)
    assert (door.came, door.entered) == ([], [])


async def test_who_is_not_admitted_is_closed_whatever_it_says(door: Door) -> None:
    door.admits = False
    with door.client() as client:
        client.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            await all_of(client)
    assert (door.came, door.entered) == ([door.host], [])


async def test_a_connection_that_has_just_come_is_closed_with_the_listener() -> None:
    """Its task has not begun then; a socket that is left open would be a warning, which fails a test."""
    sock = listening_socket("127.0.0.1", 0)
    door = Door("127.0.0.1", sock.getsockname()[1])
    listener: list[Listener] = []

    def ask(address: str) -> bool:
        asyncio.get_running_loop().call_soon(listener[0].close)
        return door.ask(address)

    listener.append(Listener(sock, door.protocol, trouble=Trouble(log, "test.refused", MEANWHILE), admits=ask))
    with door.client() as client:
        client.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            await all_of(client)
    assert door.entered == []
