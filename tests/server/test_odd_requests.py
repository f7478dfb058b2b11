"""Requests that no client sends by itself: a Status is the answer, or the connection is closed, and the server goes on."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from k3.server import app
from tests.server.running import NODE, Running, exchange, running

LIVE: Final = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@pytest.fixture(name="server")
async def _server(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Running]:
    async with running() as found:
        yield found
        assert (await exchange(found.port, LIVE)).endswith(b"\r\n\r\nok")
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


def status_of(answer: bytes) -> tuple[int, Any]:
    """Returns the code and the body of an answer that came alone."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join((f"{line} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers, "", "")).encode("latin-1") + body


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("//api/v1/nodes", 404),
        ("/api//v1/nodes", 404),
        ("/api/v1/nodes//", 404),
        ("/api/v1/nodes/", 200),
        ("/api/v1/./nodes", 404),
        ("/api/v1/namespaces/../nodes", 404),
        ("/api/v1/nodes/%2e%2e", 404),
        ("/api/v1/nodes/a%2fb", 404),
        ("/api/v1/nodes/a%00b", 404),
        ("/api/v1/nodes/%ff", 404),
        ("/api/v1/nodes/%zz", 404),
        ("/api/v1/nodes;a=b", 404),
        ("/api/v1/nodes/" + "a" * 20_000, 404),
        ("/api/v1/nodes?" + "&".join(f"a{number}=1" for number in range(500)), 400),
        ("/api/v1/nodes?labelSelector=%ff", 400),
        ("/api/v1/nodes?limit=one", 400),
        ("/api/v1/nodes?limit=99999999999999999999", 400),
        ("/api/v1/nodes?resourceVersion=-1", 400),
        ("/api/v1/nodes?continue=%7B%7D", 400),
        ("/api/v1/nodes?watch=true&resourceVersion=99999999999999999", 504),
        ("/api/v2/nodes", 404),
        ("/openapi/v3/apis/apps/v1", 404),
        ("/openapi/v3/%2e%2e/%2e%2e/etc/passwd", 404),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_an_odd_path_is_answered_with_a_status(server: Running, path: str, code: int) -> None:
    found, body = status_of(await exchange(server.port, request(f"GET {path}")))
    assert (found, body["kind"]) == (code, "NodeList" if code == 200 else "Status")


async def test_an_absolute_url_is_read_like_its_path(server: Running) -> None:
    code, _ = status_of(await exchange(server.port, request("GET http://127.0.0.1/api/v1/nodes")))
    assert code == 200


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "POST"])
async def test_a_method_that_a_path_does_not_have_is_refused(server: Running, method: str) -> None:
    code, body = status_of(await exchange(server.port, request(f"{method} /api/v1/nodes/web1")))
    assert (code, body["reason"]) == (405, "MethodNotAllowed")


async def test_a_group_that_is_not_served_is_no_page(server: Running) -> None:
    """As at a kube-apiserver: no Status."""
    answer = await exchange(server.port, request("GET /apis/apps/v1/deployments"))
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b"404 page not found\n")


@pytest.mark.parametrize(("path", "code"), [("/livez", 200), ("/api/v1/nodes", 405), ("/version", 405)])
async def test_head_is_answered_with_a_head(server: Running, path: str, code: int) -> None:
    """A kube-apiserver refuses it, too."""
    answer = await exchange(server.port, request(f"HEAD {path}"))
    assert answer.startswith(f"HTTP/1.1 {code}".encode())
    assert answer.endswith(b"\r\n\r\n")


async def test_connect_and_an_upgrade_to_websockets_change_nothing(server: Running) -> None:
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    answer = await exchange(server.port, request("GET /api/v1/nodes", *upgrade), seconds=0.3)
    assert b" 101 " not in answer.split(b"\r\n")[0]
    answer = await exchange(server.port, b"CONNECT k3:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", seconds=0.3)
    assert b" 200 " not in answer.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "sent",
    [
        request(
            "POST /api/v1/nodes",
            "Content-Length: 2",
            "Transfer-Encoding: chunked",
            body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        ),
        request("POST /api/v1/nodes", "Content-Length: 2", "Content-Length: 3", body=b"{} "),
        request("POST /api/v1/nodes", "Content-Length: +2", body=b"{}"),
        request("POST /api/v1/nodes", "Content-Length: -2", body=b"{}"),
        request("POST /api/v1/nodes", "Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
        request("POST /api/v1/nodes", "Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
        request("GET /api/v1/nodes", "X: a\0b"),
        request("GET /api/v1/nodes", " folded: header"),
        request("GET /api/v1/nodes", "X: " + "a" * 70_000),
        request("GET /api/v1/" + "a" * 70_000),
        request("GET /api/v1/nodes", *(f"X-{number}: a" for number in range(40_000))),
        request("G\x01T /api/v1/nodes"),
        b"GET /api/v1/nodes HTTP/3.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60,
        b"\0" * 1_000,
        b"\r\n" * 1_000,
        b"GET\r\n\r\n",
    ],
    ids=range(18),
)
async def test_what_is_no_http_is_refused_and_the_connection_closed(server: Running, sent: bytes) -> None:
    answer = await exchange(server.port, sent, seconds=1.0, ends=True)
    assert answer == b"" or (answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")) and b'"kind":"Status"' in answer)
    assert answer.count(b"400 Bad Request") <= 1


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}xx0\r\n\r\n", b"ffffffffffffffffff\r\n{}"]
)
async def test_chunks_that_are_none_are_refused(server: Running, chunks: bytes) -> None:
    sent = request("POST /api/v1/nodes", "Content-Type: application/json", "Transfer-Encoding: chunked", body=chunks)
    answer = await exchange(server.port, sent, seconds=1.0)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b'"kind":"Status"' in answer
    assert (await server.ask("GET", "/api/v1/nodes"))[1]["items"] == []


