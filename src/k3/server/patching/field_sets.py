"""Sets of fields as `FieldsV1` has them: a tree of path elements. Pure.

An element is text: `f:<name>` for a field, `k:<its keys as JSON>` for an item of a list of type map, `v:<value as JSON>` for
one of a set, `i:<index>`. A node is a dict from elements to nodes; it holds `.` where its own path belongs to the set. Nodes
are shared between sets and never changed.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from k3.server.patching.shapes import Shape

FieldSet: TypeAlias = dict[str, Any]

SELF: Final = "."
LEAF: Final[FieldSet] = {SELF: {}}
NOTHING: Final[FieldSet] = {}

_COMPACT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=True)
_HTML: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
_RANKS: Final = {"f": 0, "k": 1, "v": 2, "i": 3}
_SHORTEST: Final = 2


def json_of(value: object) -> str:
    """Returns JSON as Go writes it: compact, sorted, and safe in HTML."""
    return _COMPACT.encode(value).translate(_HTML)


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Returns what is in either."""
    if not one or not other:
        return one or other
    both = dict(one)
    for element, node in other.items():
        both[element] = union(both[element], node) if element in both else node
    return both


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """Returns what is in one and not in the other."""
    if not other:
        return one
    left = {}
    for element, node in one.items():
        there = other.get(element)
        if there is None:
            left[element] = node
        elif element != SELF and (rest := difference(node, there)):
            left[element] = rest
    return left


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """Returns what is in both."""
    both = {}
    for element, node in one.items():
        there = other.get(element)
        if there is None:
            continue
        if element == SELF:
            both[element] = node
        elif common := intersection(node, there):
            both[element] = common
    return both


def without(one: FieldSet, other: FieldSet) -> FieldSet:
    """Returns one without what is in the other, and without all that is below that."""
    left = {}
    for element, node in one.items():
        there = other.get(element)
        if there is None:
            left[element] = node
        elif SELF not in there and (rest := without(node, there)):
            left[element] = rest
    return left


def named(fields: FieldSet, shape: Shape) -> FieldSet:
    """Returns a set with the fields of structs in it wherever something below them is."""
    found = {}
    for element, node in fields.items():
        if element == SELF:
            found[element] = node
            continue
        name = element[2:]
        is_field = element[0] == "f"
        below = named(node, shape.of(name) if is_field else (shape.items or shape.of("")))
        found[element] = {SELF: {}, **below} if is_field and name in shape.fields else below
    return found


def paths(fields: FieldSet, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the paths of a set in Kubernetes' order: at every level, first what belongs to the set."""
    elements = sorted((element for element in fields if element != SELF), key=_order)
    for element in elements:
        if SELF in fields[element]:
            yield (*above, element)
    for element in elements:
        yield from paths(fields[element], (*above, element))


def spoken(path: tuple[str, ...]) -> str:
    """Returns a path as messages have it: `.status.conditions[type="Ready"].status`."""
    return "".join(map(_spoken, path))


def _spoken(element: str) -> str:
    kind, rest = element[0], element[2:]
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        return "[" + ",".join(f"{name}={_scalar(value)}" for name, value in json.loads(rest).items()) + "]"
    return f"[={_scalar(json.loads(rest))}]" if kind == "v" else f"[{rest}]"


def _scalar(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def encoded(fields: FieldSet) -> dict[str, Any]:
    """Returns a set as `fieldsV1`, in Kubernetes' order."""
    elements = sorted((element for element in fields if element != SELF), key=_order) if len(fields) > 1 else fields
    written: dict[str, Any] = {}
    if SELF in fields and len(fields) > 1:
        written[SELF] = {}
    for element in elements:
        if element != SELF:
            written[element] = encoded(fields[element])
    return written


def decoded(fields: Any, shape: Shape) -> FieldSet:  # noqa: ANN401 - JSON
    """Returns the set that `fieldsV1` has, as it is for this shape: what lies below an atomic part is that part.

    Elements of a kind that is not known are left out. Raises ValueError where it is none.
    """
    if fields is None:
        return NOTHING
    if not isinstance(fields, dict):
        raise ValueError(_NOT_FIELDS)  # noqa: TRY004 - one error for all that is no set
    node = _decoded(fields, shape)
    return {} if node == LEAF else {element: below for element, below in node.items() if element != SELF}


_NOT_FIELDS: Final = "fieldsV1 is no tree of fields"


def _decoded(fields: Any, shape: Shape) -> FieldSet:  # noqa: ANN401 - JSON
    node: FieldSet = {}
    for element, below in ({} if fields is None else fields).items():
        if element == SELF:
            node[SELF] = {}
            continue
        if not isinstance(below, dict | None):
            raise ValueError(_NOT_FIELDS)  # noqa: TRY004 - as above
        known = _canonical(element)
        if known:
            deeper = shape.of(element[2:]) if element[0] == "f" else (shape.items or shape.of(""))
            node[known] = _decoded(below, deeper)
    if not node or (is_whole(shape) and node.keys() - {SELF}):
        return LEAF
    return node


def is_whole(shape: Shape) -> bool:
    """Returns whether a part is managed as a whole."""
    return shape.is_atomic or shape.list_type == "atomic"


def _canonical(element: str) -> str:
    """Returns an element as this module writes it, and nothing for one of an unknown kind. Raises ValueError."""
    if len(element) < _SHORTEST or element[1] != ":":
        raise ValueError(_NOT_FIELDS)
    kind = element[0]
    if kind == "f" or kind not in _RANKS:
        return element if kind == "f" else ""
    value = json.loads(element[2:])
    if kind == "i":
        if type(value) is not int:
            raise ValueError(_NOT_FIELDS)
    elif kind == "k" and not isinstance(value, dict):
        raise ValueError(_NOT_FIELDS)
    return f"{kind}:{json_of(value)}"


def _order(element: str) -> tuple[int, Any]:
    kind = element[0]
    return _RANKS[kind], int(element[2:]) if kind == "i" else element
