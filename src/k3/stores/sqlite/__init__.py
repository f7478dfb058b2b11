"""`storage.type: sqlite`: one file for several processes of one machine; the standard library's `sqlite3` and nothing else.

    settings      what a person may set
    database      the file: opening it, and SQLite's refusals as k3's errors
    local_disk    where it may lie
    thread        one connection, and the one thread that may touch it
    inotify       tells when another process has committed
    store         the verbs

The event loop never waits for the disk.
"""

from k3.core.store import Store, opened
from k3.stores.sqlite.settings import ALIASES, EXAMPLE, FIELDS, PACKAGES, TYPE, SqliteStorage, from_url, storage

__all__ = ["ALIASES", "EXAMPLE", "FIELDS", "PACKAGES", "TYPE", "SqliteStorage", "from_url", "open_store", "storage"]


async def open_store(storage: SqliteStorage, *, reading: bool = False) -> Store:
    """Opens or makes the file; `reading`: one that cannot be written is fine. Raises StartFailed, Forbidden, Unavailable."""
    from k3.stores.sqlite.store import SqliteStore  # noqa: PLC0415 - whoever uses another store needs no sqlite3

    return await opened(SqliteStore(storage.path, reading=reading))
