"""The database file: where it may lie, opening it, and turning SQLite's refusals into k3's errors.

Runs on connection threads, never on the event loop. Opens the file through SQLite only: closing any other descriptor of
it would drop the process's POSIX locks on it (fcntl(2)).
"""

import fcntl
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from k3.agent.trust import foreign_file, foreign_link
from k3.core import limits
from k3.core.errors import Damaged, Forbidden, K3Error, StartFailed, Unavailable
from k3.core.records import dataclass
from k3.stores.log import sql
from k3.stores.sqlite.local_disk import no_file, not_writable, only_readable, prepare

BUSY_SECONDS: Final = limits.STORE_TIMEOUT_SECONDS * 0.8
WAL_BYTES: Final = 4 * 1024 * 1024

_TABLES: Final = (
    """CREATE TABLE meta (
        id INTEGER PRIMARY KEY, version INTEGER NOT NULL, store_id TEXT NOT NULL, rev INTEGER NOT NULL, compact INTEGER NOT NULL
    )""",
    "CREATE TABLE cur (k TEXT PRIMARY KEY, rev INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE log (
        rev INTEGER PRIMARY KEY, k TEXT NOT NULL, prev_rev INTEGER NOT NULL, op TEXT NOT NULL, at REAL NOT NULL,
        uid TEXT NOT NULL, created TEXT NOT NULL, doc BLOB NOT NULL
    )""",
)
_NAMES: Final = {"meta", "cur", "log"}
_PRAGMAS: Final = (
    "synchronous = FULL",  # NORMAL may lose acknowledged commits with the power, and would hand out their revisions again
    f"journal_size_limit = {WAL_BYTES}",
    "secure_delete = OFF",  # Debian builds SQLite with it on: each page of old history would be overwritten with zeros
    "temp_store = MEMORY",
)

_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
# k3's statements are always the same, so one that SQLite does not take meets tables or rows that are not k3's.
_DAMAGED: Final = {
    *(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
}
_LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED: Final = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_PRIMARY: Final = 0xFF


@dataclass(frozen=True, slots=True)
class Files:
    """Which files a database is in."""

    file: tuple[int, int]
    log: int
    """The inode of its write-ahead log; 0: there is none."""
    is_empty: bool


class Database(sqlite3.Connection):
    """A connection that knows which files it opened."""

    files: Files | None = None
    place = sql.Place("", "")
    store_id = ""
    is_read_only = False
    is_open = True
    is_lost: Callable[[], bool] = staticmethod(lambda: False)
    """Whether what it opened is no longer at its path, so that it has to be closed even if it is not used."""
    is_stale: Callable[[], bool] = staticmethod(lambda: False)
    """Whether there is more now than this connection can see, so that another one has to be made."""

    def close(self) -> None:
        """Closes the connection. Of the last one to a database, SQLite brings the log into the file."""
        self.is_open = False
        super().close()

    def rows(self, statement: str, *parameters: object) -> list[Any]:
        """Returns every row at once: a statement left half read would keep the write-ahead log from being reused."""
        return self.execute(statement, parameters).fetchall()

    def tables(self) -> set[str]:
        """Returns the names of all tables."""
        rows = self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {sql.as_text(name) for (name,) in rows}

    def make_tables(self, now: float, new_uid: Callable[[], str]) -> None:
        """Makes the store's tables in an empty file, unless another process is faster."""
        _use_wal(self)
        # Not BEGIN: a read transaction that turns into a write fails at once, whatever the busy timeout (SQLITE_BUSY_SNAPSHOT).
        self.execute("BEGIN IMMEDIATE")
        if not self.tables():
            for statement in _TABLES:
                self.execute(statement)
            # A store made anew in place of a lost one must not hand out the lost one's revisions again (ADR 13).
            first = int(now * 1000)
            self.execute(sql.MAKE_META, (sql.SCHEMA, new_uid(), first, first))
        self.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[sql.Head]:
        """Has all reads within see the store as of one moment."""
        self.execute("BEGIN")
        try:
            yield self.head()
        finally:
            if self.in_transaction:
                self.execute("ROLLBACK")

    @contextmanager
    def without_patience(self) -> Iterator[None]:
        """Has upkeep wait for no lock: it is done again later, and a write that waits behind it has only so much time."""
        self.execute("PRAGMA busy_timeout = 50")
        try:
            yield
        except sqlite3.OperationalError as error:
            if _code(error) not in _LOCKED:
                raise
            msg = f"{self.place.name}: another process is writing"
            raise Unavailable(msg) from error
        finally:
            self.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")

    def head(self) -> sql.Head:
        """Returns how the store stands. Raises Damaged, StartFailed (a newer k3's), Unavailable (another store)."""
        head = self.place.head(self.rows(sql.HEAD))
        if self.store_id and head.store_id != self.store_id:
            msg = f"{self.place.name} holds another store than before; it is opened with the next call"
            raise Unavailable(msg)
        return head


