"""`storage.type: mysql`: a MySQL or MariaDB server for many machines.

Many writes share a transaction of two packets: the first takes the counter's row and reads the objects concerned, the
second writes log, objects and counter, and commits. Other processes' writes are found by asking for the counter while
there is a watcher. SQL is in `text`, sessions are in `server`, refusals in `refusals`.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from asyncmy.errors import MySQLError

from k3.core.errors import Damaged, NotFound, TooLarge, Unavailable
from k3.core.objects import Key, Kind, Object
from k3.core.store import Page
from k3.stores.log import sql
from k3.stores.log.logged import LoggedStore
from k3.stores.log.tail import READ_AT_ONCE, Stretch
from k3.stores.log.writes import Batch, DeleteWrite, UpdateWrite, Write, WriteOutcome, apply_all, is_storable
from k3.stores.mysql import text
from k3.stores.mysql.connection import MysqlConnection
from k3.stores.mysql.refusals import ROLLED_BACK, Refused
from k3.stores.mysql.server import Driver, Server, Session
from k3.stores.mysql.settings import MysqlStorage

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
"""How often a watching process asks whether another has written."""

COMPACT_EVERY: Final = 250
"""Revisions between two looks at whether history may go; each takes at most `limits.COMPACT_CHUNK`."""

PACKET_BYTES: Final = 4 * 1024 * 1024
"""The most that is sent at once; less where the server takes less (`max_allowed_packet`)."""

_ROW_BYTES: Final = 2_048
"""Room in a packet for what a row needs besides the document."""


class MysqlStore(LoggedStore):
    """A `k3.core.store.Store` in a database."""

    def __init__(
        self,
        storage: MysqlStorage,
        *,
        clock: Callable[[], float] = time.time,
        new_uid: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        """`clock` gives seconds since 1970, `new_uid` a text never given before. `open` comes next. Raises StartFailed."""
        super().__init__(clock=clock, new_uid=new_uid)
        self._storage = storage
        self._server = Server(storage, Driver(MysqlConnection, MySQLError), clock=clock, new_uid=new_uid)
        self._known = sql.Head(0, "", 0, 0)
        self._compact_at = 0

    async def open(self) -> None:
        """Opens or makes the database and begins to serve. Raises StartFailed, Forbidden, Unavailable."""
        await self._server.read(sql.HEAD.encode())
        self._serve()

    @property
    def id(self) -> str:
        """The store's id, made with the tables."""
        return self._server.store_id

    @property
    def url(self) -> str:
        """The URL that opens the same database, given the password."""
        return self._storage.url

    async def get(self, key: Key) -> Object:
        """See `Store.get`."""
        found: Object | None = None
        if is_storable(key):
            rows = (await self._server.read(text.render(sql.GET, key.path.encode())))[0]
            found = sql.read_object(rows[0]) if rows else None
        if found is None:
            msg = f"{key} not found"
            raise NotFound(msg)
        return found

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """See `Store.list`."""
        query = sql.ListQuery(kind=kind, namespace=namespace, limit=limit, after=after, at=at)
        statement, parameters = query.statement()
        answers = await self._server.read(*text.SNAPSHOT, text.render(statement, *parameters), text.END_READ)
        head = self._server.head(answers[1])
        head.check_kept(head.revision if at is None else at)
        return query.page(answers[2], head.revision)

    async def facts(self) -> dict[str, str]:
        """Returns what `k3 store check` shows besides what every store tells. Raises Damaged, Unavailable, Forbidden."""
        version, rows, newest, tls = await self._server.read(*text.FACTS)
        head = self._server.head(rows)
        self._server.place.check_newest(head, newest)
        return {
            "server": f"{version[0][0]} ({version[0][1]})",
            "encryption": str(tls[0][1]) if tls and tls[0][1] else "none",
            "schema": str(head.version),
            "history": f"kept from revision {head.compacted}",
            "packets": f"at most {version[0][2]} bytes (max_allowed_packet)",
        }

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._stop()
        await self._server.aclose()

    async def _commit(self, writes: Sequence[Write]) -> Sequence[WriteOutcome]:
        async with self._server.errors():
            batch: Batch = await self._server.again(lambda session: self._transact(session, writes))
        self._tail.committed(batch.entries)
        return batch.outcomes

    async def _transact(self, session: Session, writes: Sequence[Write]) -> Batch:
        """Makes one transaction. Raises Refused where nothing was written, Unavailable where that is unknown."""
        limit = min(session.max_packet, PACKET_BYTES)
        paths = dict.fromkeys(write.key.path for write in writes)
        # The counter's row is locked first in every transaction: in that order, transactions cannot deadlock (ADR 4).
        answers = await _send(session, [*text.BEGIN_WRITE, *text.for_keys(sql.GET, paths, limit=limit)], limit)
        self._known = self._server.head(answers[len(text.BEGIN_WRITE) - 1])
        objects = _objects(row for rows in answers[len(text.BEGIN_WRITE) :] for row in rows)
        batch = _decide(writes, {item.key: item for item in objects}, self._known.revision, session.max_packet)
        if not batch.entries:
            await session.run(text.CANCEL_WRITE)
            return batch
        *before, last = text.packets([*self._statements(batch, limit), *text.END_WRITE], limit=limit)
        for packet in before:
            await session.run(packet)
        await self._finish(session, last)
        self._known = replace(self._known, revision=batch.entries[-1].revision)
        return batch

    def _statements(self, batch: Batch, limit: int) -> Iterable[bytes]:
        put, remove = sql.final_states(batch.entries)
        yield from text.insert(sql.APPEND, sql.log_rows(batch.entries, self._clock()), limit=limit)
        yield from text.insert(sql.PUT, put, limit=limit)
        yield from text.for_keys(sql.REMOVE, (path for (path,) in remove), limit=limit)
        yield text.render(sql.SET_REVISION, batch.entries[-1].revision)

    async def _finish(self, session: Session, packet: Sequence[bytes]) -> None:
        """Sends the packet that commits. A refusal before the COMMIT wrote nothing; from then on the outcome is unknown."""
        commit = packet.index(text.END_WRITE[0])
        try:
            await session.run(packet)
        except Refused as refused:
            if (refused.answered < commit and not refused.lost) or refused.code in ROLLED_BACK:
                raise
            if refused.answered == commit + 1:  # it is committed; what failed is what comes after
                session.drop()
                return
            where = f"mysql {self._storage.host}:{self._storage.port}"
            msg = f"{where}: the connection was lost while committing; it may or may not be written"
            raise Unavailable(msg) from refused

    async def _compact(self) -> None:
        """Removes old history, a chunk at a time, where it is time to look."""
        if self._known.revision < self._compact_at:
            return
        self._compact_at = self._known.revision + COMPACT_EVERY
        try:
            if self._known.next_compaction() is not None:
                async with self._server.errors():
                    await self._server.again(self._forget)
        except Exception as error:  # noqa: BLE001 - the writer goes on, and tries again later
            level = logging.DEBUG if isinstance(error, Damaged | Unavailable) else logging.WARNING  # of an outage others tell
            log.log(level, "store.compaction_failed", extra={"fields": {"store": self.url, "why": str(error)}})

    async def _forget(self, session: Session) -> None:
        self._known = self._server.head((await session.run(text.BEGIN_WRITE))[-1])
        until = self._known.next_compaction()
        if until is None or not await self._is_old(session, until):
            await session.run(text.CANCEL_WRITE)
            return
        await session.run([*text.forget(self._known.compacted, until), *text.END_WRITE])
        self._known = replace(self._known, compacted=until)

    async def _is_old(self, session: Session, revision: int) -> bool:
        written = (await session.run([text.render(sql.WRITTEN_AT, revision)]))[0]
        return not written or sql.is_old(written[0][0], self._clock())

    async def _head(self) -> sql.Head:
        return self._server.head((await self._server.read(sql.HEAD.encode()))[0])

    async def _read_between(self, since: int, until: int) -> Stretch:
        return self._stretch(await self._server.read(*_changes(since, until)), since)

    def _listen(self, watched: bool) -> float | None:  # noqa: FBT001 - see `LoggedStore`
        return POLL_SECONDS if watched else None

    async def _read_log(self, since: int) -> Stretch:
        head = self._server.head((await self._server.follow(sql.HEAD.encode()))[0])
        if head.revision == since:
            return Stretch((), since, more=False)
        return self._stretch(await self._server.follow(*_changes(since, sql.ALL)), since)

    def _stretch(self, answers: Sequence[Sequence[Any]], since: int) -> Stretch:
        """Returns what `_changes` found. Raises Expired where part of it is gone."""
        self._server.head(answers[1]).check_kept(since)
        sql.check_contiguous(answers[2], since=since)
        return Stretch(sql.read_changes(answers[2]), since + len(answers[2]), more=len(answers[2]) == READ_AT_ONCE)


