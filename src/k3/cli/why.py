"""`k3 why NODE…`: why a machine is as it is, the cause first, with the evidence and what to do."""

import argparse
import asyncio
import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from k3.agent.lease import lease_key
from k3.cli.asking import ask_one
from k3.cli.empty import not_found, nothing
from k3.cli.events import events_page
from k3.cli.flags import Parser, add_store_flags
from k3.cli.looking import Look, look_once
from k3.cli.names import node_names, split_kind
from k3.cli.opening import open_existing, settings_for_reading, typed_here
from k3.cli.terminal import answer, remark
from k3.core import freshness
from k3.core.errors import K3Error, NotFound
from k3.core.objects import LEASE, NODE, Key, Manifest, Object
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.core.sources import DISCOVERY
from k3.core.store import Page, Store
from k3.settings.structs import Reader, Settings
from k3.view import node_table
from k3.view.cells import Moment
from k3.view.findings import Asked, Clocks, Finding, Fleet, Record
from k3.view.why import Explanation, explain

NOT_WELL: Final = 6
"""The exit code where a machine that was asked for is not Ready."""
_EXAMPLES = """\
  k3 why web1
  k3 why node/web1 node/web2
  k3 why
  k3 why web1 -o json"""
_KUBELETS: Final = "kube-node-lease"
_WIDTH: Final = 100


def run(arguments: list[str]) -> int:
    """Explains Nodes. Raises NotFound where one that was named is not there, behind the others."""
    parser = Parser("why", "Why a machine is as it is: the cause, the evidence, and what to do.", examples=_EXAMPLES)
    parser.add_argument("words", nargs="*", metavar="NODE", help="which (all that are not well); node/NAME is one as well")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", metavar="FORMAT", help="text or json")
    add_store_flags(parser)
    chosen = parser.parse_args(arguments)
    _, rest = split_kind(chosen.words)
    return asyncio.run(_why(chosen, node_names(rest, command="why")))


async def _why(chosen: argparse.Namespace, names: Sequence[str]) -> int:
    settings = settings_for_reading(chosen)
    store = await open_existing(settings)
    try:
        page = await store.list(NODE) if store else Page((), 0)
        there = {item.key.name for item in page.objects}
        look = await look_once(store, [node_table.view_of(item) for item in page.objects])
        asker = _Asker(store, page, look, _fleet(look))
        found = [await asker.explained(name) for name in names if name in there] if names else asker.troubled()
        found = [_typed_here(each, settings.reader) for each in found]
        if chosen.output == "json":
            answer(json.dumps({"nodes": [each.to_json() for each in found]}, indent=2) + "\n")
        else:
            answer(_text(found, page, brief=not names))
        if missing := [name for name in names if name not in there]:
            raise NotFound("; ".join([await _missing(store, name, there, settings) for name in missing]))
        if not page.objects:
            remark(await nothing(settings, store, selector="", is_empty=True))
    finally:
        if store is not None:
            await store.aclose()
    return 0 if all(each.is_well for each in found) else NOT_WELL


@dataclass(frozen=True, slots=True)
class _Asker:
    """Gathers what is known of one Node after another."""

    store: Store | None
    page: Page
    look: Look
    fleet: Fleet

    async def explained(self, name: str) -> Explanation:
        """Returns why a Node is as it is, with all that can be found out."""
        brief = self._record(next(item for item in self.page.objects if item.key.name == name))
        seen = brief.seen
        events = (await events_page(self.store, name)).objects if self.store else ()
        mirror = lease_key(brief.note("service")) if seen.owner == DISCOVERY.name else None
        record = replace(
            brief,
            events=[item.manifest() for item in events],
            lease=await self._lease(Key(LEASE, name, _KUBELETS)),
            mirror=await self._lease(mirror) if mirror else None,
            asked=await self._asked(brief),
        )
        return explain(record)

    def troubled(self) -> list[Explanation]:
        """Returns why each Node is as it is that is not well, by what the list alone tells."""
        records = (self._record(item) for item in self.page.objects)
        return [explain(record, is_brief=True) for record in records if not record.reading.state.is_well]

    def _record(self, item: Object) -> Record:
        moment = Moment(self.look.now, item.key.name in self.look.observed)
        return Record(name=item.key.name, reading=node_table.read(item.manifest(), moment), fleet=self.fleet)

    async def _asked(self, record: Record) -> Asked | None:
        """Returns how the machine takes a question from here; None: it is no machine of k3's, or well, and is left in peace."""
        if record.seen.owner is None or record.reading.state.is_well:
            return None
        return await ask_one(replace(record.seen, name=record.name), record.now)

    async def _lease(self, key: Key) -> Manifest | None:
        """Returns a Lease; None: there is none, or it may not be read."""
        try:
            return (await self.store.get(key)).manifest() if self.store else None
        except K3Error:  # it is evidence beside others: who may not read Leases gets those
            return None


