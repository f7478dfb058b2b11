"""The least that a server can do, to be measured beside `k3 server`: bytes that are there already, sent over asyncio alone.

`GET /bytes` sends a file, `GET` of anything else is a watch, and `PATCH` sends a line of a watch, with what was patched in it,
to all of them. Says its port once it listens.

python -m benchmarks.server_plain FILE
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Plain(asyncio.Protocol):
    """One connection."""

    def __init__(self, answer: bytes, watchers: set[asyncio.Transport], line: bytes) -> None:
        self._answer = answer
        self._watchers = watchers
        self._line = line
        self._waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        self._watchers.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        head, end, body = self._waiting.partition(b"\r\n\r\n")
        if not end:
            return
        if head.startswith(b"GET /bytes"):
            self._transport.write(self._answer)
        elif head.startswith(b"GET"):
            self._transport.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            self._watchers.add(self._transport)
        elif not body:
            return
        else:
            line = body + self._line
            chunk = b"%x\r\n%s\r\n" % (len(line), line)
            for each in self._watchers:
                each.write(chunk)
            self._transport.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        self._waiting = b""


async def main(content: bytes) -> None:
    answer = HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content
    watchers: set[asyncio.Transport] = set()
    server = await asyncio.get_running_loop().create_server(
        lambda: Plain(answer, watchers, b"x" * 1_500 + b"\n"), "127.0.0.1", 0, backlog=1_024
    )
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_bytes()))
