"""What the SQL engines share: the tables, the statements, and how rows become objects and changes.

    meta  one row: the revision counter, how far history was compacted, the store's id
    cur   which revision each living object is at
    log   every write, by revision, with the document as it was after it

The document is stored once, in `log`; `cur` points at it. Every write takes `meta`'s row first and holds it to the commit,
so revisions are committed in the order they are numbered, without gaps, and a reader that has seen n has seen all before n.
`log.prev_rev` is the revision a write replaced (0: none): a state of the past is found through it without another index.

Statements use `?` for parameters and nothing else looks like one. An engine brings connections, locking and its errors.
"""
# ruff: noqa: S608 - the statements are put together from constants of this file alone

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from k3.core import limits
from k3.core.errors import Expired
from k3.core.objects import Key, Kind, Object, key_from_path, kind_prefix
from k3.core.store import Change, ChangeType, Page
from k3.stores.log.writes import Entry

SCHEMA: Final = 1
"""Written into `meta`; a store with a higher number was made by a newer k3."""

HEAD: Final = "SELECT rev, compact FROM meta WHERE id = 1"
IDENTITY: Final = "SELECT version, store_id FROM meta WHERE id = 1"
MAKE_META: Final = "INSERT INTO meta (id, version, store_id, rev, compact) VALUES (1, ?, ?, ?, ?)"
SET_REVISION: Final = "UPDATE meta SET rev = ? WHERE id = 1"
APPEND: Final = "INSERT INTO log (rev, k, prev_rev, op, at, uid, created, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# Both engines have REPLACE, while their upserts differ.
PUT: Final = "REPLACE INTO cur (k, rev) VALUES (?, ?)"
REMOVE: Final = "DELETE FROM cur WHERE k = ?"

_OBJECT: Final = "log.k, log.rev, log.uid, log.created, log.doc"
GET: Final = f"SELECT {_OBJECT} FROM cur JOIN log ON log.rev = cur.rev WHERE cur.k = ?"
LIST: Final = f"SELECT {_OBJECT} FROM cur JOIN log ON log.rev = cur.rev WHERE cur.k > ? AND cur.k < ? ORDER BY cur.k LIMIT ?"
LIST_AT: Final = (
    f"SELECT {_OBJECT} FROM ("
    "SELECT k, rev FROM cur WHERE k > ? AND k < ? AND rev <= ? UNION ALL "
    "SELECT k, prev_rev AS rev FROM log WHERE k > ? AND k < ? AND rev > ? AND prev_rev BETWEEN 1 AND ?"
    ") AS past JOIN log ON log.rev = past.rev ORDER BY past.k LIMIT ?"
)
"""The objects unchanged since that revision, and of each other one the state that its first later write replaced."""

CHANGES: Final = f"SELECT {_OBJECT}, log.op FROM log WHERE rev > ? AND rev <= ? ORDER BY rev LIMIT ?"

WRITTEN_AT: Final = "SELECT at FROM log WHERE rev = ?"
# The inner SELECT has a name because MySQL refuses to delete from a table that a plain subquery reads.
COMPACT: Final = (
    "DELETE FROM log WHERE rev IN (SELECT prev_rev FROM (SELECT prev_rev FROM log WHERE rev > ? AND rev <= ?) AS replaced)",
    "DELETE FROM log WHERE rev > ? AND rev <= ? AND op = 'DELETED'",
)
"""Removes the states replaced in (old, new], and the deletes. The state as of `new` stays whole."""
SET_COMPACT: Final = "UPDATE meta SET compact = ? WHERE id = 1"

ObjectRow = tuple[str, int, str, str, bytes]
ChangeRow = tuple[str, int, str, str, bytes, ChangeType]

ALL: Final = 2**62
"""A LIMIT that is none: MySQL knows no word for it."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest revision of a store, and the one up to which its history was compacted."""

    revision: int
    compacted: int

    def check_kept(self, revision: int) -> None:
        """Raises Expired unless the state at `revision` and everything behind it can still be read."""
        if revision < self.compacted:
            msg = f"revision {revision} is no longer kept (oldest: {self.compacted}): list again"
            raise Expired(msg)
        if revision > self.revision:
            msg = f"revision {revision} is not of this store, which is at {self.revision}: list again"
            raise Expired(msg)

    def next_compaction(self) -> int | None:
        """Returns the revision up to which a chunk of history may go by count (`is_old` judges by age); None: none may."""
        until = min(self.compacted + limits.COMPACT_CHUNK, self.revision - limits.HISTORY_REVISIONS)
        return until if until > self.compacted else None


def is_old(written_at: float, now: float) -> bool:
    """Whether a line of the log is old enough to go; so is one from the future, written before the clock was put back."""
    return not now - limits.HISTORY_SECONDS <= written_at <= now + limits.HISTORY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """The arguments of `Store.list`."""

    kind: Kind
    namespace: str
    limit: int
    after: Key | None
    at: int | None

    def statement(self) -> tuple[str, tuple[object, ...]]:
        """Returns the SQL and its parameters. It asks for one row more than wanted, to learn whether there are more."""
        prefix = kind_prefix(self.kind, self.namespace)
        low = max(prefix, self.after.path) if self.after else prefix
        high = prefix[:-1] + "0"  # the character behind "/"
        rows = self.limit + 1 if self.limit else ALL
        if self.at is None:
            return LIST, (low, high, rows)
        return LIST_AT, (low, high, self.at, low, high, self.at, self.at, rows)

    def page(self, rows: Sequence[ObjectRow], revision: int) -> Page:
        """Returns the page of these rows, which were read in one snapshot with `revision`."""
        kept = rows[: self.limit] if self.limit else rows
        objects = tuple(item for item in map(read_object, kept) if item is not None)
        more = len(kept) < len(rows) and objects
        return Page(objects, revision if self.at is None else self.at, objects[-1].key if more else None)


def read_object(row: ObjectRow) -> Object | None:
    """Returns a row as an object; None for a kind this k3 does not know."""
    key = key_from_path(row[0])
    return None if key is None else Object(key=key, uid=row[2], revision=row[1], document=bytes(row[4]), created=row[3])


def read_changes(rows: Iterable[ChangeRow]) -> list[Change]:
    """Returns rows as changes, without those of kinds this k3 does not know."""
    found = ((row[5], read_object(row[:5])) for row in rows)
    return [Change(op, item) for op, item in found if item is not None]


def check_contiguous(rows: Sequence[ChangeRow], *, since: int) -> None:
    """Raises Expired unless the rows follow `since` one by one: whatever made a hole, a watcher must list again."""
    if rows and rows[-1][1] - since != len(rows):
        msg = f"the log has a hole behind revision {since}: list again"
        raise Expired(msg)


def log_rows(entries: Iterable[Entry], now: float) -> list[tuple[object, ...]]:
    """Returns the parameters of `APPEND`, for lines written at wall time `now`."""
    return [
        (
            entry.revision,
            entry.key.path,
            entry.previous.revision if entry.previous else 0,
            entry.change.type,
            now,
            entry.change.object.uid,
            entry.change.object.created,
            entry.change.object.document,
        )
        for entry in entries
    ]


def final_states(entries: Iterable[Entry]) -> tuple[list[tuple[str, int]], list[tuple[str]]]:
    """Returns the parameters of `PUT` and of `REMOVE`: the final state of each object concerned."""
    last = {entry.key.path: entry for entry in entries}
    put = [(path, entry.revision) for path, entry in last.items() if entry.change.type != "DELETED"]
    return put, [(path,) for path, entry in last.items() if entry.change.type == "DELETED"]
