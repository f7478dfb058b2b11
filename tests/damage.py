"""What may happen to a SQLite store between two looks at it: the damage, and what k3 says of it."""

import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final


def by_sql(*statements: str) -> Callable[[Path], None]:
    """Damage done by another program's statements."""

    def work(path: Path) -> None:
        with sqlite3.connect(path, timeout=10, isolation_level=None) as file:
            for each in statements:
                file.execute(each)
        file.close()

    return work


def _garbage(path: Path) -> None:
    """From the second page on, and with nothing of it left in the log."""
    by_sql("PRAGMA wal_checkpoint(TRUNCATE)")(path)
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(os.urandom(path.stat().st_size - 4_096))


def _cut(path: Path) -> None:
    by_sql("PRAGMA wal_checkpoint(TRUNCATE)")(path)
    os.truncate(path, 6_000)


def _no_database(path: Path) -> None:
    by_sql("PRAGMA wal_checkpoint(TRUNCATE)")(path)
    path.write_bytes(b"something else" * 1_000)


def _loose_meta(*values: str) -> Callable[[Path], None]:
    """A `meta` that takes anything."""
    made = "CREATE TABLE meta (id INTEGER PRIMARY KEY, version, store_id, rev, compact)"
    return by_sql("DROP TABLE meta", made, f"INSERT INTO meta VALUES (1, {', '.join(values)})")


DAMAGED: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "no-log": (by_sql("DROP TABLE log"), "its table log is gone"),
    "no-cur": (by_sql("DROP TABLE cur"), "its table cur is gone"),
    "no-meta": (by_sql("DROP TABLE meta"), "its table meta is gone"),
    "empty-meta": (by_sql("DELETE FROM meta"), "its table meta has lost its row"),
    "text-version": (by_sql("UPDATE meta SET version = 'one'"), "its table meta has one for version"),
    "text-rev": (by_sql("UPDATE meta SET rev = 'x'"), "its table meta has x for rev"),
    "text-compact": (by_sql("UPDATE meta SET compact = 'x'"), "its table meta has x for compact"),
    "blob-rev": (by_sql("UPDATE meta SET rev = x'ff00'"), "its table meta has "),
    "huge-rev": (by_sql("UPDATE meta SET rev = 9223372036854775808"), "its table meta has 9.2"),
    "last-rev": (by_sql("UPDATE meta SET rev = 9223372036854775807"), "its table meta has 9223372036854775807 for rev"),
    "negative-rev": (by_sql("UPDATE meta SET rev = -1"), "its table meta has -1 for rev"),
    "early-rev": (by_sql("UPDATE meta SET rev = 1"), "its table meta has 1 for rev, while history begins at"),
    "null-rev": (_loose_meta("1", "'id'", "NULL", "0"), "its table meta has nothing for rev"),
    "null-version": (_loose_meta("NULL", "'id'", "5", "0"), "its table meta has nothing for version"),
    "no-id": (_loose_meta("1", "''", "5", "0"), "its table meta has nothing for store_id"),
    "no-column-log": (by_sql("ALTER TABLE log DROP COLUMN uid"), "no such column: log.uid"),
    "no-column-meta": (by_sql("ALTER TABLE meta DROP COLUMN compact"), "no such column: compact"),
    "garbage": (_garbage, "malformed"),
    "cut": (_cut, "malformed"),
}
"""What makes the whole store useless, and a word on it."""

OTHERS: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "newer": (by_sql("UPDATE meta SET version = 99"), "was made by a newer k3 (schema 99"),
    "application": (by_sql("PRAGMA application_id = 4711"), "is a SQLite database of another program"),
    "no-database": (_no_database, "is not a k3 store, or damaged"),
}
"""What makes it another program's."""

ODD_ROWS: Final[dict[str, tuple[str, str]]] = {
    "text-cur-rev": ("UPDATE cur SET rev = 'x' WHERE k = ?", "it is empty"),
    "nonsense-cur-rev": ("UPDATE cur SET rev = 77 WHERE k = ?", "it is empty"),
    "another-s-rev": ("UPDATE cur SET rev = (SELECT MAX(rev) FROM cur) WHERE k = ?", "it is empty"),
    "lost-line": ("DELETE FROM log WHERE k = ?", "it is empty"),
    "text-document": ("UPDATE log SET doc = 'text' WHERE k = ?", "not JSON at byte 0"),
    "no-utf-8": ("UPDATE log SET doc = CAST(x'fffe' AS TEXT) WHERE k = ?", "not UTF-8 at byte 0"),
    "number": ("UPDATE log SET doc = 5 WHERE k = ?", "not an object but a number"),
}
"""What makes one object unreadable, of all that are there; the parameter is its key."""

ODD_COLUMNS: Final[dict[str, str]] = {
    "blob-uid": "UPDATE log SET uid = x'ff' WHERE k = ?",
    "odd-uid": "UPDATE log SET uid = CAST(x'ff' AS TEXT) WHERE k = ?",
    "number-uid": "UPDATE log SET uid = 7.5 WHERE k = ?",
    "blob-created": "UPDATE log SET created = x'00ff' WHERE k = ?",
    "text-at": "UPDATE log SET at = 'yesterday' WHERE k = ?",
    "odd-op": "UPDATE log SET op = 'upsert' WHERE k = ?",
    "text-previous": "UPDATE log SET prev_rev = 'x' WHERE k = ?",
}
"""What is odd beside a document that can be read."""


def odd_row(path: Path, statement: str, name: str) -> None:
    """Does one of those to a Node."""
    with sqlite3.connect(path, timeout=10, isolation_level=None) as file:
        file.execute(statement, (f"//v1/Node/{name}",))
    file.close()


def ids(table: Iterable[str]) -> list[str]:
    """The names, for `parametrize`."""
    return list(table)
