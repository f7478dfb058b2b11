"""What one reader has not read yet, bounded: a reader that falls too far behind is cut off, never skipped over.

The publisher does not wait for a reader. A reader that is cut off reads Expired and begins again, as a watch does.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.errors import Expired, K3Error

T = TypeVar("T")

BEHIND: Final = f"the reader fell {limits.WATCH_BUFFER} changes behind: list again"


class Buffer(Generic[T]):
    """Between one publisher and one reader, on one event loop. A cancelled read loses nothing."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()
        self._wake = asyncio.Event()
        self._is_poked = False
        self.is_waited = False
        """Whether the reader waits: it has dealt with all that it took."""
        self._end: K3Error | None = None

    def offer(self, item: T) -> None:
        """Keeps an item for the reader; beyond `limits.WATCH_BUFFER` of them all are dropped, and the reader reads Expired."""
        self.keep(item)
        self.wake()

    def wake(self) -> None:
        """Has the reader look what there is to read."""
        self._wake.set()

    def keep(self, item: T) -> None:
        """Does what `offer` does, but for waking the reader: whoever keeps items hands them over, or wakes it later."""
        if self._end is not None:
            return
        if len(self._waiting) >= limits.WATCH_BUFFER:
            self._waiting.clear()
            self.end(Expired(BEHIND))
            return
        self._waiting.append(item)

    def end(self, error: K3Error) -> None:
        """Raises `error` to the reader after what it has been given. The first one counts."""
        self._end = self._end or error
        self._wake.set()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read, not even an end."""
        return not self._waiting and self._end is None

    @property
    def items(self) -> Sequence[T]:
        """All that there is to read, without taking it."""
        return self._waiting

    def clear(self) -> None:
        """Drops all that there is to read: it has been handed over."""
        self._waiting.clear()

    @property
    def has_items(self) -> bool:
        """Whether there is an item to read."""
        return bool(self._waiting)

    def take(self) -> T:
        """The next item. Raises the end once all are read, again and again; IndexError where there is neither."""
        if not self._waiting:
            self.check()
        return self._waiting.popleft()

    def check(self) -> None:
        """Raises the end if there is one, whatever is still to be read."""
        if self._end is not None:
            raise self._end.with_traceback(None)

    def poke(self) -> None:
        """Has `wait` return, although there is nothing to read."""
        self._is_poked = True
        self._wake.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Returns as soon as there is something to read, or after a poke. Raises TimeoutError after so many seconds without."""
        self.is_waited = True
        try:
            if seconds is None:  # a limit costs more than all the rest here
                await self._woken()
            else:
                async with time_limit(seconds):
                    await self._woken()
        finally:
            self.is_waited = False
        self._is_poked = False

    async def _woken(self) -> None:
        while self.is_empty and not self._is_poked:
            self._wake.clear()
            await self._wake.wait()
