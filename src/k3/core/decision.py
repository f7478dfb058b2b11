"""What a source's policy may answer with, and how any policy writes what all of them write alike. Pure.

A policy turns the Node as it is stored (or none), one observation and the time into one `Decision`. A change of Ready, of
address or of identity is a *transition*: it is numbered on the Node, and the writer whose compare-and-swap made it, and
only that one, tells of it in an Event.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from k3.core import limits, node
from k3.core.objects import Manifest
from k3.core.observation import Facts


@dataclass(frozen=True, slots=True)
class Transition:
    """Something worth telling people, told once, by the one writer who made it happen."""

    reason: str
    message: str
    warning: bool = False
    number: int = 0
    """Counts a Node's transitions from 1, kept on the Node."""


@dataclass(frozen=True, slots=True)
class Create:
    """Write a new Node."""

    manifest: Manifest
    transition: Transition


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the Node that was given."""

    manifest: Manifest
    transition: Transition | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the Node that was given."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Write nothing. `foreign`: the Node belongs to a controller."""

    why: str
    foreign: bool = False


Decision = Create | Update | Delete | Keep


def node_annotations(manifest: Manifest) -> dict[str, str]:
    """The annotations of a manifest, to be written into."""
    metadata = manifest.setdefault("metadata", {})
    found = metadata.get("annotations")
    notes: dict[str, str] = found if isinstance(found, dict) else {}
    metadata["annotations"] = notes
    return notes


def set_ready(manifest: Manifest, status: str, reason: str, message: str, now: datetime) -> None:
    """Write the Ready condition; its transition time moves only with the status."""
    node.set_condition(manifest, node.READY, status=status, reason=reason, message=message, now=now)


def put_machine(manifest: Manifest, facts: Facts) -> None:
    """Write what every source knows of a machine: its host name, system and architecture as labels, and its addresses."""
    metadata = manifest.setdefault("metadata", {})
    labels = metadata.get("labels")
    labels = metadata["labels"] = dict(labels) if isinstance(labels, dict) else {}
    hostname = facts.hostname or facts.node
    if len(hostname.encode()) <= limits.LABEL_VALUE_BYTES and node.valid_name(hostname):
        labels["kubernetes.io/hostname"] = hostname
    labels |= {f"kubernetes.io/{key}": text for key, text in (("os", facts.os), ("arch", facts.arch)) if text}
    node.set_addresses(manifest, hostname, facts.addresses)


def addresses_changed(before: Iterable[str], after: Iterable[str]) -> Transition:
    """The machine is somewhere else now."""
    return Transition("AddressChanged", f"addresses changed from {', '.join(before) or 'none'} to {', '.join(after) or 'none'}")


def numbered(manifest: Manifest, told: Transition, *, prefix: str) -> Transition:
    """The transition with its number, which is kept on the Node under the module's prefix (`k3.network/`)."""
    notes = node_annotations(manifest)
    text = notes.get(prefix + "transitions", "")
    number = node.whole_number(text if isinstance(text, str) else "", 1, 2**53) + 1
    notes[prefix + "transitions"] = str(number)
    return Transition(told.reason, told.message, told.warning, number)
