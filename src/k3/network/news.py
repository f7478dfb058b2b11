"""How many announcements of machines that have not answered yet are looked at, however many come. Pure.

To look at one announcement takes about fifty microseconds, and what follows from it as much again. So there is an allowance,
which a flood of invented names uses up. What was spent on a machine is given back once that machine has answered: a new agent
sees a large fleet as fast as the fleet answers.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from k3.network.origins import Allowance

AT_ONCE: Final = 512
PER_SECOND: Final = 50.0
LOOK_SECONDS: Final = 0.05
"""The pause between two checks of who has answered, while the allowance is spent; it doubles when nobody has."""
LONGEST_LOOK_SECONDS: Final = 1.0


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
        """Spends a piece of it on an announcement of an instance."""
        self._allowance.take(now)
        self._spent_on.append(instance)

    def at(self, now: float) -> float:
        """When the next announcement may be looked at; gives back before what is to be given back."""
        if self._look_at <= now < self._allowance.at(now):
            has_been_quiet = now > self._look_at + LONGEST_LOOK_SECONDS
            is_to_be_soon = self._give_back() or has_been_quiet
            self._pause_seconds = LOOK_SECONDS if is_to_be_soon else min(2 * self._pause_seconds, LONGEST_LOOK_SECONDS)
            self._look_at = now + self._pause_seconds
        return self._allowance.at(now)

    def _give_back(self) -> bool:
        """Gives back what was spent on machines that have answered; returns whether any have."""
        unproven = [each for each in self._spent_on if not self._is_proven(each)]
        answered = len(self._spent_on) - len(unproven)
        self._allowance.give_back(answered)
        self._spent_on = deque(unproven, maxlen=AT_ONCE)
        return answered > 0
