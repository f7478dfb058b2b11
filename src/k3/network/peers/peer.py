"""What one agent privately knows of one peer, and when that makes it due. Times are local, monotonic, in seconds.

Nothing here changes anything: `PeerTable` does that. Every function answers from the peer alone. Pure.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from k3.core import node, ownership
from k3.core.addresses import authority
from k3.core.node import NodeView
from k3.core.observation import Evidence, Facts, Forgotten, Observation, Silent
from k3.network.messages import Announcement, Endpoint, Impostor
from k3.network.ranks import HINT_RANKS, LAST_RANK, Member, Timing

NEVER: Final = float("inf")
FAILURES: Final = 2
"""In a row, before anything is concluded from silence."""

GOODBYE_RETRY_SECONDS: Final = 0.2
HINT_PAUSE_SECONDS: Final = 0.5
BACKOFF_CEILING_SECONDS: Final = 60.0
ROUNDS_PER_PERIOD: Final = 8


@dataclass(slots=True, eq=False, kw_only=True)
class Peer:
    """Private knowledge of one name: a Node of the store, a candidate that is only announced, or both."""

    name: str
    member: Member
    timing: Timing
    last_sign_at: float
    """The newest evidence that it lives: an own success, or the store showing a fresh lastSeen."""

    stored: NodeView | None = None
    known: NodeView | None = None
    """The same, with what k3 still knows of the machine where another program has replaced the whole Node."""
    restored_at: float = -NEVER
    """When what such a program dropped was last written again: it may go on, and k3 does not fight it."""
    stored_at: float = 0.0
    """When the stored lastSeen last changed, as seen here."""
    not_ready_at: float = NEVER
    met_at: float = 0.0
    """When the store showed it to us for the first time in this run."""

    heard: dict[str, Announcement] = field(default_factory=dict)
    unheard_at: float = 0.0
    ends: tuple[tuple[Endpoint, ...], ...] = ()
    """Where it can be asked from here: what the store records first, then what is announced."""

    rank: int = 0
    far_rank: int = LAST_RANK + 1
    """Our place among all agents, wherever they are: counts only for a peer over which we have no say."""
    has_others: bool = False
    """Whether somebody else may be able to ask it. Known only where we have no say."""

    probing: bool = False
    probed_at: float = -NEVER
    probe_evidence: Evidence = field(default_factory=Evidence)
    hinted_at: float = NEVER
    leaving: bool = False
    """It said goodbye, or somebody did in its name."""
    challenger: Announcement | None = None
    """Who claims the name while its holder does not answer."""
    backoff: float = 0.0
    abstain_until: float = -NEVER

    answered_at: float = -NEVER
    """When it last answered us in this run."""
    link: str = ""
    """On which of our links that was; empty: nowhere, or others reach it where we do not."""
    failures: int = 0
    failed_at: tuple[float, float] = (-NEVER, -NEVER)
    """The last two failures, newest last."""
    refusals: int = 0
    answers_as: Impostor | None = None
    """Who answered last in its place."""
    faults: int = 0
    """In a row, how often we could not even ask."""

    reported: type[Observation] | None = None
    settled_at: float = -NEVER
    """The same is not reported again before this: the store is still to show the last report."""
    suspected_by_me: bool = False
    due: float = NEVER

    def show(self, seen: NodeView | None) -> None:
        """The store shows its Node so now."""
        former = self.known
        is_overwritten = former is not None and seen is not None and ownership.was_overwritten(former, seen)
        self.stored = seen
        self.known = ownership.remembered(former, seen) if is_overwritten and former and seen else seen

    @property
    def is_overwritten(self) -> bool:
        """Whether the store lacks what k3 had written there."""
        return self.known is not self.stored

    @property
    def is_candidate(self) -> bool:
        """Announced, but not a Node of ours."""
        return self.stored is None

    @property
    def is_ready(self) -> bool:
        """Whether the store shows it Ready."""
        return self.stored is not None and self.stored.is_ready

    @property
    def answered(self) -> bool:
        """Whether it answered us at least once in this run."""
        return self.answered_at > -NEVER

    @property
    def is_here(self) -> bool:
        """Whether it has shown in this run that it is on a link of ours: it answered, or announced itself under its own id."""
        return self.answered or (bool(self.heard) and any(self.is_its_own(heard) for heard in self.heard.values()))

    def is_its_own(self, heard: Announcement) -> bool:
        """Whether the Node's own machine announces this, as far as ids say."""
        id_ = self.known.id if self.known else ""
        return not id_ or not heard.id or heard.id == id_

    def mentions(self, ends: frozenset[Endpoint]) -> bool:
        """Whether it is said to be at one of these endpoints' addresses."""
        addresses = {end.address for end in ends}
        recorded = self.stored.addresses if self.stored else ()
        return not addresses.isdisjoint(recorded) or any(not addresses.isdisjoint(h.addresses) for h in self.heard.values())

    @property
    def was_renamed(self) -> bool:
        """Whether the very machine answers, under another name."""
        other = self.answers_as
        return bool(other and self.known and other.id and other.id == self.known.id and other.node != self.name)

    @property
    def is_now(self) -> str:
        """Who answers in its place; empty where nobody does."""
        if self.answers_as is None:
            return ""
        where = written(self.answers_as.endpoint) if self.answers_as.endpoint else "its address"
        if self.was_renamed:
            return renamed(self.name, self.answers_as.node)
        if self.answers_as.node == self.name:
            return f"{where} answers under another identity now"
        return f"{where} answers as {self.answers_as.node} now"

    @property
    def ceiling(self) -> float:
        """The longest pause between two probes of a peer that is not Ready."""
        return max(min(BACKOFF_CEILING_SECONDS, self.timing.ttl), self.timing.period)

    def just_said(self, kind: type[Observation], now: float) -> bool:
        """Whether this has been reported and the store has had no time to show it."""
        return self.reported is kind and now < self.settled_at

    def same_facts(self, facts: Facts) -> bool:
        """Whether the Node already shows what the machine says of itself."""
        seen = self.known
        return seen is not None and (
            (seen.id or facts.id, seen.boot, seen.port, seen.pid, seen.links)
            == (facts.id, facts.boot, facts.port, facts.pid, facts.links)
            and seen.addresses == tuple(node.publishable(facts.addresses))
        )

    def already_shows(self, heard: Announcement) -> bool:
        """Whether an announcement says nothing that the Node does not show."""
        seen = self.known
        return (
            seen is not None
            and seen.is_ready
            and bool(heard.boot)
            and (seen.boot, seen.port) == (heard.boot, heard.port)
            and {address for address in heard.addresses if "%" not in address} <= set(seen.addresses)
        )


