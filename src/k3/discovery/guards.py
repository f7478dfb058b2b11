"""Which answers are believed, and from when on a datacenter counts as out of reach. Pure: no clock, no I/O.

That a machine is listed, and how it is, is believed of every server that has a leader. That a machine is *not* listed
is not: an empty list also comes from a token that may not see it, from an agent that has just lost its memory, and from
a mistyped name. So absence counts only if the answer is complete as far as can be known, and where much is missing at
once, or anything after an outage (Consul may have come back without its memory), only if three answers over a minute agree
(ADR 17).

    Trust        shown machines are    missing machines are
    ─────        ──────────────────    ────────────────────
    FULL         as shown              gone
    SHOWN        as shown              left as they are; beyond the grace: lost from sight
    NONE         left as they are; beyond the grace: lost from sight, all of them

The grace of a machine that was shown begins with the silence, that of a missing one when answers ceased to be FULL.
"""

from enum import Enum
from typing import Final

from k3.core.records import dataclass

STALE_SECONDS: Final = 2.0
"""A server that has not heard from its leader for longer may be cut off."""
CONFIRM_SECONDS: Final = 60.0
CONFIRM_ANSWERS: Final = 3
RECHECK_SECONDS: Final = 20.0
"""The longest blocking query while an answer is not believed: what confirms it may come without any change."""
BULK_LOSS: Final = 3
BULK_SHARE: Final = 0.1
"""From so many, and more than this share of what is known, a loss needs confirming: a token that lost rights looks like it."""
LEAST_GRACE_SECONDS: Final = 60.0
INCOMPLETE: Final = "the answer is not complete: does the token have service:read and node:read?"


class Trust(Enum):
    """How far an answer is believed."""

    FULL = "full"
    SHOWN = "shown"
    NONE = "none"


class Own(Enum):
    """The registration of this machine, as the answer of its own datacenter shows it."""

    NOT_EXPECTED = "not expected"
    """This machine is not registered, or not in this datacenter."""
    SHOWN = "shown"
    MISSING = "missing"
    """The agent holds it, or cannot be asked, and the answer lacks it."""
    UNREGISTERED = "unregistered"
    """The agent does not hold it: not yet, or not any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One answer, as far as it matters here. `known`: how many Nodes of this datacenter the store has that are not gone."""

    shown: int
    known: int
    missing: int
    """How many of the known ones the answer lacks."""
    own: Own
    has_leader: bool = True
    last_contact_seconds: float = 0.0
    is_filtered: bool = False
    """Something was left out: by Consul, for want of rights, or by k3, for want of room."""
    unidentified: int = 0
    """How many entries do not even say who is registered."""
    went_back: bool = False
    """The index is smaller than before: the servers have lost what they knew."""


@dataclass(frozen=True, slots=True)
class Belief:
    """How far a datacenter is believed; `why` is empty for full trust."""

    trust: Trust
    why: str = ""


def grace_seconds(watch_interval_seconds: float) -> float:
    """Returns how long nothing may be known before a Node's Ready becomes Unknown."""
    return max(LEAST_GRACE_SECONDS, 4 * watch_interval_seconds)


def has_lead(has_leader: bool, last_contact_seconds: float) -> bool:  # noqa: FBT001 - as the answer's headers say
    """Whether the server that answered knows what is so now."""
    return has_leader and last_contact_seconds <= STALE_SECONDS


class Guard:
    """Remembers, for one datacenter, since when it has not been fully believed, and what still needs confirmation."""

    def __init__(self) -> None:
        self.belief = Belief(Trust.NONE, "not asked yet")
        self._bad_since: float | None = None
        self._silent_since: float | None = None
        self._doubt_since = 0.0
        self._doubts = 0
        self._is_wary = False
        """There has been an outage since the last answer that was fully believed."""

    def hear(self, heard: Heard, now: float) -> Belief:
        """Judges an answer. `now` is monotonic, in seconds."""
        if not has_lead(heard.has_leader, heard.last_contact_seconds):
            return self.fail("the Consul servers have no leader, or have not heard from it lately", now)
        self._is_wary |= heard.went_back
        if why := _incomplete(heard):
            self._doubts = 0  # only answers that could prove an absence confirm one another
            return self._settle(Belief(Trust.SHOWN, why), now)
        if self._wants_confirmation(heard) and not self._is_confirmed(now):
            return self._settle(Belief(Trust.SHOWN, f"{heard.missing} of {heard.known} are missing at once"), now)
        self._doubts = 0
        return self._settle(Belief(Trust.FULL), now)

    def fail(self, why: str, now: float) -> Belief:
        """Notes that no answer has come, or one of a server that cannot know. `now` is monotonic, in seconds."""
        self._doubts = 0
        self._is_wary = True
        return self._settle(Belief(Trust.NONE, why), now)

    def bad_seconds(self, now: float) -> float:
        """Returns for how long no answer has been fully believed; 0 while one is."""
        return 0.0 if self._bad_since is None else now - self._bad_since

    def silent_seconds(self, now: float) -> float:
        """Returns for how long nothing of any answer has been believed; 0 while something is."""
        return 0.0 if self._silent_since is None else now - self._silent_since

    def _wants_confirmation(self, heard: Heard) -> bool:
        if not heard.missing:
            return False
        if self._doubts or self._is_wary or not heard.shown:
            return True
        return heard.missing >= BULK_LOSS and heard.missing > BULK_SHARE * heard.known

    def _is_confirmed(self, now: float) -> bool:
        if not self._doubts:
            self._doubt_since = now
        self._doubts += 1
        return self._doubts >= CONFIRM_ANSWERS and now - self._doubt_since >= CONFIRM_SECONDS

    def _settle(self, belief: Belief, now: float) -> Belief:
        if belief.trust is Trust.FULL:
            self._bad_since = None
            self._is_wary = False
        elif self._bad_since is None:
            self._bad_since = now
        if belief.trust is not Trust.NONE:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        self.belief = belief
        return belief


def _incomplete(heard: Heard) -> str:
    """Returns why the answer cannot prove that anything is missing; empty if it can."""
    if heard.is_filtered:
        return INCOMPLETE
    if heard.unidentified:
        return f"{heard.unidentified} entries of the answer cannot be read, and may be those that are missing"
    if heard.own is Own.MISSING:
        return "our own registration is missing from the answer: may the token write this service, and read services and nodes?"
    return ""
