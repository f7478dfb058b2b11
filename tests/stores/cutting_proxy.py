"""A TCP proxy that cuts a connection at a moment of the test's choosing: before, within or after a certain answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

Moment = Literal["before", "within", "after"]
_BEGINNING = 1000


@dataclass(frozen=True)
class Cut:
    """Cut the next connection on which `request` is sent: `before` it reaches the server, `within` or `after` its answer."""

    request: bytes
    moment: Moment


class CuttingProxy:
    """Forwards everything until told to cut."""

    def __init__(self) -> None:
        self.cut: Cut | None = None
        self.cuts = 0
        self.port = 0


class _Side(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Side | None = None
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.early)

    def connection_lost(self, exc: Exception | None) -> None:
        self.cut()

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.send(data)

    def send(self, data: bytes) -> None:
        if self.transport is None:
            self.early += data
        else:
            self.transport.write(data)

    def cut(self) -> None:
        for side in (self, self.other):
            if side is not None and side.transport is not None:
                side.transport.abort()


class _Server(_Side):
    """Towards the server; once `last` is set, no more than the beginning of its next answer is handed on, or nothing."""

    last: Moment | None = None

    def data_received(self, data: bytes) -> None:
        if self.last == "within" and self.other is not None and self.other.transport is not None:
            self.other.send(data[:_BEGINNING])
            self.other.transport.close()
        elif self.last:
            self.cut()
        else:
            super().data_received(data)


class _Client(_Side):
    """Towards the client."""

    def __init__(self, proxy: CuttingProxy, host: str, port: int) -> None:
        super().__init__()
        self._proxy = proxy
        self._server = _Server()
        self.other, self._server.other = self._server, self
        loop = asyncio.get_running_loop()
        self._dialling = loop.create_task(loop.create_connection(lambda: self._server, host, port))

    def data_received(self, data: bytes) -> None:
        cut = self._proxy.cut
        if cut is None or cut.request not in data:
            super().data_received(data)
            return
        self._proxy.cut = None
        self._proxy.cuts += 1
        if cut.moment == "before":
            self.cut()
        else:
            self._server.last = cut.moment
            super().data_received(data)


@asynccontextmanager
async def cutting_proxy(host: str, port: int) -> AsyncIterator[CuttingProxy]:
    """Between this process and a server, on a free port of 127.0.0.1."""
    proxy = CuttingProxy()
    listening = await asyncio.get_running_loop().create_server(lambda: _Client(proxy, host, port), "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield proxy
