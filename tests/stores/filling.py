"""Fills a store's log, so that older lines may go."""

import asyncio

from k3.core.objects import LEASE, Key
from k3.core.store import Store

AT_ONCE = 100


async def write_many(store: Store, count: int) -> None:
    """At least that many revisions, of Leases."""
    for start in range(0, count, 2 * AT_ONCE):
        keys = [Key(LEASE, f"filler{number}", "default") for number in range(min(AT_ONCE, (count - start + 1) // 2))]
        await asyncio.gather(*(store.create(key, {}) for key in keys))
        await asyncio.gather(*(store.delete(key) for key in keys))
