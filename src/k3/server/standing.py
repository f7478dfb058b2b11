"""The windows of a server: those that follow the store, and those that are always the same."""

import asyncio
import uuid
from functools import partial
from random import Random
from typing import Final

from k3.agent.cache import Cache, Listed
from k3.agent.faults import Faults
from k3.core.objects import NODE, Key, Kind, Manifest, Object
from k3.core.store import Store, pages
from k3.server.entries import Entry, Place, encoded
from k3.server.resources import FIXED, NAMESPACE, NAMESPACES, STORED
from k3.server.window import Snapshot, Window, feed

SINCE_EVER: Final = "1970-01-01T00:00:00Z"
FIXED_REVISION: Final = 1


class Followed:
    """A kind that the store holds: where its window comes from."""

    def __init__(self, store: Store, cache: Cache, window: Window) -> None:
        self.window = window
        self.cache = cache
        self._store = store

    async def head(self) -> int:
        """Returns the newest revision of the store. Raises Unavailable."""
        return (await self._store.list(self.window.kind, limit=1)).revision

    async def list(self) -> Snapshot:
        """Returns all objects of the kind as the store has them now. Raises Unavailable."""
        entries: dict[Place, Entry] = {}
        revision = 0
        async for page in pages(self._store, self.window.kind):
            entries |= {(item.key.namespace, item.key.name): Entry(item) for item in page.objects}
            revision = page.revision
        return Snapshot(revision, sorted(entries), entries)


class Fixed:
    """A kind whose objects never change."""

    def __init__(self, window: Window) -> None:
        self.window = window

    async def head(self) -> int:
        """Returns its only revision."""
        return self.window.revision

    async def list(self) -> Snapshot:
        """Returns all its objects."""
        return self.window.now()


class Standing:
    """All that a server reads. `run` keeps it current."""

    def __init__(self, store: Store, nodes: Cache | None) -> None:
        """`nodes`: a cache of the Nodes that somebody else keeps current."""
        random = Random()  # noqa: S311 - spreads retries, guards nothing
        self._own = [Cache(store, each.kind, random=random) for each in STORED if nodes is None or each.kind != NODE]
        caches = {cache.kind: cache for cache in ([*self._own, nodes] if nodes is not None else self._own)}
        self.followed = [Followed(store, caches[each.kind], Window(each.kind)) for each in STORED]
        self.of: dict[str, Followed | Fixed] = {each.window.kind.plural: each for each in self.followed}
        for each in FIXED:
            window = Window(each.kind)
            objects = tuple(_namespace(store.id, name) for name in NAMESPACES) if each.kind == NAMESPACE else ()
            window.show(Listed(objects, FIXED_REVISION))
            self.of[each.kind.plural] = Fixed(window)

    @property
    def is_current(self) -> bool:
        """Whether the store answers, and all of it has been read."""
        return all(each.cache.is_current and each.window.is_ready for each in self.followed)

    def cache(self, kind: Kind) -> Cache:
        """Returns the cache of a kind that the store holds."""
        return next(each.cache for each in self.followed if each.window.kind == kind)

    def known(self, key: Key) -> Object | None:
        """Returns an object of a kind that the store holds as the store last showed it; None: it was not shown."""
        entry = self.of[key.kind.plural].window.get(key.namespace, key.name)
        return None if entry is None else entry.item

    def watchers(self) -> dict[str, int]:
        """Returns how many watches are open, by resource."""
        return {plural: len(each.window.watches) for plural, each in self.of.items()}

    async def run(self, faults: Faults) -> None:
        """Follows the store for ever."""
        async with asyncio.TaskGroup() as tasks:
            for cache in self._own:
                tasks.create_task(faults.keep(f"server.{cache.kind.plural}.cache", cache.run))
            for each in self.followed:
                plural = each.window.kind.plural
                tasks.create_task(faults.keep(f"server.{plural}.window", partial(feed, each.window, each.cache)))


def _namespace(store_id: str, name: str) -> Object:
    """Returns a namespace of a store: the same one at each of its servers."""
    uid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{store_id}/namespaces/{name}"))
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": uid,
            "creationTimestamp": SINCE_EVER,
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
    return Object(key=Key(NAMESPACE, name), uid=uid, revision=FIXED_REVISION, document=encoded(manifest), created=SINCE_EVER)
