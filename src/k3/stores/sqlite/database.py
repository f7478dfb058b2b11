"""The database file: where it may lie, opening it, and turning SQLite's refusals into k3's errors.

Runs on connection threads, never on the event loop. Opens the file through SQLite only: closing any other descriptor of
it would drop the process's POSIX locks on it (fcntl(2)).
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from k3.core import limits
from k3.core.errors import Forbidden, K3Error, StartFailed, Unavailable
from k3.stores.log import sql
from k3.stores.sqlite.local_disk import not_writable, only_readable, prepare

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
_PRAGMAS: Final = (
    "synchronous = FULL",  # NORMAL may lose acknowledged commits with the power, and would hand out their revisions again
    f"journal_size_limit = {WAL_BYTES}",
    "secure_delete = OFF",  # Debian builds SQLite with it on: each page of old history would be overwritten with zeros
    "temp_store = MEMORY",
)

_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED: Final = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_PRIMARY: Final = 0xFF


Inode = tuple[int, int]


class Database(sqlite3.Connection):
    """A connection that knows which file it opened."""

    inode: Inode | None = None
    is_read_only = False
    is_stale: Callable[[], bool] = staticmethod(lambda: False)
    """Whether there is more now than this connection can see, so that another one has to be made."""

    def rows(self, statement: str, *parameters: object) -> list[Any]:
        """Returns every row at once: a statement left half read would keep the write-ahead log from being reused."""
        return self.execute(statement, parameters).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[sql.Head]:
        """Has all reads within see the store as of one moment."""
        self.execute("BEGIN")
        try:
            yield self.head()
        finally:
            if self.in_transaction:
                self.execute("ROLLBACK")

    def head(self) -> sql.Head:
        """Returns how far the store is."""
        return sql.Head(*self.rows(sql.HEAD)[0])


class DatabaseFile:
    """The file at one path, whichever file that is at the moment."""

    def __init__(self, path: Path, *, reading: bool, clock: Callable[[], float], new_uid: Callable[[], str]) -> None:
        """`reading`: one that cannot be written will do. `clock` and `new_uid` serve where the store has to be made."""
        self.path = path
        self._reading = reading
        self.store_id = ""
        self._clock = clock
        self._new_uid = new_uid
        self._opened = False
        self._touch = 0

    def connect(self) -> Database:
        """Returns a connection to the store in the file, which is made if need be; the first time, so is its directory."""
        if self._reading and only_readable(self.path):
            with self.errors():
                return self._open_read_only()
        if not self._opened:
            prepare(self.path)
        with self.errors():
            before = self._inode()
            if before is None:
                return self._create()
            return self._open(before)

    def _create(self) -> Database:
        """Makes the file, one process at a time. A log that a deleted database left must not be taken for the new one's."""
        with _locked(self.path.parent):
            before = self._inode()
            if before is None:
                for left in ("-wal", "-shm", "-journal"):
                    self._beside(left).unlink(missing_ok=True)
            return self._open(before)

    def _open(self, before: Inode | None) -> Database:
        # With an isolation level, Python's sqlite3 would begin deferred transactions by itself.
        database = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, factory=Database)
        try:
            self._set_up(database)
            database.inode = self._inode()
            if before not in (None, database.inode):  # replaced between the look and the opening
                self._moved()
        except BaseException:
            database.close()
            raise
        self._opened = True
        return database

    def _open_read_only(self) -> Database:
        """Opens without the right to write. While an agent has the file open, its write-ahead log shows what it writes.

        Where there is no such log, everything is in the file itself, and SQLite has to be told so, since it may not make one
        (ADR 22).
        """
        before, mark = self._inode(), self._mark()
        frozen = "" if self._beside("-wal").exists() else "&immutable=1"
        url = f"file:{quote(str(self.path))}?mode=ro{frozen}"
        database = sqlite3.connect(url, uri=True, timeout=BUSY_SECONDS, isolation_level=None, factory=Database)
        try:
            self._identify(database)
            database.is_read_only, database.inode = True, self._inode()
            if frozen:
                database.is_stale = lambda: self._mark() != mark
            if before != database.inode or database.is_stale():
                self._moved()
        except BaseException:
            database.close()
            raise
        self._opened = True
        return database

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
            if self._inode() != database.inode:
                self._moved()
            yield
            if self._inode() != database.inode or database.is_stale():
                self._moved()

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

    def shorten_log(self, database: Database) -> None:
        """Shortens the write-ahead log where readers have kept it from being reused for long."""
        with self.errors():
            if self._beside("-wal").stat().st_size > 4 * WAL_BYTES:
                # TRUNCATE waits for every reader; the writer's callers wait meanwhile, so not for long.
                database.execute("PRAGMA busy_timeout = 50")
                database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
                database.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")

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
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
        if code in _REFUSED:
            return Forbidden(not_writable(self.path))
        if code in _FULL:
            return Unavailable(f"{self.path}: {error}; see that the disk has space and is healthy")
        if code in _LOCKED:
            return Unavailable(f"{self.path}: another process has been writing for {BUSY_SECONDS:g} s")
        if code in _DAMAGED:
            why = f"{self.path} is not a k3 store, or damaged ({error}); move it away, or restore a copy"
            return Unavailable(why) if self._opened else StartFailed(why)
        return Unavailable(f"{self.path}: {error}")

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _inode(self) -> Inode | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - before and after every call, and twice as fast
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _moved(self) -> None:
        msg = f"{self.path} was deleted or replaced while in use; what is there now is opened with the next call"
        raise Unavailable(msg)

    def _set_up(self, database: Database) -> None:
        for pragma in _PRAGMAS:
            database.execute(f"PRAGMA {pragma}")
        if not self._tables(database):
            self._make(database)
        self._identify(database)

    def _identify(self, database: Database) -> None:
        """Learns which store it is. Raises StartFailed where it is none, or a newer k3's."""
        if not {"meta", "cur", "log"} <= self._tables(database):
            msg = f"{self.path} is a SQLite database of another program; choose another place with --store sqlite:///PATH"
            raise StartFailed(msg)
        version, self.store_id = database.rows(sql.IDENTITY)[0]
        if version > sql.SCHEMA:
            msg = f"{self.path} was made by a newer k3 (schema {version}, this one knows {sql.SCHEMA}): upgrade k3"
            raise StartFailed(msg)

    def _tables(self, database: Database) -> set[str]:
        return {name for (name,) in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def _make(self, database: Database) -> None:
        _use_wal(database)
        # Not BEGIN: a read transaction that turns into a write fails at once, whatever the busy timeout (SQLITE_BUSY_SNAPSHOT).
        database.execute("BEGIN IMMEDIATE")
        if not self._tables(database):  # else another process was faster
            for statement in _TABLES:
                database.execute(statement)
            # A store made anew in place of a lost one must not hand out the lost one's revisions again (ADR 13).
            first = int(self._clock() * 1000)
            database.execute(sql.MAKE_META, (sql.SCHEMA, self._new_uid(), first, first))
        database.execute("COMMIT")


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
            mode = database.rows("PRAGMA journal_mode = WAL")[0][0]
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        msg = "the file system has no shared memory for a write-ahead log; choose a local one with --store sqlite:///PATH"
        raise StartFailed(msg)
