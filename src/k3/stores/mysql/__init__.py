"""`storage.type: mysql`: Nodes in a MySQL or MariaDB that already runs. Loaded only when chosen; needs the extra `k3[mysql]`.

    server         a bounded number of sessions, each set up alike
    connection     asyncmy's connection, with what it leaves out
    refusals       what a server says no with, and what a person is told
    unreachable    why a server cannot be reached
    text           the SQL, as bytes ready to be sent
    store          the verbs

Nothing outside this package imports asyncmy.
"""

from k3.stores.mysql.store import MysqlStore, open_store

__all__ = ["MysqlStore", "open_store"]
