"""`k3 nodes -w`: every change as it happens, and the whole state again after every interruption.

What was printed last is remembered per Node, so that a new list after a gap prints only what differs from it, and a write
that changes nothing of what is shown prints nothing.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime
from time import monotonic
from typing import Final, Protocol

from k3.agent.backoff import Backoff
from k3.cli.printers import Printer
from k3.cli.terminal import remark
from k3.core.errors import Expired, Forbidden, K3Error, Unavailable
from k3.core.freshness import Sightings
from k3.core.objects import NODE, Kind, Object
from k3.core.safe_text import one_line
from k3.core.store import Bookmark, ChangeType, Event, Page, Store
from k3.view import node_table
from k3.view.cells import Moment
from k3.view.node_table import Reading

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
TICK_SECONDS: Final = 1.0
EXPIRED_SECONDS: Final = 0.1


class View(Protocol):
    """Something that is kept up to date with the store."""

    def again(self, items: Sequence[Object]) -> None:
        """Takes in everything that there is now."""
        ...

    def apply(self, kind: ChangeType, item: Object) -> None:
        """Takes in one change."""
        ...

    def lost(self) -> None:
        """Notes that the store is out of reach, until `again`."""
        ...


class Shown:
    """What a person has been shown. `wanted`: whether they asked for a Node; one that no longer fits is shown as deleted."""

    def __init__(
        self,
        printer: Printer,
        wanted: Callable[[Object], bool],
        clock: Callable[[], datetime],
        steady: Callable[[], float] = monotonic,
    ) -> None:
        """`clock` stamps what is printed; `steady` counts the seconds in which a Node is not refreshed."""
        self._printer = printer
        self._wanted = wanted
        self._clock = clock
        self._steady = steady
        self._items: dict[str, Object] = {}
        self._faces: dict[str, object] = {}
        self._sightings = Sightings()
        self.away_since: datetime | None = None
        """Since when the store has been out of reach; meanwhile ages do not advance."""

    def first(self, items: Sequence[Object], observed: Collection[str]) -> None:
        """Prints the first list, in its order; all of these are wanted. `observed`: those that an agent looks after."""
        self._items = {item.key.name: item for item in items}
        self._sightings.begin(map(node_table.view_of, items), observed, self._steady())
        self._printer.everything(items, self._read)
        for item in items:
            self._faces[item.key.name] = self._printer.face(item, self._read)

    def again(self, items: Sequence[Object]) -> None:
        """Prints how a new list differs from what was shown."""
        self.restart()
        there = {item.key.name for item in items}
        for name in [name for name in self._items if name not in there]:
            self._forget(self._items[name])
        for item in items:
            former = self._items.get(item.key.name)
            if former is None or former.revision != item.revision:
                self.apply("MODIFIED", item)

    def apply(self, kind: ChangeType, item: Object) -> None:
        """Prints one change, if the person can see it."""
        was_shown = item.key.name in self._items
        if kind != "DELETED" and self._wanted(item):
            self._items[item.key.name] = item
            self._sightings.show(node_table.view_of(item), self._steady())
            self._show("MODIFIED" if was_shown else "ADDED", item)
        elif was_shown:
            self._forget(item)

    def lost(self) -> None:
        """Notes that the store is out of reach: nothing is concluded from its silence."""
        self.away_since = self.away_since or self._clock()

    def restart(self) -> None:
        """Notes that the store answers: the time in which it could not be seen counts against no Node."""
        self.away_since = None
        self._sightings.restart(self._steady())

    def is_due(self) -> bool:
        """Whether a Node has gone without a refresh for so long that no agent can look after it, if the store still answers."""
        return self.away_since is None and self._sightings.is_due(self._steady())

    def tick(self) -> None:
        """Prints again each Node that has become Unknown by itself: no agent has refreshed it for too long."""
        for name in self._sightings.take_lost(self._steady()):
            self._show("MODIFIED", self._items[name])

    def _read(self, item: Object) -> Reading:
        return node_table.read(
            item.manifest(), Moment(self.away_since or self._clock(), self._sightings.is_observed(item.key.name))
        )

    def _show(self, kind: ChangeType, item: Object) -> None:
        face = self._printer.face(item, self._read)
        if kind == "ADDED" or self._faces.get(item.key.name) != face:
            self._faces[item.key.name] = face
            self._printer.change(kind, item, self._read)

    def _forget(self, item: Object) -> None:
        self._items.pop(item.key.name, None)
        self._faces.pop(item.key.name, None)
        self._sightings.drop(item.key.name)
        self._printer.change("DELETED", item, self._read)


async def follow(store: Store, kind: Kind, page: Page, view: View) -> None:
    """Keeps a view up to date with what changes behind `page`, for ever."""
    trouble, is_stale, since = _Trouble(), False, page.revision
    while True:
        try:
            if is_stale:
                page = await store.list(kind)
                view.again(page.objects)
                since, is_stale = page.revision, False
            async with store.watch(kind, since) as events:
                trouble.over(store)
                await _drain(events, view)
        except Expired:
            is_stale = True
            await asyncio.sleep(EXPIRED_SECONDS)  # each list may be too old for its watch, where a store forgets too early
        except (Unavailable, Forbidden) as error:
            is_stale = True
            view.lost()
            await trouble.pause(error)


async def tick(store: Store, shown: Shown) -> None:
    """Has the view say what becomes so by itself, for ever: each time only after the store, which may hang, has answered."""
    while True:
        await asyncio.sleep(TICK_SECONDS)
        if not shown.is_due():
            continue
        try:
            await store.list(NODE, limit=1)
        except K3Error:
            shown.restart()
            continue
        if shown.is_due():
            shown.tick()


class _Trouble:
    """An outage of the store: said once, tried again with growing pauses, and its end is said too."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=random.random)
        self._is_on = False

    async def pause(self, error: K3Error) -> None:
        """Waits before the next attempt."""
        if not self._is_on:
            said = one_line(str(error))
            remark(f"k3: {said} Trying again" if said.endswith("?") else f"k3: {said}; trying again")
        self._is_on = True
        await asyncio.sleep(self._backoff.next_seconds())

    def over(self, store: Store) -> None:
        """Notes that the store answers."""
        if self._is_on:
            remark(f"k3: {one_line(store.url)} answers again")
        self._is_on = False
        self._backoff.reset()


async def _drain(events: AsyncIterator[Event], view: View) -> None:
    async for event in events:
        if not isinstance(event, Bookmark):
            view.apply(event.type, event.object)
