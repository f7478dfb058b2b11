"""Machines that a test registers in Consul, and what it does to them there."""

from typing import Any

from k3.discovery.consul import Consul


def plain_service(name: str, **more: Any) -> dict[str, Any]:
    """A machine without a check of its own: it is as well as its Consul agent."""
    made = {
        "Name": "k3-node",
        "ID": f"k3-node-{name}",
        "Address": "10.0.0.7",
        "Port": 7946,
        "Meta": {"node": name, "pid": "42"},
    }
    return {**made, **more}


def ttl_service(name: str, **more: Any) -> dict[str, Any]:
    """A machine whose check a test sets by hand."""
    check = {"CheckID": f"check-{name}", "TTL": "10m", "Status": "passing"}
    return plain_service(name, **{"Check": check, **more})


async def put(consul: Consul, path: str) -> None:
    await consul._sender.call("PUT", path)


async def set_check(consul: Consul, name: str, status: str) -> None:
    await put(consul, f"/v1/agent/check/{status}/check-{name}")
