"""A parser of bytes from outside, and the law that holds for each."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from k3.core.errors import K3Error

CPU_SECONDS: Final = 0.5
"""What one input may cost. CPU time of this thread, so that a busy machine changes nothing."""
TRIES: Final = 3
"""One may come upon a first import, or the garbage of all tests before it, which takes longer than any parser."""
REFUSAL_CHARACTERS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """One parser. `read` is what k3 does with such bytes, `check` asserts the bounds of what came out."""

    name: str
    """Also its folder in `tests/corpus`."""
    read: Callable[[bytes], Any]
    inputs: st.SearchStrategy[bytes]
    check: Callable[[Any], None]
    refuses: tuple[type[Exception], ...] = (K3Error,)
    """The errors it may raise: its own."""
    broken: str = ""
    """Why the law does not hold yet; empty: it does."""


def hold(parser: Parser, data: bytes) -> bool:
    """Asserts the law for one input; returns whether the input was taken."""
    taken, least = _tried(parser, data)
    for _ in range(TRIES - 1):
        if least < CPU_SECONDS:
            break
        least = min(least, _tried(parser, data)[1])
    assert least < CPU_SECONDS, f"{least:.1f} s of CPU, {TRIES} times"
    return taken


def _tried(parser: Parser, data: bytes) -> tuple[bool, float]:
    """Returns whether the input was taken, and what that cost (seconds of CPU)."""
    began = time.thread_time()
    try:
        found = parser.read(data)
        took = time.thread_time() - began
    except parser.refuses as refusal:
        took = time.thread_time() - began
        said, taken = str(refusal) if isinstance(refusal, K3Error) else "", False
    else:
        parser.check(found)
        said, taken = "", True
    assert len(said) <= REFUSAL_CHARACTERS, "what a person is told is not as long as what came"
    return taken, took


def text_of(data: bytes) -> str:
    """Returns bytes as a command line has them; a file of the corpus may end its line."""
    return data.removesuffix(b"\n").decode("utf-8", "surrogateescape")
