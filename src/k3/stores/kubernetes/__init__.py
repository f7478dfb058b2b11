"""`storage.type: kubernetes`: Nodes behind any Kubernetes API, k3's own server first of all. Needs no package.

    settings      what a person may set
    kubeconfig    what a kubeconfig says
    credentials   the login, read again when its files change
    asking        the requests
    documents     answers as objects, objects as bodies
    troubles      what the server refuses, as k3's errors: one line with cause and remedy
    unreachable   what keeps k3 from the server, likewise
    client        sends requests: time limits, no write twice, a server that wants to be left alone
    listing       lists in pages
    following     one watch: resumes by itself, and asks a server that is silent
    store         the verbs

Only a module of this package sends requests to a Kubernetes API.
"""

from k3.core.store import Store, opened
from k3.stores.kubernetes.settings import (
    ALIASES,
    EXAMPLE,
    FIELDS,
    PACKAGES,
    SCHEMES,
    TYPE,
    KubernetesStorage,
    from_url,
    storage,
)

__all__ = [
    "ALIASES",
    "EXAMPLE",
    "FIELDS",
    "PACKAGES",
    "SCHEMES",
    "TYPE",
    "KubernetesStorage",
    "from_url",
    "open_store",
    "storage",
]


async def open_store(storage: KubernetesStorage, *, reading: bool = False) -> Store:  # noqa: ARG001 - see `Backend`
    """Connects, and learns the store's id. Raises Unavailable, Forbidden, StartFailed (a file), ConfigInvalid."""
    from k3.stores.kubernetes.store import KubernetesStore  # noqa: PLC0415 - brings the HTTP client, for who uses this store

    return await opened(KubernetesStore(storage))
