"""Label selectors as `kubectl -l` takes them: `a=b,c!=d,e in (x,y),f notin (z),g,!h`. Pure.

As in Kubernetes, `!=` and `notin` also hold for what lacks the label.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from k3.core import limits
from k3.core.errors import Invalid
from k3.core.safe_text import printable

Operator = Literal["in", "notin", "exists", "absent", "above", "below"]

_KEY: Final = r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE: Final = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_TERM: Final = re.compile(
    rf"\s*(?:(?P<absent>!\s*{_KEY})|(?P<key>{_KEY})"
    rf"(?:\s*(?P<equal>==?|!=)\s*(?P<value>{_VALUE})|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*"
)
_SET_OR_COMMA: Final = re.compile(r"\([^()]*\)|,")
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
    """Returns a selector from what people write; blank matches everything. Raises Invalid."""
    if not text.strip():
        return Selector()
    return Selector(tuple(_term(part, text) for part in _parts(text)))


def _parts(text: str) -> Iterator[str]:
    """Gives what stands between commas; those of a set part nothing. Takes time by the length of the text, not its square."""
    begin = 0
    for found in _SET_OR_COMMA.finditer(text):
        if found[0] == ",":
            yield text[begin : found.start()]
            begin = found.end()
    yield text[begin:]


def _term(part: str, whole: str) -> Term:
    found = _TERM.fullmatch(part)
    values = _values(found) if found else []
    if found is None or not all(_is_value(value) for value in values):
        msg = f'bad selector "{printable(whole, limit=200)}": {_EXPECTED}'
        raise Invalid(msg)
    if found["absent"]:
        return Term(found["absent"].removeprefix("!").strip(), "absent")
    if found["equal"] is None and found["set"] is None:
        return Term(found["key"], "exists")
    negative = found["equal"] == "!=" or found["set"] == "notin"
    return Term(found["key"], "notin" if negative else "in", frozenset(values))


def _values(found: re.Match[str]) -> list[str]:
    if found["values"] is not None:
        return [value.strip() for value in found["values"].split(",")]
    return [found["value"] or ""]


def _is_value(text: str) -> bool:
    return len(text) <= limits.LABEL_VALUE_BYTES and re.fullmatch(_VALUE, text) is not None
