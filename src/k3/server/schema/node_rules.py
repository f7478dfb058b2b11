"""Kubernetes' rules for a Node (`pkg/apis/core/validation`), in the order in which it applies them. Pure."""

import ipaddress
import re
from typing import Final

from k3.core import limits, name_rules
from k3.core.objects import Manifest
from k3.core.safe_text import quoted
from k3.server.schema import quantities
from k3.server.schema.complaints import Complaints

EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_FEATURE: Final = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*")
_FEATURE_RULE: Final = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' "
    "(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)
_FINALIZERS: Final = ("kubernetes", "orphan", "foregroundDeletion")
_POD_CIDR_KEPT: Final = 'node updates may not change podCIDR except from "" to valid'
_COUNTED: Final = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
"""Resources that are whole numbers; those of other vendors (`example.com/gpu`) are too."""


def check(found: Complaints, node: Manifest) -> None:
    """Notes what is wrong with a Node, beside its metadata."""
    for index, finalizer in enumerate(node["metadata"].get("finalizers") or []):
        if "/" not in finalizer and finalizer not in _FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            found.invalid(f"metadata.finalizers[{index}]", finalizer, why)
    _check_taints(found, node)
    _check_resources(found, node)
    swap = node["status"]["nodeInfo"].get("swap", {})
    if swap.get("capacity", 1) <= 0:
        found.invalid("metadata.nodeSwapStatus.capacity", swap["capacity"], "must be greater than zero")
    _check_features(found, node)
    _check_cidrs(found, node["spec"].get("podCIDRs") or [])


def check_update(found: Complaints, node: Manifest, old: Manifest) -> None:
    """Notes what may not be changed so; `old` is the `spec` that is stored, by whomever."""
    _check_resources(found, node)
    _check_features(found, node)
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(node["status"].get("addresses") or []):
        pair = (address["type"], address["address"])
        if pair in seen:
            found.duplicate(f"status.addresses[{index}]", {"Type": pair[0], "Address": pair[1]})
        seen.add(pair)
    _check_kept(found, node["spec"], old)
    _check_taints(found, node)
    if node["spec"].get("externalID", "") != old.get("externalID", ""):
        found.forbidden("spec.externalID", "may not be updated")


def _check_kept(found: Complaints, spec: Manifest, old: Manifest) -> None:
    stored = old.get("podCIDRs")
    before, after = stored if isinstance(stored, list) else [], spec.get("podCIDRs") or []
    if before and len(before) != len(after):
        found.forbidden("spec.podCIDRs", _POD_CIDR_KEPT)
    elif before:
        for one, other in zip(before, after, strict=True):
            if one != other:
                found.forbidden("spec.podCIDRs", _POD_CIDR_KEPT)
    provider, own = old.get("providerID", ""), spec.get("providerID", "")
    if provider and own != provider:
        found.invalid("spec.providerID", None, f"field cannot be {'modified' if own else 'cleared'} once set")


def _check_taints(found: Complaints, node: Manifest) -> None:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(node["spec"].get("taints") or []):
        if found.is_full:
            return
        where = f"metadata.taints[{index}]"
        key, value, effect = taint["key"], taint.get("value", ""), taint["effect"]
        found.each_invalid(f"{where}.key", key, name_rules.label_key(key))
        if odd := name_rules.label_value(value):
            found.invalid(f"{where}.value", value, ";".join(odd))
        if not effect:
            found.required(f"{where}.effect")
        elif effect not in EFFECTS:
            found.not_supported(f"{where}.effect", effect, EFFECTS)
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            found.duplicate(where, shown, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def _check_resources(found: Complaints, node: Manifest) -> None:
    for part in ("capacity", "allocatable"):
        for name, amount in (node["status"].get(part) or {}).items():
            where = f"status.{part}.{name}"
            if quantities.is_negative(amount):
                found.invalid(where, amount, "must be greater than or equal to 0")
            if amount.endswith("m") and (name in _COUNTED or _is_extended(name)):
                found.invalid(where, amount, "must be an integer")


def _check_features(found: Complaints, node: Manifest) -> None:
    features = node["status"].get("declaredFeatures") or []
    for index, feature in enumerate(features):
        where = f"status.declaredFeatures[{index}]"
        if index and feature == features[index - 1]:
            found.duplicate(where, feature)
        elif index and feature < features[index - 1]:
            found.invalid(where, feature, "list must be sorted alphabetically")
        if len(feature) > limits.NAME_BYTES:
            why = f"must be no more than {limits.NAME_BYTES} characters"
            found.invalid(where, feature, f"invalid feature name {quoted(feature)}: {why}")
        elif not _FEATURE.fullmatch(feature):
            found.invalid(where, feature, f"invalid feature name {quoted(feature)}: {_FEATURE_RULE}")


def _is_extended(name: str) -> bool:
    """Whether a resource is one of a vendor's: `example.com/gpu`."""
    if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return not name_rules.label_key(f"requests.{name}")


def _check_cidrs(found: Complaints, cidrs: list[str]) -> None:
    families: list[int] = []
    for index, cidr in enumerate(cidrs):
        if found.is_full:
            return
        try:
            families.append(ipaddress.ip_network(cidr, strict=False).version)
        except ValueError:
            families.append(0)
        if "/" not in cidr:
            families[-1] = 0
        if not families[-1]:
            where = f"spec.podCIDRs[{index}]"
            found.invalid(where, cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
    if len(cidrs) > 1 and 0 in families:
        odd = families.index(0)
        why = f"invalid CIDR[{odd}]: <nil> (invalid CIDR address: {cidrs[odd]})"
        found.internal("spec.podCIDRs", f"invalid PodCIDRs. failed to check with dual stack with error:{why}")
    if len(cidrs) > 1 and sorted(families) != [4, 6]:
        found.invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family")
