"""`k3 nodes`: the machines there are, once or as they change."""

import argparse
import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

from k3.cli.asking import clock_remarks, find_observed
from k3.cli.flags import Parser, add_store_flags
from k3.cli.follow import TICK_SECONDS, Shown, follow
from k3.cli.opening import open_existing, settings_for_reading
from k3.cli.printers import printer
from k3.cli.terminal import remark
from k3.cli.usage import BadUsage
from k3.config import MemoryStorage, Settings
from k3.core import node
from k3.core.errors import NotFound
from k3.core.objects import NODE, Key, Object
from k3.core.store import Page, Store
from k3.safe_text import one_line, printable
from k3.selector import Selector, parse_selector
from k3.settings import describe

_OUTPUTS: Final = ("table", "wide", "json", "yaml", "name")
_EXAMPLES = """\
  k3 nodes
  k3 nodes -w
  k3 nodes web1 -o yaml
  k3 nodes -l 'kubernetes.io/arch=amd64,!spare' -o name"""


def run(arguments: list[str]) -> int:
    """List or follow the Nodes."""
    parser = Parser("nodes", "The machines there are, and whether they are healthy.", examples=_EXAMPLES)
    parser.add_argument("name", nargs="?", metavar="NAME", help="only this one")
    parser.add_argument("-o", "--output", choices=_OUTPUTS, default="table", metavar="FORMAT", help=", ".join(_OUTPUTS))
    parser.add_argument("-l", "--selector", default="", metavar="SELECTOR", help="labels, as in a=b,c!=d,e in (x,y),!f")
    parser.add_argument("-w", "--watch", action="store_true", help="go on and print every change")
    parser.add_argument("--no-headers", action="store_true", help="rows only")
    add_store_flags(parser)
    chosen = parser.parse_args(arguments)
    if chosen.name and chosen.selector:
        msg = "give a NAME or a selector, not both"
        raise BadUsage(msg, command="nodes")
    return asyncio.run(_nodes(chosen, parse_selector(chosen.selector)))


async def _nodes(chosen: argparse.Namespace, selector: Selector) -> int:
    settings = settings_for_reading(chosen)
    store = await _opened(settings, chosen)
    try:
        page = await _read(store, chosen.name, settings)
        single, following = chosen.name is not None, chosen.watch
        form = printer(chosen.output, headers=not chosen.no_headers, single=single, following=following)
        shown = Shown(form, _wanted(chosen.name, selector), lambda: datetime.now(UTC))
        if not shown.first(page.objects, await _observed(store, page, chosen)):
            remark(_nothing(settings, chosen, is_empty=not page.objects))
        if following and store is not None:
            await follow(store, page, shown, ticking=chosen.output in {"table", "wide"})
    finally:
        if store is not None:
            await store.aclose()
    return 0


async def _opened(settings: Settings, chosen: argparse.Namespace) -> Store | None:
    """The store; whoever follows waits for the default one to be made."""
    store = await open_existing(settings)
    if store is None and chosen.watch:
        remark(_nothing(settings, chosen, is_empty=True))
        while store is None:
            await asyncio.sleep(TICK_SECONDS)
            store = await open_existing(settings)
    return store


async def _read(store: Store | None, name: str | None, settings: Settings) -> Page:
    """What there is now. Raises NotFound for a name that is not."""
    page = await store.list(NODE) if store else Page((), 0)
    if name is not None and not any(item.key == Key(NODE, name) for item in page.objects):
        msg = f'node "{printable(name)}" not found in {describe(settings.storage)}'
        raise NotFound(msg)
    return page


async def _observed(store: Store | None, page: Page, chosen: argparse.Namespace) -> Collection[str]:
    """The names of the Nodes that somebody looks after. Documents say what is stored, so nobody is asked for them."""
    if store is None or chosen.output not in {"table", "wide"}:
        return {item.key.name for item in page.objects}
    now = datetime.now(UTC)
    nodes = [node.view(item) for item in page.objects]
    observed = await find_observed(store, nodes, now)
    for line in clock_remarks(nodes, now, observed):
        remark(f"k3: {one_line(line)}")
    return observed


def _wanted(name: str | None, selector: Selector) -> Callable[[Object], bool]:
    def fits(item: Object) -> bool:
        if name is not None:
            return item.key.name == name
        labels = item.manifest()["metadata"].get("labels")
        return selector.matches(labels if isinstance(labels, dict) else {})

    return fits


def _nothing(settings: Settings, chosen: argparse.Namespace, *, is_empty: bool) -> str:
    """Which store was read, and what to do about it."""
    where = one_line(describe(settings.storage))
    if not is_empty:
        return f"No nodes match {one_line(chosen.selector)} in {where}."
    if isinstance(settings.storage, MemoryStorage):
        return (
            f"No nodes in {where}: each process has a memory store of its own. Choose a store that can be shared with --store."
        )
    flag = "" if settings.is_default_store else f" --store {where}"
    return f"No nodes in {where}. Start one with: k3 network{flag}"
