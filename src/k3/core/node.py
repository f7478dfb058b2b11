"""Reading and building a `v1 Node`: addresses, conditions, labels and annotations, and nothing about when to write them.

Reading never fails: Nodes come from kubelets, people and other programs, and an odd field reads as absent. Pure.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from k3.core import limits, name_rules, phrases
from k3.core.addresses import Address, parse_address
from k3.core.documents import UNREADABLE
from k3.core.objects import Manifest, Object
from k3.core.observation import Evidence
from k3.core.records import dataclass
from k3.core.sources import NETWORK, SOURCES, labelled, prefix_of
from k3.core.times import seconds, timestamp

READY: Final = "Ready"
REACHABLE: Final = NETWORK.prefix + "Reachable"
CLONED: Final = NETWORK.prefix + "Cloned"
"""Condition of a Node whose machine shares its machine id and hardware address with another one."""


def valid_name(name: str) -> bool:
    """Whether Kubernetes takes this as a Node's name (RFC 1123 subdomain, dots allowed, at most 253 bytes)."""
    return not name_rules.subdomain(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of `status.conditions`."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    transition: str = ""
    heartbeat: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A Node as k3's own logic sees it. Texts are empty and numbers 0 where the Node does not say."""

    name: str
    owner: str | None
    """The name of the source (`k3.core.sources`) that manages it; None: a controller or a person does."""
    ready: Condition | None
    reachable: Condition | None
    addresses: tuple[str, ...]
    """InternalIP addresses."""
    id: str
    boot: str
    agent: str
    links: tuple[str, ...]
    last_seen: str
    seen_by: str
    seen_run: str
    """The boot id of the agent that wrote `last_seen`."""
    port: int
    pid: int
    peer_ttl_seconds: float
    annotations: dict[str, str] = field(repr=False, compare=False)

    @property
    def is_ready(self) -> bool:
        """Whether Ready is True."""
        return self.ready is not None and self.ready.status == "True"

    @property
    def is_reachable(self) -> bool:
        """Whether no observer suspects it."""
        return self.reachable is None or self.reachable.status != "False"

    @property
    def is_unknown(self) -> bool:
        """Whether it is not known how it is, and no observer says that it did not answer."""
        return self.ready is not None and self.ready.status == "Unknown" and self.is_reachable

    @property
    def is_unreadable(self) -> bool:
        """Whether it stands for an object that cannot be read: no source's, and its Ready says why."""
        return self.owner is None and self.ready is not None and self.ready.reason == UNREADABLE

    @property
    def is_unproven(self) -> bool:
        """Announced, shown by one of k3's agents, and never once reached."""
        return self.owner is not None and not self.last_seen and bool(self.seen_by)

    @property
    def is_former(self) -> bool:
        """Whether k3 network was stopped under this name, or the machine goes by another one now."""
        ready = self.ready
        return ready is not None and (ready.reason in phrases.STOPPED_REASONS or phrases.is_renamed(ready.message))

    @property
    def evidence(self) -> Evidence:
        """What an observation formed now stands against."""
        ready = f"{self.ready.status} {self.ready.reason} {self.ready.transition}" if self.ready else ""
        return Evidence(self.last_seen, self.agent, ready, self.reachable.status if self.reachable else "")


def view(item: Object) -> NodeView:
    """Read a stored Node."""
    return view_manifest(item.key.name, item.manifest())


def view_manifest(name: str, manifest: Manifest) -> NodeView:
    """Read a Node's manifest."""
    notes = _texts(_mapping(manifest.get("metadata")).get("annotations"))
    status = _mapping(manifest.get("status"))
    owner = labelled(manifest)
    prefix, get = prefix_of(owner), notes.get
    return NodeView(
        name=name,
        owner=owner,
        ready=condition(manifest, READY),
        reachable=condition(manifest, REACHABLE),
        addresses=tuple([address for kind, address in addresses(status) if kind == "InternalIP"]),
        id=get(f"{prefix}id", ""),
        boot=get(f"{prefix}boot", ""),
        agent=get(f"{prefix}agent", ""),
        links=tuple([link for link in get(f"{prefix}links", "").split(",") if link])[: limits.LINKS],
        last_seen=get(f"{prefix}lastSeen", ""),
        seen_by=get(f"{prefix}seen-by", ""),
        seen_run=get(f"{prefix}seen-run", ""),
        port=whole_number(get(f"{prefix}port", ""), 1, limits.PORT),
        pid=whole_number(get(f"{prefix}pid", ""), 1, limits.PID),
        peer_ttl_seconds=seconds(get(f"{prefix}peer-ttl", "")),
        annotations=notes,
    )


def kubelet_version(manifest: Manifest) -> str:
    """`status.nodeInfo.kubeletVersion`: set means that a kubelet lives there."""
    version = _mapping(_mapping(manifest.get("status")).get("nodeInfo")).get("kubeletVersion")
    return version if isinstance(version, str) else ""


def condition(manifest: Manifest, type_: str) -> Condition | None:
    """The last condition of a type, which is the one that `kubectl` shows, or None."""
    if (entry := _condition(manifest, type_)) is None:
        return None
    return Condition(
        type=type_,
        status=_text(entry, "status"),
        reason=_text(entry, "reason"),
        message=_text(entry, "message"),
        transition=_text(entry, "lastTransitionTime"),
        heartbeat=_text(entry, "lastHeartbeatTime"),
    )


def condition_status(manifest: Manifest, type_: str) -> str | None:
    """The status of the last condition of a type, or None."""
    if (entry := _condition(manifest, type_)) is None:
        return None
    status = entry.get("status")
    return status if isinstance(status, str) else ""


def _condition(manifest: Manifest, type_: str) -> dict[str, Any] | None:
    found = _mapping(manifest.get("status")).get("conditions")
    for entry in reversed(found) if isinstance(found, list) else ():
        if isinstance(entry, dict) and entry.get("type") == type_:
            return entry
    return None


def set_condition(manifest: Manifest, type_: str, *, status: str, reason: str, message: str, now: datetime) -> None:
    """Put a condition in place, the only one of its type; its transition time moves only with its status."""
    former = condition(manifest, type_)
    stamp = timestamp(now)
    moved = former is None or former.status != status or not former.transition
    entry: dict[str, Any] = {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp if moved or former is None else former.transition,
    }
    part = _status(manifest)
    conditions = _entries(part.get("conditions"))
    places = [n for n, each in enumerate(conditions) if each.get("type") == type_]
    if places:
        conditions[places[-1]] = {**conditions[places[-1]], **entry}
    else:
        conditions.append(entry)
    part["conditions"] = [each for n, each in enumerate(conditions) if n not in places[:-1]]


_INFO_FIELDS = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


def addresses(status: Manifest) -> list[tuple[str, str]]:
    """`status.addresses` as (type, address)."""
    found = []
    for entry in _entries(status.get("addresses")):
        kind, address = entry.get("type"), entry.get("address")
        if isinstance(kind, str) and isinstance(address, str):
            found.append((kind, address))
    return found


def first_address(manifest: Manifest, kind: str) -> str:
    """The first address of a type, or an empty text."""
    listed = _mapping(manifest.get("status")).get("addresses")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict) and entry.get("type") == kind and isinstance(entry.get("address"), str):
            return str(entry["address"])
    return ""


