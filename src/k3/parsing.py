"""Text that people write, read strictly: durations, booleans, and YAML mappings held to a table of fields.

An error says where, what was expected and the nearest known key. It never repeats a value, which may be a password;
a duration or boolean is shown, since it cannot be one.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from k3.core import node
from k3.core.errors import ConfigInvalid
from k3.safe_text import printable

_ZERO: Final = re.compile(r"0+(\.0*)?(ns|us|µs|ms|s|m|h)?")
_QUOTED: Final = re.compile(r"'[^'<][^']+'")
_TRUE: Final = frozenset({"1", "t", "true"})
_FALSE: Final = frozenset({"0", "f", "false"})


def duration(text: str, where: str) -> float:
    """A duration as Go writes it (`90s`, `1m30s`, `1.5h`, `0`), in seconds. Raises ConfigInvalid."""
    if _ZERO.fullmatch(text):
        return 0.0
    total = node.seconds(text) if text.replace("µ", "u").isascii() else 0.0
    if not total:
        msg = f'{where}: bad duration "{printable(text, limit=40)}", expected like 90s, 1m30s or 1.5h'
        raise ConfigInvalid(msg)
    return total


def boolean(text: str, where: str) -> bool:
    """`true` or `false`, also as 1, t, 0, f in either case. Raises ConfigInvalid."""
    word = text.lower()
    if word not in _TRUE | _FALSE:
        msg = f'{where}: bad value "{printable(text, limit=40)}", expected true or false'
        raise ConfigInvalid(msg)
    return word in _TRUE


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "host"?` where a known word is close, else nothing."""
    close = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a section: what a person is told to write, and how it is read (ValueError: not that)."""

    expected: str
    read: Callable[[Any], Any]
    attribute: str = ""
    """Its name in the struct, where it differs from the key."""


Fields = Mapping[str, Field]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one error for whatever is not as expected
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError
    return tuple(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - one error for whatever is not as expected
    return value


def _seconds(value: object) -> float:
    total = node.seconds(_text(value))
    if not total:
        raise ValueError
    return total


def whole(low: int, high: int) -> Field:
    """A whole number within bounds."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError
        return value

    return Field(f"a whole number from {low} to {high}", read)


def choice(*words: str) -> Field:
    """One of some words."""

    def read(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return Field(f"one of {', '.join(words)}", read)


TEXT: Final = Field("text (in quotes where it looks like a number)", _text)
TEXTS: Final = Field("a list of texts", _texts)
FLAG: Final = Field("true or false", _flag)
DURATION: Final = Field("a duration like 5s, 1m30s or 1.5h", _seconds)


def read_fields(section: object, fields: Fields, where: str) -> dict[str, Any]:
    """A mapping held to its fields, by attribute name. A key with nothing behind it is not set. Raises ConfigInvalid."""
    found: dict[str, Any] = {}
    for key, value in mapping(section, where).items():
        name = f"{where}.{printable(key, limit=60)}"
        field = fields.get(key)
        if field is None:
            msg = f"{name}: unknown key{nearest(key, fields) or '; known are ' + (', '.join(fields) or 'none')}"
            raise ConfigInvalid(msg)
        if value is None:
            continue
        try:
            found[field.attribute or key] = field.read(value)
        except ValueError:
            msg = f"{name}: expected {field.expected}"
            raise ConfigInvalid(msg) from None
    return found


def mapping(value: object, where: str) -> dict[str, Any]:
    """A mapping with texts for keys; nothing counts as an empty one. Raises ConfigInvalid."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        msg = f"{where}: expected a mapping (key: value)"
        raise ConfigInvalid(msg)
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigInvalid naming file and line."""
    import yaml  # noqa: PLC0415 - loading it takes longer than most commands; only who has a file pays

    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        msg = f"cannot read the configuration file {path}: {error.strerror}"
        raise ConfigInvalid(msg) from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = _QUOTED.sub("'...'", str(error.problem))  # it may quote what stands there, and that may be a password
        msg = f"{path}{line}: not valid YAML: {problem}"
        raise ConfigInvalid(msg) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        msg = f"{path}: not valid YAML, or not UTF-8"
        raise ConfigInvalid(msg) from None
    return mapping(document, str(path))
