"""Watches of the API: first what there is, where asked for, then each change, a line of JSON each."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from typing import Final

from k3.core.errors import Expired, K3Error
from k3.core.records import dataclass
from k3.server.entries import Entry
from k3.server.options import ReadOptions
from k3.server.outlet import Outlet
from k3.server.reads import TURN, Origin, snapshot, too_large
from k3.server.selectors import Selection
from k3.server.shapes import Shape, status_line
from k3.server.status import Refused, expired
from k3.server.window import EventType, Happening, Snapshot, Watch, Window

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


async def lines(window: Window, wanted: Wanted, begun: Begun, outlet: Outlet) -> AsyncGenerator[bytes, None]:
    """Gives the lines of a watch, some at a time, until its time is over. Raises Expired before the first one, Unavailable.

    Lines that can be sent at once go to the outlet.
    """
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
            live = _Live(window, watch, wanted, missed[-1].revision if missed else begun.since)
            async for some in live.lines(outlet):
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


class _Live:
    """One watch once it has caught up."""

    def __init__(self, window: Window, watch: Watch, wanted: Wanted, told: int) -> None:
        """`told`: the revision up to which the client knows everything."""
        self._window = window
        self._watch = watch
        self._wanted = wanted
        self._told = told

    async def lines(self, outlet: Outlet) -> AsyncGenerator[bytes, None]:
        """Gives the lines that cannot go to the outlet at once."""
        watch, wanted, loop = self._watch, self._wanted, asyncio.get_running_loop()
        ends_at = loop.time() + wanted.seconds
        bookmark_at = min(ends_at, loop.time() + BOOKMARK_SECONDS)
        alarm = loop.call_at(bookmark_at, watch.poke)  # one for many changes: a limit for each wait would cost more than these
        watch.hand = partial(self._hand, outlet)
        try:
            while (now := loop.time()) < ends_at:
                if now >= bookmark_at:
                    bookmark_at = min(ends_at, now + BOOKMARK_SECONDS)
                    alarm = loop.call_at(bookmark_at, watch.poke)
                    yield self._bookmark()
                await watch.wait()
                try:
                    some = self._taken()
                except Expired as error:
                    if not self._window.knows(self._told):
                        yield status_line(expired(f"too old resource version: {error}").status())
                    return  # who was only too slow goes on from there with another watch
                self._told = some[-1].revision if some else self._told
                yield b"".join(_lines(some, wanted))
        finally:
            alarm.cancel()
            watch.hand = None
        if wanted.seconds > SHORT_SECONDS:
            yield self._bookmark()

    def _hand(self, outlet: Outlet) -> bool:
        """Sends what there is at once, where that can be done; called while `lines` waits for more. Returns whether it was."""
        if not outlet.is_free:
            return False
        some = [each for each in self._watch.items if each.revision > self._told]
        try:
            written = b"".join(_lines(some, self._wanted))
        except Exception:  # noqa: BLE001 - `lines` meets it, too: one client's fault is that client's alone (ADR 41)
            return False
        self._told = some[-1].revision if some else self._told
        self._watch.clear()
        outlet.send(written)
        return True

    def _bookmark(self) -> bytes:
        """Returns the line that says how far the watch has come; nothing where it is not wanted, or more is to be told."""
        if not self._wanted.options.bookmarks or not self._watch.is_empty:
            return b""
        return self._wanted.shape.bookmark(max(self._told, self._window.revision))

    def _taken(self) -> list[Happening]:
        found: list[Happening] = []
        while len(found) < TURN and self._watch.has_items:
            if (each := self._watch.take()).revision > self._told:
                found.append(each)
        if not found and not self._watch.has_items:
            self._watch.check()
        return found
