"""Watches of the API: first what there is, where asked for, then each change, a line of JSON each."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Final

from k3.agent.buffer import Buffer
from k3.core.errors import Expired, K3Error
from k3.server.entries import Entry
from k3.server.options import ReadOptions
from k3.server.reads import TURN, Origin, snapshot, too_large
from k3.server.selectors import Selection
from k3.server.shapes import Shape, status_line
from k3.server.status import Refused, expired
from k3.server.window import EventType, Happening, Snapshot, Window

BOOKMARK_SECONDS: Final = 60.0
"""A watcher that asks for bookmarks gets one about so often, as at a Kubernetes API server."""
SHORT_SECONDS: Final = 2.0
"""A watch that is no longer than this ends without a bookmark, as at a Kubernetes API server."""
LEAST_SECONDS: Final = 1800
"""How long a watch goes on where its client does not say: this long, or up to twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one client wants to watch, and how."""

    namespace: str
    selection: Selection
    options: ReadOptions
    shape: Shape
    seconds: float
    """How long the watch goes on."""

    def shown(self, happening: Happening) -> tuple[EventType, Entry] | None:
        """Returns what a change means to this client; None: nothing."""
        if self.namespace and happening.shown.key.namespace != self.namespace:
            return None
        if self.selection.is_everything:
            return happening.type, happening.shown
        is_in = happening.now is not None and self.selection.matches(happening.now)
        was_in = happening.before is not None and self.selection.matches(happening.before)
        if is_in:
            return ("MODIFIED" if was_in else "ADDED"), happening.shown
        if not was_in or happening.before is None:
            return None
        return "DELETED", happening.shown if happening.now is None else happening.before.at(happening.revision)


@dataclass(frozen=True, slots=True)
class Begun:
    """A watch that has been let in: with the objects it begins with, if it asks for these, and the revision it goes on from."""

    since: int
    first: Snapshot | None


async def begin(window: Window, options: ReadOptions, origin: Origin) -> Begun:
    """Returns from where a watch goes on. Raises Refused for a revision that is to come, Unavailable."""
    revision = options.revision
    if options.initial_events is False and not revision:
        return Begun(await origin.head(), None)
    if options.initial_events or not revision:
        found = await snapshot(window, revision, origin)
        return Begun(found.revision, _held(found))
    if revision > window.revision and revision > (newest := await origin.head()):
        raise too_large(revision, newest)
    return Begun(revision, None)


def _held(found: Snapshot) -> Snapshot:
    """Returns a snapshot that stays as it is: what a window gives changes with the next change."""
    return Snapshot(found.revision, list(found.places), dict(found.entries))


async def lines(window: Window, wanted: Wanted, begun: Begun) -> AsyncGenerator[bytes, None]:
    """Gives the lines of a watch, some at a time, until its time is over. Raises Expired before the first one, Unavailable."""
    with window.watch(begun.since) as (missed, watch):
        yield b""  # it is known now that the revision is kept: the answer may begin
        if begun.first is not None:
            for some in _first(begun.first, wanted):
                yield some
                await asyncio.sleep(0)
            if wanted.options.bookmarks:
                yield wanted.shape.bookmark(begun.since, is_initial_end=True)
        if missed:  # with objects to begin with, too: the window may know more than the list of them
            yield b"".join(_lines(missed, wanted))
        try:
            async for some in _live(window, watch, wanted, missed[-1].revision if missed else begun.since):
                yield some
        except K3Error as error:
            yield status_line(Refused(error.status, str(error), reason=error.reason).status())


def _first(found: Snapshot, wanted: Wanted) -> Iterator[bytes]:
    begin, end = found.span(wanted.namespace)
    for few in range(begin, end, TURN):
        entries = [found.entries[place] for place in found.places[few : min(few + TURN, end)]]
        yield b"".join(wanted.shape.event("ADDED", entry) for entry in entries if wanted.selection.matches(entry))


def _lines(happenings: list[Happening], wanted: Wanted) -> Iterator[bytes]:
    for happening in happenings:
        if (shown := wanted.shown(happening)) is not None:
            yield wanted.shape.event(*shown)


async def _live(window: Window, watch: Buffer[Happening], wanted: Wanted, since: int) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + wanted.seconds
    bookmark_at = min(ends_at, loop.time() + BOOKMARK_SECONDS)
    told = since
    alarm = loop.call_at(bookmark_at, watch.poke)  # one for many changes: a limit for each wait would cost more than the change
    try:
        while (now := loop.time()) < ends_at:
            if now >= bookmark_at:
                bookmark_at = min(ends_at, now + BOOKMARK_SECONDS)
                alarm = loop.call_at(bookmark_at, watch.poke)
                yield _bookmark(window, watch, wanted, told)
            await watch.wait()
            try:
                some = _taken(watch, told)
            except Expired as error:
                if not window.knows(told):
                    yield status_line(expired(f"too old resource version: {error}").status())
                return  # who was only too slow goes on from there with another watch
            told = some[-1].revision if some else told
            yield b"".join(_lines(some, wanted))
    finally:
        alarm.cancel()
    if wanted.seconds > SHORT_SECONDS:
        yield _bookmark(window, watch, wanted, told)


def _bookmark(window: Window, watch: Buffer[Happening], wanted: Wanted, told: int) -> bytes:
    """Returns the line that says how far a watch has come; nothing where it is not wanted, or more is still to be told."""
    return wanted.shape.bookmark(max(told, window.revision)) if wanted.options.bookmarks and watch.is_empty else b""


def _taken(watch: Buffer[Happening], told: int) -> list[Happening]:
    found: list[Happening] = []
    while len(found) < TURN and watch.has_items:
        if (each := watch.take()).revision > told:
            found.append(each)
    if not found and not watch.has_items:
        watch.check()
    return found
