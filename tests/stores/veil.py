"""A store whose Nodes, Events and Leases are all valid ones, whatever a test of the Store's laws writes into them.

The suites write documents that no API with a schema takes (`{"n": 0}`). The veil keeps such a document, word for word, in an
annotation of a valid object, compressed, and a sign of it in a Node's conditions, so that status and metadata change together.
All else is the store's own doing: revisions, uids, conflicts, lists, watches.
"""

import base64
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from k3.core.documents import decode, same_json
from k3.core.objects import EVENT, NODE, Key, Kind, Manifest, Object
from k3.core.store import Change, Event, Page, Store, Watch
from k3.stores.etcd.documents import new_document
from k3.stores.log.writes import new_update

MARK: Final = "k3.test/document"


class Veiled:
    """`inner`, seen through the veil."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def id(self) -> str:
        return self.inner.id

    @property
    def url(self) -> str:
        return self.inner.url

    async def get(self, key: Key) -> Object:
        return shown(await self.inner.get(key))

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        page = await self.inner.list(kind, namespace=namespace, limit=limit, after=after, at=at)
        return replace(page, objects=tuple(shown(item) for item in page.objects if is_veiled(item)))

    async def create(self, key: Key, manifest: Manifest) -> Object:
        document, _ = new_document(key, manifest, now=0)
        return shown(await self.inner.create(key, veiled(key, document)))

    async def update(self, item: Object) -> Object:
        wanted = new_update(item).manifest
        stored = await self.inner.get(item.key)
        document = item.document
        if is_veiled(stored) and same_json(decode(shown(stored).document), wanted):
            document = shown(stored).document
        hidden = stored.with_manifest(merged(stored.manifest(), veiled(item.key, document)))
        return shown(await self.inner.update(replace(hidden, uid=item.uid, revision=item.revision)))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        return shown(await self.inner.delete(key, revision=revision, uid=uid))

    def watch(self, kind: Kind, since: int) -> Watch:
        return self._watch(kind, since)

    async def aclose(self) -> None:
        await self.inner.aclose()

    @asynccontextmanager
    async def _watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        async with self.inner.watch(kind, since) as events:
            yield _Shown(events)


class _Shown(AsyncIterator[Event]):
    """A watch's events. A cancelled read loses nothing."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self._events = events

    async def __anext__(self) -> Event:
        event = await anext(self._events)
        return Change(event.type, shown(event.object)) if isinstance(event, Change) else event


def veiled(key: Key, document: bytes) -> Manifest:
    """Returns a valid object that carries a document."""
    text = base64.b64encode(zlib.compress(document)).decode()
    found: Manifest = {"metadata": {"annotations": {MARK: text}}}
    if key.kind == NODE:
        sign = {"type": "Ready", "status": "True", "reason": f"n{zlib.crc32(document)}", "message": "m"}
        found["status"] = {"conditions": [sign]}
    if key.kind == EVENT:
        found["involvedObject"] = {"kind": "Pod", "namespace": key.namespace, "name": "p"}
        found |= {"reason": "Test", "message": "m", "type": "Normal"}
    return found


def merged(stored: Manifest, wanted: Manifest) -> Manifest:
    """Returns what is stored, with the document and the sign of another."""
    return {**stored, **wanted, "metadata": {**stored["metadata"], **wanted["metadata"]}}


def is_veiled(item: Object) -> bool:
    """Whether it carries a document: a cluster writes objects of its own."""
    return MARK in (item.manifest()["metadata"].get("annotations") or {})


def shown(item: Object) -> Object:
    """Returns the object that a veiled one carries; another one as it is."""
    if not is_veiled(item):
        return item
    document = zlib.decompress(base64.b64decode(item.manifest()["metadata"]["annotations"][MARK]))
    return replace(item, document=document)
