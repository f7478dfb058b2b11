"""`storage.type: etcd`: Nodes in an etcd v3 cluster, for many machines. Needs the extra `k3[etcd]`.

    settings     what a person may set
    messages     the protocol's messages and methods
    troubles     what went wrong, as k3's errors: one line with cause and remedy
    client       endpoints, failover, login, time limits; one call at a time, never a write twice
    documents    keys and values of etcd as keys and objects of k3
    following    one watch: resumes by itself, and checks a stream that is silent
    compaction   removes old history, by the process that wins the right to
    store        the verbs

Nothing outside this package imports grpc or protobuf.
"""

import os

# Read by grpc's core when it is first imported: it would write its own lines to standard error for every refused connection,
# and would hook itself into fork(), which k3 does only to start another program.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
# Its own resolver knows nothing of nsswitch.conf, hence of no name.local, and waits for name servers even where /etc/hosts has
# the name.
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")

from k3.core.store import Store, opened
from k3.stores.etcd.settings import ALIASES, EXAMPLE, FIELDS, PACKAGES, TYPE, EtcdStorage, from_url, storage

__all__ = ["ALIASES", "EXAMPLE", "FIELDS", "PACKAGES", "TYPE", "EtcdStorage", "from_url", "open_store", "storage"]


async def open_store(storage: EtcdStorage, *, reading: bool = False) -> Store:  # noqa: ARG001 - see `Backend`
    """Connects, logs in, and learns or makes the store's id. Raises Unavailable, Forbidden, StartFailed (a file is missing)."""
    from k3.stores.etcd.store import EtcdStore  # noqa: PLC0415 - brings grpc, for whoever uses this store alone

    return await opened(EtcdStore(storage))
