"""Managed fields of every write that is not an apply: who changed a field manages it. Pure.

An object that has no entries gets none by an update, as in Kubernetes: entries begin when an object is created, or with the
first apply (ADR 51). The entries that a client sends are taken for those of the object, so that it may replace them; what is no
entry is not.
"""

from collections.abc import Mapping
from typing import Any, Final

from k3.core import limits
from k3.core.documents import Manifest
from k3.core.objects import NODE, Kind
from k3.core.records import dataclass
from k3.server.patching import entries
from k3.server.patching.changes import Changes, changes
from k3.server.patching.entries import NO_MANAGER, UPDATE, Managed, Manager, Share
from k3.server.patching.field_sets import LEAF, SELF, FieldSet, difference, union, without
from k3.server.patching.shapes import shape_of

_RESET: Final[Mapping[tuple[Kind, str], FieldSet]] = {
    (NODE, ""): {"f:status": LEAF},
    (NODE, "status"): {"f:spec": LEAF},
}
"""What a write of a kind and subresource does not write, whatever it says: it is not managed through it."""

_NEVER: Final[FieldSet] = {
    "f:apiVersion": LEAF,
    "f:kind": LEAF,
    "f:metadata": {
        SELF: {},
        **dict.fromkeys(
            (
                "f:clusterName",
                "f:creationTimestamp",
                "f:generation",
                "f:managedFields",
                "f:name",
                "f:namespace",
                "f:resourceVersion",
                "f:selfLink",
                "f:uid",
            ),
            LEAF,
        ),
    },
}
"""What nobody manages."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, when (RFC 3339, seconds), and through which subresource."""

    manager: str
    now: str
    subresource: str = ""

    def as_manager(self, operation: str, api_version: str = "") -> Manager:
        """Returns the manager that this is."""
        return Manager(self.manager or NO_MANAGER, operation, api_version, self.subresource)


def manager_name(field_manager: str, user_agent: str) -> str:
    """Returns the name under which a client manages: the one that it gives, or the first part of its User-Agent."""
    if field_manager:
        return field_manager
    name = "".join(each for each in user_agent.partition("/")[0] if each.isprintable())
    return name.encode()[: limits.MANAGER_BYTES].decode(errors="ignore")


def updated(kind: Kind, old: Manifest | None, new: Manifest, writer: Writer) -> Manifest:
    """Returns the new object with its entries. `old` is None where it is created; neither is changed.

    The new object is as it will be stored, but for its status, or its spec, where the write leaves that alone.
    """
    stored = entries.of(old)
    if not writer.subresource and entries.is_reset(new):
        return _begun(kind, new, writer) if old is None else entries.put(new, [])
    given = _given(kind, stored, new, writer)
    if old is not None and not stored and not given:
        return entries.put(new, [])
    found = changed_by(kind, old or {}, new, writer)
    if not given and (quick := _quickly(kind, stored, found, writer)) is not None:
        return entries.put(new, quick)
    managed = given or _decoded(kind, stored)
    if not managed and old is not None:
        return entries.put(new, [])
    after = entries.capped(update(managed, found, writer, kind.api_version), kind.api_version)
    return entries.put(new, entries.encode(after, kind.api_version))


def is_no_write(old: Manifest, new: Manifest) -> bool:
    """Returns whether two objects differ in nothing but the times of their entries: then nothing is written."""
    before, after = entries.of(old), entries.of(new)
    if len(before) != len(after) or entries.put(old, []) != entries.put(new, []):
        return False
    return all(_timeless(one) == _timeless(other) for one, other in zip(before, after, strict=True))


def _timeless(entry: Any) -> Any:  # noqa: ANN401 - JSON
    return {**entry, "time": ""} if isinstance(entry, dict) else entry


def _begun(kind: Kind, new: Manifest, writer: Writer) -> Manifest:
    return updated(kind, None, entries.put(new, []), writer)


