"""`k3 nodes -w`: every change as it happens, and the truth again after every interruption.

What was printed last is remembered per Node, so that a new list after a gap prints only what differs from it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime
from time import monotonic
from typing import Final

from k3.cli.printers import Printer
from k3.cli.terminal import remark
from k3.core import node
from k3.core.errors import Expired, Unavailable
from k3.core.freshness import Sightings
from k3.core.objects import NODE, Object
from k3.core.store import Bookmark, ChangeType, Event, Page, Store
from k3.node_table import Moment
from k3.safe_text import one_line

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
TICK_SECONDS: Final = 1.0


class Shown:
    """What a person has been shown. `wanted` says which Nodes they asked for; one that no longer fits is gone for them."""

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
        self._sightings = Sightings()

    def first(self, items: Sequence[Object], observed: Collection[str]) -> int:
        """Print the first list, in which the Nodes `observed` have somebody to look after them; returns how many fit."""
        fitting = [item for item in items if self._wanted(item)]
        self._items = {item.key.name: item for item in fitting}
        self._sightings.begin(map(node.view, fitting), observed, self._steady())
        self._printer.everything(fitting, self._moment)
        return len(fitting)

    def _moment(self, item: Object) -> Moment:
        return Moment(self._clock(), self._sightings.is_observed(item.key.name))

    def again(self, items: Sequence[Object]) -> None:
        """Print how a new list differs from what was shown."""
        self._sightings.restart(self._steady())
        there = {item.key.name for item in items}
        for name in [name for name in self._items if name not in there]:
            self._print("DELETED", self._items[name])
        for item in items:
            former = self._items.get(item.key.name)
            if former is None or former.revision != item.revision:
                self.apply("MODIFIED", item)

    def apply(self, kind: ChangeType, item: Object) -> None:
        """Print one change."""
        was_shown = item.key.name in self._items
        if kind != "DELETED" and self._wanted(item):
            self._print("MODIFIED" if was_shown else "ADDED", item)
        elif was_shown:
            self._print("DELETED", item)

    def tick(self) -> None:
        """Print again what has become Unknown by itself: nobody has looked after it for too long."""
        for name in self._sightings.take_lost(self._steady()):
            item = self._items[name]
            if node.view(item).is_ready:
                self._printer.change("MODIFIED", item, self._moment(item))

    def _print(self, kind: ChangeType, item: Object) -> None:
        if kind == "DELETED":
            self._items.pop(item.key.name, None)
            self._sightings.drop(item.key.name)
        else:
            self._items[item.key.name] = item
            self._sightings.show(node.view(item), self._steady())
        self._printer.change(kind, item, self._moment(item))


async def follow(store: Store, page: Page, shown: Shown, *, ticking: bool) -> None:
    """Print what changes behind `page`, for ever."""
    async with asyncio.TaskGroup() as tasks:
        if ticking:
            tasks.create_task(_tick(shown))
        tasks.create_task(_follow(store, page.revision, shown))


async def _tick(shown: Shown) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        shown.tick()


class _Trouble:
    """The store is out of reach: said once, tried again ever less often, and its end is said too."""

    def __init__(self) -> None:
        self._pause = 0.0

    async def pause(self, error: Unavailable) -> None:
        """Wait before the next attempt."""
        if not self._pause:
            remark(f"k3: {one_line(str(error))}; trying again")
        self._pause = min(2 * self._pause or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(self._pause)

    def over(self, store: Store) -> None:
        """The store answers."""
        if self._pause:
            remark(f"k3: {one_line(store.url)} answers again")
        self._pause = 0.0


async def _follow(store: Store, since: int, shown: Shown) -> None:
    trouble, is_stale = _Trouble(), False
    while True:
        try:
            if is_stale:
                page = await store.list(NODE)
                shown.again(page.objects)
                since, is_stale = page.revision, False
            async with store.watch(NODE, since) as events:
                trouble.over(store)
                await _drain(events, shown)
        except Expired:
            is_stale = True
        except Unavailable as error:
            is_stale = True
            await trouble.pause(error)


async def _drain(events: AsyncIterator[Event], shown: Shown) -> None:
    async for event in events:
        if not isinstance(event, Bookmark):
            shown.apply(event.type, event.object)
