"""One watch in, the current objects of a kind in memory, and word of every change out to many subscribers.

The cache never writes. After a gap it lists again; while the store is out of reach it says so and keeps what it had. Every
subscriber hears first how things stand, then each change in order. One that does not read is cut off with Expired and
subscribes again: neither the cache nor another subscriber waits for it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from random import Random
from typing import Final, TypeVar

from k3.agent.backoff import Backoff
from k3.agent.buffer import Buffer
from k3.core.errors import Expired, K3Error
from k3.core.objects import Key, Kind, Object
from k3.core.records import dataclass
from k3.core.store import Bookmark, Change, Store, pages

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
TURN: Final = 100
"""Changes that may come at once before the subscribers get their turn to read: far fewer than `limits.WATCH_BUFFER`."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The whole list at a revision: at the start of a subscription, and after every gap. Changes after it follow."""

    objects: tuple[Object, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The store is out of reach: what was heard before may be old until the next `Listed`."""

    why: str


Notice = Listed | Change | Lost

N = TypeVar("N")


class Subscription(AsyncIterator[N]):
    """What one subscriber has not read yet; to be read by one task at a time."""

    def __init__(self) -> None:
        self._buffer: Buffer[N] = Buffer()

    def offer(self, notice: N) -> None:
        """Keeps a notice for the subscriber."""
        self._buffer.offer(notice)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read now."""
        return self._buffer.is_empty

    async def __anext__(self) -> N:
        """The next notice. Raises Expired where the subscriber has read too slowly: it is to subscribe again."""
        if self._buffer.is_empty:
            await self._buffer.wait()
        return self._buffer.take()


class Cache:
    """The objects of one kind as the store last showed them. `run` keeps it current."""

    def __init__(self, store: Store, kind: Kind, *, random: Random) -> None:
        """`random` spreads retries."""
        self._store = store
        self.kind = kind
        self._random = random
        self._subscribers: set[Subscription[Notice]] = set()
        self._followers: set[Subscription[Notice | Bookmark]] = set()
        self.revision: int | None = None
        """Up to which the objects are known; None before the first list."""
        self.heard_at: float | None = None
        """When the store last said anything, by the loop's clock; None before it has."""
        self._lost: Lost | None = None
        self._has_changed = True
        """Whether any change was seen since the last gap."""
        self.objects: dict[Key, Object] = {}

    def get(self, key: Key) -> Object | None:
        """The object as the store last showed it."""
        return self.objects.get(key)

    @property
    def is_current(self) -> bool:
        """Whether the store has been listed, and has not been lost since."""
        return self.revision is not None and self._lost is None

    @contextmanager
    def subscribe(self) -> Iterator[Subscription[Notice]]:
        """Every notice from here on, after the one that says how things stand."""
        subscription = Subscription[Notice]()
        if (standing := self._standing()) is not None:
            subscription.offer(standing)
        self._subscribers.add(subscription)
        try:
            yield subscription
        finally:
            self._subscribers.discard(subscription)

    @contextmanager
    def follow(self) -> Iterator[Subscription[Notice | Bookmark]]:
        """As `subscribe`, for a reader that must know how far it has read: with a bookmark where only other kinds changed."""
        subscription = Subscription[Notice | Bookmark]()
        if (standing := self._standing()) is not None:
            subscription.offer(standing)
        self._followers.add(subscription)
        try:
            yield subscription
        finally:
            self._followers.discard(subscription)

    def _standing(self) -> Notice | None:
        """Returns how things stand; None before the store has said anything."""
        if self._lost is not None:
            return self._lost
        return None if self.revision is None else Listed(tuple(self.objects.values()), self.revision)

    async def load(self) -> None:
        """Reads the list once, for a caller that does not `run`. Raises K3Error."""
        self._show(await self._list())

    async def run(self) -> None:
        """Keeps the cache current, for ever."""
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=self._random.random)
        while True:
            try:
                listed = await self._list()
                self._show(listed)
                async with aclosing(self._follow(listed.revision)) as events:
                    async for _ in events:
                        backoff.reset()
            except Expired:
                if self._has_changed:  # else every list is expired before its watch begins
                    self._has_changed = False
                    continue
            except K3Error as error:
                self._lose(str(error))
            except Exception as error:
                self._lose(f"unexpected {type(error).__name__}")
                raise
            await asyncio.sleep(backoff.next_seconds())

    async def _follow(self, revision: int) -> AsyncGenerator[None, None]:
        """Takes in what the watch brings; yields at each event."""
        number = 0
        async with self._store.watch(self.kind, revision) as events:
            async for event in events:
                self._hear()
                if isinstance(event, Bookmark):
                    self._advance(event)
                else:
                    self._apply(event)
                    if (number := number + 1) % TURN == 0:
                        await asyncio.sleep(0)
                yield

    def _lose(self, why: str) -> None:
        self._lost = Lost(why)
        self._publish(self._lost)

    async def _list(self) -> Listed:
        found: list[Object] = []
        revision = 0
        async for page in pages(self._store, self.kind):
            found += page.objects
            revision = page.revision
        return Listed(tuple(found), revision)

    def _hear(self) -> None:
        self.heard_at = asyncio.get_running_loop().time()

    def _show(self, listed: Listed) -> None:
        self._hear()
        self.objects = {item.key: item for item in listed.objects}
        self.revision, self._lost = listed.revision, None
        self._publish(listed)

    def _apply(self, change: Change) -> None:
        if change.type == "DELETED":
            self.objects.pop(change.object.key, None)
        else:
            self.objects[change.object.key] = change.object
        self.revision, self._has_changed = change.object.revision, True
        self._publish(change)

    def _advance(self, bookmark: Bookmark) -> None:
        self.revision = max(self.revision or 0, bookmark.revision)
        for follower in self._followers:
            follower.offer(bookmark)

    def _publish(self, notice: Notice) -> None:
        """Tells all subscribers what the cache shows already."""
        for subscriber in self._subscribers:
            subscriber.offer(notice)
        for follower in self._followers:
            follower.offer(notice)
