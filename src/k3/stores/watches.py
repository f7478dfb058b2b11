"""The watches of a store on a server that are open now, and the tasks that fill them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from k3.core.errors import K3Error, Unavailable
from k3.stores.reader import Reader

log = logging.getLogger(__name__)

Part = Callable[[], Awaitable[None]]
"""What works beside the store's callers, until it is cancelled."""


W = TypeVar("W", bound=Reader)


class Watches(Generic[W]):
    """Everything that a store has running. `start` comes first, `aclose` last."""

    def __init__(self, url: str, *, most: int, closed: str) -> None:
        """`most` watches may be open at once; `closed` is what is said to whoever asks once the store was closed."""
        self._url = url
        self._most = most
        self._closed = closed
        self._open: set[W] = set()
        self._group = asyncio.TaskGroup()
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False

    def __iter__(self) -> Iterator[W]:
        """Yields those that are open now."""
        return iter(tuple(self._open))

    async def start(self, *parts: Part) -> None:
        """Begins, with parts that are no watch."""
        started = asyncio.Event()
        # Owned by the store, which waits for it in `aclose`.
        self._running = asyncio.create_task(self._run(parts, started), name=f"k3-store {self._url}")  # noqa: TID251
        await started.wait()

    async def aclose(self) -> None:
        """Ends everything. Closing twice is fine."""
        self._is_closed = True
        self.end(Unavailable(self._closed))
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def end(self, error: K3Error) -> None:
        """Has the error raised to every reader."""
        for watch in self._open:
            watch.end(error)

    def check_room(self) -> None:
        """Raises Unavailable where one more watch cannot be opened."""
        self.check_open()
        if len(self._open) >= self._most:
            msg = f"{self._most} watches are open already"
            raise Unavailable(msg)

    def check_open(self) -> None:
        """Raises Unavailable once the store was closed."""
        if self._is_closed:
            raise Unavailable(self._closed)

    @asynccontextmanager
    async def filling(self, watch: W, fill: Part) -> AsyncIterator[None]:
        """Has a task fill a watch while the block runs. Raises Unavailable once the store was closed."""
        self.check_open()
        self._open.add(watch)
        task = self._group.create_task(self._guarded(fill))
        try:
            yield
        finally:
            self._open.discard(watch)
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, parts: tuple[Part, ...], started: asyncio.Event) -> None:
        async with self._group as group:
            for part in parts:
                group.create_task(self._guarded(part))
            started.set()
            await asyncio.Event().wait()

    async def _guarded(self, part: Part) -> None:
        """Runs a part; logs what it raises unexpectedly, so that one part that fails does not end the others."""
        try:
            await part()
        except Exception:
            log.exception("store.failed", extra={"fields": {"store": self._url}})
