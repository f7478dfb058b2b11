"""`k3 events`: what has happened to the machines, newest last; the Events that k3 and controllers write about Nodes.

Their order is that in which the store took them, which holds whatever the clocks of their writers say.
"""

import argparse
import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from k3.cli.flags import Parser, add_store_flags
from k3.cli.follow import TICK_SECONDS, follow
from k3.cli.names import node_name
from k3.cli.opening import open_existing, settings_for_reading
from k3.cli.terminal import answer, answer_in_pieces, remark
from k3.core import times
from k3.core.objects import EVENT, Key, Manifest, Object
from k3.core.safe_text import one_line, printable
from k3.core.store import ChangeType, Page, Store, pages
from k3.settings.structs import Settings
from k3.view import documents
from k3.view.cells import UNKNOWN, human_duration
from k3.view.table import Table

NAMESPACE: Final = "default"
TITLES: Final = ("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
_SKEW: Final = timedelta(seconds=5)
"""How far a time may be ahead of the reader's clock: two clocks kept by NTP differ by less."""
_NAME_CHARACTERS: Final = 240
"""How much of a Node's name is in the name of an Event."""
_OUTPUTS: Final = ("table", "json", "yaml")
_EXAMPLES = """\
  k3 events
  k3 events --for node/web1
  k3 events -w
  k3 events -o json"""


def run(arguments: list[str]) -> int:
    """Lists or follows the Events about Nodes."""
    parser = Parser("events", "What has happened to the machines, newest last.", examples=_EXAMPLES)
    parser.add_argument("--for", dest="about", metavar="node/NAME", help="only what happened to this one")
    parser.add_argument("-o", "--output", choices=_OUTPUTS, default="table", metavar="FORMAT", help=", ".join(_OUTPUTS))
    parser.add_argument("-w", "--watch", action="store_true", help="go on and print every new one")
    parser.add_argument("--no-headers", action="store_true", help="rows only")
    add_store_flags(parser)
    chosen = parser.parse_args(arguments)
    name = None if chosen.about is None else node_name(chosen.about, command="events")
    return asyncio.run(_events(chosen, name))


async def _events(chosen: argparse.Namespace, name: str | None) -> int:
    settings = settings_for_reading(chosen)
    store = await open_existing(settings)
    try:
        page = await events_page(store, name) if store else Page((), 0)
        told = _Told(chosen, name)
        told.first(page.objects)
        if not page.objects:
            remark(_nothing(settings, name))
        if chosen.watch:
            while store is None:
                await asyncio.sleep(TICK_SECONDS)
                store = await open_existing(settings)
            await follow(store, EVENT, page, told)
    finally:
        if store is not None:
            await store.aclose()
    return 0


async def events_page(store: Store, name: str | None) -> Page:
    """Returns the Events about Nodes, or about one, in the order in which they were written, all as of one revision."""
    if name is None:
        page = await store.list(EVENT)
        about = [item for item in page.objects if _is_about(item, None)]
        _tell_of_unreadable(page.objects, {item.key for item in about})
        return Page(_in_order(about), page.revision)
    prefix = f"{name[:_NAME_CHARACTERS]}."
    found: list[Object] = []
    revision = 0
    async with aclosing(pages(store, EVENT, namespace=NAMESPACE, after=Key(EVENT, prefix, NAMESPACE))) as listed:
        async for page in listed:
            found += [item for item in page.objects if _is_about(item, name)]
            revision = page.revision
            if page.after is None or not page.after.name.startswith(prefix):
                break
    return Page(_in_order(found), revision)


def _tell_of_unreadable(items: Sequence[Object], read: Collection[Key]) -> None:
    """Says which Events are there and cannot be read; the others may be about anything."""
    for item in items:
        if item.key not in read and (why := item.unreadable):
            remark(f"k3: {one_line(str(item.key))}: this object cannot be read: {one_line(why)}")


def rows(items: Sequence[Object], now: datetime) -> list[list[str]]:
    """Returns the cells of some Events, in the order of `TITLES`."""
    return [_row(item.manifest(), now) for item in items]


def _in_order(items: Any) -> tuple[Object, ...]:  # noqa: ANN401 - any iterable of Objects
    return tuple(sorted(items, key=lambda item: item.revision))


def _is_about(item: Object, name: str | None) -> bool:
    """Whether an Event is about a Node; about the one of this name, if one is given."""
    about = _subject(item.manifest())
    return about.get("kind") == "Node" and (name is None or about.get("name") == name)


def _subject(manifest: Manifest) -> dict[str, Any]:
    found = manifest.get("involvedObject")
    return found if isinstance(found, dict) else {}


def _row(manifest: Manifest, now: datetime) -> list[str]:
    about = _subject(manifest)
    words = [str(manifest.get(key) or "-") for key in ("type", "reason", "message")]
    return [_when(manifest, now), words[0], words[1], f"{about.get('kind')}/{about.get('name')}", words[2]]


def _when(manifest: Manifest, now: datetime) -> str:
    """Returns how long ago, and how often it was repeated, if it was."""
    stamps = ("lastTimestamp", "eventTime", "firstTimestamp")
    last = next(filter(None, (times.parse_timestamp(manifest.get(key)) for key in stamps)), None)
    if last is None:
        return UNKNOWN
    ago, count = _ago(last, now), manifest.get("count")
    first = times.parse_timestamp(manifest.get("firstTimestamp"))
    if not isinstance(count, int) or count <= 1 or first is None:
        return ago
    return f"{ago} (x{count} over {_ago(first, now)})"


def _ago(at: datetime, now: datetime) -> str:
    """Returns how long ago, by this reader's clock; a time ahead of that is another clock's, and gives `<unknown>`."""
    if at - now > _SKEW:
        return UNKNOWN
    return human_duration(max(now - at, timedelta()))


def _nothing(settings: Settings, name: str | None) -> str:
    about = f" for node/{printable(name)}" if name is not None else ""
    return f"No events{about} in {one_line(settings.storage.url)}."


class _Told:
    """The Events that a person has been shown."""

    def __init__(self, chosen: argparse.Namespace, name: str | None) -> None:
        self._output: str = chosen.output
        self._following: bool = chosen.watch
        self._name = name
        self._table = Table(TITLES, headers=not chosen.no_headers)
        self._newest = 0

    def first(self, items: Sequence[Object]) -> None:
        """Prints the Events there are."""
        if self._output == "table" or self._following:
            self._print(items)
        else:
            render = documents.json_list if self._output == "json" else documents.yaml_list
            answer_in_pieces(render(item.manifest() for item in items))

    def lost(self) -> None:
        """Does nothing: from the store's silence nothing follows for Events."""

    def again(self, items: Sequence[Object]) -> None:
        """Prints the Events that were written behind the last one."""
        self._print(_in_order(item for item in items if item.revision > self._newest and _is_about(item, self._name)))

    def apply(self, kind: ChangeType, item: Object) -> None:
        """Prints one more. One that is deleted, since its time is over, is no news."""
        if kind != "DELETED" and _is_about(item, self._name):
            self._print([item])

    def _print(self, items: Sequence[Object]) -> None:
        self._newest = max([self._newest, *(item.revision for item in items)])
        if self._output == "table":
            answer(self._table.text(rows(items, datetime.now(UTC))))
        elif self._output == "json":
            answer_in_pieces(documents.as_json(item.manifest()) for item in items)
        else:
            answer_in_pieces(f"---\n{documents.as_yaml(item.manifest())}" for item in items)
