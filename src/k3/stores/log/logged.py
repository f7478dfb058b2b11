"""The verbs that are the same for every backend which keeps a log in tables: writes by group commit, watches by its tail.

A backend says how to commit, compact and read; nothing here knows any engine.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from k3.core.errors import Unavailable
from k3.core.objects import Key, Kind, Manifest, Object
from k3.core.store import Change, Event, Watch
from k3.stores.log import sql
from k3.stores.log.commit import GroupCommit
from k3.stores.log.fanout import Fanout
from k3.stores.log.tail import Stretch, Tail
from k3.stores.log.writes import Write, WriteOutcome, new_create, new_delete, new_update

log = logging.getLogger(__name__)


class LoggedStore(ABC):
    """Half a `k3.core.store.Store`: a backend adds `id`, `url`, `get`, `list` and what is abstract here."""

    def __init__(self, *, clock: Callable[[], float], new_uid: Callable[[], str]) -> None:
        """`clock` gives seconds since 1970, `new_uid` a text never given before."""
        self._clock = clock
        self._new_uid = new_uid
        self._commits = GroupCommit(self._commit, rest=self._compact)
        self._fanout = Fanout(0)
        self._tail = Tail(self._fanout, self._read_log, listen=self._listen)
        self._running: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """See `Store.url`."""

    @abstractmethod
    async def _commit(self, writes: Sequence[Write]) -> Sequence[WriteOutcome]:
        """Decides and writes these in one transaction, and tells the tail."""

    @abstractmethod
    async def _compact(self) -> None:
        """Removes old history, where it is time."""

    @abstractmethod
    async def _head(self) -> sql.Head:
        """Returns the newest revision and how far back history goes."""

    @abstractmethod
    async def _read_log(self, since: int) -> Stretch:
        """Returns what was committed behind this revision, for the tail."""

    @abstractmethod
    async def _read_between(self, since: int, until: int) -> Stretch:
        """Returns what was committed in between, for one subscriber."""

    @abstractmethod
    def _listen(self, watched: bool) -> float | None:  # noqa: FBT001 - the answer to one question, asked by `Tail` alone
        """Returns how long the tail may sleep, in seconds, while there is a watcher (or none); None: until it is poked."""

    async def create(self, key: Key, manifest: Manifest) -> Object:
        """See `Store.create`."""
        return await self._commits.submit(new_create(key, manifest, uid=self._new_uid(), now=self._clock()))

    async def update(self, item: Object) -> Object:
        """See `Store.update`."""
        return await self._commits.submit(new_update(item))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        """See `Store.delete`."""
        return await self._commits.submit(new_delete(key, revision=revision, uid=uid))

    def watch(self, kind: Kind, since: int) -> Watch:
        """See `Store.watch`."""
        return self._watch(kind, since)

    def _serve(self) -> None:
        """Begins to commit and to follow. The task is owned by this store, which waits for it in `_stop`."""
        self._running = asyncio.create_task(self._run(), name="k3-store")  # noqa: TID251 - see above

    async def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        why = "the store was closed"
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._commits.run(), name="k3-store-commit")
                group.create_task(self._tail.run(), name="k3-store-tail")
        except Exception:
            why = "the store has failed; see the log"
            log.exception("store.failed", extra={"fields": {"store": self.url}})
        finally:
            self._commits.close(why)
            self._fanout.cut(Unavailable, why)

    @asynccontextmanager
    async def _watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        head = await self._head()
        head.check_kept(since)
        if not self._fanout.watched:  # the log was not read since the last watch ended: what came meanwhile is replayed
            self._fanout.revision = head.revision
        with self._fanout.subscribe(kind, since, self._replay) as events:
            self._tail.poke()
            yield events

    async def _replay(self, kind: Kind, since: int, until: int) -> tuple[Sequence[Change], int]:
        stretch = await self._read_between(since, until)
        return [change for change in stretch.changes if change.object.key.kind == kind], stretch.revision
