"""What Kubernetes fills in, and what it drops, before it looks at an object's rules. Pure."""

from typing import Final

from k3.core.objects import LEASE, NODE, Kind, Manifest

_NOT_KEPT: Final = {NODE: ("configSource", "podPreemptionPolicy"), LEASE: ("strategy", "preferredHolder")}
"""Fields of `spec` that a kube-apiserver drops: the first was taken back, the others are not switched on in 1.37."""


def apply(kind: Kind, manifest: Manifest) -> None:
    """Fills in what a manifest in its canonical form leaves out, and drops what Kubernetes does not keep."""
    for name in _NOT_KEPT.get(kind, ()):
        manifest["spec"].pop(name, None)
    if kind != NODE:
        return
    spec, status = manifest["spec"], manifest["status"]
    status.pop("config", None)
    if "capacity" in status and "allocatable" not in status:
        status["allocatable"] = dict(status["capacity"])
    first, every = spec.get("podCIDR", ""), spec.get("podCIDRs") or []
    if first and every[:1] != [first]:
        spec["podCIDRs"] = [first]
    elif every and every[0]:
        spec["podCIDR"] = every[0]
