"""How much of the server one origin may use, so that none takes the part of another (ADR 52). Pure.

An origin is a user, once it is known who asks: behind a proxy all have one address. Before that it is an IPv4 address or an
IPv6 /64. What is beyond a bound is refused with 429 and the time after which it may be tried again, as at a Kubernetes API
server; nothing that is under way is ended for it. Every origin has a few of each thing even where others have taken all there
is.
"""

from collections import Counter, OrderedDict
from typing import Final

from k3.core import limits
from k3.core.addresses import network_of
from k3.server.access.identity import User
from k3.server.status import Refused

FEW: Final = 4
"""So many of each thing an origin has where all is taken."""
RETRY_SECONDS: Final = 1


class Share:
    """One thing that there is so much of in all, and for each origin."""

    def __init__(self, most: int, most_each: int, few: int = FEW) -> None:
        self._most = most
        self._most_each = most_each
        self._few = few
        self._held: Counter[str] = Counter()
        self.total = 0

    def held(self, origin: str) -> int:
        """Returns how much an origin has."""
        return self._held[origin]

    def take(self, origin: str, amount: int = 1) -> bool:
        """Whether an origin may have so much more. If so, it has it until it is given back."""
        now = self._held[origin] + amount
        if now > self._most_each or (self.total + amount > self._most and now > self._few):
            return False
        self._held[origin] = now
        self.total += amount
        return True

    def give_back(self, origin: str, amount: int = 1) -> None:
        """Takes back what an origin had taken."""
        self._held[origin] -= amount
        self.total -= amount
        if self._held[origin] <= 0:
            del self._held[origin]


class Refusals:
    """How often those are answered who show what does not hold: some at once, then so many in a second."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By network: how many answers it has left, and since when. The one that was refused last is the last."""

    def wait_seconds(self, network: str, now: float) -> float:
        """Counts one more refusal. Returns how long the next one is not answered; 0: it is."""
        left, at = self._left.pop(network, (float(limits.API_REFUSALS_AT_ONCE), now))
        left = min(limits.API_REFUSALS_AT_ONCE, left + (now - at) * limits.API_REFUSALS_PER_SECOND)
        is_answered = left >= 1
        self._left[network] = (left - 1 if is_answered else left, now)
        if len(self._left) > limits.ORIGINS:
            self._left.popitem(last=False)
        return 0.0 if is_answered else (1 - left) / limits.API_REFUSALS_PER_SECOND


class Bounds:
    """All bounds of one server."""

    def __init__(self, *, connections: int = limits.API_CONNECTIONS) -> None:
        """`connections`: as many as the process has descriptors for, at the most."""
        self.strangers = Share(min(limits.API_STRANGERS, connections // 2), limits.API_STRANGERS_PER_NETWORK)
        self.connections = Share(connections, limits.API_CONNECTIONS_PER_USER)
        self.requests = Share(limits.API_REQUESTS, limits.API_REQUESTS_PER_USER)
        self.watches = Share(limits.WATCHERS, limits.API_WATCHES_PER_USER)
        self.body_bytes = Share(limits.API_BODY_BYTES, limits.API_BODY_BYTES_PER_USER, few=3 * 1024 * 1024)
        self.refusals = Refusals()


class Seat:
    """The place of one connection: that of a stranger, until a request has shown who is there.

    A stranger is counted by its network; by its user where the kernel has told that already (`loopback`), or one user of the
    machine could take the places of all others.
    """

    def __init__(self, room: Bounds, address: str, local: User | None = None) -> None:
        self._room = room
        self._share: Share | None = None
        self._origin = network_of(address) if local is None else origin_of(local, address)

    def take(self) -> bool:
        """Whether there is room for one more stranger. If not, the connection is to be closed at once."""
        if self._room.strangers.take(self._origin):
            self._share = self._room.strangers
        return self._share is not None

    def prove(self, user: User, address: str) -> None:
        """Counts the connection as that of a user, once and for all. Raises Refused (429) where it has too many of them."""
        if not user.is_known or self._share is self._room.connections:
            return
        origin = origin_of(user, address)
        if not self._room.connections.take(origin):
            what = "too many connections"
            raise too_many(what)
        self.leave()
        self._share, self._origin = self._room.connections, origin

    def leave(self) -> None:
        """The connection has ended; leaving twice is fine."""
        if self._share is not None:
            self._share.give_back(self._origin)
            self._share = None


def origin_of(user: User, address: str) -> str:
    """Returns what a request is counted as."""
    return f"user {user.name} {user.token}" if user.is_known else network_of(address)


def too_many(what: str, seconds: float = RETRY_SECONDS) -> Refused:
    """Returns the refusal of what is beyond a bound."""
    retry = max(1, int(seconds) + (seconds > int(seconds)))
    message = f"Too many requests, please try again later: {what}"
    return Refused(429, message, details={"retryAfterSeconds": retry})
