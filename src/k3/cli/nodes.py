"""`k3 nodes`: the machines there are, once or as they change."""

import argparse
import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from k3.cli.empty import not_found, nothing
from k3.cli.flags import Parser, add_store_flags
from k3.cli.follow import TICK_SECONDS, Shown, follow, tick
from k3.cli.live import Layout, Start, show_live
from k3.cli.looking import find_observed, moments, tell_of_unreadable
from k3.cli.names import node_names
from k3.cli.opening import open_existing, settings_for_reading
from k3.cli.printers import DocumentPrinter, Printer, Style, TablePrinter, printer
from k3.cli.screen import Notes, noted
from k3.cli.sorting import Order, parse_order
from k3.cli.terminal import can_redraw, is_read_by_a_person, may_colour, remark
from k3.cli.usage import BadUsage
from k3.core.errors import NotFound
from k3.core.objects import NODE, Object
from k3.core.safe_text import one_line
from k3.core.store import Page, Store
from k3.settings.structs import Settings
from k3.view import node_table
from k3.view.cells import Column, Moment
from k3.view.node_table import Reading
from k3.view.selector import Selector, typed_selector

_OUTPUTS: Final = ("table", "wide", "json", "yaml", "name")
_EXAMPLES = """\
  k3 nodes
  k3 nodes -w
  k3 nodes web1 web2 -o wide
  k3 nodes node/web1 -o yaml
  k3 nodes --sort-by age -L kubernetes.io/arch
  k3 nodes -l 'kubernetes.io/arch=amd64,!spare' -o name"""


