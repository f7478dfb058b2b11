"""`storage.type: sqlite`: one file for several processes of one machine; the standard library's `sqlite3` and nothing else.

Three threads with a connection each: one commits (many writes in one transaction, `synchronous=FULL`), one reads, one
follows the log while there is a watcher. The event loop never waits for the disk. Another process's commit is noticed
through inotify. SQL lives in `log.sql`, the file's own troubles in `database` and `local_disk`.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from k3.core.errors import Damaged, NotFound, Unavailable
from k3.core.objects import Key, Kind, Object
from k3.core.store import Page
from k3.stores.log import sql
from k3.stores.log.logged import LoggedStore
from k3.stores.log.tail import READ_AT_ONCE, Stretch
from k3.stores.log.writes import Batch, Write, WriteOutcome, apply_all, is_storable
from k3.stores.sqlite.database import Database, DatabaseFile
from k3.stores.sqlite.inotify import TouchListener
from k3.stores.sqlite.thread import ConnectionThread

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
"""How often a watching process looks at the log without being told to (a writer may die before it touches the file)."""

COMPANY_SECONDS: Final = 10.0
"""For so long after another process has written, the log is read after this process's own commits too: a touch of the
other one may have been overwritten by them."""

POLL_SECONDS: Final = 0.05
"""As `LOOK_SECONDS`, where there is no inotify."""

COMPACT_EVERY: Final = 250
"""Revisions between two looks at whether history may go; each takes at most `limits.COMPACT_CHUNK`."""


class SqliteStore(LoggedStore):
    """A `k3.core.store.Store` in a file."""

    def __init__(
        self,
        path: Path,
        *,
        reading: bool = False,
        clock: Callable[[], float] = time.time,
        new_uid: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        """`clock` gives seconds since 1970, `new_uid` a text never given before. The caller calls `open` next.

        `reading`: a file that this user may not write is opened all the same, and only its writes are Forbidden.
        """
        super().__init__(clock=clock, new_uid=new_uid)
        self._file = DatabaseFile(path.absolute(), reading=reading, clock=clock, new_uid=new_uid)
        self._writer = ConnectionThread("k3-store-write", self._file.connect)
        self._reader = ConnectionThread("k3-store-read", self._file.connect)
        self._follower = ConnectionThread("k3-store-follow", self._file.connect)
        self._listener: TouchListener | None = None
        self._inotify = True
        self._loop = asyncio.get_running_loop()
        self._company_until = 0.0
        self._newest = self._compact_at = 0

    async def open(self) -> None:
        """Opens or makes the file and begins to serve. Raises StartFailed, Forbidden, Unavailable."""
        # The writer's connection makes the file, if need be; the others open it when they are first used.
        await self._writer.run(lambda database: database.head())
        self._serve()

    @property
    def id(self) -> str:
        """The store's id, made with the file."""
        return self._file.store_id

    @property
    def url(self) -> str:
        """The URL that opens the same file."""
        return f"sqlite://{self._file.path}"

    async def get(self, key: Key) -> Object:
        """See `Store.get`."""

        def job(database: Database) -> Object | None:
            with self._file.in_place(database):
                rows = database.rows(sql.GET, key.path)
                return sql.read_object(rows[0]) if rows else None

        found = await self._reader.run(job) if is_storable(key) else None
        if found is None:
            msg = f"{key} not found"
            raise NotFound(msg)
        return found

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """See `Store.list`."""
        query = sql.ListQuery(kind=kind, namespace=namespace, limit=limit, after=after, at=at)

        def job(database: Database) -> Page:
            with self._file.in_place(database), database.snapshot() as head:
                head.check_kept(head.revision if at is None else at)
                statement, parameters = query.statement()
                return query.page(database.rows(statement, *parameters), head.revision)

        return await self._reader.run(job)

    async def facts(self) -> dict[str, str]:
        """Returns what `k3 store check` shows besides what every store tells; it reads the whole file. Raises Damaged."""
        return await self._reader.run(self._file.facts)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._stop()
        if self._listener is not None:
            self._listener.close()
        for thread in (self._follower, self._reader, self._writer):
            await thread.aclose()

    async def _commit(self, writes: Sequence[Write]) -> Sequence[WriteOutcome]:
        batch = await self._writer.run(lambda database: self._transact(database, writes))
        self._tail.committed(batch.entries)
        return batch.outcomes

    def _transact(self, database: Database, writes: Sequence[Write]) -> Batch:
        self._file.check_writable(database)
        with self._file.in_place(database):
            # The write lock before the first read: what is decided below is decided on what stays so until the COMMIT.
            database.execute("BEGIN IMMEDIATE")
            head = database.head()
            current = {}
            for key in {write.key for write in writes}:
                for row in database.rows(sql.GET, key.path):
                    if (found := sql.read_object(row)) is not None:
                        current[key] = found
            batch = apply_all(writes, current, head.revision)
            if not batch.entries:
                database.execute("ROLLBACK")
                return batch
            put, remove = sql.final_states(batch.entries)
            database.executemany(sql.APPEND, sql.log_rows(batch.entries, self._clock()))
            database.executemany(sql.PUT, put)
            database.executemany(sql.REMOVE, remove)
            database.execute(sql.SET_REVISION, (batch.entries[-1].revision,))
            database.execute("COMMIT")
            with suppress(OSError):  # it is committed all the same, and listeners look now and then anyway
                self._file.touch()
            self._newest = batch.entries[-1].revision
        return batch

    async def _compact(self) -> None:
        """Removes old history, a chunk at a time, where it is time to look."""
        if self._newest < self._compact_at:
            return
        self._compact_at = self._newest + COMPACT_EVERY
        try:
            await self._writer.run(self._forget)
        except Exception as error:  # noqa: BLE001 - the writer goes on, and tries again later
            level = logging.DEBUG if isinstance(error, Damaged | Unavailable) else logging.WARNING  # of an outage others tell
            log.log(level, "store.compaction_failed", extra={"fields": {"store": self.url, "why": str(error)}})

    def _forget(self, database: Database) -> None:
        with self._file.in_place(database):
            with database.snapshot() as head:
                if head.next_compaction() is None:  # mostly so, and to know it takes no lock
                    return
            with database.without_patience():
                database.execute("BEGIN IMMEDIATE")
            head = database.head()
            until = head.next_compaction()
            if until is None or not self._is_old(database, until):
                database.execute("ROLLBACK")
                return
            for statement in sql.COMPACT:
                database.execute(statement, (head.compacted, until))
            database.execute(sql.SET_COMPACT, (until,))
            database.execute("COMMIT")
        self._file.shorten_log(database)

    def _is_old(self, database: Database, revision: int) -> bool:
        written = database.rows(sql.WRITTEN_AT, revision)
        return not written or sql.is_old(written[0][0], self._clock())

    async def _head(self) -> sql.Head:
        def job(database: Database) -> sql.Head:
            with self._file.in_place(database), database.snapshot() as head:
                return head

        return await self._reader.run(job)

    async def _read_between(self, since: int, until: int) -> Stretch:
        return await self._reader.run(lambda database: self._stretch(database, since, until))

    async def _read_log(self, since: int) -> Stretch:
        stretch = await self._follower.run(lambda database: self._stretch(database, since, sql.ALL))
        if stretch.revision > self._fanout.revision:
            self._company_until = self._loop.time() + COMPANY_SECONDS
        return stretch

    def _stretch(self, database: Database, since: int, until: int) -> Stretch:
        with self._file.in_place(database), database.snapshot() as head:
            head.check_kept(since)
            if since == head.revision:
                return Stretch((), since, more=False)
            rows = database.rows(sql.CHANGES, since, until, READ_AT_ONCE)
            sql.check_contiguous(rows, since=since)
            return Stretch(sql.read_changes(rows), since + len(rows), more=len(rows) == READ_AT_ONCE)

    def _touched(self) -> None:
        """Has the log read, unless this process touched the file itself and no other process is writing."""
        if self._loop.time() < self._company_until or not self._file.touched_here():
            self._tail.poke()

    def _listen(self, watched: bool) -> float | None:  # noqa: FBT001 - the answer to one question, asked by `Tail` alone
        if not watched:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            return None
        if self._listener is None and self._inotify:
            try:
                self._listener = TouchListener(self._file.path, self._touched)
            except OSError as error:
                self._inotify = False
                why = os.strerror(error.errno) if error.errno else str(error)
                log.warning("store.polling", extra={"fields": {"store": self.url, "why": why}})
        if self._listener is not None and self._listener.renew():
            return LOOK_SECONDS
        return POLL_SECONDS
