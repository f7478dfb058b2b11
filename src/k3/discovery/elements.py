"""Splits a JSON array that comes in pieces into its elements, each parsed on its own. Pure.

What Consul answers is as long as its users make it, and 60 MB of empty lists become 1.5 GB when they are parsed together. So
only one element is parsed at a time, and what is kept of it is the caller's to say (ADR 42). An element that is too long or
too deep, or no JSON as RFC 8259 has it, is given as `Unreadable`, and the next one is read all the same, as long as brackets
and quotes say where it ends. A text that is no array is refused whole.
"""

import codecs
import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, Protocol, TypeVar

from k3.core import limits
from k3.core.documents import DECODER, is_too_deep
from k3.core.records import dataclass

T_co = TypeVar("T_co", covariant=True)

_SPACE: Final = re.compile(r"[ \t\r\n]*+")
_AROUND: Final = re.compile(r'["\[\]{},]')
_WITHIN: Final = re.compile(r'["\[\]{}]')
_REST_OF_TEXT: Final = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*"', re.DOTALL)
_LEAVES: Final = re.compile(
    r'[^"\[\]{}]*+(?:(?:"[^"\\]*+(?:\\.[^"\\]*+)*"|\[[^"\[\]{}]*+\]|\{[^"\[\]{}]*+\})[^"\[\]{}]*+)*', re.DOTALL
)
"""Texts, and brackets without any in them."""
_LONGEST_WORD: Final = len("-Infinity")
_WORDS: Final = {int, float, bool, type(None)}

TOO_LONG: Final = "too long"
TOO_DEEP: Final = "nested too deep"
NO_JSON: Final = "not JSON"


class NoList(ValueError):
    """The text is not one JSON array."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for an element that cannot be read."""

    why: str


class Collector(Protocol[T_co]):
    """Takes the elements of a list, and keeps of them what is wanted."""

    def take(self, element: object) -> bool:
        """Takes in one element, which may be anything. Returns whether it wants more: what is behind is not read, else."""
        ...

    def result(self) -> T_co:
        """Returns what was kept. Raises NoList where that is worth nothing."""
        ...


class _Next(Enum):
    """What has to come next."""

    LIST = "the beginning of a list"
    FIRST = "an element or the end of the list"
    ELEMENT = "an element"
    MORE = "a comma or the end of the list"
    NOTHING = "nothing"


_MARKS: Final = {
    (_Next.LIST, "["): _Next.FIRST,
    (_Next.FIRST, "]"): _Next.NOTHING,
    (_Next.MORE, ","): _Next.ELEMENT,
    (_Next.MORE, "]"): _Next.NOTHING,
}
"""What each mark between the elements means."""


