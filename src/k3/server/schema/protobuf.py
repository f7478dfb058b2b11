"""Protobuf request bodies: an envelope that names the kind, and in it a message, read by the numbers in `facts`.

A message becomes what JSON would say; its types are checked afterwards as those of JSON are. Go writes every field that is no
pointer, zero or not; what is zero is dropped then. Fields that are not known are skipped. Each field is looked at once, and
there are at most `limits.PROTOBUF_FIELDS`. Messages are those that a type has, so that their depth is its depth.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, TypeAlias

from k3.core import limits
from k3.core.records import dataclass
from k3.server.schema import json_text
from k3.server.schema.facts import facts
from k3.server.schema.models import model

PREFIX: Final = b"k8s\0"
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_SECONDS: Final = -62_135_596_800
"""The first second of the year 1, which Go writes for no time."""
_END: Final = "unexpected EOF"
_MOST_BYTES: Final = 10
"""Of a number of 64 bits."""
_SHORT: Final = 0x80
"""A byte below it ends a number; most numbers are one byte."""


class NotProtobuf(ValueError):
    """Bytes are not the message that they should be, in Go's words where it has some."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a body says of itself, and its message."""

    version: str
    kind: str
    message: bytes


Value: TypeAlias = int | bytes
"""A number, or bytes: a text or a message."""


@dataclass(slots=True)
class _Budget:
    """How many fields may still come."""

    fields: int = limits.PROTOBUF_FIELDS

    def spend(self) -> None:
        self.fields -= 1
        if self.fields < 0:
            msg = f"proto: more than {limits.PROTOBUF_FIELDS} fields"
            raise NotProtobuf(msg)


