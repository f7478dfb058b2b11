"""How long to wait before the next attempt at what failed: longer each time, and never at the same moment as others.

Pure: chance is an argument.
"""

from collections.abc import Callable


class Backoff:
    """Pauses that double from a floor to a ceiling, each shortened by chance to between a half and the whole.

    So agents that lost the same server at one moment do not all come back to it at one moment.
    """

    def __init__(self, floor_seconds: float, ceiling_seconds: float, *, chance: Callable[[], float]) -> None:
        """`chance` gives numbers from 0 to 1, as `random.random` does."""
        self._floor_seconds = floor_seconds
        self._ceiling_seconds = ceiling_seconds
        self._chance = chance
        self._whole_seconds = floor_seconds

    def next_seconds(self) -> float:
        """Returns the pause after one more failure."""
        whole = self._whole_seconds
        self._whole_seconds = min(2 * whole, self._ceiling_seconds)
        return whole * (0.5 + 0.5 * self._chance())

    def reset(self) -> None:
        """Starts again with the first pause: an attempt has succeeded."""
        self._whole_seconds = self._floor_seconds
