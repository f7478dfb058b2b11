"""Server-side apply: an object becomes what its appliers together want. Pure.

An applier manages what it applies. What it no longer applies and no other manages goes; what another manages it may only take
over by force, or by wanting the same. The rules and the words are Kubernetes'.
"""

from typing import Any, Final

from k3.core.documents import Manifest
from k3.core.objects import Kind
from k3.server.patching import entries, last_applied
from k3.server.patching.changes import Changes, fields_of
from k3.server.patching.entries import APPLY, UPDATE, Managed, Manager, Share
from k3.server.patching.field_sets import (
    NOTHING,
    FieldSet,
    difference,
    intersection,
    json_of,
    named,
    paths,
    spoken,
    union,
    without,
)
from k3.server.patching.managed import Writer, changed_by, managed_by, reset_by, update, yielded
from k3.server.patching.merging import merged, removed, tidied
from k3.server.patching.refusals import refuse_type
from k3.server.patching.shapes import Shape, shape_of
from k3.server.patching.typed import check_typed
from k3.server.status import Refused, bad_request

_BEFORE: Final = "before-first-apply"
_DECODING: Final = "error decoding patch: error unmarshaling JSON: while decoding JSON: "


def applied(
    kind: Kind,
    old: Manifest | None,
    wanted: Any,  # noqa: ANN401 - JSON
    writer: Writer,
    *,
    force: bool = False,
) -> Manifest:
    """Returns the object after an apply, with its entries; `old` is None where there is none. Neither is changed.

    `wanted` is what the client sent, not yet filled in with defaults. Raises Refused: 400 for an object of another kind or with
    managed fields, 409 where others manage what it would change, with a cause for each field, and 500, as kube-apiserver does,
    for fields that the kind does not have.
    """
    wanted = _checked(kind, wanted)
    try:
        return _applied(kind, old or {}, wanted, writer, force=force)
    except RecursionError as odd:
        message = "the object is nested too deep"
        raise bad_request(message) from odd


def _checked(kind: Kind, wanted: Any) -> Manifest:  # noqa: ANN401 - JSON
    if wanted is None:
        wanted = {}
    if not isinstance(wanted, dict):
        refuse_type("value of type map[string]interface {}", wanted, prefix=_DECODING)
    if (wanted.get("apiVersion"), wanted.get("kind")) != (kind.api_version, kind.name):
        message = f"invalid object type: {_told_kind(wanted)}"
        raise bad_request(message)
    metadata = wanted.get("metadata")
    given = metadata.get("managedFields") if isinstance(metadata, dict) else None
    if isinstance(given, list) and all(isinstance(entry, dict) for entry in given):
        message = "metadata.managedFields must be nil"
        raise bad_request(message)
    return wanted


def _told_kind(wanted: Manifest) -> str:
    version, name = (str(value) if isinstance(value := wanted.get(field), str) else "" for field in ("apiVersion", "kind"))
    group, _, rest = version.rpartition("/")
    if "/" in group:
        group, rest = "", ""
    return f"{group}/{rest}, Kind={name}"


def _applied(kind: Kind, live: Manifest, wanted: Manifest, writer: Writer, *, force: bool) -> Manifest:
    shape = shape_of(kind)
    managed = _managed(kind, live, writer)
    check_typed(kind, wanted, shape)
    me = writer.as_manager(APPLY)
    last = managed.get(me, Share(NOTHING))
    own = without(fields_of(wanted, shape), reset_by(kind, writer))
    now_managed = {**managed, me: Share(own, last.time)}
    result = _pruned(merged(live, wanted, shape), now_managed, last.fields, shape)
    found = changed_by(kind, live, result, writer, is_applied=True)
    conflicts = _conflicts(now_managed, found, me)
    if conflicts and not force:
        _refuse(conflicts, last_applied.taken_over(kind, live) if writer.manager == last_applied.MANAGER else NOTHING)
    return _written(kind, live, wanted, writer, (result, yielded(now_managed, found, me)))


def _managed(kind: Kind, live: Manifest, writer: Writer) -> Managed:
    """Returns who manages what of the live object; what nobody is known to manage belongs to the time before."""
    try:
        managed = entries.decode(entries.of(live), kind.api_version, shape_of(kind))
    except ValueError:
        managed = {}
    if managed or not live:
        return managed
    before = Writer(_BEFORE, writer.now, writer.subresource)
    return update({}, changed_by(kind, {}, live, before), before, kind.api_version)


def _written(kind: Kind, live: Manifest, wanted: Manifest, writer: Writer, after: tuple[Manifest, Managed]) -> Manifest:
    shape = shape_of(kind)
    me = writer.as_manager(APPLY)
    result, managed = tidied(after[0], shape), dict(after[1])
    is_changed = entries.put(result, []) != entries.put(live, [])
    if me in managed:
        own = managed_by(managed.pop(me).fields)
        if own:
            managed[me] = Share(own, writer.now if is_changed else after[1][me].time)
    result = entries.put(result, entries.encode(managed, kind.api_version))
    return last_applied.renewed(result, wanted) if writer.manager == last_applied.MANAGER else result


def _pruned(document: Manifest, managed: Managed, last: FieldSet, shape: Shape) -> Manifest:
    """Returns a merged object without what its applier no longer applies and no other manages."""
    if not last:
        return document
    was_applied = named(last, shape)
    everything = named(fields_of(document, shape), shape)
    kept: FieldSet = NOTHING
    for share in managed.values():
        kept = union(kept, share.fields)
    bare = removed(document, was_applied, shape) or {}
    unowned = difference(everything, union(named(fields_of(bare, shape), shape), named(kept, shape)))
    owned = removed(document, unowned, shape) or {}
    gone = difference(everything, named(fields_of(owned, shape), shape))
    return removed(document, intersection(gone, was_applied), shape) or {}


def _conflicts(managed: Managed, found: Changes, me: Manager) -> dict[Manager, FieldSet]:
    others = {
        manager: intersection(share.fields, found.changed)
        for manager, share in sorted(managed.items(), key=lambda each: each[0].order)
        if manager != me
    }
    return {manager: fields for manager, fields in others.items() if fields}


def _refuse(conflicts: dict[Manager, FieldSet], taken_over: FieldSet) -> None:
    """Raises the refusal of an apply that changes what others manage, unless it may take all of it over."""
    told = [
        (_spoken(manager), spoken(path))
        for manager, fields in conflicts.items()
        for path in paths(difference(fields, taken_over))
    ]
    if not told:
        return
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": field} for manager, field in told
    ]
    raise Refused(409, _message(told), details={"causes": causes})


def _message(told: list[tuple[str, str]]) -> str:
    if len(told) == 1:
        return f"Apply failed with 1 conflict: conflict with {told[0][0]}: {told[0][1]}"
    lines = []
    for manager in dict.fromkeys(manager for manager, _ in told):
        lines.append(f"conflicts with {manager}:")
        lines += [f"- {field}" for each, field in told if each == manager]
    return f"Apply failed with {len(told)} conflicts: " + "\n".join(lines)


def _spoken(manager: Manager) -> str:
    told = json_of(manager.name)
    if manager.subresource:
        told += f" with subresource {json_of(manager.subresource)}"
    return f"{told} using {manager.api_version}" if manager.operation == UPDATE else told
