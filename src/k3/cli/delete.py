"""`k3 delete node NAME…` and `k3 delete node -l SELECTOR`."""

import argparse
import asyncio
from collections.abc import Sequence
from typing import Final

from k3.cli.empty import not_found, nothing
from k3.cli.flags import Parser, add_store_flags
from k3.cli.names import node_names, split_kind
from k3.cli.opening import open_existing, settings_for_reading
from k3.cli.terminal import answer, remark
from k3.cli.usage import BadUsage
from k3.core.errors import NotFound
from k3.core.objects import NODE, Key, Object
from k3.core.safe_text import printable
from k3.core.sources import SOURCES
from k3.core.store import Store
from k3.settings.structs import Settings
from k3.view import node_table
from k3.view.selector import Selector, typed_selector

_EXAMPLES = """\
  k3 delete node web1
  k3 delete node/web1 node/web2
  k3 delete node -l tier=spare
  k3 delete node web1 --store etcd://10.0.0.5:2379"""
_NOT_OF_K3: Final = "It was not k3's: whoever reported it may report it again."


def run(arguments: list[str]) -> int:
    """Deletes Nodes. Raises NotFound where one that was named is not there; the others are deleted all the same."""
    parser = Parser("delete", "Remove Nodes from the store.", examples=_EXAMPLES)
    parser.add_argument("words", nargs="*", metavar="node NAME", help="which; node/NAME is one as well")
    parser.add_argument("-l", "--selector", metavar="SELECTOR", help="all with these labels, as in a=b,c!=d,e in (x,y),!f")
    add_store_flags(parser)
    chosen = parser.parse_args(arguments)
    names, selector = _chosen(chosen.words, chosen.selector)
    return asyncio.run(_delete(chosen, names, selector))


def _chosen(words: Sequence[str], selector: str | None) -> tuple[list[str], Selector | None]:
    """Returns the names, or a selector that chooses something. Raises BadUsage: what to delete is not guessed."""
    has_kind, rest = split_kind(words)
    bare = next((word for word in rest if "/" not in word), None)
    problem = ""
    if bare is not None and not has_kind:
        problem = f"write: k3 delete node {printable(bare, limit=80)}"
    elif selector is not None and rest:
        problem = "give NAMEs or a selector, not both"
    elif selector is not None and not selector.strip():
        problem = "an empty selector would delete every Node"
    elif selector is None and not rest:
        problem = "which node? Write: k3 delete node NAME"
    if problem:
        raise BadUsage(problem, command="delete")
    return node_names(rest, command="delete"), typed_selector(selector) if selector else None


async def _delete(chosen: argparse.Namespace, names: Sequence[str], selector: Selector | None) -> int:
    settings = settings_for_reading(chosen)
    store = await open_existing(settings)
    try:
        if selector is None:
            gone, missing = await _take_named(store, names, settings)
        else:
            gone, missing = await _take_selected(store, selector, settings), []
            if not gone:
                remark(await nothing(settings, store, selector=chosen.selector, is_empty=False))
    finally:
        if store is not None:
            await store.aclose()
    for advice in dict.fromkeys(map(_returns, gone)):
        remark(advice)
    if missing:
        raise NotFound("; ".join(str(not_found(name, settings)) for name in missing))
    return 0


def _returns(item: Object) -> str:
    owner = node_table.view_of(item).owner
    return SOURCES[owner].returns if owner else _NOT_OF_K3


async def _take_named(store: Store | None, names: Sequence[str], settings: Settings) -> tuple[list[Object], list[str]]:
    """Deletes these; returns what was deleted, and the names that were not there."""
    gone, missing = [], []
    for name in names:
        try:
            gone.append(await _take(store, Key(NODE, name), settings))
        except NotFound:
            missing.append(name)
    return gone, missing


async def _take_selected(store: Store | None, selector: Selector, settings: Settings) -> list[Object]:
    page = await store.list(NODE) if store else None
    fitting = [item for item in page.objects if selector.matches(node_table.labels(item.manifest()))] if page else []
    return (await _take_named(store, [item.key.name for item in fitting], settings))[0]


async def _take(store: Store | None, key: Key, settings: Settings) -> Object:
    """Deletes one and says so. Raises NotFound."""
    if store is None:
        raise not_found(key.name, settings)
    gone = await store.delete(key)
    answer(f'node "{printable(gone.key.name)}" deleted from {printable(settings.storage.url)}\n')
    return gone
