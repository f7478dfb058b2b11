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
NAMESPACES: Final = {"a": "kube-node-lease", "b": "kube-public", "c": "kube-system", "other": "kube-system"}
"""An API has namespaces of its own, in the same order; those of the suites stand for them."""
_BACK: Final = {"kube-node-lease": "a", "kube-public": "b", "kube-system": "other"}


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
        return shown(await self.inner.get(there(key)))

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        place = NAMESPACES.get(namespace, namespace)
        behind = there(after) if after else None
        page = await self.inner.list(kind, namespace=place, limit=limit, after=behind, at=at)
        objects = tuple(shown(item) for item in page.objects if is_veiled(item))
        return replace(page, objects=objects, after=here(page.after) if page.after else None)

    async def create(self, key: Key, manifest: Manifest) -> Object:
        document, _ = new_document(key, manifest, now=0)
        return shown(await self.inner.create(there(key), veiled(there(key), document)))

    async def update(self, item: Object) -> Object:
        wanted = new_update(item).manifest
        stored = await self.inner.get(there(item.key))
        document = item.document
        if is_veiled(stored) and same_json(decode(shown(stored).document), wanted):
            document = shown(stored).document
        hidden = stored.with_manifest(merged(stored.manifest(), veiled(there(item.key), document)))
        return shown(await self.inner.update(replace(hidden, uid=item.uid, revision=item.revision)))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        return shown(await self.inner.delete(there(key), revision=revision, uid=uid))

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
    return replace(item, key=here(item.key), document=document)


def there(key: Key) -> Key:
    """Returns the key under which the API has an object of the suites."""
    return replace(key, namespace=NAMESPACES.get(key.namespace, key.namespace))


def here(key: Key) -> Key:
    """Returns the suites' key of an object of the API."""
    return replace(key, namespace=_BACK.get(key.namespace, key.namespace))
