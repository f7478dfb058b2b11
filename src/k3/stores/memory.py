"""`storage.type: memory`: a dict, a counter and a log. The reference for every other backend; read it first.

It lives as long as its process and is seen by no other, which makes it right for tests and demos. A write runs without
an await between looking and storing, so on one event loop it is atomic as it stands. Times come from `clock` alone.
"""

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from k3.core import limits
from k3.core.errors import Expired, NotFound, Unavailable
from k3.core.objects import Key, Kind, Manifest, Object, kind_prefix
from k3.core.records import dataclass
from k3.core.store import Change, Event, Page, Watch
from k3.settings.parsing import Fields
from k3.stores.log.fanout import Fanout
from k3.stores.log.writes import Entry, Write, apply, new_create, new_delete, new_update

TYPE: Final = "memory"
EXAMPLE: Final = "memory://"
ALIASES: Final[tuple[str, ...]] = ("mem", "ram")
FIELDS: Final[Fields] = {}
PACKAGES: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class MemoryStorage:
    """`storage.type: memory`: this process only. See `settings.structs.Storage`."""

    type = TYPE
    url = "memory://"
    file = None
    is_private = True
    has_password = False


def from_url(_rest: str, _where: str) -> dict[str, Any]:
    """Returns no settings: there are none to give behind `memory://`."""
    return {}


def storage(_settings: Mapping[str, Any], *, default_path: Path, where: str) -> MemoryStorage:  # noqa: ARG001 - see `Backend`
    """Returns the only kind there is."""
    return MemoryStorage()


async def open_store(_storage: MemoryStorage, *, reading: bool = False) -> "MemoryStore":  # noqa: ARG001 - see `Backend`
    """Returns an empty store."""
    return MemoryStore()


@dataclass(frozen=True, slots=True)
class _Line:
    at: float
    entry: Entry


class MemoryStore:
    """A `k3.core.store.Store` in this process's memory."""

    def __init__(self, *, clock: Callable[[], float] = time.time, new_uid: Callable[[], str] = lambda: str(uuid4())) -> None:
        """`clock` gives seconds since 1970, `new_uid` a text never given before."""
        self._clock = clock
        self._new_uid = new_uid
        self._id = new_uid()
        self._objects: dict[Key, Object] = {}
        # Numbering begins at the milliseconds since 1970: a revision handed out before a restart is then older than
        # everything kept here, and resuming from it is Expired instead of silently incomplete.
        self._revision = self._compacted = int(clock() * 1000)
        self._log: deque[_Line] = deque()
        self._fanout = Fanout(self._revision)
        self._closed = False

    @property
    def id(self) -> str:
        """The store's id, made with it."""
        return self._id

    @property
    def url(self) -> str:
        """A URL that opens an empty store: this one can be reached through this object alone."""
        return "memory://"

    async def get(self, key: Key) -> Object:
        """See `Store.get`."""
        self._check_open()
        try:
            return self._objects[key]
        except KeyError:
            msg = f"{key} not found"
            raise NotFound(msg) from None

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """See `Store.list`."""
        self._check_open()
        revision = self._revision if at is None else at
        self._check_kept(revision)
        prefix, behind = kind_prefix(kind, namespace), after.path if after else ""
        state = {key.path: item for key, item in self._as_of(revision).items()}
        found = sorted(path for path in state if path.startswith(prefix) and path > behind)
        objects = tuple(state[path] for path in found[: limit or None])
        return Page(objects, revision, objects[-1].key if len(objects) < len(found) else None)

    async def create(self, key: Key, manifest: Manifest) -> Object:
        """See `Store.create`."""
        return self._commit(new_create(key, manifest, uid=self._new_uid(), now=self._clock()))

    async def update(self, item: Object) -> Object:
        """See `Store.update`."""
        return self._commit(new_update(item))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        """See `Store.delete`."""
        return self._commit(new_delete(key, revision=revision, uid=uid))

    def watch(self, kind: Kind, since: int) -> Watch:
        """See `Store.watch`."""
        return self._watch(kind, since)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        self._closed = True
        self._fanout.cut(Unavailable, "the store was closed")

    def _commit(self, write: Write) -> Object:
        self._check_open()
        entry = apply(write, self._objects.get(write.key), self._revision + 1)
        if entry is None:
            return self._objects[write.key]
        self._revision = entry.revision
        self._log.append(_Line(self._clock(), entry))
        if entry.change.type == "DELETED":
            del self._objects[entry.key]
        else:
            self._objects[entry.key] = entry.change.object
        self._compact()
        self._fanout.publish([entry.change], entry.revision)
        return entry.change.object

    def _as_of(self, revision: int) -> dict[Key, Object]:
        state = dict(self._objects)
        for line in islice(reversed(self._log), self._revision - revision):
            if line.entry.previous is None:
                del state[line.entry.key]
            else:
                state[line.entry.key] = line.entry.previous
        return state

    @asynccontextmanager
    async def _watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        self._check_open()
        self._check_kept(since)
        with self._fanout.subscribe(kind, since, self._replay) as events:
            yield events

    async def _replay(self, kind: Kind, since: int, until: int) -> tuple[Sequence[Change], int]:
        self._check_kept(since)
        lines = islice(self._log, since - self._compacted, until - self._compacted)
        return [line.entry.change for line in lines if line.entry.key.kind == kind], until

    def _compact(self) -> None:
        oldest = self._clock() - limits.HISTORY_SECONDS
        while len(self._log) > limits.HISTORY_REVISIONS and self._log[0].at < oldest:
            self._compacted = self._log.popleft().entry.revision

    def _check_kept(self, revision: int) -> None:
        if revision < self._compacted:
            msg = f"revision {revision} is no longer kept (oldest: {self._compacted}): list again"
            raise Expired(msg)
        if revision > self._revision:
            msg = f"revision {revision} is not of this store, which is at {self._revision}: list again"
            raise Expired(msg)

    def _check_open(self) -> None:
        if self._closed:
            msg = "the store was closed"
            raise Unavailable(msg)
