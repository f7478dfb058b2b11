"""The verbs of a Store on etcd: each write is one transaction on one key, on condition of the revision that was read.

    create  if there is no such key: put
    update  if it is still at the revision read: put
    delete  if it is still at the revision read: delete
            else, in the same round trip: how it stands now

Where a write is refused, the truth comes back with the refusal, and `k3.stores._writes.apply` says what that means. No
transaction touches two objects: they would share a revision.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from k3.config import EtcdStorage
from k3.core import limits
from k3.core.errors import AlreadyExists, Conflict, Expired, NotFound, Unavailable
from k3.core.objects import Key, Kind, Manifest, Object
from k3.core.store import Event, Page, Watch
from k3.stores._writes import Update, apply, is_storable, new_delete, new_update
from k3.stores.etcd import messages, troubles
from k3.stores.etcd.client import Client, Replaced
from k3.stores.etcd.compaction import Compactor
from k3.stores.etcd.documents import Documents, metadata_of, new_document
from k3.stores.etcd.following import Following
from k3.stores.etcd.messages import Message
from k3.stores.etcd.remembered import Remembered

T = TypeVar("T")

log = logging.getLogger(__name__)

_RACES: Final = 16


class EtcdStore:
    """A `k3.core.store.Store` in an etcd cluster."""

    def __init__(
        self,
        storage: EtcdStorage,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clock` gives seconds since 1970, `random` picks the member to begin with, `sleep` waits between compactions."""
        self._storage = storage
        self._clock = clock
        self._client = Client(storage, random=random or Random())  # noqa: S311 - spreads load, guards nothing
        self._notes = f"{storage.prefix}/k3"
        self._compactor = Compactor(self._client, f"{self._notes}/compaction".encode(), sleep=sleep)
        self._documents = Documents(storage.prefix, UUID(int=0))
        self._remembered = Remembered()
        self._watches: set[Following] = set()
        self._group = asyncio.TaskGroup()
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect, log in, learn or make the store's id. Raises Unavailable, Forbidden."""
        await self._client.open()
        await self._identify()
        started = asyncio.Event()
        # Owned by this store, which waits for it in `aclose`.
        self._running = asyncio.create_task(self._run(started), name="k3-etcd")  # noqa: TID251
        await started.wait()

    @property
    def id(self) -> str:
        """Kept under the prefix, made by whoever came first."""
        return str(self._documents.store_id)

    @property
    def url(self) -> str:
        """Opens the same store, given the same certificates and the password."""
        hosts = ",".join(url.partition("://")[2] for url in self._storage.endpoints)
        user = f"{self._storage.username}@" if self._storage.username else ""
        return f"etcd://{user}{hosts}{self._storage.prefix}"

    async def get(self, key: Key) -> Object:
        """See `Store.get`."""
        return await self._in_time(self._get(key))

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """See `Store.list`."""
        if at is not None and at <= 0:
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
            response = await self._in_time(self._client.read(messages.RANGE, request))
            revision, more = revision or response.header.revision, response.more
            found += [item for item in map(self._documents.read, response.kvs) if item is not None]
            if response.kvs:
                start = response.kvs[-1].key + b"\0"
        return Page(tuple(found), revision, found[-1].key if more and found else None)

    async def create(self, key: Key, manifest: Manifest) -> Object:
        """See `Store.create`."""
        document, created = new_document(key, manifest, now=self._clock())
        response = await self._in_time(self._put(key, document, revision=0))
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
        return await self._in_time(self._update(new_update(item)))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        """See `Store.delete`."""
        return await self._in_time(self._delete(key, revision, uid))

    def watch(self, kind: Kind, since: int) -> Watch:
        """See `Store.watch`."""
        return self._watch(kind, since)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        self._closed = True
        for watch in self._watches:
            watch.end(Unavailable(troubles.CLOSED))
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        await self._client.aclose()
