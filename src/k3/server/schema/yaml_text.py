"""YAML of a request body, as Kubernetes reads it: what JSON can say too, with the plain words of YAML 1.1.

Only one document is read, without anchors and aliases (a few of them stand for as much as anybody likes), without merge keys,
and only as long as `limits.YAML_BYTES`: to parse it takes some fifty times as long as JSON. Pure.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any, Final

import yaml

from k3.core import limits
from k3.core.records import dataclass
from k3.core.safe_text import quoted
from k3.server.schema.literals import Number

_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its events are used: it makes no objects."""
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
}
_INTEGER: Final = re.compile(r"([-+]?)(0b[01]+|0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+)", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)?|[-+]?[0-9]+\.", re.ASCII)
_CORE: Final = "tag:yaml.org,2002:"
_DIGITS: Final = 64


class NotYaml(ValueError):
    """A text is not YAML that is taken, in Go's words where it has some."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A YAML document: its value as JSON has it, and the sentences about keys that are there twice (the later one counts)."""

    value: Any
    doubled: tuple[str, ...]


@dataclass(slots=True)
class _Open:
    """A list, or a mapping with the key whose value comes next."""

    made: Any
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    stack: list[_Open] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    value: Any = None

    def open(self, made: Any, line: int) -> None:  # noqa: ANN401 - JSON
        if len(self.stack) >= limits.DOCUMENT_DEPTH:
            msg = "exceeded max depth"
            raise NotYaml(msg)
        self.put(made, line)
        self.stack.append(_Open(made))

    def put(self, value: Any, line: int) -> None:  # noqa: ANN401 - JSON
        if not self.stack:
            self.value = value
            return
        here = self.stack[-1]
        if isinstance(here.made, list):
            here.made.append(value)
        elif here.key is None:
            here.key = _key(value, line)
            if here.key in here.made:
                self.doubled.append(f"line {line}: key {quoted(here.key)} already set in map")
        else:
            here.made[here.key] = value
            here.key = None

    def close(self) -> None:
        made = self.stack.pop().made
        if isinstance(made, dict):  # Kubernetes makes JSON of it first, with keys in order
            items = sorted(made.items())
            made.clear()
            made.update(items)


def parsed(body: bytes) -> Parsed:
    """Returns what a body says. Raises NotYaml."""
    if len(body) > limits.YAML_BYTES:
        msg = f"yaml: the document has more than {limits.YAML_BYTES} bytes: send it as JSON"
        raise NotYaml(msg)
    builder = _Builder()
    try:
        for event in _events(body):
            _take(builder, event)
    except yaml.MarkedYAMLError as odd:
        line = odd.problem_mark.line if odd.problem_mark else 0
        if line and isinstance(odd, yaml.scanner.ScannerError):  # so Go counts: its parser names the line before
            line += 1
        where = f"line {line}: " if line else ""
        msg = f"yaml: {where}{odd.problem or odd.context}"
        raise NotYaml(msg) from None
    except yaml.reader.ReaderError as odd:
        msg = f"yaml: {odd.reason}"
        raise NotYaml(msg) from None
    except (yaml.YAMLError, UnicodeDecodeError) as odd:
        msg = f"yaml: {odd}"
        raise NotYaml(msg) from None
    return Parsed(builder.value, tuple(builder.doubled))


def _events(body: bytes) -> Iterator[Any]:
    """Yields the events of the first document."""
    parser = _PARSER(body.decode("utf-8"))
    try:
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.DocumentEndEvent):
                return
            yield event
    finally:
        parser.dispose()


def _take(builder: _Builder, event: Any) -> None:  # noqa: ANN401 - PyYAML's events
    line = event.start_mark.line + 1
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        msg = f"yaml: line {line}: anchors and aliases are not taken"
        raise NotYaml(msg)
    if isinstance(event, yaml.ScalarEvent):
        builder.put(_scalar(event, line), line)
    elif isinstance(event, yaml.MappingStartEvent):
        builder.open({}, line)
    elif isinstance(event, yaml.SequenceStartEvent):
        builder.open([], line)
    elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
        builder.close()


def _key(value: Any, line: int) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        if value == "<<":
            msg = f"yaml: line {line}: merge keys are not taken"
            raise NotYaml(msg)
        return str(value)
    msg = f"yaml: line {line}: a key is no text"
    raise NotYaml(msg)


def _scalar(event: Any, line: int) -> Any:  # noqa: ANN401 - PyYAML's events in, JSON out
    text: str = event.value
    if not event.implicit[0] and event.tag is not None:
        return _tagged(event.tag, text, line)
    return _plain(text) if event.implicit[0] else text


def _tagged(tag: str, text: str, line: int) -> Any:  # noqa: ANN401 - JSON
    if tag in {"!", f"{_CORE}str"}:
        return text
    value = _plain(text)
    kinds = {"null": type(None), "bool": bool, "int": int, "float": Number}
    if kinds.get(tag.removeprefix(_CORE)) is type(value):
        return value
    msg = f"yaml: line {line}: cannot decode {tag.removeprefix(_CORE)[:80]}"
    raise NotYaml(msg)


def _plain(text: str) -> Any:  # noqa: ANN401 - JSON
    """Returns what a plain scalar stands for."""
    if len(text) > _DIGITS:
        return text
    if text in _WORDS:
        return _WORDS[text]
    digits = text.replace("_", "")
    if (found := _INTEGER.fullmatch(digits)) is not None:
        return _whole(found[1], found[2], text)
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        if math.isfinite(number):
            return int(number) if number.is_integer() and abs(number) < 2**53 else Number(repr(number))
    return text


def _whole(sign: str, digits: str, text: str) -> Any:  # noqa: ANN401 - JSON
    octal = digits[0] == "0" and digits.isdigit() and len(digits) > 1
    if octal and digits.strip("01234567"):
        return Number(repr(float(sign + digits)))
    number = int(sign + digits, 8) if octal else int(sign + digits, 0)
    return number if -(2**63) <= number < 2**63 else Number(text)
