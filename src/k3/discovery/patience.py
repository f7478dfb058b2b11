"""How long what Consul does not know of a machine changes nothing (ADR 24). Pure: no clock, no I/O.

A Consul agent that restarts takes the registrations of its machine with it, or falls silent, and comes back with checks
that have not run yet. Each is a *doubt*: the machine may be as well as before, and its Node stays as it is, until

* the grace is over, or
* it is *settled*: Consul, or the machine itself (see `asking`), has answered, and there is no doubt any more.

    doubt     what Consul shows                      who is asked                   settled by
    ─────     ─────────────────                      ────────────                   ──────────
    MISSING   no registration any more; k3's         none
              the same; another's                    Consul, for its node's checks  the node is there: it was taken out
    SILENT    that its agent does not answer; k3's   the machine, again and again   no answer
              the same; another's                    none                           at once
    UNASKED   that a check has not run yet           none
    UNREAD    an entry that k3 cannot read           none

A k3 agent puts its registration back when another takes it out, and says goodbye in Consul before it takes it out itself: a
goodbye is no doubt. `SILENT` has no grace, it lasts for as long as the machine answers.
"""

import math
from collections.abc import Set as AbstractSet
from enum import Enum

from k3.core.records import dataclass


class Why(Enum):
    """What Consul does not know of a machine."""

    MISSING = "missing"
    SILENT = "silent"
    UNASKED = "unasked"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A doubt about one machine: which instance of which datacenter."""

    why: Why
    datacenter: str
    consul_node: str
    service_id: str


class Patience:
    """The doubts there are, since when, and which of them are over."""

    def __init__(self) -> None:
        self._since: dict[Doubt, float] = {}
        self._settled: set[Doubt] = set()

    def see(self, doubts: AbstractSet[Doubt], now: float) -> None:
        """Takes in the doubts there are now. `now` is local and monotonic, in seconds."""
        for gone in self._since.keys() - doubts:
            del self._since[gone]
        self._settled &= doubts  # a doubt that went and came again is a new one
        for new in doubts - self._since.keys():
            self._since[new] = now

    def settle(self, doubt: Doubt, *, is_over: bool) -> bool:
        """Takes in what an answer means for a doubt. Returns whether that changes anything."""
        if doubt not in self._since or is_over == (doubt in self._settled):
            return False
        (self._settled.add if is_over else self._settled.discard)(doubt)
        return True

    def over(self, now: float, grace_seconds: float) -> frozenset[Doubt]:
        """Returns the doubts that hold nothing back any more."""
        aged = {each for each, since in self._since.items() if each.why is not Why.SILENT and now - since >= grace_seconds}
        return frozenset(aged | self._settled)

    def next_end(self, now: float, grace_seconds: float) -> float:
        """Returns when the next doubt is over by itself; infinite for none."""
        ends = (since + grace_seconds for each, since in self._since.items() if each.why is not Why.SILENT)
        return min((end for end in ends if end > now), default=math.inf)

    @property
    def doubts(self) -> frozenset[Doubt]:
        """All doubts there are."""
        return frozenset(self._since)
