"""Why a Node that k3 does not look after is as it is, and why k3 writes nothing there. Pure.

What a kubelet or a controller knows stands in the conditions it writes and in the Lease it renews; the rest is theirs to say.
"""

from collections.abc import Iterator
from typing import Final

from k3.core import node, ownership, sources
from k3.core.sources import SOURCES, SourceRow
from k3.view.findings import Finding, Record, renewed, stamped

_SOURCE: Final = "controller"
_CAUSES: Final = {
    "KubeletReady": "Ready=True, because its kubelet says so: {message}.",
    "KubeletNotReady": "Ready={status}, because its own kubelet runs and says: {message}.",
    "NodeStatusUnknown": (
        "Ready=Unknown, because its kubelet stopped reporting and the cluster's control plane wrote that {when}: {message}."
    ),
    "NodeStatusNeverUpdated": (
        "Ready=Unknown, because its kubelet has never reported and the cluster's control plane wrote that {when}: {message}."
    ),
    "NoCondition": "It is Unknown, because the Node has no Ready condition: what made it has not said how the machine is.",
    "Unreadable": "It is Unreadable, because what the store holds under this name cannot be read: {message}.",
}


def cause(record: Record) -> Finding:
    """Returns who decided the state, in words."""
    state, ready = record.reading.state, record.seen.ready
    other = "Ready={status}, because a controller says {reason}: {message}."
    if _former_source(record) and any(row.is_reason(state.reason) for row in SOURCES.values()):
        other = "Ready={status}, as k3 wrote it last ({reason}: {message}): it does not look after this Node any more."
    text = _CAUSES.get(state.reason, other).format(
        status=ready.status if ready else "?",
        reason=state.reason or "no reason",
        message=record.message.rstrip(".") or "it says no more",
        when=record.when(state.since),
    )
    return stamped(record, state.reason or "Foreign", _SOURCE, text, state.since)


def _former_source(record: Record) -> SourceRow | None:
    """Returns the source whose notes a Node has kept without its label: somebody took it away."""
    if sources.labelled(record.reading.manifest) is not None:
        return None
    return next((row for row in SOURCES.values() if any(key.startswith(row.prefix) for key in record.seen.annotations)), None)


def evidence(record: Record) -> Iterator[Finding]:
    """Gives what a kubelet or a controller has written, each with its age."""
    ready = record.seen.ready
    if ready is not None and ready.heartbeat:
        yield stamped(record, "Heartbeat", _SOURCE, "Ready was last reported {when}", ready.heartbeat)
    if version := node.kubelet_version(record.reading.manifest):
        yield Finding(rule="Kubelet", source=_SOURCE, text=f"a kubelet reports it, version {version[:64]}")
    yield from lease(record)


def lease(record: Record) -> Iterator[Finding]:
    """Gives when the kubelet of this name last renewed its Lease."""
    holder, stamp = renewed(record.lease)
    if stamp:
        yield stamped(record, "Lease", _SOURCE, f"the Lease of {holder or 'its kubelet'} was last renewed {{when}}", stamp)


def writers(record: Record) -> Finding:
    """Returns who may write the Node, and why k3 does or does not."""
    seen, manifest = record.seen, record.reading.manifest
    if seen.owner is not None:
        row = SOURCES[seen.owner]
        who = f"k3 {row.name} looks after it (label {row.managed_label}=true)"
        others = [name for name in SOURCES if name != row.name]
        text = f"{who}; k3 {others[0]} writes nothing here until that has given it up" if others else who
        return Finding(rule="Owner", source="store", text=text)
    if (source := sources.labelled(manifest)) is None:
        labels = " or ".join(f"{row.managed_label}=true" for row in SOURCES.values())
        text = f"a controller or a person made it: it has no label {labels}, so k3 writes nothing here"
        if former := _former_source(record):
            text = (
                f"it was k3 {former.name}'s, and its label {former.managed_label}=true was taken away: k3 writes nothing here"
            )
    else:
        why = ownership.foreign_reason(manifest, node.view_manifest(record.name, manifest), source)
        text = f"it has the label of k3 {source}, and k3 writes nothing here all the same: {why}"
    if seen.is_unreadable:
        text = "nobody knows whose it is, since it cannot be read: k3 writes nothing here"
    return Finding(rule="Owner", source="store", text=text)


def unknowns(record: Record) -> Iterator[str]:
    """Gives what the record does not tell."""
    if record.reading.state.reason == "NodeStatusUnknown":
        yield "Whether the machine is off, cut off, or only its kubelet has stopped: the control plane cannot tell these apart."
