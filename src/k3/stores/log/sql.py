"""What the SQL engines share: the tables, the statements, and how rows become objects and changes.

    meta  one row: the revision counter, how far history was compacted, the store's id
    cur   which revision each living object is at
    log   every write, by revision, with the document as it was after it

The document is stored once, in `log`; `cur` points at it. Every write takes `meta`'s row first and holds it to the commit,
so revisions are committed in the order they are numbered, without gaps, and a reader that has seen n has seen all before n.
`log.prev_rev` is the revision a write replaced (0: none): a state of the past is found through it without another index.

Statements use `?` for parameters and nothing else looks like one. An engine brings connections, locking and its errors.

Other programs may write here too. The one row of `meta` is read strictly, since all else rests on it: what is odd there is
Damaged. What is odd in one object's rows costs that object alone, which is there and cannot be read (ADR 47).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

from k3.core import limits
from k3.core.errors import Damaged, Expired, StartFailed
from k3.core.objects import Key, Kind, Object, key_from_path, kind_prefix
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.core.store import Change, ChangeType, Page
from k3.stores.log.writes import Entry

SCHEMA: Final = 1
"""Written into `meta`; a store with a higher number was made by a newer k3."""

HEAD: Final = "SELECT version, store_id, rev, compact FROM meta WHERE id = 1"
NEWEST: Final = "SELECT MAX(rev) FROM log"
MAKE_META: Final = "INSERT INTO meta (id, version, store_id, rev, compact) VALUES (1, ?, ?, ?, ?)"
SET_REVISION: Final = "UPDATE meta SET rev = ? WHERE id = 1"
APPEND: Final = "INSERT INTO log (rev, k, prev_rev, op, at, uid, created, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# Both engines have REPLACE, while their upserts differ.
PUT: Final = "REPLACE INTO cur (k, rev) VALUES (?, ?)"
REMOVE: Final = "DELETE FROM cur WHERE k = ?"

# LEFT JOIN: an object whose line of the log is gone, or is another one's, is not passed over in silence.
_FOUND: Final = "log.uid, log.created, log.doc FROM cur LEFT JOIN log ON log.rev = cur.rev AND log.k = cur.k"
GET: Final = f"SELECT cur.k, cur.rev, {_FOUND} WHERE cur.k = ?"
LIST: Final = f"SELECT cur.k, cur.rev, {_FOUND} WHERE cur.k > ? AND cur.k < ? ORDER BY cur.k LIMIT ?"
LIST_AT: Final = (
    "SELECT past.k, past.rev, log.uid, log.created, log.doc FROM ("
    "SELECT k, rev FROM cur WHERE k > ? AND k < ? AND rev <= ? UNION ALL "
    "SELECT k, prev_rev AS rev FROM log WHERE k > ? AND k < ? AND rev > ? AND prev_rev BETWEEN 1 AND ?"
    ") AS past LEFT JOIN log ON log.rev = past.rev AND log.k = past.k ORDER BY past.k LIMIT ?"
)
"""The objects unchanged since that revision, and of each other one the state that its first later write replaced."""

CHANGES: Final = "SELECT k, rev, uid, created, doc, op FROM log WHERE rev > ? AND rev <= ? ORDER BY rev LIMIT ?"

WRITTEN_AT: Final = "SELECT at FROM log WHERE rev = ?"
# The inner SELECT has a name because MySQL refuses to delete from a table that a plain subquery reads.
COMPACT: Final = (
    "DELETE FROM log WHERE rev IN (SELECT prev_rev FROM (SELECT prev_rev FROM log WHERE rev > ? AND rev <= ?) AS replaced)",
    "DELETE FROM log WHERE rev > ? AND rev <= ? AND op = 'DELETED'",
)
"""Removes the states replaced in (old, new], and the deletes. The state as of `new` stays whole."""
SET_COMPACT: Final = "UPDATE meta SET compact = ? WHERE id = 1"

Row = Sequence[Any]
"""What an engine gives: numbers, texts and bytes, where no other program has put something else."""
_OPS: Final = {change: change for change in get_args(ChangeType)}

ALL: Final = 2**62
"""A LIMIT that is none: MySQL knows no word for it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which store it is, in the words of a person, and how a damaged one there is replaced."""

    name: str
    remedy: str

    def damaged(self, what: str) -> Damaged:
        """Returns the error for a store of which `what` is not as k3 made it."""
        return Damaged(f"{self.name} is damaged: {what}; {self.remedy}")

    def head(self, rows: Sequence[Row]) -> "Head":
        """Returns the row of `HEAD`. Raises Damaged where it is gone or odd, StartFailed where a newer k3 has written it."""
        if what := _oddity(rows[0]) if rows else "its table meta has lost its row":
            raise self.damaged(what)
        version, store_id, revision, compacted = rows[0]
        if version > SCHEMA:
            msg = f"{self.name} was made by a newer k3 (schema {version}, this one knows {SCHEMA}): upgrade k3"
            raise StartFailed(msg)
        return Head(version, as_text(store_id), revision, compacted)

    def check_newest(self, head: "Head", rows: Sequence[Row]) -> None:
        """Raises Damaged where the counter is behind the newest line of the log (`NEWEST`): no write can follow."""
        if rows and type(rows[0][0]) is int and rows[0][0] > head.revision:
            what = f"its table meta has {head.revision} for rev, while the table log goes on to {rows[0][0]}"
            raise self.damaged(what)


def _oddity(row: Row) -> str:
    """Returns what is wrong with the row of `HEAD`; empty: nothing."""
    version, store_id, revision, compacted = row
    for column, value in (("version", version), ("rev", revision), ("compact", compacted)):
        if type(value) is not int or not 0 <= value <= ALL:
            return f"its table meta has {printable(as_text(value), limit=40) or 'nothing'} for {column}"
    if not store_id:
        return "its table meta has nothing for store_id"
    if compacted > revision:
        return f"its table meta has {revision} for rev, while history begins at {compacted}"
    return ""


@dataclass(frozen=True, slots=True)
class Head:
    """How a store stands: its schema and id, the newest revision, and the one up to which its history was compacted."""

    version: int
    store_id: str
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


def is_old(written_at: object, now: float) -> bool:
    """Whether a line of the log is old enough to go; so is one from the future, written before the clock was put back."""
    if not isinstance(written_at, int | float):
        return True
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

    def page(self, rows: Sequence[Row], revision: int) -> Page:
        """Returns the page of these rows, which were read in one snapshot with `revision`."""
        kept = rows[: self.limit] if self.limit else rows
        objects = tuple(item for item in map(read_object, kept) if item is not None)
        more = len(kept) < len(rows) and objects
        return Page(objects, revision if self.at is None else self.at, objects[-1].key if more else None)


def read_object(row: Row) -> Object | None:
    """Returns a row as an object, whatever is in its columns; None for a kind this k3 does not know."""
    path, revision, uid, created, document = row
    key = key_from_path(as_text(path))
    if key is None:
        return None
    return Object(
        key=key,
        uid=as_text(uid),
        # 0: an object that cannot be read, whose line of the log is not found.
        revision=revision if type(revision) is int else 0,
        document=document if type(document) is bytes else as_text(document).encode(errors="replace"),
        created=as_text(created),
    )


def as_text(value: object) -> str:
    """Returns what a column of text holds, whatever another program has put there; of nothing, the empty text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def read_changes(rows: Iterable[Row]) -> list[Change]:
    """Returns rows as changes, without those of kinds this k3 does not know. Raises Expired for a line that is no change."""
    changes = []
    for row in rows:
        op = _OPS.get(as_text(row[5]))
        if op is None:
            msg = f"line {row[1]} of the log cannot be read: list again"
            raise Expired(msg)
        if (item := read_object(row[:5])) is not None:
            changes.append(Change(op, item))
    return changes


def check_contiguous(rows: Sequence[Row], *, since: int) -> None:
    """Raises Expired unless the rows follow `since` one by one: whatever made a hole, a watcher must list again."""
    if rows and (type(rows[-1][1]) is not int or rows[-1][1] - since != len(rows)):
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
