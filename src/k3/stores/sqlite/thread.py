"""One SQLite connection and the one thread that may touch it, so that a slow disk never stops the event loop.

A job that fails costs the connection: it is closed, and the next job opens another. So a database file
that was deleted or replaced is opened anew; a connection that waits for jobs looks now and then whether its own was.
Only Expired is an answer and no failure.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.errors import Expired, Unavailable
from k3.core.records import dataclass
from k3.stores.sqlite.database import Database

T = TypeVar("T")
LOOK_SECONDS: Final = 1.0
"""How often an idle connection looks whether its files are still there. Others wait for it: see `DatabaseFile.connect`."""
Job = Callable[[Database], T]


@dataclass(frozen=True, slots=True)
class _Queued:
    job: Job[Any]
    answer: asyncio.Future[Any]


class ConnectionThread:
    """Runs jobs one after the other, each on the same open connection."""

    def __init__(self, name: str, connect: Callable[[], Database]) -> None:
        """`connect` is called, on the thread, before the first job and again after one that failed."""
        self._connect = connect
        self._connection: Database | None = None
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Queued | None] = queue.SimpleQueue()
        self._ended = asyncio.Event()
        # A daemon, so that a disk that never answers cannot keep the process from ending.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._closing = False
        self._current: _Queued | None = None

    async def run(self, job: Job[T]) -> T:
        """Returns the job's result, or raises its error; Unavailable after `limits.STORE_TIMEOUT_SECONDS`, or once closed."""
        if self._closing or self._queue.qsize() >= limits.SQLITE_JOBS:
            raise Unavailable("the store was closed" if self._closing else "too much is waiting for the disk")
        if self._thread.ident is None:
            self._thread.start()
        queued: _Queued = _Queued(job, self._loop.create_future())
        self._queue.put(queued)
        try:
            async with time_limit(limits.STORE_TIMEOUT_SECONDS):
                result: T = await queued.answer
                return result
        except TimeoutError:
            if self._current is queued:  # else it would stop another caller's statement
                self._interrupt()
            msg = f"no answer from the disk for {limits.STORE_TIMEOUT_SECONDS:g} s"
            raise Unavailable(msg) from None

    async def aclose(self) -> None:
        """Finishes what was begun, closes the connection and ends the thread; gives up after `limits.SHUTDOWN_SECONDS`."""
        self._closing = True
        if self._thread.ident is None:
            return
        self._queue.put(None)
        try:
            async with time_limit(limits.SHUTDOWN_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self._interrupt()
            return
        self._thread.join(limits.SHUTDOWN_SECONDS)

    def _interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def _serve(self) -> None:
        while (queued := self._next()) is not None:
            if not queued.answer.done():  # its caller gave up while it waited: so nothing of it was begun
                self._current = queued
                self._do(queued)
                self._current = None
        self._drop()
        self._post(self._ended.set)

    def _next(self) -> _Queued | None:
        while True:
            try:
                return self._queue.get(timeout=LOOK_SECONDS if self._connection else None)
            except queue.Empty:
                if self._connection is not None and self._connection.is_lost():
                    self._drop()

    def _do(self, queued: _Queued) -> None:
        try:
            if self._connection is not None and self._connection.is_stale():
                self._drop()
            if self._connection is None:
                self._connection = self._connect()
            result = queued.job(self._connection)
        except BaseException as error:  # noqa: BLE001 - handed to the caller
            if not isinstance(error, Expired):
                self._drop()
            self._post(_settle, queued.answer.set_exception, error)
        else:
            self._post(_settle, queued.answer.set_result, result)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            return  # the loop is closed, and no caller waits any more


def _settle(settle: Callable[[Any], None], value: object) -> None:
    try:
        settle(value)
    except asyncio.InvalidStateError:
        return  # the caller gave up meanwhile