class Elements:
    """Takes the pieces of one text, and gives its elements. Raises NoList where the text is none."""

    def __init__(self) -> None:
        # What is not UTF-8 becomes what no name may have in it, and costs the element it is in.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._next = _Next.LIST
        self._text = ""
        self._at = 0
        """How much of the text is read."""
        self._least = 0
        """The element at hand is not parsed again before so much of it is there."""
        self._extent: _Extent | None = None
        """Looks for the end of the element at hand, where that cannot be parsed."""

    def feed(self, piece: bytes, *, is_last: bool = False) -> Iterator[object]:
        """Gives the elements that are complete by now."""
        if self._extent is not None:
            self._extent.at -= self._at
        self._text = self._text[self._at :] + self._decoder.decode(piece, is_last)
        self._at = 0
        while (mark := self._mark()) is not None:
            if self._extent is None and (following := _MARKS.get((self._next, mark))) is not None:
                self._at += 1
                self._next = following
                continue
            if self._extent is None and (self._next not in {_Next.FIRST, _Next.ELEMENT} or mark in ",]}"):
                raise self._no_list()
            if (found := self._element(is_last=is_last)) is None:
                break
            self._next = _Next.MORE
            yield found[0]
        if is_last and self._next is not _Next.NOTHING:
            raise self._no_list()

    def _no_list(self) -> NoList:
        return NoList(f"not a JSON list: there should be {self._next.value}")

    def _mark(self) -> str | None:
        """Returns the next character that is not space; None: there is none yet."""
        if self._extent is None and (space := _SPACE.match(self._text, self._at)) is not None:
            self._at = space.end()
        return self._text[self._at] if self._at < len(self._text) else None

    def _element(self, *, is_last: bool) -> tuple[object] | None:
        """Returns the element at hand, and goes behind it; None: it is not complete yet."""
        if self._extent is None:
            size = len(self._text) - self._at
            if size < self._least and not is_last:
                return None
            if (found := self._parsed(is_last=is_last)) is not None:
                self._least = 0
                return found
            if self._extent is None:
                # So that no part is parsed more than a few times, however small the pieces are.
                self._least = min(2 * size, limits.CONSUL_ELEMENT_BYTES + 1)
                return None
        return self._passed_over(self._extent)

    def _parsed(self, *, is_last: bool) -> tuple[object] | None:
        """Parses the element at hand, and goes behind it; None: it is not complete yet, or its end has to be looked for."""
        size = len(self._text) - self._at
        try:
            value, end = DECODER.raw_decode(self._text, self._at)
        except (ValueError, RecursionError) as error:
            if is_last or size > limits.CONSUL_ELEMENT_BYTES or not self._is_cut(error):
                why = TOO_LONG if size > limits.CONSUL_ELEMENT_BYTES and self._is_cut(error) else NO_JSON
                self._extent = _Extent(self._at, TOO_DEEP if isinstance(error, RecursionError) else why)
            return None
        if end + _LONGEST_WORD > len(self._text) and type(value) in _WORDS and not is_last:
            return None  # a number may go on in the next piece
        brackets = self._text.count("{", self._at, end) + self._text.count("[", self._at, end)
        is_long, self._at = end - self._at > limits.CONSUL_ELEMENT_BYTES, end
        if is_long or is_too_deep(value, brackets):
            return (Unreadable(TOO_LONG if is_long else TOO_DEEP),)
        return (value,)

    def _is_cut(self, error: Exception) -> bool:
        """Whether an element may be in order as far as it has come."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated string") or error.pos + _LONGEST_WORD > len(self._text)

    def _passed_over(self, extent: "_Extent") -> tuple[object] | None:
        is_complete = extent.is_complete(self._text)
        self._at = extent.at  # what cannot be read is not kept
        if not is_complete:
            return None
        self._extent = None
        self._least = 0
        return (Unreadable(extent.why),)


class _Extent:
    """Finds where an element ends, by brackets and quotes alone. `at`: how far the text was looked at."""

    def __init__(self, at: int, why: str) -> None:
        self.at = at
        self.why = why
        """Why the element cannot be read."""
        self._depth = 0
        self._is_in_text = False

    def is_complete(self, text: str) -> bool:
        """Looks at what has come since; returns whether the element ends there, at `at`."""
        while True:
            if self._is_in_text:
                if (rest := _REST_OF_TEXT.match(text, self.at)) is None:
                    backslashes = len(text) - max(len(text.rstrip("\\")), self.at)
                    self.at = len(text) - backslashes % 2  # one that stands alone belongs to the character behind it
                    return False
                self.at = rest.end()
                self._is_in_text = False
            else:
                if self._depth and (leaves := _LEAVES.match(text, self.at)) is not None:
                    self.at = leaves.end()
                if (found := (_WITHIN if self._depth else _AROUND).search(text, self.at)) is None:
                    self.at = len(text)
                    return False
                mark = found[0]
                if not self._depth and mark in ",]}":
                    self.at = found.start()
                    return True
                self.at = found.end()
                self._is_in_text = mark == '"'
                self._depth += (mark in "[{") - (mark in "]}")
            if not self._depth and not self._is_in_text:
                return True
