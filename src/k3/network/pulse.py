"""Notices that the agent's event loop stood still: what others did meanwhile was not seen, and is not held against them.

A busy or suspended machine is the usual cause (docs/network.md, `agent.stalled`).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from k3.network.events import Stalled

BEAT_SECONDS: Final = 0.5
STALL_SECONDS: Final = 1.0
"""A beat that is later than this means that the loop stood still."""

log = logging.getLogger(__name__)


class Pulse:
    """Beats while the loop runs. Keep `run` going, and call `look` before anything is concluded from the time."""

    def __init__(self, tell: Callable[[Stalled], None]) -> None:
        self._tell = tell
        self._clock = asyncio.get_running_loop().time
        self._beat_at = self._clock()

    def begin(self) -> None:
        """What the loop did until now counts as no stall: it may have waited for other things long before it beats."""
        self._beat_at = self._clock()

    async def run(self) -> None:
        """Beats for ever."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self._beat()

    def look(self) -> None:
        """Whatever is next in the loop may come before the beat that is late."""
        if self._clock() - self._beat_at > BEAT_SECONDS + STALL_SECONDS:
            self._beat()

    def _beat(self) -> None:
        now = self._clock()
        stood = now - self._beat_at - BEAT_SECONDS
        self._beat_at = now
        if stood > STALL_SECONDS:
            log.warning("agent.stalled", extra={"fields": {"seconds": round(stood, 1)}})
            self._tell(Stalled(stood))
