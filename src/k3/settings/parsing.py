"""Text that people write, read strictly: durations, booleans, and YAML mappings held to a table of fields.

An error says where, what was expected and the nearest known key. It never repeats a value, which may be a password;
a duration or boolean is shown, since it cannot be one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from k3.core import times
from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.core.safe_text import printable

_ZERO: Final = re.compile(r"0+(\.0*)?(ns|us|µs|ms|s|m|h)?")
_LONGEST_SECONDS: Final = 87_600 * 3_600.0
_NEGATIVE: Final = re.compile(r"-\s*\.?\d.*")
_LOOSE: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-z]*)", re.ASCII)
_UNITS: Final = {
    unit: sign
    for sign, units in {
        "s": "s sec secs second seconds",
        "m": "m min mins minute minutes",
        "h": "h hr hrs hour hours",
        "ms": "ms msec msecs millisecond milliseconds",
    }.items()
    for unit in units.split()
}
_HOURS: Final = {"d": 24, "day": 24, "days": 24, "w": 168, "week": 168, "weeks": 168}
_TRUE: Final = frozenset({"1", "t", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "f", "false", "no", "off"})


def duration(text: str, where: str) -> float:
    """Reads a duration as Go writes it (`90s`, `1m30s`, `1.5h`, `0`), in seconds. Raises ConfigInvalid."""
    if _ZERO.fullmatch(text):
        return 0.0
    total = times.seconds(text) if text.replace("µ", "u").isascii() else 0.0
    if 0 < total <= _LONGEST_SECONDS:
        return total
    if total:
        msg = f'{where}: bad duration "{printable(text, limit=40)}", must be at most 87600h (ten years)'
        raise ConfigInvalid(msg)
    if _NEGATIVE.fullmatch(text):
        msg = f'{where}: bad duration "{printable(text, limit=40)}", must not be negative'
        raise ConfigInvalid(msg)
    meant = _meant(text)
    hint = f"; did you mean {meant}?" if meant else ""
    msg = f'{where}: bad duration "{printable(text, limit=40)}", expected like 90s, 1m30s or 1.5h{hint}'
    raise ConfigInvalid(msg)


def _meant(text: str) -> str:
    """Returns the duration that a person may mean: `5`, `5 sec` and `2 days` are 5s, 5s and 48h. Empty: none."""
    found = _LOOSE.fullmatch(text.strip().lower())
    if found is None or len(text) > 40:  # noqa: PLR2004 - nothing that a person has typed
        return ""
    number, unit = found.groups()
    if unit in _HOURS:
        return f"{float(number) * _HOURS[unit]:g}h"
    meant = f"{number}{_UNITS.get(unit or 's', '')}"
    return meant if times.seconds(meant) else ""


def boolean(text: str, where: str) -> bool:
    """Reads `true` or `false`, also as yes, no, on, off, 1, 0, t and f in either case. Raises ConfigInvalid."""
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise bad_value(where, text, "true or false")
    return word in _TRUE


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `; did you mean "host"?` where a known word is close, else nothing."""
    close = alike(word, known)
    return f'; did you mean "{close}"?' if close else ""


