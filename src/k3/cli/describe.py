"""`k3 describe node NAME…`: all that is known of a machine, for a person who asks why it is not Ready."""

import argparse
import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from k3.cli.empty import not_found, nothing
from k3.cli.events import TITLES, events_page, rows
from k3.cli.flags import Parser, add_store_flags
from k3.cli.looking import find_observed, moments
from k3.cli.names import node_names, split_kind
from k3.cli.opening import open_existing, settings_for_reading, typed_here
from k3.cli.terminal import answer, remark
from k3.cli.usage import BadUsage
from k3.core import node, times
from k3.core.errors import NotFound
from k3.core.objects import NODE, Object
from k3.core.safe_text import printable
from k3.core.sources import DISCOVERY, SOURCES
from k3.core.store import Page, Store
from k3.settings.structs import Reader
from k3.view import node_table, words
from k3.view.cells import Moment, human_duration, part, text_at
from k3.view.node_table import Reading
from k3.view.selector import Selector, typed_selector
from k3.view.table import Table

_EXAMPLES = """\
  k3 describe node web1
  k3 describe node/web1 node/web2
  k3 describe nodes -l tier=front"""
_EVENTS: Final = 10
"""How many of the last ones are shown."""
_CONDITIONS: Final = 64


def run(arguments: list[str]) -> int:
    """Describes Nodes. Raises NotFound where one that was named is not there, behind the others."""
    parser = Parser("describe", "All that is known of a machine, and why it is so.", examples=_EXAMPLES)
    parser.add_argument("words", nargs="*", metavar="node NAME", help="which (all); node/NAME or NAME is one as well")
    parser.add_argument("-l", "--selector", default="", metavar="SELECTOR", help="labels, as in a=b,c!=d,e in (x,y),!f")
    add_store_flags(parser)
    chosen = parser.parse_args(arguments)
    has_kind, rest = split_kind(chosen.words)
    names = node_names(rest, command="describe")
    if names and chosen.selector:
        msg = "give NAMEs or a selector, not both"
        raise BadUsage(msg, command="describe")
    if not (has_kind or names or chosen.selector):
        msg = "which node? Write: k3 describe node NAME"
        raise BadUsage(msg, command="describe")
    return asyncio.run(_describe(chosen, names, typed_selector(chosen.selector)))


async def _describe(chosen: argparse.Namespace, names: Sequence[str], selector: Selector) -> int:
    settings = settings_for_reading(chosen)
    store = await open_existing(settings)
    try:
        page = await store.list(NODE) if store else Page((), 0)
        there = {item.key.name: item for item in page.objects}
        wanted = [there[name] for name in names if name in there] if names else _fitting(page.objects, selector)
        missing = [name for name in names if name not in there]
        observed = await find_observed(store, page)
        for number, item in enumerate(wanted):
            answer(("\n\n" if number else "") + await _told(store, item, moments(observed)(item), settings.reader))
        if missing:
            raise NotFound("; ".join(str(not_found(name, settings)) for name in missing))
        if not wanted:
            remark(await nothing(settings, store, selector=chosen.selector, is_empty=not page.objects))
    finally:
        if store is not None:
            await store.aclose()
    return 0


def _fitting(items: Iterable[Object], selector: Selector) -> list[Object]:
    return [item for item in items if selector.matches(node_table.labels(item.manifest()))]


async def _told(store: Store | None, item: Object, at: Moment, reader: Reader) -> str:
    events = (await events_page(store, item.key.name)).objects if store else ()
    return "".join(described(node_table.read(item.manifest(), at), rows(events[-_EVENTS:], at.now), reader))


def described(reading: Reading, events: Sequence[Sequence[str]], reader: Reader) -> Iterator[str]:
    """Gives the whole text, piece by piece. `events` are rows as `k3 events` has them."""
    yield _pairs(_head(reading, reader))
    for title, section in _SECTIONS:
        if text := section(reading):
            yield f"{title}:\n{text}"
    table = Table([title for title in TITLES if title != "OBJECT"], headers=True)
    shown = table.text([*cells[:3], *cells[4:]] for cells in events)
    yield f"Events:\n{_indented(shown)}" if shown else "Events:  none\n"


def _head(reading: Reading, reader: Reader) -> Iterator[tuple[str, str]]:
    """Returns the rows that a person reads first."""
    state, seen = reading.state, reading.view
    yield "Name", text_at(reading.manifest, "metadata", "name")
    yield "Status", str(state)
    if state.since:
        yield "Since", _moment(state.since, reading)
    yield "Reason", state.reason
    yield "Message", state.message
    yield from _meaning(reading, reader)
    yield "Source", f"k3 {seen.owner}" if seen.owner else "a controller; k3 writes nothing here"
    yield "Roles", node_table.roles(reading.manifest)
    yield "Created", _moment(text_at(reading.manifest, "metadata", "creationTimestamp"), reading)


