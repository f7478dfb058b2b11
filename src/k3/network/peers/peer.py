"""What one agent privately knows of one peer (rule 2). Times are local, monotonic, in seconds. Pure.

Everything here answers from the peer alone; the rules (`table`) change it.
"""

from dataclasses import field
from typing import Final

from k3.core import limits, node, ownership
from k3.core.addresses import authority
from k3.core.node import NodeView
from k3.core.observation import Evidence, Facts, Observation
from k3.core.phrases import another_answers, renamed
from k3.core.records import dataclass
from k3.network.messages import Announcement, Endpoint, Impostor
from k3.network.peers.laws import State
from k3.network.ranks import LAST_RANK, Member, Timing

NEVER: Final = float("inf")
FAILURES: Final = 2
"""In a row, before anything is concluded from silence."""

BACKOFF_CEILING_SECONDS: Final = 60.0


@dataclass(slots=True, eq=False, kw_only=True)
class Peer:
    """Private knowledge of a Node of the store, or of a candidate: one place where a name without such a Node is announced."""

    name: str
    key: str
    """What it is kept under: the name, or for a candidate the name and the place."""
    member: Member
    timing: Timing
    last_sign_at: float
    """The newest evidence that it lives: an answer to this agent, or the store showing a fresh lastSeen.

    At start, after a break of the watch and after a stall of the agent's own loop it is set to that moment.
    """

    is_own: bool = False
    """Whether this is the agent's own Node."""

    stored: NodeView | None = None
    remembered: NodeView | None = None
    """The same, with what k3 still knows of the machine where another program has replaced the whole Node."""
    restored_at: float = -NEVER
    """When what such a program dropped was last written again: it may go on, and k3 does not fight it."""
    refreshed_at: float = 0.0
    """When the store showed another lastSeen than before."""
    not_ready_at: float = NEVER
    first_shown_at: float = 0.0
    """When the store showed it for the first time in this run."""

    heard: dict[str, Announcement] = field(default_factory=dict)
    unheard_at: float = 0.0
    ends: tuple[tuple[Endpoint, ...], ...] = ()
    """Where it can be asked from here: what the store records first, then what is announced."""

    rank: int = 0
    far_rank: int = LAST_RANK + 1
    """This agent's place among all agents, wherever they are: counts only for a peer over which it has no say."""
    has_others: bool = False
    """Whether another agent may be able to ask it. Known only where this one has no say."""

    origin: str = ""
    """Of a candidate: where its announcement comes from (`k3.network.origins`)."""
    is_preferred: bool = False
    """Of a candidate: whether it is somebody, as it has answered to something."""
    waiting: bool = False
    """Of a candidate: whether it waits for its turn to be asked."""
    probing: bool = False
    probed_at: float = -NEVER
    probe_evidence: Evidence = field(default_factory=Evidence)
    hinted_at: float = NEVER
    said_goodbye: bool = False
    """Its records were withdrawn, by itself or by another host in its name."""
    claimed_at: float = -NEVER
    """When it was last asked because another machine claims the name."""
    backoff: float = 0.0
    abstain_until: float = -NEVER

    answered_at: float = -NEVER
    """When it last answered this agent in this run."""
    link: str = ""
    """On which of this machine's links that was; empty: on none, or others reach it where this agent does not."""
    answered_from: str = ""
    """At which address."""
    failures: int = 0
    failed_at: tuple[float, float] = (-NEVER, -NEVER)
    """The last two failures, newest last."""
    refusals: int = 0
    answers_as: Impostor | None = None
    """The machine that answered last in its place."""
    faults: int = 0
    """In a row, how often this agent could not even ask."""

    reported: type[Observation] | None = None
    settled_at: float = -NEVER
    """The same is not reported again before this: the store has yet to show the last report."""
    suspected_by_me: bool = False
    due: float = NEVER
    """When it next needs attention; set by `PeerTable` alone."""

    def show(self, seen: NodeView | None) -> None:
        """The store shows its Node like this now; None: it has none."""
        former = self.remembered
        is_overwritten = former is not None and seen is not None and ownership.was_overwritten(former, seen)
        self.stored = seen
        self.remembered = ownership.remembered(former, seen) if is_overwritten and former and seen else seen

    def hear(self, heard: Announcement) -> None:
        """Keep an announcement, the newest ones; another machine's crowds out none of the Node's own."""
        self.heard.pop(heard.instance, None)
        if len(self.heard) >= limits.ANNOUNCEMENTS_PER_NODE:
            others = [each for each in self.heard.values() if not self.is_its_own(each)]
            if not others and not self.is_its_own(heard):
                return
            oldest = (others or list(self.heard.values()))[0]
            del self.heard[oldest.instance]
        self.heard[heard.instance] = heard

    def hint(self, now: float) -> None:
        """It is worth a look soon (rule 4); a second hint does not postpone the first."""
        if self.hinted_at == NEVER:
            self.hinted_at = now

    def back_off(self) -> None:
        """Ask it more rarely from now on."""
        self.backoff = min(self.backoff * 2 or self.timing.period, self.ceiling)

    @property
    def state(self) -> State:
        """What the store shows of it."""
        if self.is_own:
            return State.OWN
        if self.stored is None:
            return State.CANDIDATE
        if not self.stored.is_ready:
            return State.NOT_READY
        return State.READY if self.stored.is_reachable else State.SUSPECTED

    @property
    def is_overwritten(self) -> bool:
        """Whether the store lacks what k3 had written there."""
        return self.remembered is not self.stored

    @property
    def is_candidate(self) -> bool:
        """Whether it is announced, and the store shows no Node of it."""
        return self.stored is None

    @property
    def is_ready(self) -> bool:
        """Whether the store shows it Ready."""
        return self.stored is not None and self.stored.is_ready

    @property
    def answered(self) -> bool:
        """Whether it answered this agent at least once in this run."""
        return self.answered_at > -NEVER

    @property
    def is_here(self) -> bool:
        """Whether it has shown in this run that it is on a link of this machine: it answered, or announced itself."""
        return self.answered or (bool(self.heard) and any(self.is_its_own(heard) for heard in self.heard.values()))

    def is_its_own(self, heard: Announcement) -> bool:
        """Whether the Node's own machine announces this, as far as ids say."""
        id_ = self.remembered.id if self.remembered else ""
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
        return bool(other and self.remembered and other.id and other.id == self.remembered.id and other.node != self.name)

    @property
    def who_answers(self) -> str:
        """A sentence that says which machine answers in its place; empty where none does."""
        if self.answers_as is None:
            return ""
        where = written(self.answers_as.endpoint) if self.answers_as.endpoint else "its address"
        if self.was_renamed:
            return renamed(self.name, self.answers_as.node)
        if self.answers_as.node == self.name:
            return another_answers(where)
        return another_answers(where, self.answers_as.node)

    @property
    def ceiling(self) -> float:
        """The longest pause between two probes of a peer that is not Ready."""
        return max(min(BACKOFF_CEILING_SECONDS, self.timing.ttl), self.timing.period)

    def just_reported(self, kind: type[Observation], now: float) -> bool:
        """Whether an observation of this kind was reported and the store has had no time to show it."""
        return self.reported is kind and now < self.settled_at

    def after_report(self, kind: type[Observation], at: float) -> float:
        """When an observation of this kind is due; if it has just been reported, not before the store could show it."""
        return max(at, self.settled_at) if self.reported is kind else at

    def same_facts(self, facts: Facts) -> bool:
        """Whether the Node already shows what the machine says of itself."""
        seen = self.remembered
        return seen is not None and (
            (seen.id or facts.id, seen.boot, seen.port, seen.pid, seen.links)
            == (facts.id, facts.boot, facts.port, facts.pid, facts.links)
            and seen.addresses == tuple(node.publishable(facts.addresses))
        )

    def already_shows(self, heard: Announcement) -> bool:
        """Whether an announcement says nothing that the Node does not show."""
        seen = self.remembered
        return (
            seen is not None
            and seen.is_ready
            and bool(heard.boot)
            and (seen.boot, seen.port) == (heard.boot, heard.port)
            and {address for address in heard.addresses if "%" not in address} <= set(seen.addresses)
        )


def written(end: Endpoint) -> str:
    """`10.0.0.7:7946`, `[2001:db8::7]:7946`."""
    return authority(end.address, end.port)
