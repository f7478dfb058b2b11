"""Types of Kubernetes' kinds, as functions: each takes a value as JSON has it and returns its canonical form.

The form is what Go writes: a field that is not known is dropped, one that is zero is left out where Go leaves it out, times
are in UTC and quantities canonical. Each type is made once, into one function: a Lease is on the path of every heartbeat.
"""

from collections.abc import Callable, Container
from dataclasses import field
from functools import cache
from typing import Any, Final, TypeAlias

from k3.core.records import dataclass
from k3.server.schema import facts, literals, quantities, timestamps
from k3.server.schema.json_text import Doubled
from k3.server.schema.literals import Number
from k3.server.schema.models import model
from k3.server.schema.places import Place, cannot, path

STRICT_ERRORS: Final = 100
"""Kubernetes names as many, and no more."""


class Mistyped(ValueError):
    """A value is not of its field's type, in Go's words."""


@dataclass(slots=True)
class Told:
    """What reading a value found to say."""

    strict: dict[tuple[str, str], None] = field(default_factory=dict)
    """What is no error unless the client asks for strictness: `unknown field` or `duplicate field`, and its path."""
    wrong: str = ""
    """The first value of a wrong type. Reading goes on, for a wrong time or quantity further on is named in its place."""

    def unknown(self, at: Place | None, name: str) -> None:
        """Notes a field that the type does not have."""
        if len(self.strict) < STRICT_ERRORS:
            self.strict["unknown field", path(at, name)] = None

    def twice(self, at: Place | None, value: Doubled, known: Container[str]) -> None:
        """Notes, as they were written, the keys that an object has twice, and those that are not known."""
        seen: set[str] = set()
        for name in value.written:
            if name not in known:
                self.unknown(at, name)
            elif name in seen and len(self.strict) < STRICT_ERRORS:
                self.strict["duplicate field", path(at, name)] = None
            seen.add(name)

    def mistyped(self, value: Any, at: Place | None, go: str, *, says_number: bool = False) -> None:  # noqa: ANN401 - JSON
        """Notes a value of another type."""
        if not self.wrong:
            self.wrong = cannot(value, at, go, says_number=says_number)


