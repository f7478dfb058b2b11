"""Who may use the health server, and who goes first where there is not room for all: the proven stay (ADR 45). Pure.

An *origin* is an IPv4 address, or an IPv6 /64, since one host may choose among all the addresses of that (RFC 4291 §2.5.1). A
client that was answered is known, and is an origin by itself: a stranger in its /64 costs it nothing.

Two things are limited. *Connections* (`Room`): each origin has a share of them, and where that or the whole is full, the oldest
connection that says nothing makes room for the newest. *Visits* (`Pace`), which are what costs time: a connection, each further
piece in which a head arrives, each further request. Where more of them come in a second than a tenth of a core can serve, the
origins with the most are turned away for a while, each time for longer.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final, Protocol

from k3.core import limits
from k3.core.addresses import network_of

KNOWN_SECONDS: Final = 180.0
"""How long a client is known after its last answer: a peer that is not Ready is asked once a minute (`network/peers`)."""
OLD_SECONDS: Final = 60.0
WINDOW_SECONDS: Final = 1.0
FEW: Final = 2
"""Visits in a window that any origin may make, as long as there is no `STORM`."""
KNOWN_FEW: Final = 20
"""Visits in a window that a known client may make, as long as there is no `DELUGE`."""
STORM: Final = 2
"""So many times `limits.HTTP_VISITS_PER_SECOND`: who has not asked properly by then is turned away."""
STORM_SECONDS: Final = 0.25
"""So many times once are a storm as well, if they come within so short a time (ADR 61)."""
DELUGE: Final = 4
"""So many times: of the known clients, only the old ones have more than others."""
JUST_COME: Final = 4 * limits.HTTP_ACCEPTS_AT_ONCE
"""So many strangers may not have been read from yet: a connection's first bytes are, three turns of the loop after it came."""
AWAY_SECONDS: Final = 2.0
AWAY_FACTOR: Final = 4
"""It is so many times as long the next time: what a flood costs is the moment until it is seen again."""
LONGEST_AWAY_SECONDS: Final = 32.0
FORGIVEN_SECONDS: Final = 60.0
"""An origin that was served for so long begins again with `AWAY_SECONDS`."""


class Known:
    """The clients that have asked properly. Times are in seconds of one clock, whichever."""

    def __init__(self) -> None:
        self._answered_at: dict[str, float] = {}
        """When each was last answered. The one that was answered last is the last."""
        self._since: dict[str, float] = {}
        """When each was first answered."""

    def __contains__(self, address: str) -> bool:
        return address in self._answered_at

    def origin(self, address: str) -> str:
        """Returns what an address is counted as."""
        return address if address in self._answered_at else network_of(address)

    def answered(self, address: str, now: float) -> None:
        """Notes an answer. A full table keeps the clients that come again and again, and no newcomer pushes them out."""
        if self._answered_at.pop(address, None) is None and len(self._answered_at) >= limits.HTTP_KNOWN_CLIENTS:
            longest_ago = next(iter(self._answered_at))
            if now - self._answered_at[longest_ago] < KNOWN_SECONDS:
                return
            self.forget([longest_ago])
        self._answered_at[address] = now
        self._since.setdefault(address, now)

    def forget(self, origins: Iterable[str]) -> None:
        """Takes clients for strangers again."""
        for origin in origins:
            self._answered_at.pop(origin, None)
            self._since.pop(origin, None)

    def is_old(self, address: str, now: float) -> bool:
        """Whether a client was first answered long ago: it was there before whatever has just begun."""
        return now - self._since.get(address, now) >= OLD_SECONDS

    def newest_first(self) -> list[str]:
        """Returns the known clients, who was answered last first."""
        return [address.partition("%")[0] for address in reversed(self._answered_at)]

    def within(self, origins: Collection[str]) -> list[str]:
        """Returns the known clients of these IPv6 /64s: they are not counted as those."""
        return [address for address in self._answered_at if ":" in address and network_of(address) in origins]


class Guest(Protocol):
    """A connection, as far as its place is concerned."""

    @property
    def origin(self) -> str:
        """What it is counted as. Never changes."""
        ...

    def drop(self) -> None:
        """Ends it now. It is counted out by `Room.leave`, then or a moment later."""
        ...


