"""An agent: the sources of one process on one store, with one cache and one reconciler between them.

source ─► writer ─► reconciler ─► store ─► watch ─► cache ─► every source
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final

from k3.agent.cache import Cache
from k3.agent.faults import Faults
from k3.agent.metrics import Counters
from k3.agent.reconciler import Reconciler
from k3.agent.source import Shared, Source
from k3.core.objects import NODE
from k3.core.store import Store

STORE_FIRST_SECONDS: Final = 0.5
"""How long the store may take to hear that this machine goes before all others do, who then find the machine's own word there.

A store that does not answer keeps the others from hearing for no longer."""


def node_cache(store: Store) -> Cache:
    """Returns a cache of a store's Nodes."""
    return Cache(store, NODE, random=Random())  # noqa: S311 - spreads retries, guards nothing


class Agent:
    """Keep `run` going; sources may come and go meanwhile."""

    def __init__(self, store: Store, nodes: Cache | None = None, faults: Faults | None = None) -> None:
        """`nodes`: the cache of the store's Nodes that a former agent of this process ran, to be run on.

        `faults`: where the process counts them, if other parts of it do.
        """
        cache = nodes or node_cache(store)
        faults, counters = faults or Faults(), Counters()
        reconciler = Reconciler(store, lookup=cache.get, faults=faults, counters=counters)
        self.shared = Shared(store=store, cache=cache, reconciler=reconciler, faults=faults, counters=counters)

    async def run(self) -> None:
        """Follows the store and writes what the sources submit, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.shared.faults.keep("cache", self.shared.cache.run))
            tasks.create_task(self.shared.faults.keep("reconciler", self.shared.reconciler.run))

    async def find(self, sources: Sequence[Source], port: int) -> None:
        """Runs sources, until one of them ends the run or fails to start. Raises what that one does.

        `port` is where this machine's health server answers.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for source in sources:
                    keep, name = self.shared.faults.keep, source.row.name
                    tasks.create_task(keep(f"{name}.follow", source.follow))
                    run = partial(_run, source, port)
                    tasks.create_task(keep(f"{name}.run", run, started=source.listed) if source.begins_again else run())
        finally:
            for source in sources:
                self.shared.reconciler.dismiss(source.writer)

    async def leave(self, sources: Sequence[Source]) -> None:
        """Tells the store, and everybody, that this machine goes. Sockets of sources that still run are used for it."""
        async with asyncio.TaskGroup() as tasks:
            for source in sources:
                tasks.create_task(self._survive_leaving(source))

    async def _survive_leaving(self, source: Source) -> None:
        with self.shared.faults.survived(f"{source.row.name}.leave"):
            await self._leave(source)

    async def _leave(self, source: Source) -> None:
        last = await source.stop()
        async with asyncio.TaskGroup() as tasks:
            if last is not None:
                telling = tasks.create_task(source.writer.settle(last, datetime.now(UTC)))
                await asyncio.wait([telling], timeout=STORE_FIRST_SECONDS)
            tasks.create_task(source.leave())


async def _run(source: Source, port: int) -> None:
    source.is_up = True
    try:
        await source.run(port)
    finally:
        source.is_up = False