def run(arguments: list[str]) -> int:
    """Lists or follows the Nodes."""
    parser = Parser("nodes", "The machines there are, and whether they are healthy.", examples=_EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; node/NAME is one as well")
    parser.add_argument("-o", "--output", choices=_OUTPUTS, default="table", metavar="FORMAT", help=", ".join(_OUTPUTS))
    parser.add_argument("-l", "--selector", default="", metavar="SELECTOR", help="labels, as in a=b,c!=d,e in (x,y),!f")
    parser.add_argument("-L", "--label-columns", action="append", default=[], metavar="KEY", help="a column for this label")
    parser.add_argument("--show-labels", action="store_true", help="a column with all labels")
    parser.add_argument(
        "--sort-by", type=parse_order, metavar="COLUMN", help="age, status, ...; or .metadata.name and the like"
    )
    parser.add_argument("-w", "--watch", action="store_true", help="go on: one live table on a terminal, else every change")
    parser.add_argument("--append", action="store_true", help="with -w, a row for every change on a terminal, too")
    parser.add_argument("--no-headers", action="store_true", help="rows only")
    add_store_flags(parser)
    chosen = parser.parse_args(arguments)
    if chosen.names and chosen.selector:
        msg = "give NAMEs or a selector, not both"
        raise BadUsage(msg, command="nodes")
    chosen.names = node_names(chosen.names, command="nodes")
    selector = typed_selector(chosen.selector)
    if chosen.watch and not chosen.append and chosen.output in {"table", "wide"} and can_redraw():
        with noted() as notes:
            return asyncio.run(_nodes(chosen, selector, notes))
    return asyncio.run(_nodes(chosen, selector))


async def _nodes(chosen: argparse.Namespace, selector: Selector, notes: Notes | None = None) -> int:
    """Prints the Nodes and, with --watch, goes on. `notes`: as a live table, which says there what is to be said."""
    settings = settings_for_reading(chosen)
    store = await _opened(settings, chosen)
    try:
        page = await store.list(NODE) if store else Page((), 0)
        wanted = _wanted(chosen.names, selector)
        found = [item for item in page.objects if wanted(item)]
        missing = [name for name in chosen.names if name not in {item.key.name for item in found}]
        if missing and (chosen.watch or not found):
            raise _missing(missing, settings)
        if not found and notes is None:
            remark(await nothing(settings, store, selector=chosen.selector, is_empty=not page.objects))
        printed = _printer(chosen)
        observed = await _observed(store, page, chosen, printed)
        found = _ordered(found, chosen.sort_by, moments(observed))
        if chosen.watch and store is not None:
            if notes is not None:
                layout = await _layout(chosen, settings, store)
                return await show_live(store, page, Start(found, observed, wanted), layout, notes)
            await _follow(store, page, Shown(printed, wanted, lambda: datetime.now(UTC)), found, observed)
        moment = moments(observed)
        printed.everything(found, lambda item: node_table.read(item.manifest(), moment(item)))
        if isinstance(printed, DocumentPrinter) and _is_whole(chosen, printed):
            tell_of_unreadable(printed.odd)
        if missing:
            raise _missing(missing, settings)
    finally:
        if store is not None:
            await store.aclose()
    return 0


async def _follow(store: Store, page: Page, shown: Shown, found: Sequence[Object], observed: Collection[str]) -> None:
    """Prints what there is, and what changes, for ever."""
    shown.first(found, observed)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(tick(store, shown))
        tasks.create_task(follow(store, NODE, page, shown))


async def _layout(chosen: argparse.Namespace, settings: Settings, store: Store) -> Layout:
    return Layout(
        columns=_columns(chosen),
        order=chosen.sort_by,
        headers=not chosen.no_headers,
        is_coloured=may_colour(),
        where=one_line(settings.storage.url),
        empty=await nothing(settings, store, selector=chosen.selector, is_empty=not chosen.selector),
    )


async def _opened(settings: Settings, chosen: argparse.Namespace) -> Store | None:
    """Returns the store; with --watch, waits for the default one to be made."""
    store = await open_existing(settings)
    if store is None and chosen.watch and not chosen.names:
        remark(await nothing(settings, None, selector="", is_empty=True))
        while store is None:
            await asyncio.sleep(TICK_SECONDS)
            store = await open_existing(settings)
    return store


async def _observed(store: Store | None, page: Page, chosen: argparse.Namespace, printed: Printer) -> Collection[str]:
    """Returns the names of the Nodes that an agent looks after; for documents and names, which do not show it, none.

    In each case it is said which Nodes cannot be read. A table is made meanwhile of what nearly all Nodes are: observed.
    """
    if chosen.output not in {"table", "wide"} and not chosen.watch:
        if not _is_whole(chosen, printed):
            tell_of_unreadable(page.objects)
        return ()
    if chosen.watch or not isinstance(printed, TablePrinter):
        return await find_observed(store, page)
    moment, seen = Moment(datetime.now(UTC)), []
    for item in page.objects:
        reading = node_table.read(item.manifest(), moment)
        printed.prepare(item, reading)
        seen.append(reading.view)
    observed = await find_observed(store, page, seen)
    for each in seen:
        if each.name not in observed:
            printed.discard(each.name)
    return observed


def _is_whole(chosen: argparse.Namespace, printed: Printer) -> bool:
    """Whether every Node is printed as a document: then each is read for that, and no second time to see whether it can be."""
    return isinstance(printed, DocumentPrinter) and not (chosen.names or chosen.selector or chosen.watch)


def _ordered(items: list[Object], order: Order | None, moment: Callable[[Object], Moment]) -> list[Object]:
    if order is None:
        return items
    return sorted(items, key=lambda item: order.key(node_table.read(item.manifest(), moment(item))))


def _missing(names: Sequence[str], settings: Settings) -> NotFound:
    return NotFound("; ".join(str(not_found(name, settings)) for name in names))


def _printer(chosen: argparse.Namespace) -> Printer:
    style = Style(
        headers=not chosen.no_headers,
        following=chosen.watch,
        coloured=may_colour(),
        summed_up=is_read_by_a_person() and not chosen.watch and not chosen.names and not chosen.no_headers,
    )
    return printer(chosen.output, _columns(chosen), style, single=len(chosen.names) == 1)


def _columns(chosen: argparse.Namespace) -> list[Column[Reading]]:
    keys = [key.strip() for text in chosen.label_columns for key in text.split(",") if key.strip()]
    return [
        *node_table.columns(wide=chosen.output == "wide"),
        *(node_table.label_column(key) for key in keys),
        *([node_table.LABELS] if chosen.show_labels else []),
    ]


def _wanted(names: Sequence[str], selector: Selector) -> Callable[[Object], bool]:
    chosen = frozenset(names)

    def fits(item: Object) -> bool:
        if chosen:
            return item.key.name in chosen
        return not selector.terms or selector.matches(node_table.labels(item.manifest()))

    return fits