def _fleet(look: Look) -> Fleet:
    wrong = freshness.wrong_clocks(look.nodes, look.now, look.observed, look.answers.ahead_seconds)
    clocks = Clocks(
        wrong=wrong,
        is_readers=freshness.is_readers(wrong, look.nodes, look.now),
        unwritten_seconds=freshness.unwritten_seconds(look.nodes, look.now, wrong),
    )
    return Fleet.of(look.nodes, clocks)


async def _missing(store: Store | None, name: str, there: set[str], settings: Settings) -> str:
    """Returns what to say of a Node that is not there, and was, if Events tell so."""
    said = str(not_found(name, settings, known=there))
    if store is not None and (events := (await events_page(store, name)).objects):
        last = events[-1].manifest()
        said += f"; it was there: {printable(str(last.get('reason')))} at {printable(str(last.get('lastTimestamp')))}"
    if not there:
        said += f" ({await nothing(settings, store, selector='', is_empty=True)})"
    return said


def _typed_here(found: Explanation, reader: Reader) -> Explanation:
    """Returns it with commands of k3 that use the same store."""
    besides = tuple(replace(each, command=_here(each, reader)) for each in found.besides)
    return replace(found, command=_here(found, reader), besides=besides)


def _here(found: Explanation | Finding, reader: Reader) -> str:
    """Returns a command that uses the same store; what is typed on another machine is left as it is."""
    return found.command if found.on else typed_here(found.command, reader)


def _text(found: Sequence[Explanation], page: Page, *, brief: bool) -> str:
    if not brief:
        return "\n".join("".join(told(each)) for each in found)
    if not found:
        count = len(page.objects)
        return f"All {count} Nodes are Ready.\n" if count > 1 else "The one Node there is is Ready.\n" if count else ""
    return "\n".join("".join(_told_briefly(each)) for each in found)


def _told_briefly(found: Explanation) -> Iterator[str]:
    yield f"{printable(found.headline)}\n"
    yield _lines(found.cause.text, indent="  ")
    yield from _steps(found, indent="  ")


def told(found: Explanation) -> Iterator[str]:
    """Gives the whole text: the cause, what to do, and below them what they rest on."""
    yield f"{printable(found.headline)}\n\n"
    yield _lines(found.cause.text, indent="")
    if not found.is_well:
        yield "\n" + _lines(f"It means: {found.means}", indent="")
        yield from _steps(found, indent="")
    yield from _section("Also", found.besides)
    yield from _section("Evidence", found.evidence)
    if found.unknown:
        yield "\nNot known\n" + "".join(_lines(text, indent="  ") for text in found.unknown)


def _steps(found: Explanation | Finding, *, indent: str) -> Iterator[str]:
    if found.do:
        yield _lines(f"What to do: {found.do}", indent=indent)
    if found.command:
        where = f"on {found.on}: " if found.on else ""
        yield f"{indent}  {printable(where + found.command)}\n"


def _section(title: str, findings: Iterable[Finding]) -> Iterator[str]:
    for number, each in enumerate(findings):
        if not number:
            yield f"\n{title}\n"
        yield _lines(each.text, indent=f"  {each.source:<12}  ")
        yield from _steps(each, indent=" " * 16)


def _lines(text: str, *, indent: str) -> str:
    """Returns a text in lines of a readable width, those after the first below its beginning."""
    below = " " * len(indent)
    wrapped = textwrap.wrap(
        printable(text), _WIDTH, initial_indent=indent, subsequent_indent=below, break_long_words=False, break_on_hyphens=False
    )
    return "".join(f"{line}\n" for line in wrapped)
