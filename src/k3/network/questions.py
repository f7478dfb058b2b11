"""What the browser asks over mDNS, and when. Holds no records and reads no packets.

Two kinds of question: "who offers the service?" on a fixed schedule, with the answers already known so that only the
others reply (RFC 6762 §7.1); and "what about this instance?", for those whose records are incomplete or doubtful.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from zeroconf import Zeroconf, current_time_millis
from zeroconf._dns import DNSPointer, DNSQuestion
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_PTR, _TYPE_SRV, _TYPE_TXT

from k3.core import limits

STARTUP_SECONDS: Final = (0.0, 1.0, 5.0, 14.0)
AGAIN_SECONDS: Final = (0.0, 1.2)
PERIOD_SECONDS: Final = 60.0
PERIOD_SPREAD: Final = 0.2
INSTANCES_PER_PERIOD_SECOND: Final = 5
"""Above 300 instances the period grows with them, so that the known answers do not fill the link (ADR 6)."""

HURRY_SECONDS: Final = 0.5
INSTANCES_PER_HURRY_SECOND: Final = 20
"""While packets are dropped it is asked so often, less often in a fleet of more than ten: all of it asks at the same time."""
HINDSIGHT_SECONDS: Final = 2.0
"""So long after the last of these questions there is one more."""

RETRIES_SECONDS: Final = (1.0, 2.0)
# RFC 6762 §5.2: machines that start together must not all ask at the same moment.
_DELAY_SECONDS: Final = (0.02, 0.12)
_PACE_SECONDS: Final = 0.1


class GeneralSchedule:
    """When to ask who is there. The first question of a series asks for unicast answers (QU, RFC 6762 §5.4)."""

    def __init__(self, random: Random) -> None:
        """Plans nothing before `series`."""
        self._random = random
        self._due: list[tuple[float, bool]] = []
        self._asked_at = -math.inf

    def series(self, now: float, after_seconds: Sequence[float]) -> None:
        """Asks several times from now on, the first time with a small random delay; what was planned before is dropped."""
        start = now + self._random.uniform(*_DELAY_SECONDS)
        self._due = [(start + after, place == 0) for place, after in enumerate(after_seconds)]

    def hurry(self, now: float, instances: int) -> bool:
        """Asks soon, for unicast answers, and once more later. False: that is planned already.

        `instances`: how many are known to be real.
        """
        pause_seconds = max(HURRY_SECONDS, instances / INSTANCES_PER_HURRY_SECOND)
        at = max(now, self._asked_at + pause_seconds) + _DELAY_SECONDS[1]
        if self.next <= at:
            return False
        at -= self._random.uniform(0.0, _DELAY_SECONDS[1])
        later = at + HINDSIGHT_SECONDS
        self._due = [(at, True), (later, True), *(each for each in self._due if each[0] > later)]
        return True

    @property
    def next(self) -> float:
        """The time at which the next question is due; infinite before the first series."""
        return self._due[0][0] if self._due else math.inf

    def take(self, now: float, instances: int) -> bool | None:
        """Whether the question due now is to be answered by unicast; None where none is due. Plans the next one."""
        if self.next > now:
            return None
        _, unicast = self._due.pop(0)
        self._asked_at = now
        if not self._due:
            period = max(PERIOD_SECONDS, instances / INSTANCES_PER_PERIOD_SECOND)
            self._due = [(now + period * self._random.uniform(1 - PERIOD_SPREAD, 1 + PERIOD_SPREAD), False)]
        return unicast


class NamedSchedule:
    """The instances to ask about: each at most three times, `limits.RESOLVES_AT_ONCE` at once."""

    def __init__(self) -> None:
        """Plans nothing before `add`."""
        self._attempts: dict[str, int] = {}
        self._due: list[tuple[float, str]] = []
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._attempts)

    def add(self, instance: str, due: float) -> None:
        """Asks about an instance from this time on, unless that is planned already or too many are."""
        if instance not in self._attempts and len(self._attempts) < limits.CANDIDATES:
            self._attempts[instance] = 0
            heapq.heappush(self._due, (due, instance))

    def settle(self, instance: str) -> None:
        """Drops what is planned for an instance."""
        self._attempts.pop(instance, None)

    @property
    def next(self) -> float:
        """The time at which the next question is due."""
        return max(self._due[0][0], self._not_before) if self._due else math.inf

    def take(self, now: float) -> tuple[list[str], bool]:
        """Returns the instances to ask about now, and whether for unicast answers: at the first attempt only."""
        batch: list[str] = []
        unicast = True
        while self.next <= now and len(batch) < limits.RESOLVES_AT_ONCE:
            _, instance = heapq.heappop(self._due)
            attempt = self._attempts.get(instance)
            if attempt is None:
                continue
            batch.append(instance)
            unicast = unicast and attempt == 0
            self._plan(instance, attempt, now)
        if batch:
            self._not_before = now + _PACE_SECONDS
        return batch, unicast

    def _plan(self, instance: str, attempt: int, now: float) -> None:
        if attempt < len(RETRIES_SECONDS):
            self._attempts[instance] = attempt + 1
            heapq.heappush(self._due, (now + RETRIES_SECONDS[attempt], instance))
        else:
            del self._attempts[instance]


def ask_who(zeroconf: Zeroconf, service: str, known: Iterable[DNSPointer], *, unicast: bool) -> None:
    """Asks for every instance of the service, except the known ones."""
    out = DNSOutgoing(_FLAGS_QR_QUERY)
    out.add_question(_question(service, _TYPE_PTR, unicast=unicast))
    now = current_time_millis()
    for pointer in known:
        out.add_answer_at_time(pointer, now)
    zeroconf.async_send(out)


def ask_about(zeroconf: Zeroconf, names: Iterable[str], *, unicast: bool) -> None:
    """Asks for the records of these instances (full names)."""
    out = DNSOutgoing(_FLAGS_QR_QUERY)
    for name in names:
        out.add_question(_question(name, _TYPE_SRV, unicast=unicast))
        out.add_question(_question(name, _TYPE_TXT, unicast=unicast))
    zeroconf.async_send(out)


def _question(name: str, kind: int, *, unicast: bool) -> DNSQuestion:
    question = DNSQuestion(name, kind, _CLASS_IN)
    question.unicast = unicast
    return question
