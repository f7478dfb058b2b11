"""Waiting for a condition, never for a time. The guard only ends a wait that hangs; it is not what a test measures."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T], *, guard_seconds: float = 30.0, every_seconds: float = 0.02, what: str | Callable[[], str] = ""
) -> T:
    """The first true value of `condition`. Raises AssertionError, naming the last value, when the guard has passed.

    `what` names what was waited for; a function of it is called at the end, and tells how things are then.
    """
    deadline = time.monotonic() + guard_seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            told = what() if callable(what) else what or repr(condition)
            msg = f"not within {guard_seconds:g} s: {told}; last value {value!r}"
            raise AssertionError(msg)
        time.sleep(every_seconds)


async def until_so(condition: Callable[[], object], *, guard_seconds: float = 30.0) -> None:
    """As `until`, while the event loop goes on. Raises TimeoutError."""
    async with asyncio.timeout(guard_seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is no event of the test's own
            await asyncio.sleep(0.005)
