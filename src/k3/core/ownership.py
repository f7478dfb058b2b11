"""Whose Node is it? A controller keeps its own; k3's sources leave each other's alone, until one may adopt. Pure.

`owner` answers that for everybody: writers, tables, pages. Each source (`k3.core.sources`) manages what carries its label, as
long as no kubelet lives there and Ready has a reason that the source writes, or that the program writes which the
specification describes (the original): its Nodes carry the same label. A Node that a controller took over gets nothing more
written (docs/adr/0030).

A machine may be known to several sources. The one that made its Node keeps it, and the others write nothing, until the
owner has not called it Ready for `ADOPTION_SECONDS` by the adopter's clock, or has not refreshed it for so long that
readers call it unobserved, and `ADOPTION_SECONDS` more; and until the adopter sees that same machine alive. Then one
compare-and-swap hands the Node over.
"""

import math
from dataclasses import replace
from typing import Final

from k3.core import node
from k3.core.node import NodeView
from k3.core.objects import Manifest
from k3.core.observation import Evidence
from k3.core.sources import DISCOVERY, NETWORK, SOURCES, SourceRow

ADOPTION_SECONDS: Final = 90.0

CORDONED: Final = DISCOVERY.prefix + "maintenance"
"""On a Node that discovery cordoned, so that it takes back no cordon but its own."""


def owner(manifest: Manifest) -> str | None:
    """Which source of k3 manages this Node now; None: a controller or a person does, whatever old labels say."""
    return view("", manifest).owner


def view(name: str, manifest: Manifest) -> NodeView:
    """The Node with its true owner: None where a controller has taken it over, whatever labels it has kept."""
    stored = node.view_manifest(name, manifest)
    if stored.owner is None or not foreign_reason(manifest, stored, stored.owner):
        return stored
    return replace(stored, owner=None)


def foreign_reason(current: Manifest, stored: NodeView, source: str) -> str:
    """Why this Node is not for the source of this name to write; empty when it is."""
    row = SOURCES[source]
    if stored.is_unreadable:
        return stored.ready.message if stored.ready else ""
    if stored.owner != source:
        return f"managed by k3 {stored.owner}" if stored.owner else f"not labelled {row.managed_label}=true"
    if version := node.kubelet_version(current):
        return f"a kubelet reports it ({version[:64]})"
    if stored.ready is not None and not row.is_reason(stored.ready.reason):
        return f"a controller set Ready ({stored.ready.reason[:64]})"
    return ""


def was_overwritten(former: NodeView, seen: NodeView) -> bool:
    """Whether another program has replaced a whole Node of network's and dropped what k3 keeps on it, as the original does."""
    return former.owner == seen.owner == NETWORK.name and bool(former.id) and not (seen.id or seen.boot or seen.agent)


def remembered(former: NodeView, seen: NodeView) -> NodeView:
    """An overwritten Node with what k3 still knows of its machine."""
    return replace(
        seen,
        id=former.id,
        boot=former.boot,
        agent=former.agent,
        links=former.links,
        peer_ttl_seconds=former.peer_ttl_seconds,
    )


def adoptable(current: Manifest, stored: NodeView, id_: str, evidence: Evidence | None) -> SourceRow | None:
    """The source whose Node another one, which saw the machine `id_` alive, takes over now; None: it does not.

    `evidence` is what the Node showed when its time was up; None: it is not.
    """
    if evidence is None or stored.owner is None or foreign_reason(current, stored, stored.owner):
        return None
    return SOURCES[stored.owner] if id_ and stored.id == id_ and stored.evidence == evidence else None


class Abandoned:
    """From when on the Nodes of other sources may be adopted, as seen by one observer on its own clock."""

    def __init__(self) -> None:
        self._waits: dict[str, tuple[str, float, float]] = {}
        """By name: what would have to change, how long it may stay, and until when."""

    def show(self, seen: NodeView, now: float) -> None:
        """The store shows such a Node. `now` is local and monotonic, in seconds."""
        mark, wait = ("", ADOPTION_SECONDS)
        if seen.is_ready:
            mark, wait = seen.last_seen, node.unobserved_seconds(seen) + ADOPTION_SECONDS
        former = self._waits.get(seen.name)
        if former is None or former[:2] != (mark, wait):
            self._waits[seen.name] = mark, wait, now + wait

    def drop(self, name: str) -> None:
        """There is no such Node any more."""
        self._waits.pop(name, None)

    def restart(self, now: float) -> None:
        """Time in which the observer could not look does not count."""
        self._waits = {name: (mark, wait, now + wait) for name, (mark, wait, _) in self._waits.items()}

    def at(self, name: str) -> float:
        """When it may be adopted; never, where nothing is known of it."""
        return self._waits[name][2] if name in self._waits else math.inf


def hand_over(manifest: Manifest, former: SourceRow, new: SourceRow) -> None:
    """Replace the former owner's labels, notes and conditions; how often the state has changed is counted on.

    A cordon of discovery's stays, with its mark: only discovery knows when the maintenance is over.
    """
    prefix = former.prefix
    metadata = manifest.setdefault("metadata", {})
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    kept = {key: text for key, text in labels.items() if key not in former.labels and not key.startswith(prefix)}
    metadata["labels"] = kept | new.labels
    metadata["annotations"] = {key: text for key, text in notes.items() if key == CORDONED or not key.startswith(prefix)}
    if count := notes.get(prefix + "transitions"):
        metadata["annotations"][new.prefix + "transitions"] = count
    status = manifest.setdefault("status", {})
    found = status.get("conditions")
    status["conditions"] = [each for each in found if not _is_of(each, prefix)] if isinstance(found, list) else []


def _is_of(condition: object, prefix: str) -> bool:
    return isinstance(condition, dict) and str(condition.get("type", "")).startswith(prefix)
