"""One log, many watchers: hands each committed change to all watchers of its kind.

A watcher first reads what it missed from the backend (`Replay`), then what is published while it is subscribed.
A slow reader holds up no writer: one whose buffer is full is cut off with Expired and lists again. Nothing here
does I/O of its own.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Self

from k3.agent.buffer import Buffer
from k3.core import limits
from k3.core.errors import K3Error, Unavailable
from k3.core.objects import Kind
from k3.core.store import Bookmark, Change, Event

BOOKMARK_SECONDS: Final = 30.0
"""A watcher that gets nothing for this long gets a bookmark."""

Replay = Callable[[Kind, int, int], Awaitable[tuple[Sequence[Change], int]]]
"""(kind, since, until) -> the next changes of the kind with since < revision <= until, and the revision read up to.

Raises Expired where they are no longer kept.
"""


class Fanout:
    """The watchers, and the revision up to which everything has been published."""

    def __init__(self, revision: int, *, bookmark_seconds: float = BOOKMARK_SECONDS) -> None:
        """What comes up to `revision` counts as published."""
        self.revision = revision
        self.bookmark_seconds = bookmark_seconds
        self._watchers: dict[Kind, set[Subscription]] = {}

    @property
    def watched(self) -> bool:
        """Whether there is a watcher."""
        return any(self._watchers.values())

    def publish(self, changes: Iterable[Change], revision: int) -> None:
        """Hands on `changes`, ascending; with them everything up to `revision` is published. Older ones are dropped.

        Watchers of other kinds get a bookmark: a reader that must be as new as the store waits for one (ADR 49).
        """
        kinds = set()
        for change in changes:
            if change.object.revision > self.revision:
                kinds.add(change.object.key.kind)
                for watcher in self._watchers.get(change.object.key.kind, ()):
                    watcher.offer(change)
        if revision > self.revision:
            self.revision = revision
            for kind, watchers in self._watchers.items():
                if kind not in kinds:
                    for watcher in watchers:
                        watcher.pass_by()

    @contextmanager
    def subscribe(self, kind: Kind, since: int, replay: Replay) -> "Iterator[Subscription]":
        """Gives the changes behind `since`, by `replay` and then as they are published. Raises Unavailable (too many)."""
        watchers = self._watchers.setdefault(kind, set())
        if len(watchers) >= limits.WATCHERS:
            msg = f"{limits.WATCHERS} watches are open already"
            raise Unavailable(msg)
        subscription = Subscription(self, kind, since, replay)
        watchers.add(subscription)
        try:
            yield subscription
        finally:
            watchers.discard(subscription)

    def cut(self, error: type[K3Error], why: str) -> None:
        """Ends every watch, once its reader has read what it was given. Later subscribers begin anew."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.end(error(why))
        self._watchers.clear()


class Subscription(AsyncIterator[Event]):
    """One watch. To be read by one task at a time; a cancelled read loses nothing."""

    def __init__(self, fanout: Fanout, kind: Kind, since: int, replay: Replay) -> None:
        """Begins behind `since`; what is published from here on is kept for the reader."""
        self._fanout = fanout
        self._kind = kind
        self._since = since
        self._replay = replay
        self._reached = since
        self._start = fanout.revision
        # Two queues: what is published while the replay still runs must not overtake it.
        self._missed: deque[Event] = deque()
        self._live: Buffer[Change] = Buffer()
        if self._reached >= self._start:
            self._missed.append(Bookmark(self._reached))

    def offer(self, change: Change) -> None:
        """Keeps a published change for the reader, or cuts the reader off if its buffer is full."""
        if change.object.revision > self._since:
            self._live.offer(change)

    def pass_by(self) -> None:
        """Something was published that is not of this watcher's kind."""
        self._live.poke()

    def end(self, error: K3Error) -> None:
        """Has `error` raised to the reader after what it has been given. The first one counts."""
        self._live.end(error)

    def __aiter__(self) -> Self:
        """Returns itself."""
        return self

    async def __anext__(self) -> Event:
        """Returns the next event. Raises Expired or Unavailable, and the same at every call after that."""
        while not self._missed:
            if self._reached < self._start:
                self._live.check()  # what is live is behind a gap until the reader has caught up
                await self._catch_up()
            elif not self._live.is_empty:
                return self._live.take()
            elif await self._has_nothing():
                return Bookmark(max(self._since, self._fanout.revision))
        return self._missed.popleft()

    async def _catch_up(self) -> None:
        changes, self._reached = await self._replay(self._kind, self._reached, self._start)
        self._missed.extend(changes)
        if self._reached >= self._start:
            self._missed.append(Bookmark(self._reached))

    async def _has_nothing(self) -> bool:
        """Waits; returns whether the watcher's kind is as it was, for so long or while others changed."""
        with suppress(TimeoutError):
            await self._live.wait(self._fanout.bookmark_seconds)
        return self._live.is_empty
