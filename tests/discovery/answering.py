"""A TCP or Unix server that answers each connection with the bytes it was given: for what Consul never says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path


class Speaker:
    """What was asked so far, one entry per connection, and where to ask."""

    def __init__(self, replies: Sequence[bytes], *, hang: bool, once: bool) -> None:
        self.asked: list[bytes] = []
        self.address = ""
        self._replies = replies
        self._hang = hang
        self._once = once
        self._clients: set[asyncio.StreamWriter] = set()
        self._left = asyncio.Event()
        self._left.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._clients.add(writer)
        self._left.clear()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answer(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self._clients.discard(writer)
        if not self._clients:
            self._left.set()

    def hang_up(self) -> None:
        """End every connection that a client keeps."""
        for client in self._clients:
            client.transport.abort()

    async def quiet(self) -> None:
        """Wait until nobody is connected."""
        async with asyncio.timeout(10):
            await self._left.wait()
            await asyncio.sleep(0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is kept."""
        head = await reader.readuntil(b"\r\n\r\n")
        reply = self._replies[min(len(self.asked), len(self._replies) - 1)]
        self.asked.append(head)
        if self._hang:
            await reader.read()
        if not reply or self._hang:
            return False
        writer.write(reply)
        await writer.drain()
        return not self._once


@contextlib.asynccontextmanager
async def speaking(
    replies: Sequence[bytes], *, hang: bool = False, once: bool = False, path: Path | None = None
) -> AsyncIterator[Speaker]:
    """Answer the n-th request (over any connection) with the n-th reply, the last one again and again; empty: hang up.

    `hang`: say nothing for as long as the client stays. `once`: hang up behind every answer.
    """
    speaker = Speaker(replies, hang=hang, once=once)
    if path is not None:
        server: asyncio.Server = await asyncio.start_unix_server(speaker.serve, path)
        speaker.address = f"unix://{path}"
    else:
        server = await asyncio.start_server(speaker.serve, "127.0.0.1", 0)
        speaker.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield speaker
    finally:
        server.close()
        # Since Python 3.12.1 a server is closed once its last connection is, and clients keep theirs.
        speaker.hang_up()
        await speaker.quiet()
        await server.wait_closed()


def reply(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """An HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