def _given(kind: Kind, stored: list[Any], new: Manifest, writer: Writer) -> Managed:
    """Returns who manages what by what the client sent, if that is not what is stored anyhow."""
    sent = entries.of(new)
    return {} if not sent or writer.subresource or sent == stored else _decoded(kind, sent)


def _decoded(kind: Kind, told: list[Any]) -> Managed:
    """Returns who manages what by some entries; nobody by what are none."""
    try:
        return entries.decode(told, kind.api_version, shape_of(kind))
    except ValueError:
        return {}


def changed_by(kind: Kind, old: Manifest, new: Manifest, writer: Writer, *, is_applied: bool = False) -> Changes:
    """Returns what a write changes, of that which it may."""
    found = changes(old, new, shape_of(kind), is_applied=is_applied)
    ignored = reset_by(kind, writer)
    if not ignored:
        return found
    return Changes(without(found.added, ignored), without(found.modified, ignored), without(found.removed, ignored))


def reset_by(kind: Kind, writer: Writer) -> FieldSet:
    """Returns what a write through a subresource, or through none, does not write."""
    return _RESET.get((kind, writer.subresource), {})


def managed_by(fields: FieldSet) -> FieldSet:
    """Returns what of some fields is managed at all."""
    return difference(fields, _NEVER)


def update(managed: Managed, found: Changes, writer: Writer, api_version: str) -> Managed:
    """Returns who manages what after changes by an update: the fields that have a new value are the writer's alone."""
    after = yielded(managed, found)
    own = managed_by(found.changed)
    if own:
        me = writer.as_manager(UPDATE, api_version)
        before = after.get(me)
        after[me] = Share(union(own, before.fields) if before else own, writer.now)
    return after


def yielded(managed: Managed, found: Changes, keeper: Manager | None = None) -> Managed:
    """Returns who manages what when all but one lose the fields that changed or went. Who is left with none is not in it."""
    lost = union(found.changed, found.removed)
    after = {
        manager: share if manager == keeper else Share(difference(share.fields, lost), share.time)
        for manager, share in managed.items()
    }
    return {manager: share for manager, share in after.items() if share.fields}


def _quickly(kind: Kind, stored: list[Any], found: Changes, writer: Writer) -> list[Any] | None:
    """Returns the entries of a write that changes nobody's share, as a heartbeat: only its writer's time is new. Else None."""
    own = managed_by(found.changed)
    if found.removed or not stored or len(stored) > limits.UPDATE_MANAGERS:
        return None
    me = writer.as_manager(UPDATE, kind.api_version)
    mine = -1
    for at, entry in enumerate(stored):
        if not entries.is_entry(entry) or entry["apiVersion"] != kind.api_version:
            return None
        if entries.manager_of(entry) == me and _has_all(entry.get("fieldsV1"), own):
            mine = at
        elif _has_any(entry.get("fieldsV1"), own):
            return None
    if not own:
        return stored
    if mine < 0:
        return None
    return entries.in_order([{**entry, "time": writer.now} if at == mine else entry for at, entry in enumerate(stored)])


def _has_all(fields: Any, wanted: FieldSet) -> bool:  # noqa: ANN401 - JSON
    """Whether `fieldsV1` has all of a set; False where that cannot be told at a glance."""
    if not isinstance(fields, dict):
        return False
    for element, node in wanted.items():
        if element == SELF:
            if fields and SELF not in fields:
                return False
        elif element not in fields or not _has_all(fields[element], node):
            return False
    return True


def _has_any(fields: Any, wanted: FieldSet) -> bool:  # noqa: ANN401 - JSON
    """Whether `fieldsV1` has any of a set; True where that cannot be told at a glance."""
    if not isinstance(fields, dict):
        return True
    return any(
        SELF in fields or not fields if element == SELF else element in fields and _has_any(fields[element], node)
        for element, node in wanted.items()
    )
