"""Where Nodes are kept: one package per backend. Read `memory` first: it is the reference.

Nothing here imports a backend: `settings.backends` finds them by their entry points, so an agent on SQLite never loads a
MySQL or etcd driver.
"""

from k3.core.errors import StartFailed
from k3.core.store import Store
from k3.settings import backends
from k3.settings.structs import Storage
from k3.stores.installing import how_to_install


async def connect(storage: Storage, *, reading: bool = False) -> Store:
    """Opens the store that `storage` describes; for `reading`, also a file that this user may not write.

    Raises StartFailed where this machine lacks something for it (a driver, a local disk), Forbidden where the store
    says no, and Unavailable where it does not answer.
    """
    backend = backends.load(storage.type)
    try:
        return await backend.open_store(storage, reading=reading)
    except ModuleNotFoundError as missing:
        module = (missing.name or "").partition(".")[0]
        package = backend.PACKAGES.get(module, module)
        needs = how_to_install(backend.TYPE, *(backend.PACKAGES.values() or (package,)))
        msg = f"storage type {backend.TYPE} needs the package {package}, which is not installed: {needs}"
        raise StartFailed(msg) from missing
