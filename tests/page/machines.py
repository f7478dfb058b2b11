"""Nodes as k3 writes them, and as others do, for a page to show."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from k3.core.objects import Manifest
from k3.core.times import timestamp

_READY: Final = {"True": "PeerAlive", "False": "PeerUnreachable", "Unknown": "ObserverLost"}
_MESSAGES: Final = {
    "PeerAlive": "10.0.0.7:7946 answered",
    "PeerUnreachable": "10.0.0.7:7946 has not answered for 90 s",
    "ObserverLost": "no sign of life for 90 s, and nobody who could ask",
}


def stamp(seconds_ago: float = 0.0) -> str:
    """Returns a time stamp as k3 writes it."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def machine(
    name: str, *, ready: str = "True", seen: float = 3.0, address: str = "10.0.0.7", age: float = 86_400.0, **labels: str
) -> Manifest:
    """Returns a Node of network's: `seen` and `age` in seconds; `labels` have `__` for `/` and `_` for `.`."""
    reason = _READY[ready]
    named = {key.replace("__", "/").replace("_", "."): text for key, text in labels.items()}
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": reason,
        "message": _MESSAGES[reason],
        "lastHeartbeatTime": timestamp(datetime.now(UTC) - timedelta(seconds=seen)),
        "lastTransitionTime": timestamp(datetime.now(UTC) - timedelta(seconds=age)),
    }
    notes = {"lastSeen": stamp(seen), "seen-by": name, "seen-run": f"run-{name}", "peer-ttl": "90s", "port": "7946", "id": name}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "k3.network/managed": "true",
                "k3.network/discovered": "true",
                "kubernetes.io/hostname": name[:63],
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
                **named,
            },
            "annotations": {f"k3.network/{key}": text for key, text in notes.items()},
        },
        "status": {
            "addresses": [{"type": "Hostname", "address": name[:63]}, {"type": "InternalIP", "address": address}],
            "conditions": [condition],
            "nodeInfo": {"architecture": "amd64", "operatingSystem": "linux", "kernelVersion": "6.1.0-18-amd64"},
        },
    }


def with_condition(node: Manifest, type_: str, status: str, reason: str, message: str = "") -> Manifest:
    """Returns a Node with one more condition."""
    added = {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": stamp()}
    node["status"]["conditions"].append(added)
    return node


def of_a_controller(name: str, *, ready: str = "True") -> Manifest:
    """Returns a Node of a kubelet's."""
    node = machine(name, ready=ready)
    node["metadata"]["labels"] = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "rack2"}
    node["metadata"]["annotations"] = {}
    node["status"]["nodeInfo"]["kubeletVersion"] = "v1.37.0"
    node["status"]["conditions"][0] |= {"reason": "KubeletReady", "message": "kubelet is posting ready status"}
    return node


def event(node: str, number: int, reason: str, *, ago: float, message: str = "") -> dict[str, Any]:
    """Returns an Event about a Node."""
    at = timestamp(datetime.now(UTC) - timedelta(seconds=ago))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{node}.{number}", "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node},
        "reason": reason,
        "message": message or reason,
        "type": "Normal" if reason in {"Registered", "NodeReady"} else "Warning",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": "k3"},
    }


def crowd(count: int) -> list[Manifest]:
    """Returns many machines, one in a hundred of them not well."""
    found = []
    for number in range(count):
        ready = {7: "False", 57: "Unknown"}.get(number % 100, "True")
        address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        seen = 3.0 + number % 20 if ready == "True" else 400.0
        zone = f"rack{number % 12 + 1}"
        found.append(machine(f"web{number}", ready=ready, seen=seen, address=address, topology_kubernetes_io__zone=zone))
    return found
