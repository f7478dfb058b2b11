"""Nodes of the original, the program that the specification describes: from when on k3 may go on with them.

One that it left behind is taken over at once. One that it still writes is left to it until it has been quiet for a while, and
for longer each time: k3 does not fight over a Node, it says once that the other program is to be stopped.
"""

import logging
import math
from typing import Final

from k3.agent.logs import Once
from k3.core.ownership import ADOPTION_SECONDS
from k3.core.records import dataclass

LONGEST_SECONDS: Final = 3600.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Node:
    revision: int
    at: float
    """When it may be taken over, by the mirror's clock."""
    wait: float = ADOPTION_SECONDS


class Originals:
    """What one mirror has seen of such Nodes, by its own clock."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._once = Once(log, capacity=1)

    def show(self, name: str, revision: int, now: float, *, was_own: bool) -> None:
        """Takes in such a Node as the store shows it. `was_own`: it was one of discovery's a moment ago."""
        found = self._nodes.get(name)
        if found is None:
            found = self._nodes[name] = _Node(revision, now)
            if not was_own:
                return
        elif found.revision == revision:
            return
        found.revision, found.at = revision, now + found.wait
        if was_own:
            found.wait = min(2 * found.wait, LONGEST_SECONDS)
        self._tell(name, found.wait)

    def at(self, name: str) -> float:
        """Returns when it may be taken over; never, where nothing is known of it."""
        return self._nodes[name].at if name in self._nodes else math.inf

    def _tell(self, name: str, wait: float) -> None:
        advice = f"stop that program, on every machine; k3 goes on with a Node that it has left alone for {wait:.0f} s"
        self._once.say("original", "node.written_by_original", {"node": name, "advice": advice})
