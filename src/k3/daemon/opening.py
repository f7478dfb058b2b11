"""The agent's store: waited for at the start, since machines boot in any order, and enduring from then on.

Only silence is waited for. A wrong password, a missing right or package does not get better by waiting, and ends the start.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from k3 import stores
from k3.agent.backoff import Backoff
from k3.core import times
from k3.core.errors import Unavailable
from k3.core.store import Store
from k3.settings.structs import Storage
from k3.stores.enduring import EnduringStore

PATIENCE_SECONDS: Final = 1.0
"""A store that has said nothing for so long is one to be told of."""

AGAIN_SECONDS: Final = 10.0
"""How often a person is told that k3 still waits."""

FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 2.0

NO_ANSWER: Final = "no answer yet"

log = logging.getLogger(__name__)


async def open_store(
    storage: Storage, *, wait_seconds: float, connect: Callable[[Storage], Awaitable[Store]] = stores.connect
) -> Store:
    """Returns the store, as soon as it answers. Raises what `stores.connect` does; Unavailable only after `wait_seconds`."""
    if wait_seconds:
        waiting = _Waiting(storage.url, wait_seconds)
        try:
            store = await waiting.connect(lambda: connect(storage))
        finally:
            waiting.end()
    else:
        store = await connect(storage)
    if storage.is_private:
        advice = "only this process sees these Nodes; any other --store shares them"
        log.warning("store.memory", extra={"fields": {"advice": advice}})
    return EnduringStore(store)


async def open_unless_stopped(stop: asyncio.Future[int], storage: Storage, *, wait_seconds: float) -> Store | None:
    """As `open_store`, its errors in a group; None where the process was told to stop meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(open_store(storage, wait_seconds=wait_seconds))
        stop.add_done_callback(lambda _: task.cancel())
        await asyncio.wait([task])
    return None if task.cancelled() else task.result()


class _Waiting:
    """One wait for a store that tells a person that it waits, at once and then now and again."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._why = NO_ANSWER
        self._is_told = False
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + seconds
        self._timer = self._loop.call_later(PATIENCE_SECONDS, self._tell)

    async def connect(self, connect: Callable[[], Awaitable[Store]]) -> Store:
        """Tries until the store answers, or the time is over."""
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=random.random)
        while True:
            try:
                store = await connect()
            except Unavailable as error:
                pause = backoff.next_seconds()
                if self._loop.time() + pause > self._until:
                    msg = f"{error} (waited {times.duration(self._seconds)}: --store-wait)"
                    raise Unavailable(msg) from error
                self._failed(str(error))
            else:
                if self._is_told:
                    log.info("store.found", extra={"fields": {"store": store.url}})
                return store
            await asyncio.sleep(pause)

    def end(self) -> None:
        """Says no more."""
        self._timer.cancel()

    def _failed(self, why: str) -> None:
        is_news, self._why = self._why == NO_ANSWER, why
        if is_news:
            self._timer.cancel()
            self._tell()

    def _tell(self) -> None:
        self._is_told = True
        left = times.duration(max(0.0, round(self._until - self._loop.time())))
        fields = {"store": self._url, "why": self._why, "for": left, "advice": "--store-wait says how long to wait"}
        log.warning("store.waiting", extra={"fields": fields})
        self._timer = self._loop.call_later(AGAIN_SECONDS, self._tell)
