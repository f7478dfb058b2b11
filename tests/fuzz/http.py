"""What an HTTP client sends to the health server, and what a server answers to k3's own client."""

import asyncio
import re
from typing import Final

from hypothesis import strategies as st

from k3.agent import health
from k3.agent.http import Conversation, HttpError, Request
from k3.core import limits
from k3.settings.listen import Listen
from tests.fuzz import making
from tests.fuzz.parser import Parser

_HONEST: Final = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_GUARD_SECONDS: Final = 20


def _asked(data: bytes) -> bytes:
    """Returns what the health server answers to these bytes; an honest client is answered afterwards."""

    async def attack() -> bytes:
        async with await health.serve(Listen("127.0.0.1", 0), lambda: {"node": "a"}) as server:
            received = await _exchange(server.port, data)
            assert (await _exchange(server.port, _HONEST)).endswith(b"\r\n\r\nok")
            return received

    return asyncio.run(attack())


async def _exchange(port: int, sent: bytes) -> bytes:
    async with asyncio.timeout(_GUARD_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            writer.write_eof()
            return await reader.read()
        except OSError:  # it was cut off
            return b""
        finally:
            writer.transport.abort()


def _check_asked(received: bytes) -> None:
    assert b"Traceback" not in received
    statuses = {int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", received, re.MULTILINE)}
    assert bool(statuses) == bool(received)
    assert statuses <= {200, 400, 404, 405, 431, 501}


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    sent = b""
    for _ in range(draw(st.integers(1, 3))):
        method = draw(st.sampled_from(["GET", "GET", "HEAD", "POST", "CONNECT", "get", "G\0T", ""]))
        target = draw(
            st.sampled_from(["/info", "/healthz", "/info?a=b", "/", "*", "http://x/info", "/\u00e4", "/" + "a" * 9_000])
        )
        version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "HTTP/2.0", ""]))
        names = st.sampled_from(["Host: x"] * 4 + list(_HEADERS))
        headers = draw(st.lists(names, max_size=4))
        end = draw(st.sampled_from(["\r\n\r\n", "\r\n\r\n", "\n\n", "\r\n", ""]))
        body = draw(st.sampled_from(["", "body", "4\r\nbody\r\n0\r\n\r\n", "ffffffffffffffff\r\n"]))
        sent += ("\r\n".join([f"{method} {target} {version}", *headers]) + end + body).encode()
    return sent


_HEADERS: Final = (
    *("Connection: close", "Connection: keep-alive", "Connection: Upgrade", "Upgrade: websocket", "Expect: 100-continue"),
    *("Content-Length: 0", "Content-Length: 4", "Content-Length: -1", "Content-Length: 4, 4", "Content-Length: " + "9" * 5_000),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "User-Agent: k3", "X: \0", " folded", ": empty", "X" * 9_000),
)


def _answered(data: bytes) -> tuple[int, bytes]:
    """Returns what k3's client makes of a server's bytes, which come in three pieces."""
    third = len(data) // 3 + 1
    pieces = [data[at : at + third] for at in range(0, len(data), third)]

    async def read() -> bytes:
        return pieces.pop(0) if pieces else b""

    async def write(_: bytes) -> None:
        return

    async def talk() -> tuple[int, bytes]:
        conversation = Conversation(read=read, write=write)
        head = await conversation.ask(Request("GET", "/info", (("Host", "x"),)))
        return head.status, await conversation.body(limits.INFO_BYTES)

    return asyncio.run(talk())


def _check_answered(found: tuple[int, bytes]) -> None:
    status, body = found
    assert 200 <= status < 1_000
    assert len(body) <= limits.INFO_BYTES


@st.composite
def _answers(draw: st.DrawFn) -> bytes:
    status = draw(st.sampled_from(["200 OK", "100 Continue", "204 No Content", "101 Switching", "999 X", "20 X", "abc", "200"]))
    headers = draw(st.lists(st.sampled_from(["Content-Length: 2", *_HEADERS]), max_size=3))
    body = draw(st.sampled_from(["{}", "", "2\r\n{}\r\n0\r\n\r\n", "1\r\n", "x" * 20_000]))
    head = "\r\n".join([f"{draw(st.sampled_from(['HTTP/1.1', 'HTTP/1.0', 'ICY']))} {status}", *headers])
    first = "HTTP/1.1 100 Continue\r\n\r\n" * draw(st.sampled_from([0, 0, 1, 30]))
    return f"{first}{head}\r\n\r\n{body}".encode()


PARSERS: Final = (
    Parser(
        name="http-request",
        read=_asked,
        inputs=_requests() | _requests().flatmap(making.bent) | st.binary(max_size=80),
        check=_check_asked,
        refuses=(),
    ),
    Parser(
        name="http-answer",
        read=_answered,
        inputs=_answers() | _answers().flatmap(making.bent) | st.binary(max_size=80),
        check=_check_answered,
        refuses=(HttpError,),
    ),
)
