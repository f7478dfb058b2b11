"""Nodes and Leases in the metrics of kube-state-metrics: its names, labels and types, for its dashboards and alerts. Pure.

Every family is rendered for one object at a time: what did not change need not be rendered again (`k3.server.metrics`). Of two
entries with the same labels the last one counts, since Prometheus takes each series once. Odd fields read as absent.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from k3.agent.metrics import Labels, head, sample
from k3.core import limits, node
from k3.core.objects import Manifest
from k3.core.records import dataclass
from k3.core.times import parse_timestamp
from k3.view.cells import entries, part, text_at, texts

Samples = Iterable[tuple[Labels, float]]

_ROLE: Final = "node-role.kubernetes.io/"
_STATUSES: Final = ("true", "false", "unknown")
_NO_LABEL_CHARACTER: Final = re.compile(r"[^a-zA-Z0-9_]")
_WORD_END: Final = re.compile(r"([a-z0-9])([A-Z])")
_QUANTITY: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)(n|u|m|k|[MGTPE]i?|Ki)?")
_FACTORS: Final[Mapping[str, float]] = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 10**3,
    **{unit: 10 ** (3 * power) for power, unit in enumerate("MGTPE", 2)},
    **{f"{unit}i": 2 ** (10 * power) for power, unit in enumerate("KMGTPE", 1)},
}


@dataclass(frozen=True, slots=True)
class Series:
    """One family: a number, or several, of each object."""

    name: str
    help: str
    samples: Callable[[Manifest], Samples]

    @property
    def head(self) -> str:
        """Returns the lines above all its samples."""
        return head(self.name, "gauge", self.help)


def rendered(families: Sequence[Series], identity: Labels, manifest: Manifest) -> tuple[bytes, ...]:
    """Returns the lines of one object in each family. `identity`: the labels that say which object it is."""
    return tuple(_lines(family, identity, manifest) for family in families)


def _lines(family: Series, identity: Labels, manifest: Manifest) -> bytes:
    found = {labels: value for labels, value in family.samples(manifest) if math.isfinite(value)}
    text = "".join([sample(family.name, (*identity, *labels), value) for labels, value in found.items()])
    return text.encode("utf-8", "replace")


def node_families(allowed_labels: Collection[str] = ()) -> tuple[Series, ...]:
    """Returns the families of Nodes. `allowed_labels`: which labels `kube_node_labels` shows, `*` for all; by default none."""
    return (
        Series("kube_node_created", "When a Node was made, in seconds since 1970.", _created),
        Series("kube_node_deletion_timestamp", "When the deletion of a Node was asked for, in seconds since 1970.", _deleted),
        Series("kube_node_info", "What a machine runs on.", _info),
        Series("kube_node_labels", "Labels of a Node.", lambda manifest: _labels(manifest, allowed_labels)),
        Series("kube_node_role", "The roles of a Node.", _roles),
        Series("kube_node_spec_taint", "The taints of a Node.", _taints),
        Series("kube_node_spec_unschedulable", "1 while a Node is cordoned.", _unschedulable),
        Series("kube_node_status_addresses", "The addresses of a Node.", _addresses),
        Series("kube_node_status_allocatable", "What a Node has for Pods.", lambda found: _resources(found, "allocatable")),
        Series("kube_node_status_capacity", "What a Node has in all.", lambda found: _resources(found, "capacity")),
        Series("kube_node_status_condition", "The conditions of a Node: 1 under the status they have.", _conditions),
    )


def _time(manifest: Manifest, *path: str) -> Samples:
    at = parse_timestamp(text_at(manifest, *path))
    return [((), int(at.timestamp()))] if at else []


def _created(manifest: Manifest) -> Samples:
    return _time(manifest, "metadata", "creationTimestamp")


def _deleted(manifest: Manifest) -> Samples:
    return _time(manifest, "metadata", "deletionTimestamp")


def _info(manifest: Manifest) -> Samples:
    info, spec = texts(part(manifest, "status", "nodeInfo")), texts(part(manifest, "spec"))
    internal = [address for kind, address in node.addresses(part(manifest, "status")) if kind == "InternalIP"]
    labels = (
        ("kernel_version", info.get("kernelVersion", "")),
        ("os_image", info.get("osImage", "")),
        ("container_runtime_version", info.get("containerRuntimeVersion", "")),
        ("kubelet_version", info.get("kubeletVersion", "")),
        ("kubeproxy_version", info.get("kubeProxyVersion", "")),
        ("provider_id", spec.get("providerID", "")),
        ("pod_cidr", spec.get("podCIDR", "")),
        ("system_uuid", info.get("systemUUID", "")),
        ("internal_ip", internal[-1] if internal else ""),  # of several the last, as kube-state-metrics has it
    )
    return [(labels, 1)]


def _labels(manifest: Manifest, allowed: Collection[str]) -> Samples:
    if not allowed:
        return []
    found = texts(part(manifest, "metadata", "labels"))
    shown = {key: found[key] for key in sorted(found) if "*" in allowed or key in allowed}
    return [(tuple(zip(label_names(shown, "label_"), shown.values(), strict=True)), 1)]


def label_names(keys: Iterable[str], prefix: str) -> list[str]:
    """Returns keys as names of labels, as kube-state-metrics writes them; those that would be the same are numbered."""
    names = [prefix + _WORD_END.sub(r"\1_\2", _NO_LABEL_CHARACTER.sub("_", key)).lower() for key in keys]
    met: dict[str, int] = {}
    told = []
    for name in names:
        met[name] = met.get(name, 0) + 1
        told.append(f"{name}_conflict{met[name]}" if names.count(name) > 1 else name)
    return told


def _roles(manifest: Manifest) -> Samples:
    keys = sorted(part(manifest, "metadata", "labels"))
    return [((("role", key[len(_ROLE) :]),), 1) for key in keys if key.startswith(_ROLE)]


def _taints(manifest: Manifest) -> Samples:
    taints = entries(part(manifest, "spec").get("taints"))
    return [(tuple((key, text_at(taint, key)) for key in ("key", "value", "effect")), 1) for taint in taints]


def _unschedulable(manifest: Manifest) -> Samples:
    return [((), int(part(manifest, "spec").get("unschedulable") is True))]


def _addresses(manifest: Manifest) -> Samples:
    found = node.addresses(part(manifest, "status"))
    return [((("type", kind), ("address", address)), 1) for kind, address in found]


def _conditions(manifest: Manifest) -> Samples:
    for condition in entries(part(manifest, "status").get("conditions")):
        type_, status = condition.get("type"), text_at(condition, "status").lower()
        if isinstance(type_, str):
            for each in _STATUSES:
                yield (("condition", type_), ("status", each)), int(each == status)


def _resources(manifest: Manifest, which: str) -> Samples:
    for resource, told in part(manifest, "status", which).items():
        unit, amount = _unit(resource), quantity(told)
        if unit and amount is not None:
            yield (("resource", _NO_LABEL_CHARACTER.sub("_", resource)), ("unit", unit)), amount


def _unit(resource: str) -> str:
    """Returns what a resource is counted in; empty for one that kube-state-metrics leaves out."""
    match resource:
        case "cpu":
            return "core"
        case "pods":
            return "integer"
        case "memory" | "storage" | "ephemeral-storage":
            return "byte"
    if resource.startswith(("hugepages-", "attachable-volumes-")):
        return "byte"
    is_extended = "/" in resource and "kubernetes.io/" not in resource and not resource.startswith("requests.")
    return "integer" if is_extended else ""


def quantity(told: Any) -> float | None:  # noqa: ANN401 - JSON
    """Returns an amount as Kubernetes writes it (`4`, `3500m`, `16Gi`, `1e3`) as a number; None for what is none."""
    if isinstance(told, int | float) and not isinstance(told, bool):
        return told
    if not isinstance(told, str) or len(told) > limits.QUANTITY_CHARACTERS:
        return None
    if (found := _QUANTITY.fullmatch(told)) is None:
        return None
    amount = float(found[1]) * _FACTORS.get(found[2], 1)
    return int(amount) if math.isfinite(amount) and amount.is_integer() else amount


def _owners(manifest: Manifest) -> Samples:
    holder, namespace = text_at(manifest, "spec", "holderIdentity"), text_at(manifest, "metadata", "namespace")
    for owner in entries(part(manifest, "metadata").get("ownerReferences")) or [{}]:
        kind, name = text_at(owner, "kind"), text_at(owner, "name")
        yield (("owner_kind", kind), ("owner_name", name), ("namespace", namespace), ("lease_holder", holder)), 1


def _renewed(manifest: Manifest) -> Samples:
    namespace = text_at(manifest, "metadata", "namespace")
    return [((("namespace", namespace),), value) for _, value in _time(manifest, "spec", "renewTime")]


LEASE_FAMILIES: Final = (
    Series("kube_lease_owner", "Whose a Lease is, and who holds it.", _owners),
    Series("kube_lease_renew_time", "When a Lease was last renewed, in seconds since 1970.", _renewed),
)
