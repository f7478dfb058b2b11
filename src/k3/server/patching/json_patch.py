"""JSON patches (RFC 6902), addressed by JSON pointers (RFC 6901): `application/json-patch+json`. Pure.

Where the RFC and kube-apiserver differ, this is as kube-apiserver is, because the clients are tested with it: `replace` of a
member that is not there adds it, an index may count from the end (`-1`), a missing value is null, and what stands before the
first slash of a pointer is not looked at.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from k3.core import limits
from k3.core.documents import Manifest, is_too_deep
from k3.core.objects import copied
from k3.server.patching.refusals import does_not_apply, refuse_type
from k3.server.status import Refused

_INDEX: Final = re.compile(r"[+-]?[0-9]{1,9}")
_DECODING: Final = "error decoding patch: "
_TEXTS: Final = ("op", "path", "from")
_FIELDS: Final = {*_TEXTS, "value"}


def patched(document: Manifest, operations: Any) -> Any:  # noqa: ANN401 - JSON
    """Returns the document after all operations, in their order; neither is changed.

    The operations are a list of objects with `op` and `path`, and `from` or `value` where the operation has one. What comes
    out may be anything that JSON has: an operation may replace the whole document. Raises Refused: 400 for what is no patch,
    413 for too many operations, 422 where one of them does not apply (a failed `test` is one).
    """
    _check(operations)
    try:
        patching = _Patching(copied(document))
        for operation in operations or ():
            patching.do(operation or {})
    except RecursionError as odd:
        raise does_not_apply() from odd
    if _is_too_deep(patching.document):  # copies of copies grow deep before they grow long
        raise does_not_apply()
    return patching.document


def unknown_fields(operations: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Returns what a strict reader finds wrong with operations that apply: `json patch unknown field "[0].spam"`."""
    return [
        f'json patch unknown field "[{at}].{name}"'
        for at, operation in enumerate(operations or ())
        for name in (operation or {})
        if name not in _FIELDS
    ]


def _check(operations: Any) -> None:  # noqa: ANN401 - JSON
    if operations is None:
        return
    if not isinstance(operations, list):
        refuse_type("value of type []handlers.jsonPatchOp", operations, prefix=_DECODING)
    for operation in operations:
        _check_operation({} if operation is None else operation)
    if len(operations) > limits.JSON_PATCH_OPERATIONS:
        allowed = f"The allowed maximum operations in a JSON patch is {limits.JSON_PATCH_OPERATIONS}"
        raise Refused(413, f"Request entity too large: {allowed}, got {len(operations)}")


def _check_operation(operation: Any) -> None:  # noqa: ANN401 - JSON
    if not isinstance(operation, dict):
        refuse_type("value of type handlers.jsonPatchOp", operation, prefix=_DECODING)
    for name in _TEXTS:
        if not isinstance(operation.get(name, ""), str | None):
            refuse_type(f"struct field jsonPatchOp.{name} of type string", operation[name], prefix=_DECODING)


class _Patching:
    """A document while operations are done to it, in place."""

    def __init__(self, document: Any) -> None:  # noqa: ANN401 - JSON
        self.document = document
        self._copied_bytes = 0
        self._doing: dict[str, Callable[[dict[str, Any]], None]] = {
            "add": lambda operation: self._add(_pointer(operation, "path"), copied(operation.get("value"))),
            "remove": lambda operation: self._removed(_pointer(operation, "path")),
            "replace": self._replace,
            "move": self._move,
            "copy": self._copy,
            "test": self._test,
        }

    def do(self, operation: dict[str, Any]) -> None:
        """Does one operation. Raises Refused where it does not apply."""
        do = self._doing.get(operation.get("op") or "")
        if do is None:
            raise does_not_apply()
        do(operation)

    def _replace(self, operation: dict[str, Any]) -> None:
        pointer = _pointer(operation, "path")
        value = copied(operation.get("value"))
        if not pointer:
            if not isinstance(value, dict | list):
                raise does_not_apply()
            self.document = value
            return
        holder, name = self._holder(pointer)
        if isinstance(holder, dict):
            holder[name] = value
        else:
            holder[_index(name, len(holder))] = value

    def _move(self, operation: dict[str, Any]) -> None:
        value = self._removed(_pointer(operation, "from"))
        self._add(_pointer(operation, "path"), value)

    def _copy(self, operation: dict[str, Any]) -> None:
        value = self._found(_pointer(operation, "from"))
        if _is_too_deep(value):
            raise does_not_apply()
        self._copied_bytes += len(json.dumps(value, separators=(",", ":")))
        if self._copied_bytes > limits.JSON_PATCH_COPIED_BYTES:
            raise does_not_apply()
        self._add(_pointer(operation, "path"), copied(value))

    def _test(self, operation: dict[str, Any]) -> None:
        pointer = _pointer(operation, "path")
        value = self._found(pointer) if pointer else self.document
        if not _is_same(value, operation.get("value")):
            raise does_not_apply()

    def _found(self, pointer: str) -> Any:  # noqa: ANN401 - JSON
        holder, name = self._holder(pointer)
        return holder.get(name) if isinstance(holder, dict) else holder[_index(name, len(holder))]

    def _removed(self, pointer: str) -> Any:  # noqa: ANN401 - JSON
        holder, name = self._holder(pointer)
        if isinstance(holder, list):
            return holder.pop(_index(name, len(holder)))
        if name not in holder:
            raise does_not_apply()
        return holder.pop(name)

    def _add(self, pointer: str, value: Any) -> None:  # noqa: ANN401 - JSON
        holder, name = self._holder(pointer)
        if isinstance(holder, dict):
            holder[name] = value
        elif name == "-":
            holder.append(value)
        else:
            holder.insert(_index(name, len(holder) + 1), value)

    def _holder(self, pointer: str) -> tuple[Any, str]:
        """Returns the object or list that has, or will have, what a pointer points to, and its name in there."""
        _, *names = pointer.split("/")
        if not names:
            raise does_not_apply()
        holder = self.document
        for name in names[:-1]:
            holder = holder.get(_unescaped(name)) if isinstance(holder, dict) else holder[_index(name, len(holder))]
            if not isinstance(holder, dict | list):
                raise does_not_apply()
        return holder, _unescaped(names[-1])


def _pointer(operation: dict[str, Any], name: str) -> str:
    pointer = operation.get(name)
    if pointer is None:
        raise does_not_apply()
    return str(pointer)


def _unescaped(name: str) -> str:
    """RFC 6901 section 4: `~1` first, so that `~01` becomes `~1`."""
    return name.replace("~1", "/").replace("~0", "~") if "~" in name else name


def _index(name: str, length: int) -> int:
    """Returns a place below `length`. Raises Refused for any other."""
    if not _INDEX.fullmatch(name):
        raise does_not_apply()
    index = int(name)
    if not -length <= index < length:
        raise does_not_apply()
    return index + length if index < 0 else index


def _is_too_deep(value: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(value, dict | list) and is_too_deep(value, limits.DOCUMENT_DEPTH + 1)


def _is_same(one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether two values are the same JSON. As kube-apiserver has it, 1 and 1.0 are not; Python alone takes even true for 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)
