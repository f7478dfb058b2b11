"""Label selectors as a kube-apiserver reads them, and refuses them: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`. Pure.

`k3 nodes -l` has its own reading (`k3.view.selector`), which tells people what they may write; this one tells clients what
Kubernetes tells them.
"""

import re
from collections.abc import Iterable
from typing import Final

from k3.server.schema import texts
from k3.server.schema.wording import quoted
from k3.server.status import bad_request
from k3.view.selector import Operator, Selector, Term

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


class _Odd(ValueError):
    """A requirement cannot be read."""


def parse_labels(text: str) -> Selector:
    """Returns a selector; blank matches everything. Raises Refused (400)."""
    return Selector(tuple(_Reading(text).terms()))


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
                raise bad_request(message)
            try:
                found.append(self._term())
            except _Odd as odd:
                message = f"unable to parse requirement: {odd}"
                raise bad_request(message) from odd
            if (word := self._take()) == _END:
                break
            if word != ",":
                message = f"found '{word}', expected: ',' or 'end of string'"
                raise bad_request(message)
            if self._next == _END or (self._next in _SYMBOLS and self._next != "!"):
                message = f"found '{self._next}', expected: identifier after ','"
                raise bad_request(message)
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
        if why := "; ".join(texts.label_key(key)):
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
        if operator in {"above", "below"} and not re.fullmatch(r"[-+]?[0-9]{1,18}", value):
            why = "for 'Gt', 'Lt' operators, the value must be an integer"
            found.append(f"values[{index}]: Invalid value: {quoted(value)}: {why}")
        if why := "; ".join(texts.label_value(value)):
            found.append(f"values[{index}][{key}]: Invalid value: {quoted(value)}: {why}")
    if found:
        raise _Odd(found[0] if len(found) == 1 else f"[{', '.join(found)}]")
