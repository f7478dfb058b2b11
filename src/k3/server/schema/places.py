"""Where a value is in a document, as messages of Kubernetes name it. Pure."""

from typing import Final, TypeAlias

from k3.server.schema import wording

Place: TypeAlias = tuple["Place | None", str, str | None]
"""The place of what a value is in; `.field`, `.key` or `[0]`; the struct whose field it is (None: a key, an index)."""

SHOWN_CHARACTERS: Final = 1_000
"""Of a path; a key may be as long as a body."""


def path(at: Place | None, name: str) -> str:
    """Returns a path such as `spec.taints[0].key`."""
    parts = [f".{name}"] if name else []
    while at is not None:
        at, part, _ = at
        parts.append(part)
    return "".join(reversed(parts)).removeprefix(".")[:SHOWN_CHARACTERS]


def cannot(value: object, at: Place | None, go: str, *, says_number: bool = False) -> str:
    """Returns the sentence of encoding/json for a value that does not fit; `says_number` where it names the number too."""
    said = kind_of(value)
    if says_number and said == "number":
        said = f"number {value!s:.{wording.SHOWN_CHARACTERS}}"
    fields: list[str] = []
    struct, found = "", at
    while found is not None:
        found, part, owner = found
        if owner is not None:
            struct = struct or owner
            fields.append(part[1:])
    if fields:
        return f"json: cannot unmarshal {said} into Go struct field {struct}.{'.'.join(reversed(fields))} of type {go}"
    return f"json: cannot unmarshal {said} into Go value of type {go}"


def kind_of(value: object) -> str:
    """Returns what Go calls the kind of a JSON value."""
    if isinstance(value, dict):
        return "object"
    return {bool: "bool", str: "string", list: "array", type(None): "null"}.get(type(value), "number")
