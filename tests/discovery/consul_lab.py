"""Consul agents that `tests.servers.consul_agent` does not offer: locked by ACLs, speaking TLS, or in memory only."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from k3.core.errors import K3Error
from k3.discovery.consul import Consul
from tests.needs import require
from tests.servers.consul import closed_ports
from tests.servers.server import Server, Site

ROOT: Final = "8b1f0a1e-0000-4000-8000-000000000001"
LOCKED: Final[Mapping[str, Any]] = {
    "acl": {"enabled": True, "default_policy": "deny", "tokens": {"master": ROOT, "agent": ROOT}}
}


@contextlib.contextmanager
def special_agent(config: Mapping[str, Any] | None = None, *, https_port: int = 0, dev: bool = False) -> Iterator[Server]:
    """A server of one that has a leader. `dev`: it forgets everything when it ends."""
    require("consul")
    site = Site(None, None)
    ports = {name: site.free_port() for name in ("http", "serf_lan", "serf_wan", "server")}
    base = f"http://{site.address}:{ports['http']}"
    with tempfile.TemporaryDirectory(prefix="k3-consul-") as folder:
        settings = {
            "node_name": "consul",
            "bind_addr": site.address,
            "client_addr": site.address,
            "ports": {**closed_ports(), **ports, "https": https_port or -1},
            "disable_update_check": True,
            "log_level": "WARN",
            **({} if dev else {"server": True, "bootstrap_expect": 1, "data_dir": f"{folder}/data"}),
            "performance": {"raft_multiplier": 1},
            **(config or {}),
        }
        file = Path(folder, "agent.json")
        file.write_text(json.dumps(settings), encoding="utf-8")
        command = ["consul", "agent", *(["-dev"] if dev else []), f"-config-file={file}"]
        server = Server("consul", site, command, port=ports["http"], ready=lambda: ":" in site.get(f"{base}/v1/status/leader"))
        try:
            yield server
        finally:
            server.close()


async def eventually(condition: Callable[[], Awaitable[object]], *, guard_seconds: float = 30) -> None:
    """Ask until it holds; an error of Consul's counts as not yet."""
    async with asyncio.timeout(guard_seconds):
        while True:
            with contextlib.suppress(K3Error):
                if await condition():
                    return
            await asyncio.sleep(0.02)


async def entries(consul: Consul, service: str = "k3-node") -> list[dict[str, Any]]:
    """What Consul shows of a service, as it says it."""
    answer = await consul._sender.call("GET", f"/v1/health/service/{service}?stale&dc=dc1")
    found: list[dict[str, Any]] = json.loads(answer.body)
    return found


async def policy_token(root: Consul, rules: str) -> str:
    """The secret of a new token with these rules."""
    name = f"policy-{len(rules)}-{abs(hash(rules)) % 10**8}"
    body = json.dumps({"Name": name, "Rules": rules}).encode()
    # A server that has just started is "in legacy mode" for a moment.
    await eventually(lambda: root._sender.call("PUT", "/v1/acl/policy", body=body))
    answer = await root._sender.call("PUT", "/v1/acl/token", body=json.dumps({"Policies": [{"Name": name}]}).encode())
    return str(json.loads(answer.body)["SecretID"])