Read: TypeAlias = Callable[[Any, "Place | None", Told], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One type."""

    go: str
    """Its name in Go."""
    read: Read
    """Returns the canonical form of a value that is not null."""
    zero: Callable[[], Any]
    """Returns what Go writes for the zero value."""
    plain: type | None = None
    """Values of this type are canonical as they are."""
    is_struct: bool = False
    is_time: bool = False


# --- types ----------------------------------------------------------------------------------------------------------------


@cache
def shape(name: str, go: str = "") -> Shape:
    """Returns the type of a name as the models have it; `go` is what Go calls it, where the models do not tell."""
    if name.startswith("List["):
        return _list(shape(name[5:-1], go.removeprefix("[]")))
    if name == "dict":
        return _map(go or "map[string]string")
    made = _SCALARS.get(name)
    if made is not None:
        return made(go)
    return _struct(name)


def _scalar(go: str, plain: type, zero: Any) -> Shape:  # noqa: ANN401 - JSON
    def read_scalar(value: Any, at: Place | None, told: Told) -> Any:  # noqa: ANN401
        if type(value) is plain:
            return value
        told.mistyped(value, at, go)
        return zero

    return Shape(go=go, read=read_scalar, zero=lambda: zero, plain=plain)


def _integer(go: str) -> Shape:
    most = 2 ** (31 if go == "int32" else 63)

    def read_integer(value: Any, at: Place | None, told: Told) -> int:  # noqa: ANN401
        if type(value) is int and -most <= value < most:
            return value
        told.mistyped(value, at, go, says_number=True)
        return 0

    return Shape(go=go, read=read_integer, zero=lambda: 0)


def _time(layout: str) -> Shape:
    def read_time(value: Any, at: Place | None, told: Told) -> str | None:  # noqa: ANN401, ARG001 - told at once
        if type(value) is not str:
            raise Mistyped(cannot(value, at, "string"))
        try:
            return timestamps.normalised(value, layout)
        except ValueError as odd:
            raise Mistyped(str(odd)) from None

    return Shape(
        go="v1.MicroTime" if layout == timestamps.MICRO_TIME else "v1.Time", read=read_time, zero=lambda: None, is_time=True
    )


def _read_quantity(value: Any, at: Place | None, told: Told) -> str:  # noqa: ANN401, ARG001 - told at once
    text = str(value) if type(value) in {str, int, float, Number} else "{}"
    try:
        return quantities.canonical(text.strip())
    except ValueError as odd:
        raise Mistyped(str(odd)) from None


def _read_int_or_text(value: Any, at: Place | None, told: Told) -> Any:  # noqa: ANN401
    if type(value) is str:
        return value
    return shape("int", "int32").read(value, at, told)


def _read_any(value: Any, at: Place | None, told: Told) -> Any:  # noqa: ANN401, ARG001 - JSON of any form
    try:
        return literals.plain(value)
    except ValueError as odd:
        raise Mistyped(str(odd)) from None


_SCALARS: Final[dict[str, Callable[[str], Shape]]] = {
    "str": lambda go: _scalar(go or "string", str, ""),
    "bool": lambda _: _scalar("bool", bool, False),  # noqa: FBT003 - the zero value
    "int": lambda go: _integer(go or "int64"),
    "meta_v1.Time": lambda _: _time(timestamps.TIME),
    "meta_v1.MicroTime": lambda _: _time(timestamps.MICRO_TIME),
    "meta_v1.FieldsV1": lambda _: Shape(go="v1.FieldsV1", read=_read_any, zero=lambda: None),
    "runtime.RawExtension": lambda _: Shape(go="runtime.RawExtension", read=_read_any, zero=lambda: None),
    "resource.Quantity": lambda _: Shape(go="resource.Quantity", read=_read_quantity, zero=lambda: "0"),
    "util_intstr.IntOrString": lambda _: Shape(go="intstr.IntOrString", read=_read_int_or_text, zero=lambda: 0),
}


def _list(element: Shape) -> Shape:
    go = f"[]{element.go}"

    def read_list(value: Any, at: Place | None, told: Told) -> list[Any] | None:  # noqa: ANN401
        if type(value) is not list:
            told.mistyped(value, at, go)
            return None
        reading, zero, plain = element.read, element.zero, element.plain
        return [
            item if type(item) is plain else (zero() if item is None else reading(item, (at, f"[{index}]", None), told))
            for index, item in enumerate(value)
        ]

    return Shape(go=go, read=read_list, zero=lambda: None)


def _map(go: str) -> Shape:
    element = _MAPS[go](go)

    def read_map(value: Any, at: Place | None, told: Told) -> dict[str, Any] | None:  # noqa: ANN401
        if type(value) is not dict:
            if type(value) is not Doubled:
                told.mistyped(value, at, go)
                return None
            told.twice(at, value, value)
        reading, zero, plain = element.read, element.zero, element.plain
        return {
            key: item if type(item) is plain else (zero() if item is None else reading(item, (at, f".{key}", None), told))
            for key, item in value.items()
        }

    return Shape(go=go, read=read_map, zero=lambda: None)


_MAPS: Final[dict[str, Callable[[str], Shape]]] = {
    "map[string]string": lambda _: shape("str"),
    "map[string][]uint8": lambda _: shape("str"),
    "map[string]v1.ExtraValue": lambda _: shape("List[str]"),
    "v1.ResourceList": lambda _: shape("resource.Quantity"),
}


Always: TypeAlias = list[tuple[str, Callable[[], Any]]]
"""The fields that are written whatever was given, and their zero values."""
Fields: TypeAlias = dict[str, tuple[type | None, bool, Read]]
"""The fields of a struct: which values are canonical as they are, whether a given zero is kept, and how others are read."""


def _struct(name: str) -> Shape:
    """Makes the type of a struct."""
    found = model(name)
    fields: Fields = {}
    always: Always = []
    for each in found.fields:
        fact = facts.fact(found.name, each.name)
        inner = shape(each.type, fact.go)
        fields[each.name] = (inner.plain, fact.pointer or inner.is_struct, inner.read)
        if not fact.pointer and (inner.is_struct or inner.is_time or each.required != fact.reverses):
            always.append((each.name, inner.zero))
    return _reading(found.name, f"{found.module.partition('_')[2]}.{found.name}", fields, always)


def _reading(struct: str, go: str, fields: Fields, always: Always) -> Shape:
    def read_struct(value: Any, at: Place | None, told: Told) -> dict[str, Any]:  # noqa: ANN401
        made: dict[str, Any] = {}
        if isinstance(value, dict):
            if type(value) is Doubled:
                told.twice(at, value, fields)
            made = _fields_of(value, (at, struct), fields, told)
        else:
            told.mistyped(value, at, go)
        for key, zero in always:
            if key not in made:
                made[key] = zero()
        return made

    return Shape(go=go, read=read_struct, zero=lambda: read_struct({}, None, Told()), is_struct=True)


def _fields_of(value: dict[str, Any], where: tuple[Place | None, str], fields: Fields, told: Told) -> dict[str, Any]:
    at, struct = where
    made: dict[str, Any] = {}
    for key, item in value.items():
        known = fields.get(key)
        if known is None:
            told.unknown(at, key)
        elif item is not None:
            plain, keeps_zero, reading = known
            if type(item) is not plain:
                item = reading(item, (at, f".{key}", struct), told)  # noqa: PLW2901 - its canonical form
            if item or (keeps_zero and item is not None):
                made[key] = item
    return made
