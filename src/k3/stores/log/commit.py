"""Group commit: callers queue single writes, one task commits whatever has gathered in one transaction.

Under load a commit to disk is shared by hundreds of writes; a lone write does not wait (ADR 4). The engine behind it
(`commit`) decides each write on its own, so that one caller's conflict concerns no other caller. Knows no SQL.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.errors import K3Error, Unavailable
from k3.core.objects import Object
from k3.core.records import dataclass
from k3.stores.log.writes import CreateWrite, UpdateWrite, Write, WriteOutcome

BATCH_WRITES: Final = 500
BATCH_BYTES: Final = 4 * 1024 * 1024

Commit = Callable[[Sequence[Write]], Awaitable[Sequence[WriteOutcome]]]
"""Commits all in one transaction, within its own time limit, and returns an outcome for each, in order.

An exception is the answer to all of them: their outcome is unknown.
"""


@dataclass(frozen=True, slots=True)
class _Waiting:
    write: Write
    answer: asyncio.Future[Object]


class GroupCommit:
    """The queue in front of the one writer."""

    def __init__(self, commit: Commit, *, rest: Callable[[], Awaitable[None]] | None = None) -> None:
        """`rest` runs after each commit, once its callers have their answers; it must not raise."""
        self._commit = commit
        self._rest = rest
        self._closed = ""
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(limits.QUEUE)

    async def submit(self, write: Write) -> Object:
        """Has one write committed. Raises what the engine answered, or Unavailable after `limits.STORE_TIMEOUT_SECONDS`.

        A caller cancelled before its write was begun has written nothing.
        """
        if self._closed:
            raise Unavailable(self._closed)
        waiting = _Waiting(write, asyncio.get_running_loop().create_future())
        try:
            async with time_limit(limits.STORE_TIMEOUT_SECONDS):
                await self._queue.put(waiting)
                return await waiting.answer
        except TimeoutError:
            silence = f"no answer from the store for {limits.STORE_TIMEOUT_SECONDS:g} s"
            why = "is it overloaded, or does somebody hold a lock?"
            msg = f"{write.key}: {silence} ({why}); it may or may not be written"
            raise Unavailable(msg) from None

    async def run(self) -> None:
        """Commits for ever."""
        while True:
            batch = await self._gather()
            try:
                outcomes = await self._commit([waiting.write for waiting in batch])
            except asyncio.CancelledError:
                _refuse(batch, Unavailable("the store was closed; the write may or may not have happened"))
                raise
            except Exception as error:  # noqa: BLE001 - whatever it was, it belongs to the callers, and the next batch goes on
                _refuse(batch, error)
            else:
                for waiting, outcome in zip(batch, outcomes, strict=True):
                    _answer(waiting.answer, outcome)
            if self._rest is not None:
                await self._rest()

    def close(self, why: str) -> None:
        """Answers all who are still in the queue, and all who come later, with Unavailable."""
        self._closed = why
        left: list[_Waiting] = []
        while not self._queue.empty():
            left.append(self._queue.get_nowait())
        _refuse(left, Unavailable(why))

    async def _gather(self) -> list[_Waiting]:
        # It waits for the first write only: what has gathered while the last commit ran is the batch (ADR 4).
        batch: list[_Waiting] = []
        size = 0
        while not batch or (len(batch) < BATCH_WRITES and size < BATCH_BYTES and not self._queue.empty()):
            waiting = await self._queue.get()
            if not waiting.answer.done():  # its caller has not given up meanwhile
                batch.append(waiting)
                size += _size(waiting.write)
        return batch


def _answer(answer: asyncio.Future[Object], outcome: WriteOutcome) -> None:
    if answer.done():
        return
    if isinstance(outcome, K3Error):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def _refuse(batch: Sequence[_Waiting], error: Exception) -> None:
    why = str(error) or type(error).__name__
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(_again(error, why))


def _again(error: Exception, why: str) -> Exception:
    """Returns an exception of its own for each caller, since raising adds a traceback to it."""
    if isinstance(error, K3Error):
        return type(error)(why)
    return error


def _size(write: Write) -> int:
    match write:
        case CreateWrite(document=document):
            return len(document)
        case UpdateWrite(item=item):
            return len(item.document)
        case _:
            return 0
