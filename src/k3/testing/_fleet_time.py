"""Simulated time: what is to happen when, in seconds since the start of the simulation."""

import heapq
import itertools
from collections.abc import Callable


class SimulatedTime:
    """Passes only when it is told to, and does on the way what was put down for it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._acts: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        """What is put down for one moment happens in the order in which it was put down."""

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._acts and self._acts[0][0] <= end:
            self.now, _, act = heapq.heappop(self._acts)
            act()
        self.now = end

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do this after a while."""
        self.at(self.now + seconds, act)

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do this at that time."""
        heapq.heappush(self._acts, (when, next(self._sequence), act))
