"""`k3 delete node NAME`."""

import argparse
import asyncio
from typing import Final

from k3.cli.flags import Parser, add_store_flags
from k3.cli.opening import open_existing, settings_for_reading
from k3.cli.terminal import answer, remark
from k3.config import Settings
from k3.core import node
from k3.core.errors import NotFound
from k3.core.objects import NODE, Key, Object
from k3.safe_text import printable
from k3.settings import describe

_EXAMPLES = """\
  k3 delete node web1
  k3 delete node web1 --store etcd://10.0.0.5:2379"""
_RETURNS: Final = {
    "network": "If that machine still runs k3 network, its Node returns at its next probe, with a new uid.",
    "discovery": "If that machine is still in Consul, its Node returns with the next look there, with a new uid.",
    None: "It was not k3's: whoever reported it may report it again.",
}


def run(arguments: list[str]) -> int:
    """Delete one Node. Raises NotFound."""
    parser = Parser("delete", "Remove a Node from the store.", examples=_EXAMPLES)
    parser.add_argument("kind", choices=("node", "nodes", "no"), metavar="node", help="what to delete: a node")
    parser.add_argument("name", metavar="NAME", help="its name")
    add_store_flags(parser)
    return asyncio.run(_delete(parser.parse_args(arguments)))


async def _delete(chosen: argparse.Namespace) -> int:
    settings = settings_for_reading(chosen)
    gone = await _take(settings, chosen.name)
    answer(f'node "{printable(gone.key.name)}" deleted from {printable(describe(settings.storage))}\n')
    remark(_RETURNS[node.owner_of(gone.manifest())])
    return 0


async def _take(settings: Settings, name: str) -> Object:
    store = await open_existing(settings)
    if store is None:
        raise _not_found(name, settings)
    try:
        return await store.delete(Key(NODE, name))
    except NotFound:
        raise _not_found(name, settings) from None
    finally:
        await store.aclose()


def _not_found(name: str, settings: Settings) -> NotFound:
    return NotFound(f'node "{printable(name)}" not found in {describe(settings.storage)}')
