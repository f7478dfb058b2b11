"""What a write may say of its manager, in the query: `fieldManager` and `force`. Pure."""

from collections.abc import Iterator
from typing import Final

from k3.core import limits
from k3.server.status import Cause

_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}
_ASCII: Final = 0x7F
_PLANE: Final = 0xFFFF


def manager_causes(field_manager: str) -> list[Cause]:
    """Returns what is wrong with the name of a manager: it is long, or has characters that cannot be printed."""
    return list(_manager_causes(field_manager))


def _manager_causes(field_manager: str) -> Iterator[Cause]:
    if len(field_manager.encode(errors="replace")) > limits.MANAGER_BYTES:
        yield Cause("FieldValueTooLong", f"Too long: may not be more than {limits.MANAGER_BYTES} bytes", "fieldManager")
    at = 0
    for character in field_manager:
        if not character.isprintable():
            why = f"invalid character U+{ord(character):04X} (at position {at})"
            yield Cause("FieldValueInvalid", f"Invalid value: {_quoted(field_manager)}: {why}", "fieldManager")
        at += len(character.encode(errors="replace"))


def patch_causes(field_manager: str, *, is_forced: bool | None, is_apply: bool) -> list[Cause]:
    """Returns what is wrong with the manager of a patch; `is_forced` is None where the query does not say."""
    causes = manager_causes(field_manager)
    if is_apply and not field_manager:
        return [Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager"), *causes]
    if not is_apply and is_forced is not None:
        return [Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force"), *causes]
    return causes


def _quoted(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    """Returns a character as Go quotes it."""
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    if code <= _ASCII:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _PLANE else f"\\U{code:08x}"