async def test_an_answer_over_http_1_0_ends_with_its_connection(server: Running) -> None:
    await server.made("web1")
    host = b"Host: 127.0.0.1\r\n\r\n"
    answer = await exchange(server.port, b"GET /api/v1/nodes HTTP/1.0\r\n" + host)
    assert answer.startswith(b"HTTP/1.0 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["kind"] == "NodeList"
    watch = await exchange(server.port, b"GET /api/v1/nodes?watch=1&timeoutSeconds=1 HTTP/1.0\r\n" + host)
    assert b"chunked" not in watch.lower()
    assert json.loads(watch.partition(b"\r\n\r\n")[2])["type"] == "ADDED"


async def test_a_body_that_is_waited_for_is_asked_for(server: Running) -> None:
    body = json.dumps(NODE).encode()
    head = request(
        "POST /api/v1/nodes", "Expect: 100-continue", "Content-Type: application/json", f"Content-Length: {len(body)}"
    )
    answer = await exchange(server.port, head, body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")
    answer = await exchange(server.port, request("POST /api/v1/nodes", "Expect: 200-ok"))
    assert answer.startswith(b"HTTP/1.1 417 ")


async def test_requests_in_a_row_are_answered_in_a_row(server: Running) -> None:
    one = b"GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    answer = await exchange(server.port, one * 9 + request("GET /livez"))
    assert answer.count(b"HTTP/1.1 200 OK") == 10
    assert answer.endswith(b"ok")


async def test_a_client_that_closes_before_it_is_answered_is_nobodys_fault(server: Running) -> None:
    for number in range(10):
        await server.made(f"web{number}")
    for line in ("GET /api/v1/nodes", "GET /api/v1/nodes?watch=1", "POST /api/v1/nodes", "GET /openapi/v3/api/v1", "GET /none"):
        for pause in (0.0, 0.0005, 0.001, 0.002):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request(line))
            await asyncio.sleep(pause)
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()


async def test_a_body_that_is_too_long_is_refused(server: Running) -> None:
    for headers in ((f"Content-Length: {2**40}",), ("Content-Length: 3145729",)):
        answer = await exchange(server.port, request("POST /api/v1/nodes", *headers, body=b" " * 100_000), seconds=0.2)
        code, body = status_of(answer)
        assert (code, body["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_head_or_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(app, name, 0.1)
    async with running() as server:
        assert await exchange(server.port, b"GET /livez HT", seconds=30.0) == b""
        first = LIVE.replace(b"Connection: close\r\n", b"")
        assert (await exchange(server.port, first + b"GET /li", seconds=30.0)).count(b"HTTP/1.1") == 1
        head = request("POST /api/v1/nodes", "Content-Type: application/json", "Content-Length: 100", body=b"{")
        code, body = status_of(await exchange(server.port, head, seconds=0.5))
        assert (code, body["reason"]) == (504, "Timeout")


async def test_a_body_that_is_broken_off_makes_nothing(server: Running) -> None:
    head = request("POST /api/v1/nodes", "Content-Type: application/json", "Content-Length: 100", body=b"{")
    assert await exchange(server.port, head, ends=True, seconds=2.0) == b""
    assert (await server.ask("GET", "/api/v1/nodes"))[1]["items"] == []


async def test_the_log_names_what_was_made_and_no_name_fills_it(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "k3.server.access.audit")
    await server.made("web1")
    assert (await server.ask("POST", "/api/v1/nodes", NODE))[0] == 409
    assert (await server.ask("DELETE", f"/api/v1/nodes/{'a' * 9_000}"))[0] == 404
    objects = [record.fields["object"] for record in caplog.records]  # type: ignore[attr-defined]
    assert objects == ["nodes/web1", "nodes/web1", f"nodes/{'a' * 253}..."]
