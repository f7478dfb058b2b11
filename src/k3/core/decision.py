"""What a source's policy may answer with, and how any policy writes what all of them write alike. Pure.

A policy turns the Node as it is stored (or none), one observation and the time into one `Decision`. A change of Ready, of
address or of identity is a *transition*: it is numbered on the Node, and the writer whose compare-and-swap made it, and
only that one, tells of it in an Event.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from k3.core import limits, node
from k3.core.node import NodeView
from k3.core.objects import Manifest
from k3.core.observation import Facts
from k3.core.records import dataclass
from k3.core.sources import SourceRow


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


def new_node(source: SourceRow) -> Manifest:
    """A Node of a source that says nothing yet but whose it is."""
    return {"metadata": {"labels": source.labels, "annotations": {}}, "spec": {}, "status": {}}


def put_machine(manifest: Manifest, facts: Facts, source: SourceRow) -> None:
    """Write what every source knows of a machine: host name, system and architecture as labels, addresses, port and ids."""
    metadata = manifest.setdefault("metadata", {})
    labels = metadata.get("labels")
    labels = metadata["labels"] = dict(labels) if isinstance(labels, dict) else {}
    hostname = facts.hostname or facts.node
    if len(hostname.encode()) <= limits.LABEL_VALUE_BYTES and node.valid_name(hostname):
        labels["kubernetes.io/hostname"] = hostname
    labels |= {f"kubernetes.io/{key}": text for key, text in (("os", facts.os), ("arch", facts.arch)) if text}
    node.set_addresses(manifest, hostname, facts.addresses)
    known = {"port": str(facts.port or ""), "pid": str(facts.pid or ""), "id": facts.id, "boot": facts.boot}
    put_notes(manifest, known, source)


def put_notes(manifest: Manifest, notes: Mapping[str, str], source: SourceRow) -> None:
    """Write a source's annotations, their keys without its prefix; an empty text leaves what is there."""
    node_annotations(manifest).update({source.prefix + key: text for key, text in notes.items() if text})


def registered(name: str, addresses: Iterable[str]) -> Transition:
    """The machine has a Node now."""
    return Transition("Registered", f"{name} registered with {', '.join(node.publishable(addresses)) or 'no address'}")


def name_conflict(holder: str, name: str, goes_by: str) -> Transition:
    """The machine does not get the name that it asks for. `holder`: who has it, as in `another live machine`."""
    return Transition("NameConflict", f"{holder} is called {name}; this one goes by {goes_by}", warning=True)


def change_between(stored: NodeView, wanted: Manifest, *, identity: str = "") -> Transition | None:
    """The most telling transition between what was stored and what is wanted now; None: nothing that is worth an Event.

    `identity`: what to say of another id, where more is known than that another machine answers.
    """
    fresh = node.view_manifest(stored.name, wanted)
    if stored.id and fresh.id and stored.id != fresh.id:
        message = identity or f"another machine answers to {stored.name} now"
        return Transition("IdentityChanged", message, warning=True)
    if stored.is_ready != fresh.is_ready:
        is_unknown = fresh.ready is not None and fresh.ready.status == "Unknown"
        reason = "NodeReady" if fresh.is_ready else "NodeUnknown" if is_unknown else "NodeNotReady"
        return Transition(reason, fresh.ready.message if fresh.ready else "", warning=not fresh.is_ready)
    if stored.addresses != fresh.addresses:
        before, after = (", ".join(each) or "none" for each in (stored.addresses, fresh.addresses))
        return Transition("AddressChanged", f"addresses changed from {before} to {after}")
    return None


def numbered(manifest: Manifest, transition: Transition, source: SourceRow) -> Transition:
    """The transition with its number, which is kept on the Node in the source's annotation `transitions`."""
    notes = node_annotations(manifest)
    text = notes.get(source.prefix + "transitions", "")
    number = node.whole_number(text if isinstance(text, str) else "", 1, 2**53) + 1
    notes[source.prefix + "transitions"] = str(number)
    return replace(transition, number=number)
