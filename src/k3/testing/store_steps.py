"""Steps that tests of a Store are made of: keys, reading a watch with a hang guard, many writes at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from k3.core.errors import Unavailable
from k3.core.objects import NODE, Key, Object
from k3.core.store import Change, Event, Store

Opener = Callable[[], Awaitable[Store]]
"""Opens one more handle on the same data."""

Forget = Callable[[Store], Awaitable[None]]
"""Makes a store compact everything that is now in its log."""

HANG_SECONDS: Final = 20.0
"""A guard against hanging: on a loaded machine nothing takes a tenth of this."""


def node(name: str) -> Key:
    """Returns the key of a Node."""
    return Key(NODE, name)


async def next_change(events: AsyncIterator[Event]) -> Change:
    """Returns the next change, past bookmarks."""
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            event = await anext(events)
            if isinstance(event, Change):
                return event


async def changes_until(events: AsyncIterator[Event], revision: int) -> list[Change]:
    """Returns every change up to and including the one at `revision`."""
    found = [await next_change(events)]
    while found[-1].object.revision < revision:
        found.append(await next_change(events))
    return found


async def create_many(store: Store, count: int, *, prefix: str) -> list[Object]:
    """Creates that many Nodes, all asked for at once."""
    return await asyncio.gather(*(store.create(node(f"{prefix}-{number}"), {}) for number in range(count)))


async def unavailable(call: Callable[[], Awaitable[object]]) -> bool:
    """Whether the call ends with Unavailable."""
    try:
        async with asyncio.timeout(HANG_SECONDS):
            await call()
    except Unavailable:
        return True
    return False
