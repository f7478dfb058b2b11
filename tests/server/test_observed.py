"""Which Nodes the server knows to be looked after: by the stamps of the first list, then by what it sees refreshed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

from k3.agent.cache import Cache
from k3.core.objects import NODE, Key, Manifest, Object
from k3.core.times import precise_timestamp
from k3.server.observed import LOOK_SECONDS, Observed
from k3.stores.memory import MemoryStore
from k3.testing.faults import FaultyStore

TTL = 90.0


def node(name: str, *, ago: float = 0.0) -> Manifest:
    notes = {
        "k3.network/lastSeen": precise_timestamp(datetime.now(UTC) - timedelta(seconds=ago)),
        "k3.network/peer-ttl": f"{TTL:.0f}s",
    }
    ready = {"type": "Ready", "status": "True", "reason": "PeerAlive"}
    metadata = {"name": name, "labels": {"k3.network/managed": "true"}, "annotations": notes}
    return {"metadata": metadata, "status": {"conditions": [ready]}}


class Site:
    """A store that can fail, a cache of its Nodes, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.store = FaultyStore(MemoryStore())
        self.cache = Cache(self.store, NODE, random=Random(1))
        self.now = 1_000.0
        self.observed = Observed(self.cache, steady=lambda: self.now)

    async def put(self, name: str, *, ago: float = 0.0) -> Object:
        return await self.store.create(Key(NODE, name), node(name, ago=ago))

    async def refresh(self, item: Object) -> Object:
        return await self.store.update(item.with_manifest(node(item.key.name)))

    async def settled(self) -> None:
        """Waits until what was written has been heard."""
        for _ in range(50):
            await asyncio.sleep(0.001)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self.cache.run()), tasks.create_task(self.observed.run())]
            await self.settled()
            yield
            for task in running:
                task.cancel()
        await self.store.aclose()


async def test_the_first_list_is_judged_by_its_stamps() -> None:
    site = Site()
    await site.put("seen")
    await site.put("stale", ago=3 * TTL)
    async with site.running():
        assert "seen" in site.observed
        assert "stale" not in site.observed
        assert "unknown" in site.observed


async def test_what_nobody_refreshes_is_lost_and_found_again() -> None:
    site = Site()
    kept, lost = await site.put("kept"), await site.put("lost")
    async with site.running():
        site.now += 2 * TTL - 1
        await site.refresh(kept)
        await site.settled()
        assert "lost" in site.observed
        site.now += 2 + LOOK_SECONDS
        assert "lost" not in site.observed
        assert "kept" in site.observed
        await asyncio.sleep(0.002)  # another stamp
        await site.refresh(lost)
        await site.settled()
        assert "lost" in site.observed


async def test_a_node_that_is_made_anew_is_looked_after() -> None:
    site = Site()
    gone = await site.put("gone", ago=3 * TTL)
    async with site.running():
        assert "gone" not in site.observed
        await site.store.delete(gone.key)
        await site.put("gone")
        await site.settled()
        assert "gone" in site.observed


async def test_while_the_store_is_out_of_reach_nothing_is_concluded() -> None:
    site = Site()
    await site.put("web1")
    async with site.running():
        site.store.down = True
        site.store.cut_watches()
        await asyncio.sleep(0.3)
        site.now += 10 * TTL
        assert "web1" in site.observed
        site.store.down = False
        await asyncio.sleep(2.5)
        assert "web1" in site.observed
        site.now += 2 * TTL + 1
        assert "web1" not in site.observed
