"""Label selectors as Kubernetes reads and refuses them: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`. Pure.

`!=` and `notin` also hold for what lacks the label.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from k3.core import name_rules
from k3.core.errors import Invalid
from k3.core.records import dataclass
from k3.core.safe_text import printable, quoted

Operator = Literal["in", "notin", "exists", "absent", "above", "below"]

_WORD: Final = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<>\s]+|$)")
_SYMBOLS: Final = set("=!(),<>") | {"==", "!="}
_OPERATORS: Final[dict[str, Operator]] = {
    "in": "in",
    "=": "in",
    "==": "in",
    "notin": "notin",
    "!=": "notin",
    ">": "above",
    "<": "below",
}
_NAMED: Final = "in, notin, =, ==, !=, gt, lt"
_END: Final = ""
"""What stands behind the last word."""
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_EXPECTED: Final = "expected terms like app=web, app!=web, app in (a,b), app notin (a,b), app, !app, joined by commas"


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, object]) -> bool:
        """Whether the labels fulfil the condition."""
        if self.operator in {"exists", "absent"}:
            return (self.key in labels) == (self.operator == "exists")
        if self.operator in {"above", "below"}:
            return self._compares(labels.get(self.key))
        return (labels.get(self.key) in self.values) == (self.operator == "in")

    def _compares(self, label: object) -> bool:
        """Whether a label is a number above, or below, the only value."""
        if not isinstance(label, str) or not _NUMBER.fullmatch(label):
            return False
        number, limit = int(label), int(next(iter(self.values)))
        return number > limit if self.operator == "above" else number < limit


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its terms must hold; without terms it matches everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, labels: Mapping[str, object]) -> bool:
        """Whether the labels fulfil every term."""
        return all(term.matches(labels) for term in self.terms)


def parse_selector(text: str) -> Selector:
    """Returns the selector that a client sent; blank matches everything. Raises Invalid, in the words of Kubernetes."""
    return Selector(tuple(_Reading(text).terms()))


def typed_selector(text: str) -> Selector:
    """Returns the selector that a person typed; blank matches everything. Raises Invalid, with what may be written."""
    try:
        return parse_selector(text)
    except Invalid as error:
        msg = f'bad selector "{printable(text, limit=200)}": {_EXPECTED}'
        raise Invalid(msg) from error


class _Odd(ValueError):
    """A requirement cannot be read."""


class _Reading:
    """A selector while it is read, from left to right."""

    def __init__(self, text: str) -> None:
        self._words = [found[1] for found in _WORD.finditer(text)]
        self._at = 0

    def terms(self) -> list[Term]:
        found: list[Term] = []
        while (word := self._next) != _END:
            if word in _SYMBOLS and word != "!":
                message = f"found '{word}', expected: !, identifier, or 'end of string'"
                raise Invalid(message)
            try:
                found.append(self._term())
            except _Odd as odd:
                message = f"unable to parse requirement: {odd}"
                raise Invalid(message) from odd
            if (word := self._take()) == _END:
                break
            if word != ",":
                message = f"found '{word}', expected: ',' or 'end of string'"
                raise Invalid(message)
            if self._next == _END or (self._next in _SYMBOLS and self._next != "!"):
                message = f"found '{self._next}', expected: identifier after ','"
                raise Invalid(message)
        return found

    @property
    def _next(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else _END

    def _take(self) -> str:
        word = self._next
        self._at += 1
        return word

    def _identifier(self) -> str:
        word = self._take()
        if word == _END or word in _SYMBOLS:
            message = f"found '{word}', expected: identifier"
            raise _Odd(message)
        return word

    def _term(self) -> Term:
        is_absent = self._next == "!"
        if is_absent:
            self._take()
        key = self._identifier()
        if why := "; ".join(name_rules.label_key(key)):
            message = f"<nil>: Invalid value: {quoted(key)}: {why}"
            raise _Odd(message)
        if is_absent:
            return Term(key, "absent")
        if self._next in {_END, ","}:
            return Term(key, "exists")
        word = self._take()
        operator = _OPERATORS.get(word)
        if operator is None:
            message = f"found '{word}', expected: {_NAMED}"
            raise _Odd(message)
        values = self._values() if word in {"in", "notin"} else {self._value()}
        _check(key, operator, sorted(values))
        return Term(key, operator, frozenset(values))

    def _value(self) -> str:
        return "" if self._next in {_END, ","} else self._identifier()

    def _values(self) -> set[str]:
        if (word := self._take()) != "(":
            message = f"found '{word}' expected: '('"
            raise _Odd(message)
        if self._next != ")" and (self._next == _END or (self._next in _SYMBOLS and self._next != ",")):
            message = f"found '{self._next}', expected: ',', ')' or identifier"
            raise _Odd(message)
        found: set[str] = set()
        while True:
            word = self._next
            if word in {",", ")"}:
                found.add("")
            elif word == _END or word in _SYMBOLS:
                message = f"found '{word}', expected: ',', or identifier"
                raise _Odd(message)
            else:
                found.add(self._take())
            if (word := self._take()) == ")":
                return found
            if word != ",":
                message = f"found '{word}', expected: ',' or ')'"
                raise _Odd(message)


def _check(key: str, operator: Operator, values: Iterable[str]) -> None:
    found: list[str] = []
    for index, value in enumerate(values):
        if operator in {"above", "below"} and not _NUMBER.fullmatch(value):
            why = "for 'Gt', 'Lt' operators, the value must be an integer"
            found.append(f"values[{index}]: Invalid value: {quoted(value)}: {why}")
        if why := "; ".join(name_rules.label_value(value)):
            found.append(f"values[{index}][{key}]: Invalid value: {quoted(value)}: {why}")
    if found:
        raise _Odd(found[0] if len(found) == 1 else f"[{', '.join(found)}]")
