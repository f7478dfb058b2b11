"""One watch in, the current objects of a kind in memory, and word of every change out.

It never writes. After a gap it lists again; while the store is out of reach it says so and keeps what it had.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from random import Random
from typing import Final

from k3.agent.backoff import Backoff
from k3.core.errors import Expired, K3Error
from k3.core.objects import Key, Kind, Object
from k3.core.store import Bookmark, Change, Store, pages

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Listed:
    """The whole list, at start and after every gap; it is in the cache already."""

    revision: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The store is out of reach: what the cache holds may be old until the next `Listed`."""

    why: str


Notice = Listed | Change | Lost


class Cache:
    """The objects of one kind as the store last showed them."""

    def __init__(self, store: Store, kind: Kind, *, random: Random) -> None:
        self._store = store
        self._kind = kind
        self._random = random
        self.objects: dict[Key, Object] = {}

    def get(self, key: Key) -> Object | None:
        """The object as the store last showed it."""
        return self.objects.get(key)

    async def follow(self) -> AsyncGenerator[Notice, None]:
        """Keep the cache current, for ever; yields each notice after the cache shows it."""
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=self._random.random)
        has_just_expired = False
        while True:
            try:
                revision = await self._list()
                yield Listed(revision)
                async with self._store.watch(self._kind, revision) as events:
                    async for event in events:
                        backoff.reset()
                        has_just_expired = False
                        if not isinstance(event, Bookmark):
                            self._apply(event)
                            yield event
            except Expired:
                if not has_just_expired:  # else every list is expired before its watch begins
                    has_just_expired = True
                    continue
            except K3Error as error:
                yield Lost(str(error))
            await asyncio.sleep(backoff.next_seconds())

    async def _list(self) -> int:
        found: dict[Key, Object] = {}
        revision = 0
        async for page in pages(self._store, self._kind):
            found |= {item.key: item for item in page.objects}
            revision = page.revision
        self.objects = found
        return revision

    def _apply(self, change: Change) -> None:
        if change.type == "DELETED":
            self.objects.pop(change.object.key, None)
        else:
            self.objects[change.object.key] = change.object
