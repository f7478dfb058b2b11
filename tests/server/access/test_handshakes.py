"""Clients with which there is no TLS handshake: each is named with what it needs, and the server goes on."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from k3.agent.listener import MEANWHILE, Listener, Tls, listening_socket
from k3.agent.refusals import Trouble
from k3.server.access import handshakes
from k3.server.access.certificates import Certificates
from k3.server.access.settings import AccessSettings
from k3.settings.listen import Listen
from tests.lab.waiting import until_so


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@contextlib.asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[tuple[int, str]]:
    """A port that speaks TLS to whom it can, and the CA to trust."""
    context = Certificates(AccessSettings(listen=Listen("", 8443), tls=True), folder, frozenset()).context()
    sock = listening_socket("127.0.0.1", 0)
    tls = Tls(context=context, handshake_seconds=1.0, failed=handshakes.told)
    trouble = Trouble(logging.getLogger(__name__), "test.refused", MEANWHILE)
    listener = Listener(sock, lambda _: Greeter(), trouble=trouble, tls=tls)
    try:
        yield sock.getsockname()[1], str(folder / "server" / "ca.crt")
    finally:
        listener.close()
        await asyncio.sleep(0)


async def spoken(port: int, sent: bytes) -> None:
    """Says this, and hangs up once the server has."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(sent)
        if not sent:
            writer.write_eof()
        await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def greeted(port: int, context: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.1")
    try:
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n", "use https://"),
        (b"\0" * 64, "not TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not TLS"),
        (b"", "it hung up"),
    ],
)
async def test_what_is_no_handshake(tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: bytes, why: str) -> None:
    async with listening(tmp_path) as (port, ca):
        await spoken(port, sent)
        await until_so(lambda: caplog.records)
        assert await greeted(port, ssl.create_default_context(cafile=ca)) == b"hello"
    assert_said(caplog, why)


def refused(port: int) -> None:
    """A client of another CA, which says so before it hangs up, as curl and kubectl do."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(sock, server_hostname="127.0.0.1")


async def test_a_client_that_does_not_trust_the_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(tmp_path) as (port, ca):
        await asyncio.to_thread(refused, port)
        await until_so(lambda: caplog.records)
        assert await greeted(port, ssl.create_default_context(cafile=ca)) == b"hello"
    assert_said(caplog, "does not trust this server's certificate")


async def test_a_client_that_says_nothing_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(tmp_path) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
    assert_said(caplog, "sent nothing")


def assert_said(caplog: pytest.LogCaptureFixture, why: str) -> None:
    [said] = [record for record in caplog.records if record.name.startswith("k3")]
    assert said.getMessage() == "api.no_handshake"
    fields = vars(said)["fields"]
    assert fields["from"] == "127.0.0.1"
    assert why in fields["why"]
