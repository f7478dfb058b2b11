"""The functions of this package behind the least of a server: what the write path does around them."""

from typing import Any

from k3.core.objects import NODE, Kind, copied
from k3.server.patching import apply, json_patch, managed, merge_patch, strategic
from k3.server.patching.managed import Writer
from k3.server.patching.shapes import ABSENT, Shape, shape_of
from k3.server.status import Refused
from tests.server.patching.cases import Answer, Step


class Replaying:
    """One object, written with the functions of this package."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None

    def do(self, kind: Kind, name: str, step: Step, at: int) -> Answer:
        writer = Writer(step.manager, f"2026-01-01T00:00:{at:02}Z", step.subresource)
        is_created = self.stored is None
        try:
            wanted = self._wanted(kind, step, writer)
        except Refused as refused:
            return Answer(refused.code, refused.status())
        self.stored = kept(kind, self.stored, wanted, step.subresource)
        return Answer(201 if is_created else 200, self.stored)

    def _wanted(self, kind: Kind, step: Step, writer: Writer) -> dict[str, Any]:
        old = self.stored
        if step.how == "apply":
            new = apply.applied(kind, old, step.body, writer, force=step.force)
            return manifest(as_go(new, shape_of(kind)))
        if step.how in {"create", "update"}:
            new = step.body
        elif step.how == "merge":
            new = merge_patch.patched(old or {}, step.body)
        elif step.how == "json":
            new = json_patch.patched(old or {}, step.body)
        else:
            new = strategic.patched(kind, old or {}, step.body)
        return managed.updated(kind, old, as_go(new, shape_of(kind)), writer)


def manifest(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def kept(kind: Kind, old: dict[str, Any] | None, new: dict[str, Any], subresource: str) -> dict[str, Any]:
    """What the strategy of a kind makes of a write, and what becomes of one that changes nothing but times of entries."""
    if old is None:
        return new
    if kind == NODE:
        left_alone = "spec" if subresource else "status"
        new = {**new, left_alone: old.get(left_alone, {})}
    return old if managed.is_no_write(old, new) else new


def as_go(value: Any, shape: Shape) -> Any:
    """What is left of an object that went through Go's types: no empty optional members, and those that are always there."""
    if isinstance(value, list):
        return [as_go(each, shape.of("")) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name in {**value, **shape.zeros}:
        member = shape.side(value, name)
        if name == "managedFields":
            found[name] = copied(value[name])
        elif member is None and not shape.fields:
            found[name] = ""  # Go reads a null among texts as an empty one
        elif member is not ABSENT and (name in shape.fields or not shape.fields):
            found[name] = as_go(copied(member), shape.of(name))
    return found