def alike(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Returns the known word that is most like this one, from 0, not at all, to 1, the same; empty: none reaches the cutoff."""
    import difflib  # noqa: PLC0415 - too slow to load for those who make no mistake

    close = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return close[0] if close else ""


def nearest_name(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Returns `; did you mean --peer-ttl?`, or two of them, where names of several parts are like the word; else nothing.

    `ttl` is a part of `peer-ttl`, `sel` begins `selector`, `Node_Name` and `nodename` are other spellings of `node-name`.
    """
    names = list(known)
    plain = word.lower().replace("_", "-").strip("-")
    bare = plain.replace("-", "")
    found = [name for name in names if name.replace("-", "") == bare]
    found = found or [name for name in names if plain in name.split("-")]
    found = found or [name for name in names if len(plain) > 1 and name.startswith(plain)]
    found = found or [name for name in [alike(plain, names)] if name]
    shown = " or ".join(f"{prefix}{name}" for name in found[:2])
    return f"; did you mean {shown}?" if shown else ""


def bad_value(where: str, value: str, expected: str) -> ConfigInvalid:
    """Returns the error about a value that is no secret: the place, the value, and what was expected."""
    return ConfigInvalid(f'{where}: bad value "{printable(value, limit=80)}", expected {expected}')


def unknown_key(where: str, key: str, known: Iterable[str]) -> str:
    """Returns the error about an unknown key: the nearest one, else all there are."""
    names = list(known)
    hint = nearest(key, names) or nearest_name(key, names) or "; known are " + (", ".join(names) or "none")
    return f"{where}: unknown key{hint}"


class Section(dict[str, Any]):
    """A mapping that knows where its keys stand, if it comes from a file: which file, and which lines."""

    __slots__ = ("_file", "_lines", "_path")

    def __init__(self, values: Mapping[str, Any], path: str, *, file: str = "", lines: Mapping[str, int] | None = None) -> None:
        super().__init__(values)
        self._path, self._file, self._lines = path, file, lines or {}

    def name_of(self, key: str) -> str:
        """Returns where a key stands: `k3.yaml:3: storage.type`."""
        name = f"{self._path}.{printable(key, limit=60)}"
        return f"{self._file}:{self._lines[key]}: {name}" if key in self._lines else name


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a section: what a person is told to write, and how it is read (ValueError: not that)."""

    expected: str
    read: Callable[[Any], Any]
    attribute: str = ""
    """Its name in the struct, where it differs from the key."""
    words: tuple[str, ...] = ()
    """The words it may be, where it is one of some."""


Fields = Mapping[str, Field]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one error for whatever is not as expected
    value.encode()  # half a surrogate pair is no text: UnicodeEncodeError is a ValueError
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
    total = times.seconds(_text(value))
    if not total:
        raise ValueError
    return total


def whole(low: int, high: int) -> Field:
    """Returns a field that is a whole number within bounds."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError
        return value

    return Field(f"a whole number from {low} to {high}", read)


def choice(*words: str, also: Mapping[str, str] | None = None) -> Field:
    """Returns a field that is one of some words, in either case. `also` has other names for some of them."""
    known = {**{word: word for word in words}, **(also or {})}

    def read(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in known:
            raise ValueError
        return known[value.lower()]

    return Field(f"one of {', '.join(words)}", read, words=words)


TEXT: Final = Field("text (in quotes where it looks like a number)", _text)
TEXTS: Final = Field("a list of texts", _texts)
FLAG: Final = Field("true or false", _flag)
DURATION: Final = Field("a duration like 5s, 1m30s or 1.5h", _seconds)


def read_fields(section: object, fields: Fields, where: str) -> dict[str, Any]:
    """Returns a mapping checked by its fields, by attribute name. A key without a value is not set. Raises ConfigInvalid."""
    found: dict[str, Any] = {}
    values = mapping(section, where)
    for key, value in values.items():
        name = values.name_of(key)
        field = fields.get(key)
        if field is None:
            raise ConfigInvalid(unknown_key(name, key, fields))
        if value is not None:
            found[field.attribute or key] = read_field(field, value, name)
    return found


def read_field(field: Field, value: object, where: str) -> Any:  # noqa: ANN401 - whatever the field makes of it
    """Returns one value. Raises ConfigInvalid, which does not repeat it."""
    if has_zero(value):
        raise ConfigInvalid(zero(where))
    try:
        return field.read(value)
    except ValueError:
        hint = nearest(value.lower(), field.words) if isinstance(value, str) else ""
        msg = f"{where}: expected {field.expected}{hint}"
        raise ConfigInvalid(msg) from None


def has_zero(value: object) -> bool:
    """Whether a text, or one of a list, has a zero byte, which ends texts for the kernel and for other programs."""
    return any(isinstance(each, str) and "\0" in each for each in (value if isinstance(value, list | tuple) else [value]))


def zero(where: str) -> str:
    """Returns what a person is told of that."""
    return f"{where}: has a zero byte (\\0) in it, expected none"


def mapping(value: object, where: str) -> Section:
    """Returns a mapping with texts for keys; nothing counts as an empty one. Raises ConfigInvalid."""
    if isinstance(value, Section):
        return value
    if value is None:
        return Section({}, where)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        msg = f"{where}: expected a mapping (key: value)"
        raise ConfigInvalid(msg)
    return Section(value, where)