_Read: TypeAlias = Callable[[bytes, _Budget], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """One field of a message. `read` is None for a number."""

    name: str
    read: _Read | None
    is_bool: bool = False
    is_list: bool = False
    is_map: bool = False


def envelope(body: bytes) -> Envelope:
    """Returns what a body holds. Raises NotProtobuf."""
    if not body:
        msg = "empty data"
        raise NotProtobuf(msg)
    if not body.startswith(PREFIX):
        msg = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        raise NotProtobuf(msg)
    if body == PREFIX:
        msg = "empty body"
        raise NotProtobuf(msg)
    budget = _Budget()
    found = _plain(body[len(PREFIX) :], budget)
    head = _plain(_bytes(found, 1), budget)
    return Envelope(_text(_bytes(head, 1), budget), _text(_bytes(head, 2), budget), _bytes(found, 2))


def message(type_name: str, data: bytes) -> dict[str, Any]:
    """Returns a message of a type such as `core_v1.Node` as JSON has it. Raises NotProtobuf."""
    made: dict[str, Any] = _message(type_name)(data, _Budget())
    return made


# --- bytes --------------------------------------------------------------------------------------------------------------


def _fields(data: bytes, name: str, budget: _Budget) -> Iterator[tuple[int, Value]]:
    """Yields the fields of a message: number and value. Raises NotProtobuf."""
    at = 0
    end = len(data)
    while at < end:
        budget.spend()
        tag, at = (data[at], at + 1) if data[at] < _SHORT else _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _GROUP_END:
            msg = f"proto: {name}: wiretype end group for non-group"
            raise NotProtobuf(msg)
        if not 0 < number < 2**29:
            msg = f"proto: {name}: illegal tag {number} (wire type {wire})"
            raise NotProtobuf(msg)
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire == _BYTES:
            length, at = (data[at], at + 1) if at < end and data[at] < _SHORT else _varint(data, at)
            if length > end - at:
                raise NotProtobuf("proto: negative length found during unmarshaling" if length >= 2**63 else _END)
            yield number, data[at : at + length]
            at += length
        else:
            at = _skipped(data, at, wire, budget)


def _skipped(data: bytes, at: int, wire: int, budget: _Budget) -> int:
    """Returns where a value ends that no field has: a number of fixed length, or a group."""
    depth = 0
    while True:
        if wire == _GROUP:
            depth += 1
        elif wire == _GROUP_END:
            depth -= 1
        else:
            at = _passed(data, at, wire)
        if depth < 0:
            msg = "proto: unexpected end of group"
            raise NotProtobuf(msg)
        if not depth:
            return at
        budget.spend()
        tag, at = _varint(data, at)
        wire = tag & 7


def _passed(data: bytes, at: int, wire: int) -> int:
    """Returns where one value ends."""
    if wire == _VARINT:
        return _varint(data, at)[1]
    if wire not in {_BYTES, _FIXED32, _FIXED64}:
        msg = f"proto: illegal wireType {wire}"
        raise NotProtobuf(msg)
    length = {_FIXED32: 4, _FIXED64: 8}.get(wire, 0)
    if wire == _BYTES:
        length, at = _varint(data, at)
    if length > len(data) - at:
        raise NotProtobuf(_END)
    return at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for index, byte in enumerate(data[at : at + _MOST_BYTES]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < _SHORT:
            return number & (2**64 - 1), at + index + 1
    raise NotProtobuf(_END if len(data) - at < _MOST_BYTES else "proto: integer overflow")


def _plain(data: bytes, budget: _Budget) -> dict[int, Value]:
    """Returns the last value of each field of a message whose fields have no names here."""
    return dict(_fields(data, "Unknown", budget))


def _bytes(found: dict[int, Value], number: int) -> bytes:
    value = found.get(number, b"")
    if isinstance(value, int):
        msg = f"proto: wrong wireType = 0 for field {number}"
        raise NotProtobuf(msg)
    return value


def _number(found: dict[int, Value], number: int) -> int:
    value = found.get(number, 0)
    return _signed(value) if isinstance(value, int) else 0


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


# --- messages -----------------------------------------------------------------------------------------------------------


@cache
def _message(type_name: str) -> _Read:
    """Makes the reader of a message."""
    found = model(type_name)
    numbers = facts(found.name)
    known = {
        numbers[each.name].number: _field(each.name, each.type, numbers[each.name].go)
        for each in found.fields
        if each.name in numbers
    }

    def read(data: bytes, budget: _Budget) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for number, value in _fields(data, found.name, budget):
            field = known.get(number)
            if field is not None:
                _put(made, field, value, budget)
        return made

    return read


def _put(made: dict[str, Any], field: _Field, value: Value, budget: _Budget) -> None:
    if isinstance(value, int) != (field.read is None):
        wire = _VARINT if isinstance(value, int) else _BYTES
        named = "ObjectMeta" if field.name == "metadata" else field.name[:1].upper() + field.name[1:]
        msg = f"proto: wrong wireType = {wire} for field {named}"
        raise NotProtobuf(msg)
    if isinstance(value, int):
        made[field.name] = bool(value) if field.is_bool else _signed(value)
        return
    item = field.read(value, budget) if field.read else None
    if field.is_map:
        made.setdefault(field.name, {}).update(item)
    elif field.is_list:
        made.setdefault(field.name, []).append(item)
    elif isinstance(item, dict) and isinstance(made.get(field.name), dict):
        made[field.name] |= item
    else:
        made[field.name] = item


def _field(name: str, type_name: str, go: str) -> _Field:
    if type_name in {"int", "bool"}:
        return _Field(name=name, read=None, is_bool=type_name == "bool")
    if type_name == "dict":
        return _Field(name=name, read=_entry(go), is_map=True)
    is_list = type_name.startswith("List[")
    inner = type_name[5:-1] if is_list else type_name
    return _Field(name=name, read=_READERS.get(inner) or _message(inner), is_list=is_list)


def _text(data: bytes, budget: _Budget) -> str:  # noqa: ARG001 - read as every value is
    return data.decode("utf-8", "replace")


def _time(data: bytes, budget: _Budget) -> str | None:
    found = _plain(data, budget)
    seconds, nanoseconds = _number(found, 1), _number(found, 2)
    if (seconds or _ZERO_SECONDS, nanoseconds) == (_ZERO_SECONDS, 0):
        return None
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    except OverflowError:
        msg = f"a time of {seconds} seconds: year out of range"
        raise NotProtobuf(msg) from None
    return moment.isoformat(timespec="microseconds")


def _quantity(data: bytes, budget: _Budget) -> str:
    return _text(_bytes(_plain(data, budget), 1), budget) or "0"


def _int_or_text(data: bytes, budget: _Budget) -> int | str:
    found = _plain(data, budget)
    return _text(_bytes(found, 3), budget) if _number(found, 1) else _number(found, 2)


def _fields_v1(data: bytes, budget: _Budget) -> Any:  # noqa: ANN401 - JSON
    raw = _bytes(_plain(data, budget), 1)
    try:
        return json_text.parsed(raw) if raw else None
    except json_text.NotJson as odd:
        raise NotProtobuf(str(odd)) from odd


def _texts(data: bytes, budget: _Budget) -> list[str]:
    return [
        _text(value, budget)
        for number, value in _fields(data, "ExtraValue", budget)
        if number == 1 and isinstance(value, bytes)
    ]


def _entry(go: str) -> _Read:
    """Returns the reader of one entry of a map, whose value is of a type as Go names it."""
    reading: _Read = _ENTRIES.get(go, _text)

    def read(data: bytes, budget: _Budget) -> dict[str, Any]:
        found = _plain(data, budget)
        return {_text(_bytes(found, 1), budget): reading(_bytes(found, 2), budget)}

    return read


def _base64(data: bytes, budget: _Budget) -> str:  # noqa: ARG001 - read as every value is
    return b64encode(data).decode()


_ENTRIES: Final[dict[str, _Read]] = {
    "v1.ResourceList": _quantity,
    "map[string]v1.ExtraValue": _texts,
    "map[string][]uint8": _base64,
}
_READERS: Final[dict[str, _Read]] = {
    "str": _text,
    "meta_v1.Time": _time,
    "meta_v1.MicroTime": _time,
    "meta_v1.FieldsV1": _fields_v1,
    "resource.Quantity": _quantity,
    "util_intstr.IntOrString": _int_or_text,
}
