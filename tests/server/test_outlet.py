"""Lines that go straight to a client, between those that its watch's own task writes: in order, each once (ADR 60)."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from k3.agent.cache import Listed
from k3.core import limits
from k3.core.objects import NODE, Key, Object
from k3.core.store import Change
from k3.server import watching
from k3.server.options import ReadOptions
from k3.server.outlet import Outlet
from k3.server.selectors import Selection
from k3.server.shapes import Plain
from k3.server.window import Window

WANTED = watching.Wanted(namespace="", selection=Selection(), options=ReadOptions(), shape=Plain(NODE), seconds=60)


class Scene:
    """A window, one watch of it, and a client behind a real socket, which reads when it is told to."""

    def __init__(self, window: Window, transport: asyncio.Transport, client: socket.socket) -> None:
        self.window = window
        self.outlet = Outlet()
        self.transport = transport
        self.client = client
        self.yielded = 0
        self._revision = 1

    async def change(self, count: int = 1, *, size: int = 10) -> None:
        for _ in range(count):
            self._revision += 1
            metadata = {"annotations": {"big": "x" * size}}
            document = json.dumps({"metadata": metadata}).encode()
            item = Object(key=Key(NODE, "web1"), uid="u", revision=self._revision, document=document)
            self.window.apply(Change("MODIFIED", item))
        await self.window.tell()
        await asyncio.sleep(0.01)

    async def write(self, lines: AsyncGenerator[bytes, None]) -> None:
        """Does what the application does."""
        async with aclosing(lines):
            async for some in lines:
                self.yielded += some.count(b"\n")
                self.transport.write(some)

    async def read(self, revision: int) -> list[int]:
        """Returns the revisions that the client sees, up to one."""
        loop, text = asyncio.get_running_loop(), b""
        async with asyncio.timeout(10):
            while not text.endswith(b"\n") or revision_in(text.splitlines()[-1]) < revision:
                text += await loop.sock_recv(self.client, 1 << 20)
        return [revision_in(line) for line in text.splitlines()]


def revision_in(line: bytes) -> int:
    return int(json.loads(line)["object"]["metadata"]["resourceVersion"])


async def seen_by_a_client(act: Any) -> None:
    ours, client = socket.socketpair()
    client.setblocking(False)
    window = Window(NODE)
    window.show(Listed((), 1))
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    scene = Scene(window, transport, client)
    scene.outlet.open(transport, is_chunked=False)
    lines = watching.lines(window, WANTED, watching.Begun(1, None), scene.outlet)
    try:
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(scene.write(lines))
            await asyncio.sleep(0.01)
            await act(scene)
            watch.cancel()
    finally:
        transport.abort()
        client.close()
        await asyncio.sleep(0)
    assert not window.watches


async def test_a_change_goes_to_a_client_that_keeps_up_without_its_task() -> None:
    async def act(scene: Scene) -> None:
        for _ in range(5):
            await scene.change()
        assert await scene.read(6) == [2, 3, 4, 5, 6]
        assert scene.yielded == 0

    await seen_by_a_client(act)


async def test_many_changes_at_once_are_its_tasks() -> None:
    async def act(scene: Scene) -> None:
        await scene.change(limits.WATCH_AT_ONCE + 1)
        last = limits.WATCH_AT_ONCE + 2
        assert await scene.read(last) == list(range(2, last + 1))
        assert scene.yielded == limits.WATCH_AT_ONCE + 1

    await seen_by_a_client(act)


async def test_a_client_that_takes_nothing_for_a_while_gets_all_of_it_in_order() -> None:
    async def act(scene: Scene) -> None:
        await scene.change(3)
        await scene.change(10, size=100_000)
        assert not scene.outlet.is_free
        await scene.change(3)
        assert scene.yielded == 3
        assert await scene.read(17) == list(range(2, 18))
        await asyncio.sleep(0.01)
        await scene.change()
        assert await scene.read(18) == [18]
        assert scene.yielded == 3

    await seen_by_a_client(act)


async def test_a_closed_outlet_sends_nothing() -> None:
    async def act(scene: Scene) -> None:
        scene.outlet.close()
        scene.outlet.send(b"lost")
        await scene.change()
        assert await scene.read(2) == [2]
        assert scene.yielded == 1

    await seen_by_a_client(act)


async def test_what_one_client_cannot_be_shown_concerns_its_own_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(scene: Scene) -> None:
        def fails(_shape: Plain, _type: str, _entry: object) -> bytes:
            raise ZeroDivisionError

        monkeypatch.setattr(Plain, "event", fails)
        await scene.change()

    with pytest.raises(ExceptionGroup) as failed:
        await seen_by_a_client(act)
    assert isinstance(failed.value.exceptions[0], ZeroDivisionError)
