"""Put labels on a Node, or take them off.

    python examples/label.py sqlite:///var/lib/k3/k3.db web1 tier=front spare-

Everything but the labels stays as it is, also if somebody else writes the Node at that moment: `modify` reads again then.
"""

import asyncio
import os
import sys

from k3.core.objects import NODE, Key, Manifest
from k3.core.store import modify
from k3.settings.load import Flags, Place, load
from k3.stores import connect


async def label(url: str, name: str, changes: list[str]) -> None:
    """Open the store, change the labels, close the store."""
    store = await connect(load(Flags(store=url), Place(os.environ, is_root=False), reading=True).storage)
    try:
        await modify(store, Key(NODE, name), lambda manifest: labelled(manifest, changes))
    finally:
        await store.aclose()


def labelled(manifest: Manifest, changes: list[str]) -> Manifest:
    """The Node with `tier=front` set and, for `spare-`, without the label spare."""
    labels = manifest["metadata"].setdefault("labels", {})
    for change in changes:
        key, equals, value = change.partition("=")
        if equals:
            labels[key] = value
        else:
            labels.pop(key.removesuffix("-"), None)
    return manifest


if __name__ == "__main__":
    asyncio.run(label(sys.argv[1], sys.argv[2], sys.argv[3:]))