def set_addresses(manifest: Manifest, hostname: str, internal: Iterable[str]) -> None:
    """Put Hostname and InternalIP addresses first; entries of other types stay behind them."""
    part = _status(manifest)
    others = [e for e in _entries(part.get("addresses")) if e.get("type") not in {"Hostname", "InternalIP"}]
    wanted = [{"type": "Hostname", "address": hostname}]
    wanted += [{"type": "InternalIP", "address": address} for address in publishable(internal)]
    part["addresses"] = wanted + others


def set_info(manifest: Manifest, known: Mapping[str, str]) -> None:
    """Put `status.nodeInfo`: what is known, and what else is there. All ten fields are there, since typed clients want them.

    `kubeletVersion` stays empty: one that is set says that a kubelet has taken over.
    """
    part = _status(manifest)
    part["nodeInfo"] = {**dict.fromkeys(_INFO_FIELDS, ""), **_mapping(part.get("nodeInfo")), **known}


def publishable(internal: Iterable[str]) -> list[str]:
    """Addresses worth writing: IPv4 before IPv6, each once, none that only a link or a host can use."""
    parsed = [ip for ip in map(parse_address, internal) if ip is not None and not _local(ip)]
    ordered = sorted(dict.fromkeys(parsed), key=lambda ip: ip.version)
    return [str(ip) for ip in ordered[: limits.PEER_ADDRESSES]]


@lru_cache(maxsize=32_768)
def _local(ip: Address) -> bool:
    only_link = ip.version == 6 and ip.is_link_local  # noqa: PLR2004 - the IP version
    return only_link or ip.is_loopback or ip.is_multicast or ip.is_unspecified


def whole_number(text: str, low: int, high: int) -> int:
    """A decimal number within bounds, else 0."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(high))):
        return 0
    number = int(text)
    return number if low <= number <= high else 0


def _status(manifest: Manifest) -> dict[str, Any]:
    """The status of a manifest, to be written into."""
    found = manifest.get("status")
    part: dict[str, Any] = found if isinstance(found, dict) else {}
    manifest["status"] = part
    return part


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _entries(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(entry: dict[str, Any], key: str) -> str:
    text = entry.get(key)
    return text if isinstance(text, str) else ""


def _texts(value: object) -> dict[str, str]:
    found = _mapping(value)
    if {*map(type, found), *map(type, found.values())} <= {str}:  # nearly all are; this is a tenth of the time
        return found.copy()
    return {key: text for key, text in found.items() if isinstance(key, str) and isinstance(text, str)}


def unobserved_seconds(seen: NodeView) -> float:
    """Twice the time between two refreshes, at the most, of a Node; infinite for one that k3 does not manage."""
    return 2 * (seen.peer_ttl_seconds or SOURCES[seen.owner].refresh_seconds) if seen.owner else math.inf
