"""A server of 127.0.0.1 that answers each path with the bytes it was given: for what a Kubernetes API never says.

Identity and the look at Nodes that opening a store takes are answered as a whole API would, unless a test says otherwise.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

HANG: Final = b"hang"
"""In place of an answer, or behind one: nothing more, for as long as the client stays."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    target: str
    head: str
    body: bytes


class KubeSpeaker:
    """What was asked so far, and what is said to it."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self.port = 0
        self._script: dict[str, list[tuple[tuple[bytes, ...], bool]]] = {}
        """Pieces, and whether the connection is kept behind them."""
        self._clients: set[asyncio.StreamWriter] = set()
        self._left = asyncio.Event()
        self._left.set()
        self.say("GET /api/v1/namespaces/kube-system", body({"metadata": {"uid": "the-store"}}))
        self.say("GET /api/v1/nodes?limit=1", listed([], 7))

    def say(self, request: str, *answers: bytes | tuple[bytes, ...]) -> None:
        """Answers what begins so with these, in turn, the last one again and again. A tuple: pieces, then hang up."""
        self._script[request] = [(each, False) if isinstance(each, tuple) else ((each,), bool(each)) for each in answers]

    def requests(self, beginning: str) -> list[Asked]:
        """Those that began so."""
        return [each for each in self.asked if f"{each.method} {each.target}".startswith(beginning)]

    def hang_up(self) -> None:
        """Ends every connection."""
        for client in self._clients:
            client.transport.abort()

    async def quiet(self) -> None:
        """Waits until no client is connected."""
        async with asyncio.timeout(20):
            await self._left.wait()

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

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        length = next((int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length:")), 0)
        self.asked.append(Asked(method, target, head, await reader.readexactly(length)))
        pieces, is_kept = self._said(f"{method} {target}")
        for piece in pieces:
            if piece == HANG:
                await reader.read()
                return False
            writer.write(piece)
            await writer.drain()
        return is_kept

    def _said(self, request: str) -> tuple[tuple[bytes, ...], bool]:
        fitting = [beginning for beginning in self._script if request.startswith(beginning)]
        answers = self._script[max(fitting, key=len)] if fitting else [((refused(404, "NotFound", "no such path"),), True)]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextlib.asynccontextmanager
async def kube_speaker(tls: ssl.SSLContext | None = None, *, port: int = 0) -> AsyncIterator[KubeSpeaker]:
    """A speaker, on a free port unless told otherwise."""
    speaker = KubeSpeaker()
    server = await asyncio.start_server(speaker.serve, "127.0.0.1", port, ssl=tls)
    speaker.port = server.sockets[0].getsockname()[1]
    speaker.url = f"http{'s' if tls else ''}://127.0.0.1:{speaker.port}"
    try:
        yield speaker
    finally:
        server.close()
        # Since Python 3.12.1 a server is closed once its last connection is, and clients keep theirs.
        speaker.hang_up()
        await speaker.quiet()
        await server.wait_closed()


def raw(text: bytes, *, code: int = 200, headers: str = "") -> bytes:
    """An answer with this body."""
    return f"HTTP/1.1 {code} Said\r\nContent-Length: {len(text)}\r\n{headers}\r\n".encode() + text


def body(document: Any, *, code: int = 200, headers: str = "") -> bytes:
    """An answer in JSON."""
    return raw(json.dumps(document).encode(), code=code, headers=f"Content-Type: application/json\r\n{headers}")


def refused(code: int, reason: str, message: str, *, headers: str = "", **details: Any) -> bytes:
    """A Status."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}
    return body({**status, "details": details}, code=code, headers=headers)


def node(name: str, revision: Any, **more: Any) -> dict[str, Any]:
    """A Node as a list has it."""
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(revision)}, **more}


def whole(name: str, revision: Any, **more: Any) -> dict[str, Any]:
    """A Node as it comes alone."""
    return {"kind": "Node", "apiVersion": "v1", **node(name, revision, **more)}


def listed(items: list[Any], revision: Any, *, token: str = "") -> bytes:
    """A list of Nodes."""
    metadata = {"resourceVersion": str(revision), **({"continue": token} if token else {})}
    return body({"kind": "NodeList", "apiVersion": "v1", "metadata": metadata, "items": items})


def event(type_: str, found: Any) -> bytes:
    """A line of a watch."""
    return json.dumps({"type": type_, "object": found}).encode() + b"\n"


def stream(*lines: bytes) -> bytes:
    """The beginning of an answer that goes on: a head, and a chunk of lines."""
    text = b"".join(lines)
    chunk = f"{len(text):x}\r\n".encode() + text + b"\r\n" if text else b""
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n" + chunk
