"""Everything that befalls the Nodes of a store, revision by revision, and what must hold of all of it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Final

from k3.core import node
from k3.core.objects import NODE, Key, Object
from k3.core.store import Change, Store
from tests.discovery.consul_lab import eventually

END: Final = Key(NODE, "end-of-history")


class History:
    """The Nodes at first, and every change since."""

    def __init__(self, store: Store, first: tuple[Object, ...]) -> None:
        self._store = store
        self.first = {item.key.name: item for item in first}
        self.changes: list[Change] = []
        self._reached = 0

    async def follow(self, since: int) -> None:
        async with self._store.watch(NODE, since) as events:
            async for event in events:
                if isinstance(event, Change):
                    self._reached = event.object.revision
                    if event.object.key != END:
                        self.changes.append(event)

    async def complete(self) -> None:
        """Wait until it tells everything up to now: until it has seen a Node that is made for that."""
        end = await self._store.create(END, {})
        await self._store.delete(END)

        async def has_come() -> bool:
            return self._reached >= end.revision

        await eventually(has_come)

    @property
    def last(self) -> dict[str, Object]:
        """The Nodes as they are after all that."""
        nodes = dict(self.first)
        for change in self.changes:
            nodes[change.object.key.name] = change.object
            if change.type == "DELETED":
                del nodes[change.object.key.name]
        return nodes

    @property
    def deleted(self) -> list[str]:
        return [change.object.key.name for change in self.changes if change.type == "DELETED"]

    def ready(self, name: str) -> list[node.Condition]:
        """Its Ready at every revision."""
        at_first = [self.first[name]] if name in self.first else []
        items = [*at_first, *(change.object for change in self.changes if change.object.key.name == name)]
        return [found for item in items if (found := node.condition(item.manifest(), node.READY)) is not None]

    def words(self, name: str) -> list[tuple[str, str]]:
        """Status and reason of its Ready, one after another, each as long as it lasted."""
        said = [(each.status, each.reason) for each in self.ready(name)]
        return [word for before, word in zip([None, *said], said, strict=False) if word != before]

    def check(self) -> None:
        """No Node was deleted, and no transition time moved but with its status."""
        assert not self.deleted
        for name in self.last:
            for before, after in itertools.pairwise(self.ready(name)):
                expected = before.transition if before.status == after.status else after.heartbeat
                assert after.transition == expected, (name, before, after)


@contextlib.asynccontextmanager
async def recording(store: Store) -> AsyncIterator[History]:
    """Record until the end of the block."""
    page = await store.list(NODE)
    history = History(store, page.objects)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(history.follow(page.revision))
        yield history
        await history.complete()
        task.cancel()
