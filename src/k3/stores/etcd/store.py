"""The verbs of a Store on etcd: each write is one transaction on one key, on condition of the revision that was read.

    create  if there is no such key: put
    update  if it is still at the revision read: put
    delete  if it is still at the revision read: delete
            else, in the same round trip: how it stands now

Where a write is refused, the truth comes back with the refusal, and `k3.stores.log.writes.apply` says what that means. No
transaction touches two objects: they would share a revision.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from k3.core import limits
from k3.core.errors import AlreadyExists, Conflict, Damaged, Expired, Invalid, K3Error, NotFound
from k3.core.objects import Key, Kind, Manifest, Object
from k3.core.store import Event, Page, Watch
from k3.stores.etcd import messages, troubles
from k3.stores.etcd.client import Client, Replaced, deadline
from k3.stores.etcd.compaction import Compactor
from k3.stores.etcd.documents import Documents, metadata_of, new_document
from k3.stores.etcd.following import Following
from k3.stores.etcd.messages import Message
from k3.stores.etcd.settings import EtcdStorage
from k3.stores.log.writes import DeleteWrite, UpdateWrite, apply, goes_ahead, is_storable, new_delete, new_update
from k3.stores.remembered import Remembered
from k3.stores.watches import Watches

T = TypeVar("T")

log = logging.getLogger(__name__)

_RACES: Final = 16
"""Attempts at a delete without a revision, while others change the object."""


class EtcdStore:
    """A `k3.core.store.Store` in an etcd cluster."""

    def __init__(
        self,
        storage: EtcdStorage,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        new_uid: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        """`clock` gives seconds since 1970, `random` picks the member to begin with, `sleep` waits between compactions.

        `new_uid` gives a UUID never given before. The caller calls `open` next.
        """
        self._storage = storage
        self._clock = clock
        self._new_uid = new_uid
        self._client = Client(storage, random=random or Random())  # noqa: S311 - spreads load, guards nothing
        self._notes = f"{storage.prefix}/k3"
        self._compactor = Compactor(self._client, f"{self._notes}/compaction".encode(), sleep=sleep)
        self._documents = Documents(storage.prefix, UUID(int=0))  # until `open` has learnt the id
        self._remembered = Remembered()
        self._watches: Watches[Following] = Watches(storage.url, most=limits.WATCHERS, closed=troubles.CLOSED)

    async def open(self) -> None:
        """Connects, logs in, and learns or makes the store's id. Raises Unavailable, Forbidden."""
        await self._client.open()
        await self._identify()
        await self._watches.start(*([self._compactor.run] if self._storage.compact else []))

    @property
    def id(self) -> str:
        """The store's id: kept under the prefix, and made by the process that came first."""
        return str(self._documents.store_id)

    @property
    def url(self) -> str:
        """The URL that opens the same store, given the password."""
        return self._storage.url

    async def get(self, key: Key) -> Object:
        """See `Store.get`."""
        return await self._answered(self._get(key, deadline()))

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """See `Store.list`."""
        if at is not None and at <= 0:  # to etcd, 0 means the newest revision
            msg = f"revision {at} is not of this store: list again"
            raise Expired(msg)
        start, end = self._documents.span(kind, namespace)
        if after is not None:
            start = max(start, self._documents.path(after) + b"\0")
        found: list[Object] = []
        revision, more = at or 0, True
        while more and (not limit or len(found) < limit):
            size = min(limits.LIST_PAGE, limit - len(found)) if limit else limits.LIST_PAGE
            request = messages.RangeRequest(key=start, range_end=end, limit=size, revision=revision)
            response = await self._answered(self._client.read(messages.RANGE, request))
            # The pages behind the first one are read as of its revision: together they are one snapshot.
            revision, more = revision or response.header.revision, response.more
            found += [item for item in map(self._documents.read, response.kvs) if item is not None]
            if response.kvs:
                start = response.kvs[-1].key + b"\0"
        if at is None:
            for watch in (each for each in self._watches if each.kind == kind):
                await watch.ask(revision)
        return Page(tuple(found), revision, found[-1].key if more and found else None)

    async def create(self, key: Key, manifest: Manifest) -> Object:
        """See `Store.create`."""
        document, created = new_document(key, manifest, now=self._clock())
        response = await self._answered(self._put(key, document, revision=0, until=deadline()))
        if not response.succeeded:
            msg = f"{key} already exists"
            raise AlreadyExists(msg)
        revision = response.header.revision
        metadata = {"creationTimestamp": created}
        return self._remembered.put(
            self._documents.made(key, document, revision=revision, create_revision=revision, metadata=metadata)
        )

    async def update(self, item: Object) -> Object:
        """See `Store.update`."""
        return await self._answered(self._update(new_update(item), deadline()))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        """See `Store.delete`."""
        return await self._answered(self._delete(new_delete(key, revision=revision, uid=uid), deadline()))

    def watch(self, kind: Kind, since: int) -> Watch:
        """See `Store.watch`."""
        return self._watch(kind, since)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._watches.aclose()
        await self._client.aclose()

    # --- writes

    async def _put(self, key: Key, document: bytes, *, revision: int, until: float) -> Message:
        request = messages.put_if(self._documents.path(key), document, revision=revision)
        return await self._client.write(messages.TXN, request, until=until)

    async def _update(self, write: UpdateWrite, until: float) -> Object:
        # What is remembered may be old: it may save the read before a write, but decides no answer. An update that would be
        # refused, or would change nothing, is judged by what etcd holds now.
        item, known = write.item, self._remembered.get(write.key, write.item.revision)
        former = known or await self._get(write.key, until)
        if known is not None and not goes_ahead(write, known):
            former = await self._get(write.key, until)
        if apply(write, former, 0) is None:
            return former
        metadata = _checked_metadata(item)
        response = await self._put(item.key, item.document, revision=item.revision, until=until)
        if not response.succeeded:
            raise self._refusal(write, response)
        stored = self._documents.updated(former, item.document, metadata=metadata, revision=response.header.revision)
        if stored is None:
            return await self._get(item.key, until)
        return self._remembered.put(stored)

    async def _delete(self, write: DeleteWrite, until: float) -> Object:
        former = self._remembered.get(write.key, write.revision or 0) or await self._get(write.key, until)
        for _ in range(_RACES):
            if not goes_ahead(write, former):
                former = await self._get(write.key, until)
                apply(write, former, 0)
            request = messages.delete_if(self._documents.path(write.key), revision=former.revision)
            response = await self._client.write(messages.TXN, request, until=until)
            if response.succeeded:
                self._remembered.drop(write.key)
                return replace(former, revision=response.header.revision)  # the last state, at the revision of the delete
            truth = self._read_instead(response)
            apply(write, truth, 0)
            assert truth is not None  # noqa: S101 - otherwise `apply` has raised
            former = truth
        msg = f"{write.key}: lost {_RACES} races in a row against other writers"
        raise Conflict(msg)

    def _refusal(self, write: UpdateWrite, response: Message) -> K3Error:
        """Returns why the transaction was refused, by what it found instead."""
        try:
            apply(write, self._read_instead(response), 0)
        except K3Error as error:
            return error
        return Conflict(f"{write.key} was changed by somebody else; read it again")

    def _read_instead(self, response: Message) -> Object | None:
        kv = messages.found_instead(response)
        return self._documents.read(kv) if kv is not None else None

    # --- reads

    async def _get(self, key: Key, until: float) -> Object:
        found = None
        if is_storable(key):
            response = await self._client.read(
                messages.RANGE, messages.RangeRequest(key=self._documents.path(key)), until=until
            )
            found = self._documents.read(response.kvs[0]) if response.kvs else None
        if found is None:
            self._remembered.drop(key)
            msg = f"{key} not found"
            raise NotFound(msg)
        return self._remembered.put(found)

    @asynccontextmanager
    async def _watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        self._watches.check_room()
        watch = Following(self._client, self._documents, kind, since, on_resume=self._identify)
        await watch.open()
        async with self._watches.filling(watch, watch.run):
            yield watch

    # --- the store itself

    async def _identify(self) -> None:
        """Learns or makes the store's id. Where it is not the one of before, what was known of the old store is dropped."""
        key = f"{self._notes}/store-id".encode()
        response = await self._client.read(messages.RANGE, messages.RangeRequest(key=key))
        value = response.kvs[0].value if response.kvs else await self._make_id(key)
        try:
            store_id = UUID(value.decode())
        except ValueError:
            msg = (
                f"the store in etcd at {self._client.asker().endpoint} is damaged: its key {key.decode()} does not hold a"
                " store's id; remove that key, and k3 makes another"
            )
            raise Damaged(msg) from None
        if store_id == self._documents.store_id:
            return
        self._documents = Documents(self._storage.prefix, store_id)
        self._remembered.clear()
        self._watches.end(Expired("etcd holds another store than before: list again"))

    async def _make_id(self, key: bytes) -> bytes:
        value = self._new_uid().encode()
        response = await self._client.write(messages.TXN, messages.put_if(key, value, revision=0))
        # Of several processes on an empty etcd, one makes the id; the others read it.
        there = None if response.succeeded else messages.found_instead(response)
        return value if there is None else bytes(there.value)

    async def _answered(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns the result. Where another store has answered, learns which one before anything else is asked of it."""
        try:
            return await work
        except Replaced:
            await self._identify()
            raise


def _checked_metadata(item: Object) -> Manifest:
    try:
        return metadata_of(item.document)
    except ValueError as odd:
        msg = f"{item.key} would not be readable: {odd}"
        raise Invalid(msg) from None
