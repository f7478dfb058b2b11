"""Outside text made fit for a terminal or a log line. Everything k3 prints passes through here.

A name, a label or an error may come from any machine on the network: a control character in it must not move a cursor,
recolour a screen or forge a line, and a password in a store's URL must not be shown.

Pure.
"""

import re
from typing import Final

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
_USERINFO: Final = re.compile(r"(?<=://)([^\s/:@]*):\S*@")


def printable(text: str, *, limit: int = 1_000) -> str:
    r"""The text with every character that is not plainly visible escaped (`\x1b`, `\u202e`), cut at `limit` characters."""
    shown = text if len(text) <= limit else text[:limit] + "..."
    if shown.isprintable():
        return shown
    return "".join(char if char.isprintable() else escaped(char) for char in shown)


def escaped(char: str) -> str:
    r"""One character in Python's notation: `\n`, `\x1b`, `\u202e`."""
    return char.encode("unicode_escape").decode()


def without_passwords(text: str) -> str:
    """The text with the password of every URL in it replaced by `***`."""
    return _USERINFO.sub(r"\1:***@", text)


def one_line(text: str) -> str:
    """Fit for one line of an error message: no password, nothing that is not visible."""
    return printable(without_passwords(text))


def quoted(text: str) -> str:
    """Returns a text in quotes as Go's `strconv.Quote` writes it: so it stands in the messages of Kubernetes."""
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
