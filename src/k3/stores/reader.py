"""The reader's end of one watch on a server: a bounded queue, its end, and bookmarks while nothing comes.

Whoever follows the server waits where the queue is full, so a slow reader slows the stream and loses nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Self

from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.errors import K3Error
from k3.core.store import Bookmark, Change, Event

BOOKMARK_SECONDS: Final = 30.0
"""A reader that gets nothing for this long gets a bookmark."""

ENDED: Final = "the watch has ended; see the log"


class Reader(AsyncIterator[Event]):
    """What is to be read. To be read by one task at a time; a cancelled read loses nothing."""

    def __init__(self, since: int) -> None:
        """`since`: up to which revision the reader knows everything."""
        self._told = since
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(limits.WATCH_BUFFER)
        self._end: K3Error | None = None

    def end(self, error: K3Error) -> None:
        """Has `error` raised to the reader after what it has been given. The first one counts."""
        self._end = self._end or error
        if not self._queue.full():  # else the reader finds `_end` once it has emptied the queue
            self._queue.put_nowait(None)

    def __aiter__(self) -> Self:
        """Returns itself."""
        return self

    async def __anext__(self) -> Event:
        """Returns the next event. Raises Expired, Unavailable, Forbidden, and the same at every call after that."""
        while True:
            if self._queue.empty() and self._end is not None:
                raise self._end.with_traceback(None)
            try:
                async with time_limit(BOOKMARK_SECONDS if self._queue.empty() else None):
                    event = await self._queue.get()
            except TimeoutError:
                return Bookmark(self._told)
            if event is not None:
                self._told = event.object.revision if isinstance(event, Change) else event.revision
                return event