def _meaning(reading: Reading, reader: Reader) -> Iterator[tuple[str, str]]:
    """Returns what it means that a machine is not well, and what to do; nothing for one that is well."""
    if reading.state.is_well:
        return
    word = words.of(reading)
    yield "Means", word.means
    yield "What to do", word.do
    yield "Command", f"on that machine: {word.command}" if word.on_machine else typed_here(word.command, reader)


def _addresses(reading: Reading) -> str:
    return _pairs(node.addresses(part(reading.manifest, "status")), indent="  ", mark="")


def _evidence(reading: Reading) -> str:
    return _pairs(_evidence_pairs(reading), indent="  ")


def _evidence_pairs(reading: Reading) -> Iterator[tuple[str, str]]:
    """Returns what k3 has recorded; nothing for a Node of a controller."""
    seen = reading.view
    if seen.owner is None:
        return
    notes = seen.annotations
    yield "Last seen", _moment(seen.last_seen, reading) if seen.last_seen else "never: it has not answered once"
    yield "Seen by", seen.seen_by
    yield "Asked at", words.endpoint(seen)
    yield "Time to live", times.duration(seen.peer_ttl_seconds) if seen.peer_ttl_seconds else ""
    if SOURCES[seen.owner].machines_write:
        yield "Its own agent", "writes to this store" if seen.agent else "does not write to this store"
    yield "Process", str(seen.pid or "")
    yield "Boot", seen.boot
    yield "Id", seen.id
    yield "Links", ", ".join(seen.links)
    yield "Consul service", notes.get(DISCOVERY.prefix + "service-id", "")
    yield "Datacenter", notes.get(DISCOVERY.prefix + "datacenter", "")


def _conditions(reading: Reading) -> str:
    table = Table(("TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"), headers=True)
    found = part(reading.manifest, "status").get("conditions")
    types = [each.get("type") for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    named = dict.fromkeys(type_ for type_ in types if isinstance(type_, str))
    conditions = [each for type_ in islice(named, _CONDITIONS) if (each := node.condition(reading.manifest, type_))]
    cells = [(c.type, c.status or "-", _ago(c.transition, reading) or "-", c.reason or "-", c.message) for c in conditions]
    return _indented(table.text(cells))


def _system(reading: Reading) -> str:
    found = part(reading.manifest, "status", "nodeInfo")
    return _pairs(((key, text) for key, text in sorted(found.items()) if isinstance(text, str)), indent="  ")


def _resources(reading: Reading) -> str:
    found = part(reading.manifest, "status", "capacity")
    return _pairs(((key, str(value)) for key, value in sorted(found.items())), indent="  ")


def _taints(reading: Reading) -> str:
    found = part(reading.manifest, "spec").get("taints")
    taints = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    texts = [f"{each.get('key')}={each.get('value') or ''}:{each.get('effect')}".replace("=:", ":") for each in taints]
    return "".join(f"  {printable(text)}\n" for text in texts)


def _labels(reading: Reading) -> str:
    return "".join(f"  {printable(f'{key}={text}')}\n" for key, text in sorted(node_table.labels(reading.manifest).items()))


def _annotations(reading: Reading) -> str:
    """Returns those of people and other programs; k3's own are shown as evidence."""
    prefixes = tuple(row.prefix for row in SOURCES.values())
    found = {key: text for key, text in reading.view.annotations.items() if not key.startswith(prefixes)}
    return "".join(f"  {printable(f'{key}={text}')}\n" for key, text in sorted(found.items()))


_SECTIONS: Final[Sequence[tuple[str, Callable[[Reading], str]]]] = (
    ("Addresses", _addresses),
    ("Evidence", _evidence),
    ("Conditions", _conditions),
    ("System info", _system),
    ("Capacity", _resources),
    ("Taints", _taints),
    ("Labels", _labels),
    ("Annotations of others", _annotations),
)


def _pairs(pairs: Iterable[tuple[str, Any]], *, indent: str = "", mark: str = ":") -> str:
    """Returns one line for each pair that has a value."""
    shown = [(printable(f"{key}{mark}"), printable(text)) for key, text in pairs if text]
    width = max((len(key) for key, _ in shown), default=0)
    return "".join(f"{indent}{key.ljust(width)}  {text}\n" for key, text in shown)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def _moment(stamp: str, reading: Reading) -> str:
    ago = _ago(stamp, reading)
    return f"{stamp} ({ago} ago)" if ago else stamp


def _ago(stamp: str, reading: Reading) -> str:
    """Returns how long ago, by this reader's clock; empty where that cannot be said."""
    at = times.parse_timestamp(stamp)
    return human_duration(reading.at.now - at) if at and at <= reading.at.now else ""
