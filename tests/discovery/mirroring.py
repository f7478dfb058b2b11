"""A store that a mirror keeps: memory store, cache, reconciler and mirror put together as the daemon does it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from random import Random
from typing import Final

from k3.agent.cache import Cache, Listed
from k3.agent.reconciler import Author, Decide, Reconciler
from k3.core import node
from k3.core.objects import NODE, Key, Manifest
from k3.core.store import Store
from k3.discovery import policy as discovery_policy
from k3.discovery.consul import Consul
from k3.discovery.mirror import Mirror, MirrorSettings
from k3.discovery.register import Registrar
from tests.discovery.consul_lab import eventually

UP: Final = ("True", "ConsulPassing")
ILL: Final = ("False", "ConsulCritical")
GONE: Final = ("False", "ConsulDeregistered")
LOST: Final = ("Unknown", "SourceUnreachable")


class View:
    """The store as a reader sees it, with waiting."""

    def __init__(self, store: Store, mirror: Mirror, reconciler: Reconciler) -> None:
        self.store = store
        self.mirror = mirror
        self.reconciler = reconciler

    async def manifest(self, name: str) -> Manifest:
        """A Node's manifest. Raises NotFound."""
        return (await self.store.get(Key(NODE, name))).manifest()

    async def condition(self, name: str) -> node.Condition:
        """Its Ready."""
        return node.condition(await self.manifest(name), node.READY) or node.Condition(type=node.READY, status="")

    async def ready(self, name: str) -> tuple[str, str]:
        """Status and reason of its Ready."""
        found = await self.condition(name)
        return found.status, found.reason

    async def shows(self, name: str, status: str, reason: str, *, guard_seconds: float = 30) -> None:
        """Wait until it is so."""

        async def is_so() -> bool:
            return await self.ready(name) == (status, reason)

        await eventually(is_so, guard_seconds=guard_seconds)

    async def all_show(self, word: tuple[str, str], *names: str, guard_seconds: float = 60) -> None:
        """Wait until it is so for each."""
        for name in names:
            await self.shows(name, *word, guard_seconds=guard_seconds)


def now() -> float:
    """By the loop's clock."""
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def mirroring(
    consul: Consul,
    store: Store,
    settings: MirrorSettings,
    registrar: Registrar | None = None,
    *,
    policy: Decide = discovery_policy.decide,
) -> AsyncIterator[View]:
    """Run a mirror of its own until the end of the block; another `policy` writes what a broken one would."""
    cache = Cache(store, NODE, random=Random(1))
    reconciler = Reconciler(store, lookup=cache.get)
    mirror = Mirror(consul, settings, cache, submit=lambda seen: writer.submit(seen, datetime.now(UTC)), registrar=registrar)
    writer = reconciler.writer(Author(name="discovery", decide=policy, on_outcome=mirror.told))
    listed = asyncio.Event()

    async def follow() -> None:
        with cache.subscribe() as notices:
            async for notice in notices:
                if isinstance(notice, Listed):
                    listed.set()
                mirror.notice(notice)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each) for each in (cache.run(), follow(), reconciler.run())]
        await listed.wait()
        running.append(tasks.create_task(mirror.run()))
        yield View(store, mirror, reconciler)
        for task in running:
            task.cancel()
