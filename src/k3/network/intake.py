"""Which mDNS packets are read at all: a budget for each sender, and one for all of them together. Pure.

To read a packet and to take in its records costs a quarter of a millisecond, whoever sent it. So it is decided before that, by
what costs next to nothing: the kind of the packet and the address it came from (docs/adr/0055). Each kind has its own budgets:
a flood of one leaves the others. What a machine announces to all is one kind, what it answers to this machine alone another,
and what is asked the third.

The sender's address is easily forged. Where too much comes from one address, only that one is not heard; where too much comes
from everywhere, those go first that were heard long before. Who is not heard for the flood is found by asking: its answer comes
to this machine alone, and is of a kind that the flood is not.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from enum import StrEnum, unique
from typing import Final, NamedTuple

from k3.core import limits
from k3.core.addresses import network_of
from k3.network.origins import Allowance

OLD_SECONDS: Final = 30.0
"""Who was first heard so long ago, and never sent too much since, was there before whatever has just begun."""
TOO_MANY: Final = 200
"""So many packets in vain, of one sender or of all, and they are away for a while: it costs less if the kernel drops them."""
AWAY_SECONDS: Final = 2.0

_RESPONSE: Final = 0x80
_FLAGS: Final = 2


@unique
class Kind(StrEnum):
    """What a packet is."""

    QUESTION = "question"
    ANNOUNCEMENT = "announcement"
    """Records that are sent to everybody."""
    ANSWER = "answer"
    """Records that are sent to this machine alone."""


def kind_of(packet: bytes, *, is_for_all: bool) -> Kind:
    """What a packet is, by the first bit of its flags (RFC 6762 §18.2). One that is too short is nothing that would be read."""
    if len(packet) <= _FLAGS or not packet[_FLAGS] & _RESPONSE:
        return Kind.QUESTION
    return Kind.ANNOUNCEMENT if is_for_all else Kind.ANSWER


class Intake:
    """The budgets of each kind. Times are in seconds of one clock, whichever."""

    def __init__(self, now: float) -> None:
        self.refused: Counter[Kind] = Counter(dict.fromkeys(Kind, 0))
        """How many packets were not read."""
        self.own: frozenset[str] = frozenset()
        """This machine's addresses. What it sends comes back to it, and the responder has to know what everybody was told."""
        self._budgets = {kind: _Budgets(now) for kind in Kind}

    def admits(self, kind: Kind, address: str, now: float) -> bool:
        """Whether a packet from this address is read. It counts against the budgets if so."""
        is_own = address in self.own
        if is_own and "." in address:  # the kernel takes no packet with such a sender from outside, unless `accept_local` is on
            return True
        if self._budgets[kind].take(address if is_own else network_of(address), now, is_own=is_own):
            return True
        self.refused[kind] += 1
        return False

    def away(self, kind: Kind, now: float) -> "Away":
        """Returns whose packets of a kind are not worth a look now."""
        only = self._budgets[kind].only(now)
        return Away(tuple(self._budgets[kind].away(now)), None if only is None else (*self.own, *only))


class Away(NamedTuple):
    """Senders whose packets the kernel may drop. False: none."""

    origins: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    """Those to whom this does not apply, where it applies to all others."""

    def __bool__(self) -> bool:
        return bool(self.origins) or self.only is not None


class _Sender:
    __slots__ = ("allowance", "in_vain", "since")

    def __init__(self, now: float) -> None:
        self.allowance = _allowance(limits.PACKETS_AT_ONCE_PER_ORIGIN, limits.PACKETS_PER_SECOND_PER_ORIGIN, now)
        self.since = now
        self.in_vain = 0


class _Budgets:
    """Those of one kind."""

    def __init__(self, now: float) -> None:
        self._strangers: OrderedDict[str, _Sender] = OrderedDict()
        self._old: OrderedDict[str, _Sender] = OrderedDict()
        self._for_strangers = _allowance(limits.PACKETS_AT_ONCE, limits.PACKETS_PER_SECOND, now)
        self._for_old = _allowance(limits.PACKETS_AT_ONCE, limits.PACKETS_PER_SECOND, now)
        self._away: dict[str, float] = {}
        self._in_vain = {True: 0, False: 0}
        """Packets of old senders, and of strangers, that were refused since all of them were away."""
        self._all_away_until = {True: 0.0, False: 0.0}

    def take(self, origin: str, now: float, *, is_own: bool) -> bool:
        sender = self._sender(origin, now)
        if not sender.allowance.take(now):
            self._sends_too_much(origin, sender, now)
            return False
        is_old = origin in self._old
        if is_own or (self._for_old if is_old else self._for_strangers).take(now):
            return True
        sender.allowance.give_back()
        self._in_vain[is_old] += 1
        if self._in_vain[is_old] >= TOO_MANY:
            self._in_vain[is_old] = 0
            self._all_away_until[is_old] = now + AWAY_SECONDS
        return False

    def only(self, now: float) -> Iterable[str] | None:
        """Returns who is to be heard where strangers are not; None: they are."""
        if now >= self._all_away_until[False]:
            return None
        return self._old if now >= self._all_away_until[True] else ()

    def away(self, now: float) -> dict[str, float]:
        self._away = {origin: until for origin, until in self._away.items() if now < until}
        return self._away

    def _sender(self, origin: str, now: float) -> _Sender:
        sender = self._old.get(origin)
        if sender is not None:
            self._old.move_to_end(origin)
            return sender
        sender = self._strangers.get(origin)
        if sender is None:
            sender = self._strangers[origin] = _Sender(now)
            _forget_one(self._strangers)
        elif now - sender.since >= OLD_SECONDS:
            self._old[origin] = self._strangers.pop(origin)
            _forget_one(self._old)
        else:
            self._strangers.move_to_end(origin)
        return sender

    def _sends_too_much(self, origin: str, sender: _Sender, now: float) -> None:
        sender.since = now
        if self._old.pop(origin, None) is not None:
            self._strangers[origin] = sender
            _forget_one(self._strangers)
        sender.in_vain += 1
        if sender.in_vain >= TOO_MANY:
            sender.in_vain = 0
            self._away[origin] = now + AWAY_SECONDS


def _allowance(at_once: int, per_second: float, now: float) -> Allowance:
    return Allowance(at_once=at_once, per_second=per_second, now=now)


def _forget_one(senders: OrderedDict[str, _Sender]) -> None:
    """Forgets the sender that has been silent longest, where there are too many."""
    if len(senders) > limits.ORIGINS:
        senders.popitem(last=False)
