"""Consul: a server of one (on disk, so that it survives a restart, or in memory), or a client of another."""

import contextlib
import functools
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.lab import Host, Lan
from tests.needs import find, require
from tests.servers.server import Server, Site

GRPC_TLS_SINCE: Final = (1, 14)


@contextlib.contextmanager
def consul_agent(
    *,
    node: str = "consul",
    datacenter: str = "dc1",
    config: Mapping[str, Any] | None = None,
    join: str = "",
    dev: bool = False,
    lan: Lan | None = None,
    host: Host | None = None,
) -> Iterator[Server]:
    """An agent whose HTTP API is `server.endpoint`, once it knows a leader and has listed itself.

    `join`: the `serf` address of a server, which makes this a client. `dev`: it forgets everything when it ends. `config`
    is merged over the configuration.
    """
    require("consul")
    site = Site(lan, host)
    ports = {name: site.free_port() for name in ("http", "serf_lan", "serf_wan", "server")}
    with tempfile.TemporaryDirectory(prefix="k3-consul-") as folder, contextlib.ExitStack() as stack:
        settings = _settings(site, node=node, datacenter=datacenter, ports=ports)
        if not dev:
            settings |= {"data_dir": f"{folder}/data"}
            settings |= {"retry_join": [join], "retry_interval": "1s"} if join else {"server": True, "bootstrap_expect": 1}
        file = Path(folder, "agent.json")
        file.write_text(json.dumps({**settings, **(config or {})}), encoding="utf-8")
        base = f"http://{site.address}:{ports['http']}"
        server = Server(
            "consul",
            site,
            ["consul", "agent", *(["-dev"] if dev else []), f"-config-file={file}"],
            port=ports["http"],
            ready=lambda: node in site.get(f"{base}/v1/catalog/nodes?dc={datacenter}"),
        )
        stack.callback(server.close)
        yield server


def serf(server: Server) -> str:
    """Where other agents join a server: `127.0.0.1:20001`."""
    self_ = json.loads(server.site.get(f"{server.endpoint}/v1/agent/self"))
    return f"{server.address}:{self_['DebugConfig']['SerfPortLAN']}"


@functools.cache
def consul_version() -> tuple[int, int]:
    """Of the Consul that is tested with, as (1, 8)."""
    done = subprocess.run([find("consul") or "consul", "version"], capture_output=True, text=True, check=True)
    major, minor = re.findall(r"\d+", done.stdout)[:2]
    return int(major), int(minor)


def closed_ports() -> dict[str, int]:
    """The ports that no test needs, as this version of Consul calls them. Two agents of one machine would fight over them."""
    names = ["dns", "https", "grpc", *(["grpc_tls"] if consul_version() >= GRPC_TLS_SINCE else [])]
    return dict.fromkeys(names, -1)


def _settings(site: Site, *, node: str, datacenter: str, ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        "node_name": node,
        "datacenter": datacenter,
        "bind_addr": site.address,
        "client_addr": site.address,
        "ports": {**closed_ports(), **ports},
        "disable_update_check": True,
        "leave_on_terminate": False,
        "log_level": "WARN",
        # The default suits a busy cluster; a lone server need not wait seconds to elect itself.
        "performance": {"raft_multiplier": 1},
    }
