"""How soon Consul is asked again: at once where it answers as it should, and slower where it does not, or answers cost much."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

from k3.agent.backoff import Backoff

FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 5.0
LONGEST_HASTE_SECONDS: Final = 1.0
"""The longest pause where blocking queries do not block: changes are seen within that time."""
REST: Final = 9.0
"""For so many times as long as it took to read an answer that is none, nothing is asked: a tenth of a core at the most."""
EARLY_SHARE: Final = 0.5
"""An answer is early before this share of the time that it was asked to wait."""


class Pace:
    """The pauses between the questions of one loop."""

    def __init__(self, spent: Callable[[], float], *, random: Random) -> None:
        """`spent` tells how much of a core's time reading has taken so far; `random` spreads retries."""
        self._spent = spent
        self._failing = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=random.random)
        self._hasty = Backoff(FIRST_PAUSE_SECONDS, LONGEST_HASTE_SECONDS, chance=random.random)
        self._began = 0.0
        self._spent_before = 0.0

    def asks(self) -> None:
        """Notes that a question is asked now."""
        self._began = asyncio.get_running_loop().time()
        self._spent_before = self._spent()

    async def rest_after_failure(self) -> None:
        """Waits after no answer, longer each time."""
        pause = max(self._failing.next_seconds(), REST * (self._spent() - self._spent_before))
        await asyncio.sleep(pause)

    def is_hasty(self, *, index: int, then: int, wait_seconds: float) -> bool:
        """Whether an answer came early and brought no newer index, which is no answer to a blocking query.

        It was asked for with `index`, and the next one will be with `then`.
        """
        is_early = asyncio.get_running_loop().time() - self._began < EARLY_SHARE * wait_seconds
        return bool(index) and then <= index and is_early

    async def rest(self, seconds: float, *, blocked: bool = True) -> None:
        """Waits after an answer: `seconds`, or as long as it took to read. One that was not to block says nothing of haste."""
        self._failing.reset()
        if blocked:
            self._hasty.reset()
        await asyncio.sleep(max(seconds, self._spent() - self._spent_before))

    async def rest_after_haste(self) -> None:
        """Waits after a hasty answer, longer each time."""
        self._failing.reset()
        await asyncio.sleep(max(self._hasty.next_seconds(), REST * (self._spent() - self._spent_before)))
