"""Time limits and groups of tasks that behave alike with every Python from 3.11.0 on.

Before Python 3.13 a TaskGroup of which a child failed leaves the task that waited for it with `cancelling() == 1`, as if it
were being cancelled, for as long as that task lives. Before 3.11.3 (Debian 12 has 3.11.2) a timeout in such a task, or in one
that cleans up while it is being cancelled, lets a CancelledError out where TimeoutError was promised (CPython gh-102780). No
handler expects it: it ends the task, and what waits for an answer of that task waits for ever.

So k3 limits its waits by `time_limit` and `time_limit_at`, never by asyncio's own, and a task that goes on after a failure of
several has them run by `gather`. A test holds every module to both (ADR 19).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def time_limit(seconds: float | None) -> AbstractAsyncContextManager[asyncio.Timeout]:
    """Raises TimeoutError where the block takes longer, and never anything else for that reason. None: no limit."""
    return time_limit_at(None if seconds is None else asyncio.get_running_loop().time() + seconds)


@asynccontextmanager
async def time_limit_at(when: float | None) -> AsyncIterator[asyncio.Timeout]:
    """Raises TimeoutError where the block is not left by then, by the event loop's clock. None: no limit."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    limit = asyncio.timeout_at(when)
    try:
        async with limit:
            yield limit
    except asyncio.CancelledError as cancelled:
        # The limit is over, and the task was not cancelled by another one meanwhile: the cancellation is the limit's own.
        if task and limit.expired() and task.cancelling() <= before:
            raise TimeoutError from cancelled
        raise


async def gather(*works: Callable[[], Coroutine[Any, Any, T]]) -> list[T]:
    """Returns all results, in order. The first failure cancels the others, and is raised, as it is, once they have ended.

    The caller may catch it and go on. A work that ends as cancelled without having been cancelled has failed, too.
    """
    gathering = _Gathering[T]()
    try:
        async with asyncio.TaskGroup() as group:
            gathering.running += [group.create_task(gathering.run(work)) for work in works]
        if gathering.failure is not None:
            raise gathering.failure
        return [task.result() for task in gathering.running]
    finally:
        # An error's traceback refers to this, and what ended as cancelled to all that it had in hand: a connection, say.
        gathering.running.clear()
        gathering.failure = None


class _Gathering(Generic[T]):
    """Works under way, of which the group that runs them sees none fail."""

    def __init__(self) -> None:
        self.running: list[asyncio.Task[T]] = []
        self.failure: Exception | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        try:
            return await work()
        except asyncio.CancelledError:
            if task and not task.cancelling():
                self._fail(RuntimeError("a task ended as cancelled, though nobody cancelled it"))
            raise
        except Exception as error:
            self._fail(error)
            # To the group this work was cancelled, which is no failure of a child: so it leaves no mark (ADR 19).
            raise asyncio.CancelledError from error

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
            for task in self.running:
                task.cancel()