class DatabaseFile:
    """The file at one path, whichever file that is at the moment."""

    def __init__(self, path: Path, *, reading: bool, clock: Callable[[], float], new_uid: Callable[[], str]) -> None:
        """`reading`: one that cannot be written will do. `clock` and `new_uid` serve where the store has to be made."""
        self.path = path
        self._place = sql.Place(
            str(path), f"restore a copy, or move it away with {path.name}-wal and {path.name}-shm: agents begin a new one"
        )
        self._reading = reading
        self.store_id = ""
        self._clock = clock
        self._new_uid = new_uid
        self._opened = False
        self._real = path
        """Where the file really is: SQLite keeps its log there, and not beside a link that leads to it."""
        self._touch = 0
        self._connections: weakref.WeakSet[Database] = weakref.WeakSet()

    def connect(self) -> Database:
        """Returns a connection to the store in the file, which is made if need be; the first time, so is its directory."""
        if why := foreign_link(self.path) or ("" if self._reading else foreign_file(self.path)):
            raise Forbidden(why)
        self._real = Path(os.path.realpath(self.path))
        if self._reading and only_readable(self.path):
            with self.errors():
                return self._open_read_only()
        if not self._opened:
            prepare(self.path)
        elif why := no_file(self.path):
            raise Unavailable(why)
        with self.errors():
            before = self._files()
            self._check_together(before)
            if before is None or before.is_empty:
                return self._create()
            return self._open(before)

    def _create(self) -> Database:
        """Makes the file, one process at a time. A log that a deleted database left must not be taken for the new one's."""
        with _locked(self.path.parent):
            before = self._files()
            if before is None and self._reading and self._opened:
                # An empty list would be shown as the loss of every machine, and its log would spoil a file that is put back.
                msg = f"{self.path} is not there any more; an agent makes a new one, or restore a copy"
                raise Unavailable(msg)
            if before is None:
                for left in ("-wal", "-shm", "-journal"):
                    self._beside(left).unlink(missing_ok=True)
            elif before.is_empty and self._beside("-shm").exists():
                raise self._emptied()
            elif before.is_empty and self._reading:
                # It was made for an agent, perhaps; an empty list would tell a reader something else.
                what = "the file is empty"
                raise self._place.damaged(what)
            return self._open(before)

    def _check_together(self, files: Files | None) -> None:
        """Raises Unavailable while an older connection has another log open: the two would share one index, and mix them up."""
        held = [each.files for each in self._connections if each.is_open and each.files and not each.is_read_only]
        if files is not None and any(each.file == files.file and each.log != files.log for each in held):
            raise self._log_moved()

    def _open(self, before: Files | None) -> Database:
        # With an isolation level, Python's sqlite3 would begin deferred transactions by itself.
        database = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, factory=Database)
        is_to_be_made = not self._reading or before is None or before.is_empty
        return self._checked(database, before, partial(self._set_up, may_begin=is_to_be_made))

    def _checked(self, database: Database, before: Files | None, set_up: Callable[[Database], None]) -> Database:
        """Returns the connection, set up, if it is to the file of `before`; else closes it."""
        database.place = self._place
        self._connections.add(database)
        # Texts come as bytes: what is not UTF-8 must not cost more than its own line.
        database.text_factory = bytes
        try:
            set_up(database)
            database.files = files = self._files()
        except BaseException:
            database.close()
            raise
        if before is not None and (files is None or files.file != before.file):  # replaced between the look and the opening
            database.close()
            raise self._moved()
        database.is_lost = lambda: self._files() != files
        self._opened = True
        return database

    def _open_read_only(self) -> Database:
        """Opens without the right to write. While an agent has the file open, its write-ahead log shows what it writes.

        Where there is no such log, everything is in the file itself, and SQLite has to be told so, since it may not make one
        (ADR 22).
        """
        before, mark = self._files(), self._mark()
        frozen = "" if self._beside("-wal").exists() else "&immutable=1"
        url = f"file:{quote(str(self.path))}?mode=ro{frozen}"
        database = sqlite3.connect(url, uri=True, timeout=BUSY_SECONDS, isolation_level=None, factory=Database)
        database.is_read_only = True
        if frozen:
            database.is_stale = lambda: self._mark() != mark
        return self._checked(database, before, self._identify)

    def _mark(self) -> tuple[object, ...]:
        """Returns a value that differs as soon as a process has opened the file to write."""
        with suppress(OSError):
            found = self.path.stat()
            return found.st_ino, found.st_size, found.st_mtime_ns, self._beside("-wal").exists()
        return ()

    def check_writable(self, database: Database) -> None:
        """Raises Forbidden where the file was opened without the right to write."""
        if database.is_read_only:
            raise Forbidden(not_writable(self.path))

    @contextmanager
    def in_place(self, database: Database) -> Iterator[None]:
        """Has what is within use `database`; raises Unavailable, before or after, if the path no longer leads to its file."""
        with self.errors():
            self._check_in_place(database)
            yield
            self._check_in_place(database)
            if database.is_stale():
                raise self._moved()

    def _check_in_place(self, database: Database) -> None:
        files = self._files()
        if files == database.files:
            return
        if files is None or database.files is None or files.file != database.files.file:
            raise self._moved()
        raise self._emptied() if files.is_empty else self._log_moved()

    def touch(self) -> None:
        """Wakes the processes that listen: something was committed."""
        now = time.time_ns()  # less a time than a mark to know one's own touch by
        try:
            os.utime(self.path, ns=(now, now))
            self._touch = now
        except PermissionError:  # not the owner, who alone may set a time of his choice
            os.utime(self.path)

    def touched_here(self) -> bool:
        """Whether this process touched the file last."""
        with suppress(OSError):
            return os.stat(self.path).st_mtime_ns == self._touch  # noqa: PTH116 - on the event loop, hence quick
        return False

    def facts(self, database: Database) -> dict[str, str]:
        """Returns what is to be known of the file. Raises Damaged where a page of it, or its counter, is not right."""
        with self.in_place(database), database.snapshot() as head:
            if (found := sql.as_text(database.rows("PRAGMA quick_check(1)")[0][0])) != "ok":
                raise self._place.damaged(found)
            self._place.check_newest(head, database.rows(sql.NEWEST))
        return {"schema": str(head.version), "history": f"kept from revision {head.compacted}"}

    def shorten_log(self, database: Database) -> None:
        """Shortens the write-ahead log where readers have kept it from being reused for long."""
        with self.errors():
            if self._beside("-wal").stat().st_size > 4 * WAL_BYTES:
                with database.without_patience():  # TRUNCATE waits for every reader
                    database.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises SQLite's and the system's refusals within as k3's errors."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error
        except OSError as error:
            msg = f"{self.path}: {error.strerror}"
            raise Unavailable(msg) from error

    def _translate(self, error: sqlite3.Error) -> K3Error:
        code = _code(error)
        if code in _REFUSED:
            return Forbidden(not_writable(self.path))
        if code in _FULL:
            return Unavailable(f"{self.path}: {error}; see that the disk has space and is healthy")
        if code in _LOCKED:
            return Unavailable(f"{self.path}: another process has been writing for {BUSY_SECONDS:g} s")
        if code == sqlite3.SQLITE_NOTADB or (code == sqlite3.SQLITE_CORRUPT and not self._opened):
            why = f"{self.path} is not a k3 store, or damaged ({error}); move it away, or restore a copy"
            return Damaged(why) if self._opened else StartFailed(why)
        if code in _DAMAGED:
            return self._place.damaged(str(error))
        return Unavailable(f"{self.path}: {error}")

    def _beside(self, suffix: str) -> Path:
        return self._real.with_name(self._real.name + suffix)

    def _files(self) -> Files | None:
        """Returns which files are there now; None: no database."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - before and after every call, and twice as fast
        except FileNotFoundError:
            return None
        try:
            log = os.stat(f"{self._real}-wal").st_ino  # noqa: PTH116 - as above
        except FileNotFoundError:
            log = 0
        return Files((found.st_dev, found.st_ino), log, found.st_size == 0)

    def _emptied(self) -> Damaged:
        return self._place.damaged("the file was emptied while in use")

    def _moved(self) -> Unavailable:
        return Unavailable(f"{self.path} was deleted or replaced while in use; what is there now is opened with the next call")

    def _log_moved(self) -> Unavailable:
        return Unavailable(
            f"{self.path}-wal was removed while in use; the file is opened anew once no connection has the old one"
        )

    def _set_up(self, database: Database, *, may_begin: bool) -> None:
        """Sets up a file. A reader begins no store in one that is there: its empty list would be shown for the lost one."""
        for pragma in _PRAGMAS:
            database.execute(f"PRAGMA {pragma}")
        if not database.tables():
            if may_begin:
                database.make_tables(self._clock(), self._new_uid)
            else:
                with _locked(self.path.parent):  # who makes a store holds this until its tables are there
                    self._check_tables(database)
        self._check_tables(database)
        if database.rows("PRAGMA journal_mode")[0][0] != b"wal":  # a copy that was made by another program
            _use_wal(database)
        self._identify(database)

    def _identify(self, database: Database) -> None:
        """Learns which store it is. Raises what `_check_tables` and `Database.head` do."""
        self._check_tables(database)
        database.store_id = self.store_id = database.head().store_id

    def _check_tables(self, database: Database) -> None:
        """Raises StartFailed where the file is another program's, Damaged where a table is gone."""
        tables, is_marked = database.tables(), bool(database.rows("PRAGMA application_id")[0][0])
        missing = sorted(_NAMES - tables)
        if not (tables or is_marked):
            name = self.path.name
            what = f"it has no tables, as a copy of {name} has that was made without {name}-wal, where the data were"
            raise self._place.damaged(what)
        if len(missing) == len(_NAMES) or is_marked:
            msg = f"{self.path} is a SQLite database of another program; choose another place with --store sqlite:///PATH"
            raise StartFailed(msg)
        if missing:
            what = f"its table {missing[0]} is gone"
            raise self._place.damaged(what)


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & _PRIMARY


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Holds a lock (flock(2)) on the directory, which leaves SQLite's own locks on the file alone."""
    deadline = time.monotonic() + BUSY_SECONDS
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _use_wal(database: Database) -> None:
    """Switches the journal mode; waits where another process is switching it, which SQLite itself does not."""
    deadline = time.monotonic() + BUSY_SECONDS
    mode = ""
    while not mode:
        try:
            mode = database.rows("PRAGMA journal_mode = WAL")[0][0].decode()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        msg = "the file system has no shared memory for a write-ahead log; choose a local one with --store sqlite:///PATH"
        raise StartFailed(msg)
