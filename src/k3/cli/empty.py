"""What a person is told where nothing was found: in which store, and what to do about it."""

import os
from collections.abc import Collection
from typing import Final

from k3.core.errors import K3Error, NotFound
from k3.core.objects import LEASE
from k3.core.safe_text import one_line, printable
from k3.core.sources import DISCOVERY, NETWORK
from k3.core.store import Store
from k3.settings.parsing import nearest
from k3.settings.structs import Reader, Settings

_HABITS: Final = ("ls", "list", "status")
"""The names of other programs' lists."""
_CONSUL: Final = ("CONSUL_HTTP_ADDR", "CONSUL_ADDR")


async def nothing(settings: Settings, store: Store | None, *, selector: str, is_empty: bool) -> str:
    """Returns the line for a list without rows. `is_empty`: the store has no Node at all."""
    where = one_line(settings.storage.url)
    if not is_empty:
        return f"No nodes match {one_line(selector)} in {where}."
    if settings.storage.is_private:
        return (
            f"No nodes in {where}: each process has a memory store of its own. Choose a store that can be shared with --store."
        )
    return f"No nodes in {where}. {await _advice(store, settings.reader)}"


async def _advice(store: Store | None, reader: Reader) -> str:
    """Returns how to get a Node into this store, by what is known of the agents that write there."""
    network, discovery = reader.command(NETWORK.name), reader.command(DISCOVERY.name)
    if store is not None and await _has_mirror(store):
        return f"k3 discovery looks after it: is a machine registered in Consul? Register one with: {discovery}"
    if any(os.environ.get(name) for name in _CONSUL):
        return f"Start one with: {discovery} (through Consul), or: {network} (on the LAN)"
    return f"Start one with: {network}"


async def _has_mirror(store: Store) -> bool:
    """Whether a mirror of k3 discovery has ever led on this store."""
    try:
        leases = await store.list(LEASE, namespace="kube-system")
    except K3Error:  # it is advice: whoever may not read Leases gets the general one
        return False
    return any(item.key.name.startswith("k3-discovery-") for item in leases.objects)


def not_found(name: str, settings: Settings, *, known: Collection[str] = ()) -> NotFound:
    """Returns the error for a name that no Node has. `known`: the names of those there are."""
    hint = "; did you mean: k3 nodes" if name in _HABITS else nearest(printable(name), known)
    return NotFound(f'node "{printable(name)}" not found in {one_line(settings.storage.url)}{hint}')
