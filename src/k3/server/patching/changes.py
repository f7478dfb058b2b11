"""Which fields two objects differ in, and which ones an applied object has: what managed fields are made of. Pure.

The rules are those of Kubernetes' structured merge: objects are looked into member by member, lists of type map and set item by
item, and everything atomic is one field.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from k3.core.documents import Manifest
from k3.core.records import dataclass
from k3.server.patching.field_sets import LEAF, SELF, FieldSet, is_whole, json_of, union
from k3.server.patching.shapes import ABSENT, METADATA, UNTYPED, Shape

_Difference: TypeAlias = tuple[FieldSet, FieldSet, FieldSet]
"""What was added, modified and removed, below one path."""

_Member: TypeAlias = tuple[str, Any, Any, Shape]
"""A path element, what was and is there, and its shape."""

_SAME: Final[_Difference] = ({}, {}, {})
_ADDED: Final[_Difference] = (LEAF, {}, {})
_MODIFIED: Final[_Difference] = ({}, LEAF, {})
_REMOVED: Final[_Difference] = ({}, {}, LEAF)


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the fields of an object."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet

    @property
    def changed(self) -> FieldSet:
        """The fields that have a new value."""
        return union(self.added, self.modified)


_Side: TypeAlias = Callable[[Shape, Mapping[str, Any], str], Any]
"""Reads a member of the new object."""


def changes(old: Manifest, new: Manifest, shape: Shape, *, is_applied: bool = False) -> Changes:
    """Returns what became of an object's fields; managed fields themselves are none.

    Of an object that is made by an apply, an empty member is one; of any other, Go leaves it out.
    """
    side = Shape.applied_side if is_applied else Shape.side
    return Changes(*_compared_members(_members(old, new, shape, side), side))


def _compared_members(members: Iterable[_Member], side: _Side) -> _Difference:
    added: FieldSet = {}
    modified: FieldSet = {}
    removed: FieldSet = {}
    for element, old, new, shape in members:
        for found, node in zip((added, modified, removed), _compared(old, new, shape, side), strict=True):
            if node:
                found[element] = node
    return added, modified, removed


def _compared(old: Any, new: Any, shape: Shape, side: _Side) -> _Difference:  # noqa: ANN401 - JSON
    if old is ABSENT and new is ABSENT:
        return _SAME
    members = _below(old, new, shape, side)
    if members is None:
        return _compared_whole(old, new)
    added, modified, removed = _compared_members(members, side)
    if old is ABSENT:
        return {SELF: {}, **added}, modified, removed
    if new is ABSENT:
        return added, modified, {SELF: {}, **removed}
    return added, modified, removed


def _compared_whole(old: Any, new: Any) -> _Difference:  # noqa: ANN401 - JSON
    if old is ABSENT:
        return _ADDED
    if new is ABSENT:
        return _REMOVED
    return _SAME if _is_same(old, new) else _MODIFIED


def _is_same(old: Any, new: Any) -> bool:  # noqa: ANN401 - JSON
    if isinstance(old, bool) is not isinstance(new, bool):  # Python takes true for 1
        return False
    return bool(old == new)


def _below(old: Any, new: Any, shape: Shape, side: _Side) -> Iterator[_Member] | None:  # noqa: ANN401 - JSON
    """Returns the members or items of two values, both of which may be missing; None for what is compared as a whole."""
    values = [value for value in (old, new) if value is not ABSENT and value is not None]
    if not any(values) or is_whole(shape):
        return None
    if all(isinstance(value, dict) for value in values):
        before, after = (value if isinstance(value, dict) else None for value in (old, new))
        return _members(before, after, shape, side)
    if shape.list_type and all(isinstance(value, list) for value in values):
        there, wanted = (_indexed(value, shape) if isinstance(value, list) else {} for value in (old, new))
        if there is not None and wanted is not None:
            return _items(there, wanted, shape)
    return None


def _members(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    shape: Shape,
    side: _Side,
) -> Iterator[_Member]:
    """Yields the members of two objects that may differ. An object that is not there has not even zeros."""
    before, after = ({} if each is None else each for each in (old, new))
    for name in {**before, **after, **({} if old is not None and new is not None else shape.zeros)}:
        if _is_same(before.get(name, ABSENT), after.get(name, ABSENT)) and name in before:
            continue
        if name == "managedFields" and shape is METADATA:
            continue
        yield (
            f"f:{name}",
            ABSENT if old is None else shape.side(before, name),
            ABSENT if new is None else side(shape, after, name),
            shape.of(name),
        )


def _items(old: Mapping[str, list[Any]], new: Mapping[str, list[Any]], shape: Shape) -> Iterator[_Member]:
    """Yields the items of two lists. Those that a list has several times are one field there, as if they were atomic."""
    part = shape.items or UNTYPED
    for element in {**old, **new}:
        before, after = old.get(element, []), new.get(element, [])
        if len(before) > 1 and len(after) > 1:
            yield element, before, after, UNTYPED
            continue
        if len(before) == 1 or len(after) == 1:
            yield element, before[0] if len(before) == 1 else ABSENT, after[0] if len(after) == 1 else ABSENT, part
        if len(before) > 1 or len(after) > 1:
            yield element, before if len(before) > 1 else ABSENT, after if len(after) > 1 else ABSENT, UNTYPED


def element_of(item: Any, shape: Shape) -> str:  # noqa: ANN401 - JSON
    """Returns the path element of an item of a list of type map or set; nothing for an item that can have none."""
    if not shape.key:
        return "" if item is None or isinstance(item, dict | list) else f"v:{json_of(item)}"
    if not isinstance(item, dict):
        return ""
    return f"k:{json_of({shape.key: item.get(shape.key, '')})}"


def _indexed(values: list[Any], shape: Shape) -> dict[str, list[Any]] | None:
    """Returns the items of a list by their path elements; None where one of them can have none."""
    found: dict[str, list[Any]] = {}
    for item in values:
        element = element_of(item, shape)
        if not element:
            return None
        found.setdefault(element, []).append(item)
    return found


def fields_of(applied: Manifest, shape: Shape) -> FieldSet:
    """Returns the fields that an applied object has."""
    return {element: node for name in applied for element, node in _field(name, applied[name], shape)}


def _field(name: str, value: Any, shape: Shape) -> Iterator[tuple[str, FieldSet]]:  # noqa: ANN401 - JSON
    node = _fields(value, shape.of(name))
    if value is None or value == {} or name not in shape.fields:
        node = {SELF: {}, **node}
    if node:
        yield f"f:{name}", node


def _fields(value: Any, shape: Shape) -> FieldSet:  # noqa: ANN401 - JSON
    if is_whole(shape):
        return LEAF
    if isinstance(value, dict):
        return fields_of(value, shape)
    if isinstance(value, list) and shape.list_type:
        part = shape.items or UNTYPED
        items = _indexed(value, shape)
        if items is not None:
            return {
                element: {SELF: {}, **_fields(same[0], part)} if len(same) == 1 else LEAF for element, same in items.items()
            }
    return {} if value is None and not shape.scalar else LEAF
