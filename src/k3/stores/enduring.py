"""A store as an agent uses it once it has started: whatever it answers, the agent goes on (ADR 21).

What a verb may answer by the port (a conflict, an expired revision) passes, and so does the refusal of a single write to a
user who may write others. All else is Unavailable, with the remedy in its
text: no answer, a right that was taken away, a locked account, an expired certificate, another program's table, and a fault
of k3's own. So the rest of the agent needs to know no backend's errors.

An outage is one warning when it begins and one line when it is over, however many verbs and watches fail in between. A
refusal that follows silence is logged too, once: it says what to do. Where a store took no writes (a full disk, a server that
only reads), a change that somebody else has written ends that too: this agent may have nothing to write for long.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal, TypeVar

from k3.core.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Invalid,
    K3Error,
    NotFound,
    NotPermitted,
    TooLarge,
    Unavailable,
)
from k3.core.objects import Key, Kind, Manifest, Object
from k3.core.store import Change, Event, Page, Store, Watch

T = TypeVar("T")

Side = Literal["reads", "writes"]
_ANSWERS: Final[dict[Side, tuple[type[K3Error], ...]]] = {
    "reads": (NotFound, Expired),
    "writes": (NotFound, AlreadyExists, Conflict, TooLarge, Invalid),
}

QUIET_SECONDS: Final = 2.0
"""How long no write of this process may have failed before one of somebody else's says that the store takes writes: a watch
may be late with what was written before."""

log = logging.getLogger(__name__)


class EnduringStore:
    """`inner`, whose every failure is Unavailable."""

    def __init__(self, inner: Store) -> None:
        """`aclose` closes `inner` too."""
        self.inner = inner
        self._failing: set[Side] = set()
        self._refusing: set[Side] = set()
        """Whether a refusal has been told: silence may come before it, as where a session ends."""
        self._faults: set[type[Exception]] = set()
        self._write_failed_at = 0.0
        """By the event loop's clock."""

    @property
    def id(self) -> str:
        """That of `inner`."""
        return self.inner.id

    @property
    def url(self) -> str:
        """That of `inner`."""
        return self.inner.url

    @property
    def takes_writes(self) -> bool:
        """Whether no write fails now, nor the reads without which there is none."""
        return not self._failing

    async def get(self, key: Key) -> Object:
        """See `Store.get`."""
        return await self.answer("reads", self.inner.get(key))

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """See `Store.list`."""
        return await self.answer("reads", self.inner.list(kind, namespace=namespace, limit=limit, after=after, at=at))

    async def create(self, key: Key, manifest: Manifest) -> Object:
        """See `Store.create`."""
        return await self.answer("writes", self.inner.create(key, manifest))

    async def update(self, item: Object) -> Object:
        """See `Store.update`."""
        return await self.answer("writes", self.inner.update(item))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        """See `Store.delete`."""
        return await self.answer("writes", self.inner.delete(key, revision=revision, uid=uid))

    def watch(self, kind: Kind, since: int) -> Watch:
        """See `Store.watch`."""
        return self._watch(kind, since)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self.inner.aclose()

    async def answer(self, side: Side, work: Awaitable[T]) -> T:
        """Returns what the store answers. Raises only what the port allows, and Unavailable."""
        try:
            result = await work
        except _ANSWERS[side]:
            self._answered(side)
            raise
        except (NotPermitted, StopAsyncIteration):  # neither says whether another write would be taken
            raise
        except Exception as error:
            raise self._failed(side, error) from error
        self._answered(side)
        return result

    @asynccontextmanager
    async def _watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        async with AsyncExitStack() as stack:
            events = await self.answer("reads", stack.enter_async_context(self.inner.watch(kind, since)))
            yield _Events(self, events)

    def _failed(self, side: Side, error: Exception) -> Unavailable:
        why = str(error) if isinstance(error, K3Error) else f"unexpected {type(error).__name__}: {error}"
        if not isinstance(error, K3Error) and type(error) not in self._faults:
            self._faults.add(type(error))
            log.error("store.failed", extra={"fields": {"store": self.url}}, exc_info=error)
        is_refusal = not isinstance(error, Unavailable)
        if not self._failing or (is_refusal and not self._refusing):
            log.warning("store.lost", extra={"fields": {"store": self.url, "why": why}})
        self._failing.add(side)
        if side == "writes":
            self._write_failed_at = asyncio.get_running_loop().time()
        if is_refusal:
            self._refusing.add(side)
        return Unavailable(why)

    def shown(self, event: Event) -> None:
        """Takes in what a watch shows: a change was written by somebody. What this user may not do says nothing of others."""
        if not isinstance(event, Change) or "writes" not in self._failing or "writes" in self._refusing:
            return
        if asyncio.get_running_loop().time() - self._write_failed_at >= QUIET_SECONDS:
            self._answered("writes")

    def _answered(self, side: Side) -> None:
        """Ends an outage, if it is over: any success ends one of all, only a write ends one of writes alone (a full disk)."""
        if side not in self._failing:
            return
        if side == "writes":
            self._failing.discard(side)
            self._refusing.discard(side)
        elif side in self._refusing or "writes" not in self._refusing:
            self._failing.clear()
            self._refusing.clear()
        else:
            self._failing.discard(side)
        if not self._failing:
            log.info("store.found", extra={"fields": {"store": self.url}})


class _Events(AsyncIterator[Event]):
    """A watch's events. A cancelled read loses nothing."""

    def __init__(self, store: EnduringStore, events: AsyncIterator[Event]) -> None:
        self._store = store
        self._events = events

    async def __anext__(self) -> Event:
        event = await self._store.answer("reads", anext(self._events))
        self._store.shown(event)
        return event
