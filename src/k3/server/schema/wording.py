"""Texts as Go writes them in the messages of Kubernetes. Pure."""

import json
from typing import Any, Final

_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
SHOWN_CHARACTERS: Final = 1_000
"""Of a document that a message shows."""


def quoted(text: str) -> str:
    """Returns a text in quotes, as `strconv.Quote` writes it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:  # noqa: PLR2004 - ASCII
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"  # noqa: PLR2004 - the two forms of Go


def character(text: str) -> str:
    """Returns the first byte of a text in single quotes, as encoding/json names what it did not expect."""
    first = chr(text.encode("utf-8", "surrogatepass")[0])
    return {"'": "'\\''", '"': "'\"'"}.get(first, f"'{quoted(first)[1:-1]}'")


def document(value: Any) -> str:  # noqa: ANN401 - JSON
    """Returns JSON for a message, cut where it is long."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."
