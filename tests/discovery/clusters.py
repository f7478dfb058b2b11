"""Consul as people run it where it matters: three servers with a leader, and two datacenters joined over a WAN."""

import asyncio
import contextlib
import functools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from k3.discovery.consul import Consul
from tests.lab import Host, Lan
from tests.needs import require
from tests.servers import Server, consul_agent
from tests.servers.consul import closed_ports
from tests.servers.server import Site

SIZE: Final = 3


class Cluster:
    """Three servers. Each keeps its data and its place when it is killed and started again."""

    def __init__(self, servers: list[Server], rpc: list[str], addresses: list[str], hosts: list[Host | None]) -> None:
        self.servers = servers
        self._rpc = rpc
        self._addresses = addresses
        self._hosts = hosts

    def address(self, server: Server) -> str:
        """Where the test reaches its HTTP API: in a laboratory a Unix socket, which no cut concerns."""
        return self._addresses[self.servers.index(server)]

    def host(self, server: Server) -> Host:
        """Its host in the laboratory."""
        host = self._hosts[self.servers.index(server)]
        assert host is not None
        return host

    def leader(self) -> Server:
        """Who leads, as any server that is up has it."""
        for server in self.servers:
            known = json.loads(server.site.get(f"{server.endpoint}/v1/status/leader") or '""')
            if known:
                return self.servers[self._rpc.index(known)]
        msg = "no server leads"
        raise AssertionError(msg)

    def followers(self) -> list[Server]:
        """All others."""
        leader = self.leader()
        return [server for server in self.servers if server is not leader]

    async def kill(self, *servers: Server) -> None:
        """At once and together, as `kill -9`."""
        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                tasks.create_task(asyncio.to_thread(server.close))

    async def restart(self, *servers: Server) -> None:
        """Start them again, on the data they left."""
        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                tasks.create_task(asyncio.to_thread(server.start))


@contextlib.contextmanager
def three_servers(lan: Lan | None = None, *, cleans_up: bool = False, patience: int = 3) -> Iterator[Cluster]:
    """A cluster of servers `s0` to `s2`, all of which know each other and a leader: on loopback, or each on a host of its own.

    `cleans_up`: as by default, a leader takes a server that fell silent out of the catalog, with all its services.
    `patience`: how long it is only suspected, in the unit of Consul's `suspicion_mult`.
    """
    require("consul")
    hosts = [lan.host(f"s{number}") if lan else None for number in range(SIZE)]
    sites = [Site(lan, host) for host in hosts]
    ports = [{name: site.free_port() for name in ("http", "serf_lan", "serf_wan", "server")} for site in sites]
    joined = [f"{site.address}:{own['serf_lan']}" for site, own in zip(sites, ports, strict=True)]
    with tempfile.TemporaryDirectory(prefix="k3-consul-") as folder, contextlib.ExitStack() as stack:
        servers: list[Server] = []
        for number, (site, own) in enumerate(zip(sites, ports, strict=True)):
            settings = {
                "node_name": f"s{number}",
                "data_dir": f"{folder}/s{number}",
                "addresses": {"http": f"{site.address} unix://{folder}/{number}"},
                "ports": {**closed_ports(), **own},
                "retry_join": joined,
                "autopilot": {"cleanup_dead_servers": cleans_up},
                # By default a server that fell silent is noticed within twenty seconds, not within two.
                "gossip_lan": {"probe_interval": "200ms", "probe_timeout": "100ms", "suspicion_mult": patience},
                **_settings(site),
            }
            file = Path(folder, f"s{number}.json")
            file.write_text(json.dumps(settings), encoding="utf-8")
            # The others answer only once there is a quorum: waiting for each in turn would wait for ever.
            ready = functools.partial(_lists_all, site, own["http"]) if number == SIZE - 1 else _at_once
            servers.append(Server("consul", site, ["consul", "agent", f"-config-file={file}"], port=own["http"], ready=ready))
            stack.callback(servers[-1].close)
        for server in servers:
            server._ready = _at_once
        rpc = [f"{site.address}:{own['server']}" for site, own in zip(sites, ports, strict=True)]
        addresses = [f"unix://{folder}/{n}" if lan else server.endpoint for n, server in enumerate(servers)]
        yield Cluster(servers, rpc, addresses, hosts)


def _settings(site: Site) -> dict[str, Any]:
    return {
        "bind_addr": site.address,
        "client_addr": site.address,
        "server": True,
        "bootstrap_expect": SIZE,
        "retry_interval": "1s",
        "disable_update_check": True,
        "leave_on_terminate": False,
        "log_level": "WARN",
        "performance": {"raft_multiplier": 1},
    }


def _at_once() -> bool:
    return True


def _lists_all(site: Site, port: int) -> bool:
    listed = json.loads(site.get(f"http://{site.address}:{port}/v1/catalog/nodes") or "[]")
    return len(listed) == SIZE


@dataclass(frozen=True, slots=True)
class Federation:
    """One server in each of `dc1` (near) and `dc2` (far), and the addresses of their HTTP APIs.

    In a laboratory these are Unix sockets, which lead out of the namespaces and are not part of what is cut.
    """

    near: Server
    far: Server
    near_address: str
    far_address: str
    far_host: Host | None = None


@contextlib.contextmanager
def two_datacenters(lan: Lan | None = None) -> Iterator[Federation]:
    """On loopback, or each on a host of its own."""
    hosts = (lan.host("near"), lan.host("far")) if lan else (None, None)
    with tempfile.TemporaryDirectory(prefix="k3-consul-") as folder, contextlib.ExitStack() as stack:
        servers: list[Server] = []
        for number, host in enumerate(hosts):
            site = Site(lan, host)
            config: dict[str, Any] = {
                "addresses": {"http": f"{site.address} unix://{folder}/{number}"},
                "performance": {"raft_multiplier": 1, "leave_drain_time": "100ms"},
            }
            if servers:
                config |= {"retry_join_wan": [_wan(servers[0])], "retry_interval_wan": "1s"}
            name = ("near", "far")[number]
            agent = consul_agent(node=name, datacenter=f"dc{number + 1}", config=config, lan=lan if host else None, host=host)
            servers.append(stack.enter_context(agent))
        addresses = [f"unix://{folder}/{n}" if lan else server.endpoint for n, server in enumerate(servers)]
        yield Federation(servers[0], servers[1], addresses[0], addresses[1], hosts[1])


async def lists_both(consul: Consul) -> bool:
    """Whether this agent knows of both datacenters."""
    return set(await consul.catalog.datacenters()) == {"dc1", "dc2"}


def _wan(server: Server) -> str:
    self_ = json.loads(server.site.get(f"{server.endpoint}/v1/agent/self"))
    return f"{server.address}:{self_['DebugConfig']['SerfPortWAN']}"
