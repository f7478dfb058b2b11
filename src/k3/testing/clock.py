"""A clock that stands still until told otherwise. Waits for nothing and reads no real time."""

import asyncio
import heapq
import selectors
from itertools import count
from typing import Final

WALL: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""


class FakeClock:
    """Monotonic and wall time that advance together; `sleep` for code under test to wait on."""

    def __init__(self, *, monotonic: float = 1_000.0, wall: float = WALL) -> None:
        """Both in seconds; `wall` since 1970."""
        self._monotonic = monotonic
        self._wall = wall
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """Returns what `time.monotonic` would say."""
        return self._monotonic

    def time(self) -> float:
        """Returns what `time.time` would say."""
        return self._wall

    @property
    def next_wake(self) -> float | None:
        """The monotonic time at which the next sleeper is due, if any sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Lets time pass at once; sleepers due by then run when the event loop next does."""
        self._monotonic += seconds
        self._wall += seconds
        while (due := self.next_wake) is not None and due <= self._monotonic:
            heapq.heappop(self._sleepers)[2].set_result(None)

    def step_wall(self, seconds: float) -> None:
        """Puts the wall clock forward or back, as an administrator or NTP would."""
        self._wall += seconds

    async def sleep(self, seconds: float) -> None:
        """Waits until the clock has been advanced so far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), wake))
        await wake

    async def run_for(self, seconds: float, *, settle: int = 20) -> None:
        """Advances from sleeper to sleeper, giving the event loop `settle` turns at each."""
        end = self._monotonic + seconds
        await _turns(settle)
        while (due := self.next_wake) is not None and due <= end:
            self.advance(max(0.0, due - self._monotonic))
            await _turns(settle)
        self.advance(end - self._monotonic)
        await _turns(settle)


async def _turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


class FakeLoop(asyncio.SelectorEventLoop):
    """An event loop that runs by a `FakeClock`: where nothing can run, the clock goes on to the next timer at once.

    For code that sleeps and limits its waits by asyncio. What arrives from a socket or a thread is still waited for, where
    no timer is set. `asyncio.Runner(loop_factory=FakeLoop)` runs a test on one.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        super().__init__(_Skipping(self.clock))

    def time(self) -> float:
        """What the clock says."""
        return self.clock.monotonic()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - asyncio's own
        """Waits for the threads as long as they take: a limit (Python 3.12 has one) would be over at once."""
        await super().shutdown_default_executor()


class _Skipping(selectors.DefaultSelector):
    """Waits for no timer: the time until it is due is skipped."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; where nothing is, the clock is put forward instead."""
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready
