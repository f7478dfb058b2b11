"""Where Nodes are kept: one file per backend, each loaded only when asked for.

A backend is a module here with `async def open_store(storage) -> Store`. Read `memory` first: it is the reference.
Nothing here imports a backend at the top, so an agent on SQLite never loads a MySQL or etcd driver.
"""

import importlib
from typing import Final

from k3.core.errors import StartFailed
from k3.core.store import Store
from k3.settings.structs import EtcdStorage, MemoryStorage, MysqlStorage, SqliteStorage, Storage
from k3.stores.installing import EXTRAS, PACKAGES, how_to_install

_BACKENDS: Final = {MemoryStorage: "memory", SqliteStorage: "sqlite", MysqlStorage: "mysql", EtcdStorage: "etcd"}


async def connect(storage: Storage, *, reading: bool = False) -> Store:
    """Open the store that `storage` describes; for `reading`, also a file that this user may not write.

    Raises StartFailed where this machine lacks something for it (a driver, a local disk), Forbidden where the store
    says no, and Unavailable where it does not answer.
    """
    name = _BACKENDS[type(storage)]
    try:
        backend = importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as missing:
        module = (missing.name or "").partition(".")[0]
        packages = EXTRAS.get(name, (module,))
        package = PACKAGES.get(module, module)
        msg = f"storage type {name} needs the package {package}, which is not installed: {how_to_install(*packages)}"
        raise StartFailed(msg) from missing
    if reading and isinstance(storage, SqliteStorage):
        only_read: Store = await backend.open_store(storage, reading=True)
        return only_read
    store: Store = await backend.open_store(storage)
    return store
