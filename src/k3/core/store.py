"""The Store port: seven verbs, two kinds of event, and the loop that every read-modify-write goes through.

The laws (proven for every backend by `k3.testing.StoreSuite`):

1. Every write takes a strictly larger revision, no two writes share one; one counter per store.
2. `list` then `watch(since=page.revision)` misses nothing and repeats nothing.
3. A watch is ordered, unique, reliable, resumable, bookmarkable. A DELETED change carries the revision of the delete.
4. A gap is always `Expired`, never silence; a slow watcher is cut off, never skipped over.
5. The event and the write are one transaction. Another process's write is seen too.
6. `Unavailable` means outcome unknown: read again before repeating; a write is never blindly repeated.
7. A re-created name has a new uid, and the old uid cannot write to it.
8. An update that changes nothing writes nothing and makes no event.
9. Unknown fields survive every read-modify-write.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, runtime_checkable

from k3.core import limits
from k3.core.errors import Conflict
from k3.core.objects import KINDS, Key, Kind, Manifest, Object
from k3.core.records import dataclass

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write. For DELETED the object is the last state, at the revision of the delete."""

    type: ChangeType
    object: Object


@dataclass(frozen=True, slots=True)
class Bookmark:
    """Every change up to this revision has been delivered."""

    revision: int


Event = Change | Bookmark
Watch = AbstractAsyncContextManager[AsyncIterator[Event]]


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, in key order, all as of one revision. `after` continues it; None means this was the last."""

    objects: tuple[Object, ...]
    revision: int
    after: Key | None = None


class Store(Protocol):
    """Where objects live. Every verb may raise `Unavailable`, and none waits longer than its timeout."""

    @property
    def id(self) -> str:
        """Made once with the store, the same for every process that opens it."""
        ...

    @property
    def url(self) -> str:
        """What `--store` would be to open it again; without any password."""
        ...

    async def get(self, key: Key) -> Object:
        """The newest committed state. Raises NotFound."""
        ...

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """Objects of a kind in key order (of one namespace, if given), at most `limit` (0: all), beginning behind `after`.

        `at` asks for the state as of an earlier page's revision. Raises Expired once that is compacted.
        """
        ...

    async def create(self, key: Key, manifest: Manifest) -> Object:
        """Store a new object under a fresh uid. Raises AlreadyExists, Invalid, TooLarge."""
        ...

    async def update(self, item: Object) -> Object:
        """Replace the object iff its stored revision and uid are still those of `item`.

        Same content: nothing is written and the stored object is returned. Raises Conflict, NotFound, TooLarge.
        """
        ...

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        """Remove the object; given a revision or uid, only that one. Returns the last state at the revision of the delete.

        Raises NotFound, Conflict.
        """
        ...

    def watch(self, kind: Kind, since: int) -> Watch:
        """Changes of a kind behind revision `since`, in order, then for ever as they are committed.

        Entering raises Expired where `since` is compacted or lies in the future; iterating raises Expired where the
        reader fell behind, and Unavailable where the store is gone. Bookmarks come when idle, at least every minute,
        and where the store can tell, soon after others than this kind have changed.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything. Watches end with Unavailable. Closing twice is fine."""
        ...


class Opening(Store, Protocol):
    """A store that has to be opened before it is one."""

    async def open(self) -> None:
        """Connect, and make what is not there yet. Raises StartFailed, Forbidden, Unavailable."""
        ...


async def opened(store: Opening) -> Store:
    """The store, open; where that fails, closed. Raises what `open` raises."""
    try:
        await store.open()
    except BaseException:
        await store.aclose()
        raise
    return store


@runtime_checkable
class Partial(Protocol):
    """A store that keeps some kinds only; a list of any other is empty, and none can be created."""

    @property
    def kinds(self) -> Collection[Kind]:
        """Those that it keeps."""
        ...


def kinds_of(store: Store) -> Collection[Kind]:
    """Returns the kinds that a store keeps."""
    return store.kinds if isinstance(store, Partial) else KINDS


async def pages(store: Store, kind: Kind, *, namespace: str = "", after: Key | None = None) -> AsyncGenerator[Page, None]:
    """All objects of a kind behind `after`, as of one revision, in pages of `limits.LIST_PAGE`. Raises what `list` does."""
    page = await store.list(kind, namespace=namespace, limit=limits.LIST_PAGE, after=after)
    yield page
    while page.after is not None:
        page = await store.list(kind, namespace=namespace, limit=limits.LIST_PAGE, after=page.after, at=page.revision)
        yield page


async def modify(store: Store, key: Key, change: Callable[[Manifest], Manifest | None], *, attempts: int = 16) -> Object:
    """Read, change, write on condition; again whenever another writer was first.

    `change` gets a fresh manifest and returns the new one, or None to leave it. Raises NotFound; Conflict after
    `attempts` lost races.
    """
    for _ in range(attempts):
        current = await store.get(key)
        wanted = change(current.manifest())
        if wanted is None:
            return current
        try:
            return await store.update(current.with_manifest(wanted))
        except Conflict:
            continue
    msg = f"{key}: lost {attempts} races in a row against other writers"
    raise Conflict(msg)
