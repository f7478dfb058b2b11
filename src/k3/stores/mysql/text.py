"""The SQL of MySQL and MariaDB, as bytes ready to be sent: literals, statements for many rows at once, packets, tables.

Pure. Nothing here is of MySQL or of MariaDB alone. Literals are written here and not by the driver, whose way of escaping
costs more than the rest of a write; they are right in a session that `server` has set up (utf8mb4, backslashes
escape), and in no other.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from k3.stores.log import sql

_OPTIONS: Final = b") ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4"
# A key is compared byte by byte: every text collation that both engines have ignores trailing spaces.
_KEY: Final = b"k VARBINARY(640) NOT NULL"
MAKE_TABLES: Final = (
    b"CREATE TABLE IF NOT EXISTS cur (" + _KEY + b" PRIMARY KEY, rev BIGINT NOT NULL" + _OPTIONS,
    b"CREATE TABLE IF NOT EXISTS log (rev BIGINT NOT NULL PRIMARY KEY, " + _KEY + b", prev_rev BIGINT NOT NULL,"
    b" op VARCHAR(8) NOT NULL, at DOUBLE NOT NULL, uid VARCHAR(255) NOT NULL, created VARCHAR(64) NOT NULL,"
    b" doc MEDIUMBLOB NOT NULL" + _OPTIONS,
    b"CREATE TABLE IF NOT EXISTS meta (id INT NOT NULL PRIMARY KEY, version INT NOT NULL, store_id VARCHAR(64) NOT NULL,"
    b" rev BIGINT NOT NULL, compact BIGINT NOT NULL" + _OPTIONS,
)
MIGRATIONS: Final[Mapping[int, Sequence[bytes]]] = {}
"""The statements that lead from a schema to the next. DDL commits by itself, so each one must bear being repeated."""

COLUMNS: Final = (
    b"SELECT c.table_name, c.column_name, c.data_type, c.column_key, t.engine"
    b" FROM information_schema.columns AS c, information_schema.tables AS t"
    b" WHERE c.table_schema = DATABASE() AND c.table_name IN ('meta', 'cur', 'log')"
    b" AND t.table_schema = DATABASE() AND t.table_name = c.table_name"
)
IS_USED: Final = b"SELECT EXISTS (SELECT 1 FROM "
"""Whether a table has a row; its name follows."""
SET_UP: Final = (
    b"SET SESSION autocommit = 1, completion_type = NO_CHAIN",
    b"SET NAMES utf8mb4",
    b"SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    b"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
    b"SET SESSION innodb_lock_wait_timeout = 4, lock_wait_timeout = 4, sql_notes = 0",
    (
        b"SET SESSION sql_safe_updates = 0, sql_big_selects = 1, sql_select_limit = 18446744073709551615"
        b" /*!50708 , max_execution_time = 0 */ /*M!100101 , max_statement_time = 0 */"
    ),
    b"SELECT @@max_allowed_packet, DATABASE()",
    COLUMNS,
)
"""A new session's first statements. Whatever a server's defaults, or its `init_connect`, may set otherwise is set here: without
autocommit, a session would stay in one snapshot and never see what others write. Of the two limits on a statement's time, MySQL
and MariaDB know one each, and read the comment meant for them."""

# A writer that freezes between its two packets would hold the counter's row against all others: the server ends a
# session that is silent for that long, but only while it writes. Without autocommit the first statement begins a
# transaction; one statement less than saying so is a tenth of a lone write.
BEGIN_WRITE: Final = (b"SET SESSION wait_timeout = 5, autocommit = 0", f"{sql.HEAD} FOR UPDATE".encode())
_REST: Final = b"SET SESSION wait_timeout = DEFAULT, autocommit = 1"
END_WRITE: Final = (b"COMMIT", _REST)
CANCEL_WRITE: Final = (b"ROLLBACK", _REST)
SNAPSHOT: Final = (b"START TRANSACTION READ ONLY", sql.HEAD.encode())
END_READ: Final = b"COMMIT"
FACTS: Final = (
    b"SELECT @@version, @@version_comment, @@max_allowed_packet",
    sql.HEAD.encode(),
    sql.NEWEST.encode(),
    b"SHOW SESSION STATUS LIKE 'Ssl_version'",
)

_FORGET: Final = (
    "DELETE old FROM log AS new JOIN log AS old ON old.rev = new.prev_rev WHERE new.rev > ? AND new.rev <= ?",
    sql.COMPACT[1],
    sql.SET_COMPACT,
)


def lock_schema(database: str) -> bytes:
    """The statement that takes the lock under which the tables of this database are made; it answers 1 where it got it."""
    return b"SELECT GET_LOCK(" + _lock_name(database) + b", 4)"


def unlock_schema(database: str) -> bytes:
    """The statement that gives that lock back."""
    return b"SELECT RELEASE_LOCK(" + _lock_name(database) + b")"


def _lock_name(database: str) -> bytes:
    """Returns a name short enough for any database's; the hash is that of MySQL's SHA1(), which MySQL 9 no longer has."""
    return _quote(f"k3 {hashlib.sha1(database.encode(), usedforsecurity=False).hexdigest()}".encode())


def quoted(name: str) -> bytes:
    """Returns the name of a database, a table or a user as SQL takes any."""
    return b"`" + name.encode().replace(b"`", b"``") + b"`"


def _quote(data: bytes) -> bytes:
    return b"'" + data.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"


_LITERALS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    bytes: lambda value: b"_binary" + _quote(value),
    str: lambda value: _quote(value.encode()),
    int: lambda value: b"%d" % value,
    float: lambda value: repr(value).encode(),
}


def literal(value: object) -> bytes:
    """Returns a parameter as it is written in a statement."""
    return _LITERALS[type(value)](value)


def render(statement: str, *parameters: object) -> bytes:
    """Returns a statement of `log.sql` with a literal in place of each `?`."""
    head, *parts = statement.encode().split(b"?")
    return head + b"".join(literal(value) + part for value, part in zip(parameters, parts, strict=True))


def insert(statement: str, rows: Iterable[Sequence[object]], *, limit: int) -> Iterator[bytes]:
    """Gives `INSERT … VALUES (?, …)` for all `rows`, in as few statements of at most `limit` bytes as that takes."""
    head = statement.partition("(?")[0].encode()
    return _joined(head, (b"(" + b",".join(map(literal, row)) + b")" for row in rows), b"", limit)


def for_keys(statement: str, paths: Iterable[str], *, limit: int) -> Iterator[bytes]:
    """Gives `… WHERE k = ?` for all `paths`, in as few statements of at most `limit` bytes as that takes."""
    head = statement.removesuffix("= ?").encode() + b"IN ("
    return _joined(head, (literal(path.encode()) for path in paths), b")", limit)


def forget(compacted: int, until: int) -> list[bytes]:
    """The statements that remove history in (compacted, until]; they find lines of the log by its primary key alone."""
    spans = [(compacted, until), (compacted, until), (until,)]
    return [render(statement, *span) for statement, span in zip(_FORGET, spans, strict=True)]


def packets(statements: Iterable[bytes], *, limit: int) -> list[list[bytes]]:
    """Gives the statements in order, grouped so that each group joined by `;` has at most `limit` bytes (one always fits)."""
    groups: list[list[bytes]] = []
    size = limit + 1
    for statement in statements:
        size += len(statement) + 1
        if size > limit:
            groups.append([])
            size = len(statement)
        groups[-1].append(statement)
    return groups


def _joined(head: bytes, items: Iterable[bytes], tail: bytes, limit: int) -> Iterator[bytes]:
    gathered: list[bytes] = []
    size = 0
    for item in items:
        if gathered and len(head) + len(tail) + size + len(item) > limit:
            yield head + b",".join(gathered) + tail
            gathered, size = [], 0
        gathered.append(item)
        size += len(item) + 1
    if gathered:
        yield head + b",".join(gathered) + tail
