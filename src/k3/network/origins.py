"""Where something that is not proven comes from, and what every origin gets: a bounded share of the places, and its turn. Pure.

Anybody on the link can invent names, as many as there is time to send. So the places for what is not proven are shared out by
origin, and so are the turns to be looked at: a flood crowds out and waits for itself, and a newcomer from anywhere else has the
next turn (docs/adr/0043). An origin is an address that was announced, the part of it that a host on this link does not choose
at will: an IPv4 address, or the /64 of an IPv6 one. Whoever forges many addresses has at most as many origins as the link has.
"""

from collections import OrderedDict
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final

from k3.core import limits
from k3.core.addresses import network_of

EAGER_TURNS: Final = limits.PEERS_PER_ADDRESS
"""So many turns in a row, none of which has proven anything, an origin has without a pause."""

PAUSE_SECONDS: Final = 0.5
"""Between two later ones."""

PREFERRED: Final = ""
"""The origin of those that are worth more than a claim. It has `EAGER_TURNS` turns before others have their first."""

AT_ONCE: Final = 4
"""So many turns an origin has at the same time."""


def origin_of(addresses: Iterable[str]) -> str:
    """The origin of an announcement: its first IPv4 address, or else the network of its first IPv6 one."""
    literals = sorted(addresses, key=lambda address: ":" in address)  # IPv4 first, each in its order
    return network_of(literals[0]) if literals else ""


class Shares:
    """Who is there, by origin, bounded for each origin and in all: the oldest of the origin that has the most makes room."""

    def __init__(self, *, each: int, all_: int) -> None:
        """`each` and `all_` are how many places an origin has, and how many there are."""
        self._each = each
        self._all = all_
        self._origins: dict[str, str] = {}
        self._members: dict[str, OrderedDict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._origins)

    def add(self, key: str, origin: str) -> str | None:
        """Takes a place. Returns who has to leave for it, which is told to `leave` here already."""
        self.leave(key)
        self._origins[key] = origin
        members = self._members.setdefault(origin, OrderedDict())
        members[key] = None
        if len(members) <= self._each:
            if len(self._origins) <= self._all:
                return None
            members = max(self._members.values(), key=len)
        oldest = next(iter(members))
        self.leave(oldest)
        return oldest

    def leave(self, key: str) -> None:
        """Gives the place back."""
        origin = self._origins.pop(key, None)
        if origin is not None:
            members = self._members[origin]
            del members[key]
            if not members:
                del self._members[origin]


class _Origin:
    """One origin: who waits there, how many turns it has had that proved nothing, and when it may have the next one."""

    __slots__ = ("is_in_line", "not_before", "turns", "under_way", "waiting")

    def __init__(self, turns: int) -> None:
        self.waiting: OrderedDict[str, None] = OrderedDict()
        self.under_way = 0
        self.turns = turns
        self.not_before = 0.0
        self.is_in_line = False

    @property
    def may_have_one(self) -> bool:
        return bool(self.waiting) and self.under_way < AT_ONCE


class Turns:
    """Who waits, and who is next: the origin with the fewest fruitless turns, of those the one that came last.

    Within an origin the newest of those that never had a turn goes first, so that a repeated question delays no first one.
    """

    def __init__(self, *, pausing: bool = True) -> None:
        """`pausing`: whether an origin has to pause after turns in vain."""
        self._pauses = pausing
        self._origins: OrderedDict[str, _Origin] = OrderedDict()
        self._where: dict[str, str] = {}
        self._under_way: dict[str, str] = {}
        self._line: list[tuple[int, int, _Origin]] = []
        self._pausing: list[tuple[float, int, _Origin]] = []
        self._arrivals = 0

    @property
    def under_way(self) -> int:
        """How many turns are being had."""
        return len(self._under_way)

    def wait(self, key: str, origin: str, *, again: bool = False) -> None:
        """Waits for a turn from now on; `again`: it has had one before."""
        if self._where.get(key) == origin:
            return
        self.leave(key)
        self._where[key] = origin
        there = self._origins.get(origin)
        if there is None:
            there = self._origins[origin] = _Origin(_least_turns(origin))
            self._forget_some()
        there.waiting[key] = None
        if again:
            there.waiting.move_to_end(key, last=False)
        self._line_up(there)

    def leave(self, key: str) -> None:
        """Waits no longer."""
        origin = self._where.pop(key, None)
        if origin is not None:
            del self._origins[origin].waiting[key]

    def next(self, now: float) -> str | None:
        """Whose turn it is now, if anybody's: it waits no longer, and has its turn until that is `over`."""
        while self._pausing and self._pausing[0][0] <= now:
            there = heappop(self._pausing)[2]
            self._arrivals += 1
            heappush(self._line, (there.turns, -self._arrivals, there))
        if self.at() > 0:
            return None
        there = heappop(self._line)[2]
        there.is_in_line = False
        key, _ = there.waiting.popitem()
        self.over(key)  # one that was given up meanwhile, and is there again
        self._under_way[key] = self._where.pop(key)
        there.under_way += 1
        there.turns += 1
        if self._pauses and there.turns >= EAGER_TURNS:
            there.not_before = now + PAUSE_SECONDS
        self._line_up(there)
        return key

    def at(self) -> float:
        """From when on somebody may have a turn, if none that is being had is over before; 0: now."""
        while self._line and not self._line[0][2].may_have_one:
            heappop(self._line)[2].is_in_line = False
        while self._pausing and not self._pausing[0][2].may_have_one:
            heappop(self._pausing)[2].is_in_line = False
        if self._line:
            return 0.0
        return self._pausing[0][0] if self._pausing else float("inf")

    def over(self, key: str) -> None:
        """The turn has been had."""
        origin = self._under_way.pop(key, None)
        if origin is not None:
            there = self._origins[origin]
            there.under_way -= 1
            self._line_up(there)

    def forgive(self, origin: str) -> None:
        """Something of this origin has proven itself: the turn was not in vain."""
        there = self._origins.get(origin)
        if there is not None:
            there.turns, there.not_before = max(_least_turns(origin), there.turns - 1), 0.0

    def _line_up(self, there: _Origin) -> None:
        if there.is_in_line or not there.may_have_one:
            return
        there.is_in_line = True
        self._arrivals += 1
        if there.not_before:
            heappush(self._pausing, (there.not_before, self._arrivals, there))
        else:
            heappush(self._line, (there.turns, -self._arrivals, there))

    def _forget_some(self) -> None:
        """Forgets what is known of the origin that came first and has nobody there."""
        if len(self._origins) > limits.ORIGINS:
            idle = next((name for name, each in self._origins.items() if not each.waiting and not each.under_way), None)
            if idle is not None:
                del self._origins[idle]


def _least_turns(origin: str) -> int:
    return -EAGER_TURNS if origin == PREFERRED else 0


class Allowance:
    """So much at once, and so much a second."""

    def __init__(self, *, at_once: int, per_second: float, now: float) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._left = float(at_once)
        self._since = now

    def take(self, now: float) -> bool:
        """Takes one, if there is one."""
        self._fill(now)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self, count: int = 1) -> None:
        """So many were not used."""
        self._left = min(self._at_once, self._left + count)

    def at(self, now: float) -> float:
        """When there is one."""
        self._fill(now)
        # A little later, lest rounding makes it a moment too early.
        return now if self._left >= 1 else now + (1 - self._left) / self._per_second + 1e-6

    def _fill(self, now: float) -> None:
        self._left = min(self._at_once, self._left + max(0.0, now - self._since) * self._per_second)
        self._since = max(now, self._since)
