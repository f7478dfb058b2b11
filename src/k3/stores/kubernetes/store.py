"""The verbs of a Store on a Kubernetes API: each is one request, on condition of the uid and revision that were read.

    create  POST                    update  PUT of the Node's status, which takes the metadata along, or of the object
    delete  DELETE, preconditions           and both, one after the other, where spec and status have changed

A Node's status has a path of its own, which never touches the spec (ADR 53).
"""

import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress

from k3.core import limits
from k3.core.documents import decode
from k3.core.errors import Expired, Forbidden, K3Error, NotFound, Unavailable
from k3.core.objects import NODE, Key, Kind, Manifest, Object
from k3.core.store import Change, Event, Page, Watch
from k3.stores.kubernetes import asking, troubles
from k3.stores.kubernetes.asking import Ask
from k3.stores.kubernetes.client import Client, deadline
from k3.stores.kubernetes.credentials import Credentials
from k3.stores.kubernetes.documents import SERVED, Odd, is_name, new_body, read_event, read_object, same_metadata, update_body
from k3.stores.kubernetes.following import Following, lines
from k3.stores.kubernetes.listing import Listing
from k3.stores.kubernetes.settings import KubernetesStorage
from k3.stores.log.writes import UpdateWrite, apply, goes_ahead, new_update
from k3.stores.reader import Reader
from k3.stores.remembered import Remembered
from k3.stores.watches import Watches

log = logging.getLogger(__name__)


