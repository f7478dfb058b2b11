"""A small server that stands behind the gate as the real one does: real sockets, a real TLS context, a real store of tokens."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from k3.server.access import audit
from k3.server.access.authenticate import Authenticator, Connection
from k3.server.access.bounds import Bounds
from k3.server.access.gate import Gate
from k3.server.access.loopback import Loopback
from k3.server.access.roles import Attempt
from k3.server.access.settings import LoopbackWrites
from k3.server.access.tokens import Made, Token
from k3.server.status import Refused

NODES = {
    "kind": "NodeList",
    "apiVersion": "v1",
    "metadata": {"resourceVersion": "5"},
    "items": [{"metadata": {"name": "web1", "labels": {}, "uid": "u", "resourceVersion": "4"}, "spec": {}, "status": {}}],
}
VERBS = {"GET": "list", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(slots=True)
class Wire:
    """One listener. What was refused, by code, is kept."""

    tokens: dict[str, Made] = field(default_factory=dict)
    writes: LoopbackWrites = "owner"
    bounds: Bounds = field(default_factory=Bounds)
    port: int = 0

    def add(self, made: Made) -> Made:
        self.tokens[made.token.id] = made
        return made

    @asynccontextmanager
    async def listening(self, host: str, tls: ssl.SSLContext | None = None) -> AsyncIterator["Wire"]:
        def find(id_: str) -> Token | None:
            return self.tokens[id_].token if id_ in self.tokens else None

        gate = Gate(Authenticator(find, now=lambda: datetime.now(UTC)), self.bounds, clock=lambda: 0.0)
        loopback = None if tls else Loopback(self.writes)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return answered(gate, connection_of(request, loopback), request)

        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, 0, ssl_context=tls)
            await site.start()
            self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()


def connection_of(request: web.BaseRequest, loopback: Loopback | None) -> Connection:
    transport = request.transport
    assert transport is not None
    client, server = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    return Connection(
        address=client[0],
        certificate=transport.get_extra_info("peercert"),
        local=loopback.user(client[:2], server[:2]) if loopback else None,
    )


def answered(gate: Gate, connection: Connection, request: web.BaseRequest) -> web.Response:
    try:
        entered = gate.enter(connection, request.headers.items())
        try:
            attempt = attempt_of(request)
            entered.check(attempt)
            if request.method not in {"GET", "HEAD"}:
                audit.write(entered.user, attempt, address=entered.address, code=200, dry_run=False)
            return web.json_response(entered.user.info() if request.path == "/api/whoami" else NODES)
        finally:
            entered.leave()
    except Refused as refused:
        retry = (refused.details or {}).get("retryAfterSeconds")
        headers = {"Retry-After": str(retry)} if retry else {}
        return web.json_response(refused.status(), status=refused.code, headers=headers)


def attempt_of(request: web.BaseRequest) -> Attempt:
    parts = request.path.strip("/").split("/")
    if parts[:3] == ["api", "v1", "nodes"]:
        return Attempt(verb=VERBS[request.method], resource="nodes", name=parts[3] if len(parts) > 3 else "")
    return Attempt(verb=request.method.lower(), path=request.path)