def renamed(former: str, name: str) -> str:
    """What a machine's old Node says: the same words by the machine and by others."""
    return f"renamed: the machine goes by the name of {name} now; to remove this Node: k3 delete node {former}"


def written(end: Endpoint) -> str:
    """`10.0.0.7:7946`, `[2001:db8::7]:7946`."""
    return authority(end.address, end.port)


def probe_at(peer: Peer) -> float:
    """When to ask it next, by its state and our rank."""
    if peer.rank > LAST_RANK or not (peer.ends or peer.challenger):
        return NEVER
    hinted = peer.hinted_at + peer.timing.step * peer.rank if peer.rank <= HINT_RANKS else NEVER
    if 0 < peer.failures < FAILURES:
        pause = GOODBYE_RETRY_SECONDS if peer.leaving and peer.refusals else peer.timing.retry
        regular = peer.failed_at[1] + pause
    elif peer.is_ready:
        regular = max(_next_round(peer), _turn(peer), peer.abstain_until, peer.probed_at + peer.backoff)
    elif peer.is_candidate:
        regular = max(peer.probed_at + (peer.backoff or peer.timing.period), _turn(peer) if peer.rank > HINT_RANKS else 0.0)
    elif peer.rank <= HINT_RANKS:
        regular = peer.probed_at + (peer.backoff or peer.timing.period)
    else:
        regular = NEVER
    return max(min(regular, hinted), _earliest(peer))


def _next_round(peer: Peer) -> float:
    """One period after the last time, on a grid: peers asked at the same moment are also written in one commit."""
    grid = peer.timing.period / ROUNDS_PER_PERIOD
    return math.floor((peer.probed_at + peer.timing.period) / grid) * grid


def _turn(peer: Peer) -> float:
    """From when on this rank looks for itself."""
    return peer.last_sign_at + peer.timing.takeover(peer.rank) if peer.rank else -NEVER


def _earliest(peer: Peer) -> float:
    """Never two probes of one peer closer than this, whatever is announced."""
    return peer.probed_at + (GOODBYE_RETRY_SECONDS if peer.leaving else min(HINT_PAUSE_SECONDS, peer.timing.retry))


def verdict_at(peer: Peer, rank: int, *, standing: bool, wait_seconds: float = 0.0) -> float:
    """When its time to live has run out for us: others may go first, and those who cannot ask it come last."""
    if not peer.is_ready or rank > LAST_RANK:
        return NEVER
    at = peer.last_sign_at + peer.timing.ttl + peer.timing.order(rank, standing=standing)
    return _unless_said(peer, Silent, at + wait_seconds)


def has_just_failed(peer: Peer, now: float) -> bool:
    """Whether two own failures just now stand behind a verdict; or that many times we could not even ask."""
    recent = now - 2 * peer.timing.period - peer.timing.timeout
    return peer.faults >= FAILURES or (peer.failures >= FAILURES and peer.failed_at[0] >= recent)


def forget_at(peer: Peer, forget_after_seconds: float) -> float:
    """When its Node, or what we heard of it, is to be dropped."""
    seen = peer.stored
    if seen is None:
        return NEVER if peer.heard else peer.unheard_at + peer.timing.ttl
    if peer.rank > HINT_RANKS or seen.is_ready:
        return NEVER
    if seen.is_unproven and not peer.heard:
        gone = max(peer.unheard_at, peer.last_sign_at) + peer.timing.ttl
    elif forget_after_seconds:
        gone = peer.not_ready_at + forget_after_seconds
    else:
        return NEVER
    return _unless_said(peer, Forgotten, gone + peer.rank)


def _unless_said(peer: Peer, kind: type[Observation], at: float) -> float:
    return max(at, peer.settled_at) if peer.reported is kind else at
