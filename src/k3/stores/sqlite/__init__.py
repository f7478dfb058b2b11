"""`storage.type: sqlite`: one file for several processes of one machine; the standard library's `sqlite3` and nothing else.

database      the file: opening it, and SQLite's refusals as k3's errors
local_disk    where it may lie
thread        one connection, and the one thread that may touch it
inotify       tells when another process has committed
store         the verbs
"""

from k3.stores.sqlite.store import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
