"""What Kubernetes refuses with 422: every rule that an object breaks, in Kubernetes' words and order.

A manifest is in its canonical form (`bodies.decode`, `types.normalised`), with what `defaults.apply` fills in.
"""

from dataclasses import replace
from typing import Final

from k3.core import name_rules
from k3.core.objects import EVENT, LEASE, NODE, Kind, Manifest
from k3.server import status
from k3.server.schema import event_rules, lease_rules, metadata_rules, node_rules
from k3.server.schema.complaints import Complaints

_NAMES: Final[dict[Kind, name_rules.TextRule]] = {NODE: name_rules.subdomain, LEASE: name_rules.subdomain}
"""The rule for the names of a kind; others only have to be fit for a path, and that is asked last."""


def check_new(kind: Kind, manifest: Manifest) -> None:
    """Raises Refused (422) for an object that may not be created so; its name was generated before."""
    found, metadata = Complaints(), manifest["metadata"]
    if kind == EVENT:
        event_rules.check(found, manifest)
    if kind not in _NAMES:
        if not found.causes:
            metadata_rules.check(found, kind, metadata, name_rules.path_segment)
    else:
        metadata_rules.check(found, kind, metadata, _NAMES[kind])
    if kind == NODE:
        node_rules.check(found, manifest)
    elif kind == LEASE:
        lease_rules.check(found, manifest)
    _refuse(kind, manifest, found)


def check_update(kind: Kind, manifest: Manifest, old: Manifest, subresource: str = "") -> None:
    """Raises Refused (422) for a change that may not be made. Of a subresource fewer rules are asked.

    `old` is what is stored: any JSON object, whoever wrote it.
    """
    found, metadata = Complaints(), manifest["metadata"]
    metadata_rules.check(found, kind, metadata, name_rules.path_segment)
    metadata_rules.check_update(found, metadata, _part(old, "metadata"))
    if kind == NODE:
        if not subresource:
            node_rules.check(found, manifest)
        node_rules.check_update(found, manifest, _part(old, "spec"))
    elif kind == LEASE:
        lease_rules.check(found, manifest)
    elif kind == EVENT:
        event_rules.check(found, manifest)
    _refuse(kind, manifest, found)


def check_conditional(kind: Kind, manifest: Manifest) -> None:
    """Raises Refused (422) for an update without a resourceVersion of a kind that may not be updated so: a Lease."""
    if kind == LEASE and not manifest["metadata"].get("resourceVersion"):
        name = manifest["metadata"].get("name", "")
        why = "Invalid value: 0: must be specified for an update"
        named = replace(kind, name=kind.plural)  # Kubernetes names the resource here, where it names the kind elsewhere
        raise status.invalid(named, name, [status.Cause("FieldValueInvalid", why, "metadata.resourceVersion")])


def warnings(kind: Kind, manifest: Manifest) -> tuple[str, ...]:
    """Returns the texts of the warnings that a write of an object is answered with."""
    if kind == NODE and _part(manifest, "spec").get("externalID"):
        return ("spec.externalID: this field is deprecated, and is unused by Kubernetes",)
    return ()


def _part(stored: Manifest, name: str) -> Manifest:
    part = stored.get(name)
    return part if isinstance(part, dict) else {}


def _refuse(kind: Kind, manifest: Manifest, found: Complaints) -> None:
    if found.causes:
        raise status.invalid(kind, manifest["metadata"].get("name", ""), tuple(found.causes))