async def _send(session: Session, statements: Iterable[bytes], limit: int) -> list[Sequence[Any]]:
    """Runs statements in as few packets as possible; returns the rows of each."""
    found: list[Sequence[Any]] = []
    for packet in text.packets(statements, limit=limit):
        found += await session.run(packet)
    return found


def _decide(writes: Sequence[Write], current: dict[Key, Object], revision: int, max_packet: int) -> Batch:
    """As `apply_all`; a write that the server would not take is refused before it is sent, for its own caller alone."""
    refused = {number: why for number, write in enumerate(writes) if (why := _too_large(write, current, max_packet))}
    batch = apply_all((write for number, write in enumerate(writes) if number not in refused), current, revision)
    if not refused:
        return batch
    outcomes = iter(batch.outcomes)
    return Batch(
        tuple(refused[number] if number in refused else next(outcomes) for number in range(len(writes))), batch.entries
    )


def _too_large(write: Write, current: dict[Key, Object], max_packet: int) -> TooLarge | None:
    match write:
        case UpdateWrite(item=item):
            document = item.document
        case DeleteWrite(key=key):
            document = current[key].document if key in current else b""
        case _:
            document = write.document
    # Escaping doubles a byte at most, so most documents need not be rendered to know that they fit.
    size = len(text.literal(document)) + _ROW_BYTES if 2 * len(document) + _ROW_BYTES > max_packet else 0
    if size <= max_packet:
        return None
    return TooLarge(
        f"{write.key} needs a packet of {size} bytes; the server takes {max_packet}: raise max_allowed_packet there"
    )


def _changes(since: int, until: int) -> tuple[bytes, ...]:
    return (*text.SNAPSHOT, text.render(sql.CHANGES, since, until, READ_AT_ONCE), text.END_READ)


def _objects(rows: Iterable[Any]) -> list[Object]:
    return [item for item in map(sql.read_object, rows) if item is not None]
