"""Which Nodes an agent looks after, as the server sees it: a Table calls no Node Ready that nobody refreshes (ADR 54).

The server stays, so it goes by its own steady clock (`k3.core.freshness`): a Node is lost when it has not been refreshed for
longer than a living agent takes. Only the first list is judged by its time stamps.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from k3.agent.cache import Cache, Listed, Lost, Notice
from k3.core import freshness
from k3.core.errors import Expired
from k3.core.freshness import Sightings
from k3.core.objects import Object
from k3.server.turns import in_turns
from k3.view import node_table

LOOK_SECONDS: Final = 1.0
"""How often it is found out which Nodes are lost."""


class Observed:
    """The Nodes of a cache, and when each was last refreshed. `run` keeps it current."""

    def __init__(self, nodes: Cache, *, steady: Callable[[], float] = time.monotonic) -> None:
        """`steady` counts the seconds in which a Node is not refreshed."""
        self._nodes = nodes
        self._steady = steady
        self._sightings = Sightings()
        self._names: set[str] | None = None
        """The Nodes of the last list and of the changes since; None before the first."""
        self._is_away = False
        self._looks_at = 0.0

    def __contains__(self, name: object) -> bool:
        """Whether an agent looks after the Node of this name; also said of one that is not known."""
        now = self._steady()
        if now >= self._looks_at and not self._is_away:
            self._sightings.take_lost(now)
            self._looks_at = now + LOOK_SECONDS
        return isinstance(name, str) and self._sightings.is_observed(name)

    async def run(self) -> None:
        """Follows the cache, for ever."""
        while True:
            try:
                with self._nodes.subscribe() as notices:
                    async for notice in notices:
                        await self._take(notice)
            except Expired:  # read too slowly: the next subscription begins with the whole list
                await asyncio.sleep(0)

    async def _take(self, notice: Notice) -> None:
        if isinstance(notice, Lost):
            self._is_away = True
        elif isinstance(notice, Listed):
            await self._show_all(notice.objects)
            self._is_away = False
        elif notice.type == "DELETED":
            self._drop(notice.object.key.name)
        else:
            self._show(notice.object)

    async def _show_all(self, items: Sequence[Object]) -> None:
        """Takes in a list. What happened while the store was out of reach counts against no Node."""
        former, self._names = self._names, {item.key.name for item in items}
        if former is None:
            views = [node_table.view_of(item) async for item in in_turns(items)]
            self._sightings.begin(views, freshness.observed(views, datetime.now(UTC)), self._steady())
            return
        self._sightings.restart(self._steady())
        for name in former - self._names:
            self._sightings.drop(name)
        async for item in in_turns(items):
            self._show(item)

    def _show(self, item: Object) -> None:
        self._sightings.show(node_table.view_of(item), self._steady())
        if self._names is not None:
            self._names.add(item.key.name)

    def _drop(self, name: str) -> None:
        self._sightings.drop(name)
        if self._names is not None:
            self._names.discard(name)
