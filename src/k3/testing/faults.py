"""A store that fails when it is told to: the answer is lost before the real call, or after it has taken effect.

Wraps any Store and breaks none of the laws: to a caller it is a real store behind a bad network.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from k3.core.errors import Unavailable
from k3.core.objects import Key, Kind, Manifest, Object
from k3.core.records import dataclass
from k3.core.store import Event, Page, Store, Watch

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call."""

    delay_seconds: float = 0.0
    refused: bool = False
    """Unavailable, and the store was never asked."""
    lost: bool = False
    """Unavailable, although the store did it."""


FINE: Final = Fault()
REFUSED: Final = Fault(refused=True)
LOST: Final = Fault(lost=True)


def seeded_faults(seed: int, *, refused: float = 0.1, lost: float = 0.1, delay_seconds: float = 0.0) -> Iterator[Fault]:
    """Gives faults for ever, the same for the same seed: with these probabilities, each after up to that delay."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable plan, no secret
    while True:
        draw = chance.random()
        yield Fault(chance.uniform(0.0, delay_seconds), refused=draw < refused, lost=refused <= draw < refused + lost)


class FaultyStore:
    """`inner`, where the n-th call suffers the n-th fault; calls beyond the plan are fine."""

    def __init__(self, inner: Store, faults: Iterable[Fault] = (), *, sleep: Sleep = asyncio.sleep) -> None:
        """`sleep` waits out the delays. `aclose` closes `inner` too."""
        self.inner = inner
        self.calls = 0
        self.down = False
        """While True every call is refused, whatever the plan."""
        self._faults = iter(faults)
        self._sleep = sleep
        self._cut = asyncio.Event()

    def cut_watches(self) -> None:
        """Ends every open watch with Unavailable."""
        self._cut.set()
        self._cut = asyncio.Event()

    @property
    def id(self) -> str:
        """That of `inner`."""
        return self.inner.id

    @property
    def url(self) -> str:
        """That of `inner`."""
        return self.inner.url

    async def get(self, key: Key) -> Object:
        """See `Store.get`."""
        return await self._suffer(lambda: self.inner.get(key))

    async def list(
        self, kind: Kind, *, namespace: str = "", limit: int = 0, after: Key | None = None, at: int | None = None
    ) -> Page:
        """See `Store.list`."""
        return await self._suffer(lambda: self.inner.list(kind, namespace=namespace, limit=limit, after=after, at=at))

    async def create(self, key: Key, manifest: Manifest) -> Object:
        """See `Store.create`."""
        return await self._suffer(lambda: self.inner.create(key, manifest))

    async def update(self, item: Object) -> Object:
        """See `Store.update`."""
        return await self._suffer(lambda: self.inner.update(item))

    async def delete(self, key: Key, *, revision: int | None = None, uid: str | None = None) -> Object:
        """See `Store.delete`."""
        return await self._suffer(lambda: self.inner.delete(key, revision=revision, uid=uid))

    def watch(self, kind: Kind, since: int) -> Watch:
        """See `Store.watch`."""
        return self._watch(kind, since)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self.inner.aclose()

    async def _suffer(self, call: Callable[[], Awaitable[T]]) -> T:
        self.calls += 1
        fault = REFUSED if self.down else next(self._faults, FINE)
        if fault.delay_seconds:
            await self._sleep(fault.delay_seconds)
        if fault.refused:
            msg = "the store did not answer (refused on purpose)"
            raise Unavailable(msg)
        result = await call()
        if fault.lost:
            msg = "the store did not answer (answer lost on purpose)"
            raise Unavailable(msg)
        return result

    @asynccontextmanager
    async def _watch(self, kind: Kind, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        await self._suffer(_nothing)
        async with self.inner.watch(kind, since) as events:
            watch = _CuttableWatch(events, self._cut)
            try:
                yield watch
            finally:
                await watch.aclose()


async def _nothing() -> None:
    """Does nothing: what entering a watch asks of the network before the real watch begins."""


class _CuttableWatch(AsyncIterator[Event]):
    """A watch that ends with Unavailable once `cut` is set. A cancelled read loses nothing."""

    def __init__(self, events: AsyncIterator[Event], cut: asyncio.Event) -> None:
        self._events = events
        self._cut = cut
        self._next: asyncio.Task[Event] | None = None
        # Tasks of this watch alone, which waits for them in `aclose`.
        self._ended = asyncio.create_task(cut.wait(), name="faulty-store-cut")  # noqa: TID251

    async def __anext__(self) -> Event:
        if self._next is None:
            self._next = asyncio.create_task(self._read(), name="faulty-store-watch")  # noqa: TID251
        await asyncio.wait([self._next, self._ended], return_when=asyncio.FIRST_COMPLETED)
        if self._cut.is_set():
            msg = "the watch broke (cut on purpose)"
            raise Unavailable(msg)
        task, self._next = self._next, None
        return await task

    async def aclose(self) -> None:
        tasks = [task for task in (self._next, self._ended) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _read(self) -> Event:
        return await anext(self._events)
