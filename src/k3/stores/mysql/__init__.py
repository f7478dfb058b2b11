"""`storage.type: mysql`: Nodes in a MySQL or MariaDB that already runs. Needs the extra `k3[mysql]`.

    settings       what a person may set
    server         a bounded number of sessions, each set up alike
    connection     asyncmy's connection, with what it leaves out
    refusals       what a server says no with, and what a person is told
    unreachable    why a server cannot be reached
    text           the SQL, as bytes ready to be sent
    store          the verbs

Nothing outside this package imports asyncmy.
"""

from k3.core.store import Store, opened
from k3.stores.mysql.settings import ALIASES, EXAMPLE, FIELDS, PACKAGES, TYPE, MysqlStorage, from_url, storage

__all__ = ["ALIASES", "EXAMPLE", "FIELDS", "PACKAGES", "TYPE", "MysqlStorage", "from_url", "open_store", "storage"]


async def open_store(storage: MysqlStorage, *, reading: bool = False) -> Store:  # noqa: ARG001 - see `Backend`
    """Opens the store, or makes it. Raises StartFailed, Forbidden, Unavailable."""
    from k3.stores.mysql.store import MysqlStore  # noqa: PLC0415 - brings asyncmy, for whoever uses this store alone

    return await opened(MysqlStore(storage))
