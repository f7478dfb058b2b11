"""What the tests of the etcd backend share: a cluster, users, certificates, other programs' writes, and a cable to cut."""

import asyncio
import base64
import contextlib
import functools
import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from k3.core.errors import Unavailable
from k3.stores.etcd import EtcdStorage, open_store
from k3.stores.etcd.store import EtcdStore
from tests.needs import require
from tests.servers import Server
from tests.servers.server import Site

T = TypeVar("T")

HANG_SECONDS = 30.0


@contextlib.asynccontextmanager
async def opened(storage: EtcdStorage, **changes: Any) -> AsyncIterator[EtcdStore]:
    store = await open_store(replace(storage, **changes))
    assert isinstance(store, EtcdStore)
    try:
        yield store
    finally:
        await store.aclose()


async def until_it_works(call: Callable[[], Awaitable[T]], *, guard_seconds: float = HANG_SECONDS) -> T:
    """The result, once Unavailable is over."""
    async with asyncio.timeout(guard_seconds):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.02)


def gateway(server: Server, path: str, body: object, *, token: str = "") -> dict[str, Any]:
    """A call as another program makes it, through etcd's JSON gateway."""
    request = urllib.request.Request(f"{server.endpoint}/v3/{path}", data=json.dumps(body).encode())  # noqa: S310 - our own server
    if token:
        request.add_header("Authorization", token)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        answered: dict[str, Any] = json.loads(answer.read())
    return answered


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def put(server: Server, key: str, value: str | bytes) -> None:
    gateway(server, "kv/put", {"key": encoded(key), "value": encoded(value)})


def read(server: Server, key: str) -> bytes | None:
    kvs = gateway(server, "kv/range", {"key": encoded(key)}).get("kvs", [])
    return base64.b64decode(kvs[0].get("value", "")) if kvs else None


def add_users(server: Server, prefix: str) -> None:
    """`root`, `k3` with all rights on the prefix, `reader` who may only read there, `nobody`; then demand logins.

    Every password is the name and `-secret`.
    """
    for user in ("root", "k3", "reader", "nobody"):
        gateway(server, "auth/user/add", {"name": user, "password": f"{user}-secret"})
    span = {"key": encoded(f"{prefix}/"), "range_end": encoded(f"{prefix}0")}
    for role, kind in (("root", None), ("k3", "READWRITE"), ("reader", "READ")):
        gateway(server, "auth/role/add", {"name": role})
        if kind:
            gateway(server, "auth/role/grant", {"name": role, "perm": {"permType": kind, **span}})
        gateway(server, "auth/user/grant", {"user": role, "role": role})
    gateway(server, "auth/enable", {})


def make_certificates(folder: Path) -> None:
    """`ca`, `stranger` (another CA), `server` for 127.0.0.1, `misnamed` for elsewhere, and `client`: each a .crt and a .key."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for ca in ("ca", "stranger"):
        _openssl(folder, "req", "-x509", *key, "-keyout", f"{ca}.key", "-out", f"{ca}.crt", "-subj", f"/CN={ca}", "-days", "2")
    names = {
        "server": "subjectAltName=IP:127.0.0.1",
        "misnamed": "subjectAltName=DNS:elsewhere",
        "client": "extendedKeyUsage=clientAuth",
    }
    for name, extension in names.items():
        sign(folder, name, extension)


def sign(folder: Path, name: str, extension: str) -> None:
    """A key, and its certificate by `ca`."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    (folder / f"{name}.ext").write_text(extension)
    _openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@contextlib.contextmanager
def tls_server(folder: Path, certificate: str, *, asks_clients: bool) -> Iterator[EtcdStorage]:
    """An etcd that speaks TLS, and storage settings without any certificate."""
    require("etcd")
    site = Site(None, None)
    port, peer_port, plain_port = site.free_port(), site.free_port(), site.free_port()
    client, peer, plain = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}", f"http://127.0.0.1:{plain_port}"
    extra = ["--client-cert-auth", f"--trusted-ca-file={folder}/ca.crt"] if asks_clients else []
    with tempfile.TemporaryDirectory(prefix="k3-etcd-") as data:
        argv = [
            *("etcd", f"--data-dir={data}", "--log-outputs=stderr", f"--listen-metrics-urls={plain}"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"),
            *(f"--cert-file={folder}/{certificate}.crt", f"--key-file={folder}/{certificate}.key", *extra),
        ]
        server = Server("etcd", site, argv, port=port, ready=lambda: '"true"' in site.get(f"{plain}/health"))
        try:
            yield EtcdStorage(endpoints=(client,), compact=False)
        finally:
            server.close()


@contextlib.contextmanager
def cluster(size: int) -> Iterator[list[Server]]:
    """Members of one etcd cluster, all up."""
    require("etcd")
    site = Site(None, None)
    ports = [(site.free_port(), site.free_port()) for _ in range(size)]
    members = ",".join(f"m{number}=http://127.0.0.1:{peer}" for number, (_, peer) in enumerate(ports))
    with tempfile.TemporaryDirectory(prefix="k3-etcd-") as data, contextlib.ExitStack() as stack:
        servers: list[Server] = []
        for number, (port, peer) in enumerate(ports):
            client = f"http://127.0.0.1:{port}"
            argv = [
                *("etcd", f"--name=m{number}", f"--data-dir={data}/{number}", "--log-outputs=stderr"),
                *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
                *(f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
                *(f"--initial-cluster={members}", "--heartbeat-interval=50", "--election-timeout=500"),
            ]
            # The others answer only once there is a quorum: waiting for each in turn would wait for ever.
            ready = functools.partial(_is_healthy, site, client) if number == size - 1 else _at_once
            servers.append(Server("etcd", site, argv, port=port, ready=ready))
            stack.callback(servers[-1].close)
        yield servers


def _at_once() -> bool:
    return True


def _is_healthy(site: Site, url: str) -> bool:
    return '"true"' in site.get(f"{url}/health")


def leader_of(servers: list[Server]) -> Server:
    """The member that leads."""
    for server in servers:
        with contextlib.suppress(OSError, urllib.error.URLError):
            status = gateway(server, "maintenance/status", {})
            if status.get("leader") == status["header"]["member_id"]:
                return server
    msg = "no member leads"
    raise AssertionError(msg)


class Cable:
    """A TCP port that leads to a server until it is cut."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listener: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.loses_answers = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def plug_in(self) -> None:
        self._listener = await asyncio.start_server(self._link, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._listener is not None
        self._listener.close()
        for link in self._links:
            link.transport.abort()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self._server.address, self._server.port)
        except OSError:
            writer.transport.abort()
            return
        self._links |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer, loses=lambda: False))
                group.create_task(_pump(far_reader, writer, loses=lambda: self.loses_answers))
        finally:
            self._links -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, loses: Callable[[], bool]) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            if not loses():
                writer.write(data)
                await writer.drain()
    writer.transport.abort()


@contextlib.asynccontextmanager
async def cable(server: Server) -> AsyncIterator[Cable]:
    plugged = Cable(server)
    await plugged.plug_in()
    try:
        yield plugged
    finally:
        await plugged.cut()
