"""Follows a log that several processes write, and hands it on to this process's watchers.

One reader per process, however many watch. It reads when poked (by this process's own commits, or by whatever tells of
another's) and in any case every `interval_seconds`, but only while there is a watcher. Reading is the backend's business.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from k3.agent.tasks import time_limit
from k3.core.errors import K3Error, Unavailable
from k3.core.records import dataclass
from k3.core.store import Change
from k3.stores.log.fanout import Fanout
from k3.stores.log.writes import Entry

log = logging.getLogger(__name__)

READ_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the log without gaps, up to `revision`; `more` where the log goes on behind it."""

    changes: Sequence[Change]
    revision: int
    more: bool


ReadLog = Callable[[int], Awaitable[Stretch]]
"""Returns what the log has behind a revision. Raises Expired where that is gone, Unavailable where no answer comes."""


class Tail:
    """The one reader behind a `Fanout`."""

    def __init__(self, fanout: Fanout, read: ReadLog, *, listen: Callable[[bool], float | None]) -> None:
        """`listen` gets whether there is a watcher; it arranges for pokes, and returns the seconds to look after anyway."""
        self._fanout = fanout
        self._read = read
        self._listen = listen
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Has the log read soon: something may have been written."""
        self._poked.set()

    def committed(self, entries: Sequence[Entry]) -> None:
        """Publishes what this process wrote, without reading it back where no other process wrote in between."""
        if not entries or not self._fanout.watched:
            return
        if entries[0].revision == self._fanout.revision + 1:
            self._fanout.publish([entry.change for entry in entries], entries[-1].revision)
        else:
            self.poke()

    async def run(self) -> None:
        """Follows for ever. Where reading fails, every watch ends with that error, and a new one starts anew."""
        while True:
            await self._wait()
            if not self._fanout.watched:
                continue
            try:
                await self._read_on()
            except K3Error as error:
                self._fanout.cut(type(error), str(error))
            except Exception as error:
                log.exception("store.failed")
                self._fanout.cut(Unavailable, f"unexpected {type(error).__name__}: {error}")

    async def _wait(self) -> None:
        try:
            async with time_limit(self._listen(self._fanout.watched)):
                await self._poked.wait()
        except TimeoutError:
            return
        self._poked.clear()
        # The first watcher may just have come: listening begins before the log is read, or a write in between is missed.
        self._listen(self._fanout.watched)

    async def _read_on(self) -> None:
        more = True
        while more:
            stretch = await self._read(self._fanout.revision)
            self._fanout.publish(stretch.changes, stretch.revision)
            more = stretch.more
