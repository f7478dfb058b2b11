"""Nodes of one moment, with Events of the time before it, as k3 writes them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from k3.core.times import precise_timestamp, timestamp

NOW: Final = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def ready(
    status: str, since: datetime, reason: str = "PeerAlive", message: str = "answered its identity probe"
) -> dict[str, Any]:
    """A Ready condition."""
    stamp = timestamp(since)
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
    }


def machine(
    name: str,
    *conditions: Mapping[str, Any],
    now: datetime = NOW,
    seen_ago: float = 5.0,
    notes: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A Node of k3 network's, seen so many seconds ago."""
    own = {
        "k3.network/lastSeen": precise_timestamp(now - timedelta(seconds=seen_ago)),
        "k3.network/seen-by": "hub",
        "k3.network/seen-run": "run-of-hub",
        "k3.network/port": "7946",
        "k3.network/pid": "4711",
        "k3.network/id": "5f0a1c9b7e2d4a68",
        "k3.network/boot": f"run-of-{name}",
        "k3.network/agent": f"run-of-{name}",
        "k3.network/links": "10.0.0.0/24,fd00:1::/64",
        "k3.network/peer-ttl": "90s",
        "k3.network/transitions": "7",
    }
    kept = {"k3.network/managed": "true", "k3.network/discovered": "true", "kubernetes.io/hostname": name}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**kept, **(labels or {})}, "annotations": {**own, **(notes or {})}},
        "spec": {},
        "status": {
            "conditions": list(conditions) or [ready("True", now - timedelta(days=40))],
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "10.0.0.7"}],
            "nodeInfo": {
                "osImage": "Debian GNU/Linux 12 (bookworm)",
                "kernelVersion": "6.1.0-44-amd64",
                "architecture": "amd64",
            },
            "capacity": {"cpu": "4", "memory": "16312384Ki"},
        },
    }


def event(
    name: str,
    number: int,
    reason: str,
    at: datetime,
    message: str = "",
    *,
    reporter: str = "k3-network",
    uid: str = "",
    revision: int = 0,
) -> dict[str, Any]:
    """An Event about a Node; `revision`: its place in the order of writing, its number where that is not said."""
    stamp = timestamp(at)
    about = {"apiVersion": "v1", "kind": "Node", "name": name} | ({"uid": uid} if uid else {})
    return {
        "metadata": {"name": f"{name}.{number % 64}", "namespace": "default", "resourceVersion": str(revision or number)},
        "involvedObject": about,
        "reason": reason,
        "message": message or reason,
        "type": "Warning" if reason in {"NodeNotReady", "NodeUnknown", "NameConflict"} else "Normal",
        "source": {"component": reporter},
        "reportingComponent": reporter,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
