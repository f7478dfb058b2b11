"""Which Nodes have their turn now, and which ones later, at what time. Knows names and times, not what is said of them."""

import asyncio
import heapq
from contextlib import suppress

from k3.agent.tasks import time_limit_at


class Agenda:
    """Names whose turn it is, and names that have a time, by the event loop's clock."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._pending: dict[str, None] = {}
        self._due: dict[str, float] = {}
        self._times: list[tuple[float, str]] = []
        """A heap. A name that has been planned anew keeps its old entry, which is passed over when its time comes."""

    @property
    def pending(self) -> list[str]:
        """The names whose turn it is, in the order in which they came."""
        return list(self._pending)

    def wake(self) -> None:
        """Ends `rest`: something has changed."""
        self._changed.set()

    def wake_after(self, seconds: float) -> None:
        """Ends `rest` after that time, at the latest."""
        heapq.heappush(self._times, (asyncio.get_running_loop().time() + seconds, ""))

    def note(self, name: str) -> None:
        """Gives this name its turn."""
        self._pending[name] = None

    def plan(self, name: str, seconds: float) -> None:
        """Gives this name its turn after that time, and not at the time planned before."""
        at = self._due[name] = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._times, (at, name))

    def done(self, name: str) -> None:
        """Notes that this name has had its turn."""
        self._pending.pop(name, None)

    def drop(self, name: str) -> None:
        """Forgets a name of which there is nothing to say any more."""
        self._pending.pop(name, None)
        self._due.pop(name, None)

    async def rest(self, seconds: float) -> None:
        """Waits until something changes, a planned time has come, or so many seconds have passed."""
        until = asyncio.get_running_loop().time() + seconds
        if self._times:
            until = min(until, self._times[0][0])
        with suppress(TimeoutError):
            async with time_limit_at(until):
                await self._changed.wait()
        self._changed.clear()

    def take_due(self) -> None:
        """Gives those names their turn whose time has come."""
        now = asyncio.get_running_loop().time()
        while self._times and self._times[0][0] <= now:
            at, name = heapq.heappop(self._times)
            if self._due.get(name) == at:
                self._pending[name] = None