class Room:
    """The connections of one server."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._silent: dict[str, dict[Guest, None]] = {}
        """Those that have not asked yet, by origin, the oldest first. An origin without any is not in it."""
        self._idle: dict[Guest, None] = {}
        """Those that were answered and may ask again, the oldest first."""
        self._held: Counter[str] = Counter()
        """How many there are of each origin."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def share(self) -> int:
        """How many connections one origin may have."""
        return max(1, min(limits.HTTP_CONNECTIONS_PER_ORIGIN, self.most // 2))

    @property
    def most(self) -> int:
        """How many connections there may be."""
        return min(self._most, limits.HTTP_CONNECTIONS)

    def held(self, origin: str) -> int:
        """Returns how many connections an origin has."""
        return self._held[origin]

    def enter(self, guest: Guest) -> Guest | None:
        """Counts a connection in. Returns the one that was dropped for it, if there was no room."""
        origin = guest.origin
        leaves = None
        if self._held[origin] >= self.share:
            leaves = self._idle_of(origin) or self._oldest_silent(origin)
        elif self._count >= self.most:
            leaves = next(iter(self._idle), None) or self._oldest_silent(max(self._silent, key=self._held.__getitem__))
        if leaves is not None:
            self.leave(leaves)
            leaves.drop()
        self._silent.setdefault(origin, {})[guest] = None
        self._held[origin] += 1
        self._count += 1
        return leaves

    def rest(self, guest: Guest) -> None:
        """Notes that a connection was answered, and waits for nothing."""
        if self._out_of_silence(guest):
            self._idle[guest] = None

    def leave(self, guest: Guest) -> None:
        """Counts a connection out, if it is in."""
        if guest in self._idle:
            del self._idle[guest]
        elif not self._out_of_silence(guest):
            return
        self._count -= 1
        self._held[guest.origin] -= 1
        if not self._held[guest.origin]:
            del self._held[guest.origin]

    def clear(self, origins: Collection[str] | None = None) -> None:
        """Drops every connection, or every one of these origins."""
        for guest in [*self._idle, *(each for guests in self._silent.values() for each in guests)]:
            if origins is None or guest.origin in origins:
                self.leave(guest)
                guest.drop()

    def _out_of_silence(self, guest: Guest) -> bool:
        guests = self._silent.get(guest.origin, {})
        if guest not in guests:
            return False
        del guests[guest]
        if not guests:
            del self._silent[guest.origin]
        return True

    def _idle_of(self, origin: str) -> Guest | None:
        return next((guest for guest in self._idle if guest.origin == origin), None)

    def _oldest_silent(self, origin: str) -> Guest:
        return next(iter(self._silent[origin]))


class Pace:
    """The visits to one server. Times are in seconds of one clock, whichever."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._began_at = float("-inf")
        self._visits: Counter[str] = Counter()
        """Of each origin since the window began."""
        self._count = 0
        self._away: dict[str, tuple[float, float]] = {}
        """Until when each origin is turned away, or was, and how long that was to be."""

    def visit(self, origin: str, now: float) -> dict[str, int]:
        """Counts a visit. Returns the origins that are turned away from now on for it, with how often they came."""
        if now - self._began_at >= WINDOW_SECONDS:
            self._began_at, self._count = now, 0
            self._visits.clear()
        self._visits[origin] += 1
        self._count += 1
        return self._turned_away(now) if self._count % limits.HTTP_VISITS_PER_SECOND == 0 else {}

    def is_away(self, origin: str, now: float) -> bool:
        """Whether an origin is turned away now."""
        return origin in self._away and now < self._away[origin][0]

    def away(self, now: float) -> dict[str, float]:
        """Returns which origins are turned away now, and until when."""
        return {origin: until for origin, (until, _) in self._away.items() if now < until}

    def _turned_away(self, now: float) -> dict[str, int]:
        """Turns away who came more often than its part of what can be served."""
        pressure = self._count / limits.HTTP_VISITS_PER_SECOND
        fair = max(FEW, limits.HTTP_VISITS_PER_SECOND // len(self._visits))
        favoured = {
            each for each in self._visits if each in self._known and (pressure < DELUGE or self._known.is_old(each, now))
        }
        is_storm = pressure >= STORM or now - self._began_at < STORM_SECONDS
        strangers = [each for each in self._visits if each not in self._known] if is_storm else []
        found = {each: self._visits[each] for each in strangers[:-JUST_COME]}
        found |= {
            origin: count
            for origin, count in self._visits.items()
            if count > (max(KNOWN_FEW, fair) if origin in favoured else fair)
        }
        for origin in found:
            del self._visits[origin]
            self._send_away(origin, now)
        return found

    def _send_away(self, origin: str, now: float) -> None:
        until, seconds = self._away.pop(origin, (now, 0.0))
        again = now - until < FORGIVEN_SECONDS
        seconds = min(LONGEST_AWAY_SECONDS, max(AWAY_SECONDS, AWAY_FACTOR * seconds if again else 0.0))
        if len(self._away) >= limits.HTTP_TURNED_AWAY:
            del self._away[next(iter(self._away))]
        self._away[origin] = (now + seconds, seconds)