class KubernetesStore:
    """A `k3.core.store.Store` behind a Kubernetes API."""

    def __init__(self, storage: KubernetesStorage) -> None:
        """The caller calls `open` next. Raises StartFailed, ConfigInvalid."""
        self._storage = storage
        self._client = Client(Credentials(storage))
        self._listing = Listing(self._client)
        self._remembered = Remembered()
        self._id = ""
        self._watches: Watches[Following] = Watches(storage.url, most=limits.HTTP_REQUESTS, closed=troubles.CLOSED)

    async def open(self) -> None:
        """Learns the store's id, and tries whether Nodes may be read. Raises Unavailable, Forbidden."""
        await self._identify()
        await self._listing.page(NODE, size=1)
        await self._watches.start()

    @property
    def id(self) -> str:
        """The uid of the cluster's namespace kube-system, which is as old as the cluster."""
        return self._id

    @property
    def url(self) -> str:
        """The URL that opens the same store, given the token."""
        return self._storage.url

    @property
    def kinds(self) -> Collection[Kind]:
        """The kinds that a Kubernetes API keeps."""
        return SERVED

    async def facts(self) -> Mapping[str, str]:
        """Returns what the server says of itself: its version, where it tells this client."""
        try:
            found = await self._client.call(Ask(verb="get", resource="/version", path="/version"))
        except Forbidden:
            return {}
        return {"server": f"Kubernetes API {troubles.shown(found.get('gitVersion'))}"}

    async def get(self, key: Key) -> Object:
        """See `Store.get`."""
        self._watches.check_open()
        if not is_name(key):
            msg = f"{str(key)!r} not found"
            raise NotFound(msg)
        return self._remembered.put(await self._asked(asking.get(key), key))

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """See `Store.list`."""
        self._watches.check_open()
        return await self._listing.list(kind, namespace=namespace, limit=limit, after=after, at=at)

    async def create(self, key: Key, manifest: Manifest) -> Object:
        """See `Store.create`."""
        self._watches.check_open()
        return self._remembered.put(await self._asked(asking.created(key, new_body(key, manifest)), key))

    async def update(self, item: Object) -> Object:
        """See `Store.update`. A Node whose spec and status both change is written in two steps (`_written`)."""
        self._watches.check_open()
        if not is_name(item.key):
            msg = f"{str(item.key)!r} not found"
            raise NotFound(msg)
        write = new_update(item)
        # What is remembered may be old: it may save the read before a write, but decides no answer.
        former = self._remembered.get(item.key, item.revision)
        if former is None or not goes_ahead(write, former):
            former = await self.get(item.key)
            if apply(write, former, 0) is None:
                return former
        return self._remembered.put(await self._written(write, former, deadline()))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        """See `Store.delete`. An object with finalizers stays, marked as being deleted, until they are gone."""
        former = await self.get(key)
        ask = asking.deleted(key, revision=revision, uid=uid)
        found = await self._client.call(ask)
        self._remembered.drop(key)
        metadata = found.get("metadata") if found.get("kind") == key.kind.name else None
        if isinstance(metadata, dict) and metadata.get("deletionTimestamp") and metadata.get("finalizers"):
            return self._read(found, ask, key)
        return await self._deleted(former)

    def watch(self, kind: Kind, since: int) -> Watch:
        """See `Store.watch`."""
        return self._watch(kind, since)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._watches.aclose()
        await self._client.aclose()

    # --- writes

    async def _written(self, write: UpdateWrite, former: Object, until: float) -> Object:
        """Writes what has changed.

        A Node's metadata go with its status, in one request. Where the spec has changed too, it goes first, with the metadata:
        what a reader sees in between is true, as the status says nothing of them. If the second request fails, the first has
        happened: the caller reads again, and writes what is missing.
        """
        item, wanted = write.item, write.manifest
        before, revision = decode(former.document), item.revision
        has_status = item.key.kind == NODE and wanted.get("status") != before.get("status")
        done: Object | None = None
        if not has_status or _rest(wanted) != _rest(before):
            done = await self._put(item, wanted, revision, "", until)
            revision = done.revision
        if has_status:
            done = await self._put(item, wanted, revision, "status", until)
            if not same_metadata(decode(done.document).get("metadata"), wanted.get("metadata")):
                done = await self._put(item, wanted, done.revision, "", until)  # this server leaves them to the object itself
        assert done is not None  # noqa: S101 - one of the two was done
        return done

    async def _put(self, item: Object, manifest: Manifest, revision: int, part: str, until: float) -> Object:
        body = update_body(item, manifest, revision=revision)
        return await self._asked(asking.replaced(item.key, body, part=part), item.key, until=until)

    async def _deleted(self, former: Object) -> Object:
        """Returns the last state at the revision of the delete: the server says of it only in a watch."""
        ask = asking.watched(
            former.key.kind,
            resourceVersion=str(former.revision),
            fieldSelector=f"metadata.name={former.key.name}",
            timeoutSeconds=str(int(limits.STORE_TIMEOUT_SECONDS)),
        )
        with suppress(K3Error, Odd):
            async with self._client.stream(ask) as pieces:
                async for line in lines(pieces):
                    event = read_event(line, former.key.kind)
                    if isinstance(event, Change) and event.type == "DELETED" and event.object.key == former.key:
                        return event.object
        newest = (await self._listing.page(former.key.kind, size=1)).revision
        return Object(key=former.key, uid=former.uid, revision=newest, document=former.document, created=former.created)

    # --- one request

    async def _asked(self, ask: Ask, key: Key, *, until: float = 0.0) -> Object:
        return self._read(await self._client.call(ask, until=until), ask, key)

    def _read(self, found: Manifest, ask: Ask, key: Key) -> Object:
        """Returns the object that an answer is. Raises Unavailable where it is another one."""
        try:
            item = read_object(found, key.kind)
        except Odd as why:
            raise troubles.odd_answer(why, ask, self._client.asker) from None
        if item.key != key:
            raise troubles.odd_answer(Odd(f"it is about {item.key}"), ask, self._client.asker)
        return item

    # --- watches, and the store itself

    @asynccontextmanager
    async def _watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        self._watches.check_room()
        if kind not in SERVED:
            yield Reader(since)  # nothing ever comes but bookmarks
            return
        watch = Following(self._client, self._listing, kind, max(since, 0), on_resume=self._identify)
        async with self._watches.filling(watch, watch.run):
            await watch.is_open()
            yield watch

    async def _identify(self) -> None:
        """Learns the store's id. Where it is not the one of before, what was known of the old store is dropped."""
        ask = asking.STORE_ID
        try:
            found = await self._client.call(ask)
        except NotFound:
            msg = f"{self._client.asker.url} has no namespace kube-system: is it the address of a whole Kubernetes API?"
            raise Unavailable(msg) from None
        metadata = found.get("metadata")
        uid = metadata.get("uid") if isinstance(metadata, dict) else None
        if not isinstance(uid, str) or not uid or len(uid) > limits.UID_CHARACTERS or not uid.isprintable():
            raise troubles.odd_answer(Odd("its namespace kube-system has no uid"), ask, self._client.asker)
        former, self._id = self._id, uid
        if former in {"", uid}:
            return
        self._remembered.clear()
        self._listing.clear()
        self._watches.end(Expired("another cluster answers than before: list again"))


def _rest(manifest: Manifest) -> Manifest:
    """Returns what neither the status' path takes nor the server sets."""
    return {name: value for name, value in manifest.items() if name not in {"apiVersion", "kind", "metadata", "status"}}
