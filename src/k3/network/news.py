"""How much news of machines that have not answered is looked at, whatever is announced. Pure.

To look at one announcement costs some fifty microseconds, and what follows from it as much again. So a flood of invented
names has an allowance. What was spent on a machine is given back when that has answered: a newcomer sees a large fleet as
fast as it answers.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from k3.network.origins import Allowance

AT_ONCE: Final = 512
PER_SECOND: Final = 50.0
LOOK_SECONDS: Final = 0.05
"""How soon it is looked who has answered, once the allowance is spent; if nobody has, twice as late each time."""
LOOK_RARELY_SECONDS: Final = 1.0


class News:
    """The allowance, and what it was spent on. Times are in seconds of one clock, whichever."""

    def __init__(self, is_proven: Callable[[str], bool], *, now: float) -> None:
        """`is_proven`: whether the machine behind an instance has answered."""
        self._is_proven = is_proven
        self._allowance = Allowance(at_once=AT_ONCE, per_second=PER_SECOND, now=now)
        self._spent_on: deque[str] = deque(maxlen=AT_ONCE)
        self._look_at = now
        self._pause_seconds = LOOK_SECONDS

    def take(self, instance: str, now: float) -> None:
        """Spends some of it on an instance."""
        self._allowance.take(now)
        self._spent_on.append(instance)

    def at(self, now: float) -> float:
        """When the next one may be looked at."""
        if self._look_at <= now < self._allowance.at(now):
            self._pause_seconds = LOOK_SECONDS if self._give_back() else min(2 * self._pause_seconds, LOOK_RARELY_SECONDS)
            self._look_at = now + self._pause_seconds
        return self._allowance.at(now)

    def _give_back(self) -> bool:
        """Gives back what was spent on machines that have answered; returns whether any have."""
        unproven = [each for each in self._spent_on if not self._is_proven(each)]
        answered = len(self._spent_on) - len(unproven)
        for _ in range(answered):
            self._allowance.give_back()
        self._spent_on = deque(unproven, maxlen=AT_ONCE)
        return answered > 0
