"""Long work on the event loop, in turns: requests that came meanwhile are answered between two of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

TURN_SECONDS: Final = 0.005

T = TypeVar("T")


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Gives the items one by one, and the loop a turn whenever that has taken `TURN_SECONDS`."""
    began = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - began > TURN_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()
