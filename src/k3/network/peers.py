"""Many observers, one truth: when to probe whom, when to suspect, when to say that a machine is gone. A pure state machine.

`PeerTable.handle(event, now)` takes one event and the local monotonic time and answers with what is to be done: probes
to start, observations to report, a reannouncement. `PeerTable.deadline` says when it wants a `Tick`. It opens no
socket, reads no clock, and knows no other host's clock either: ages are differences between two local times, or
between two times that one host wrote.

Theory of operation
-------------------
The store is the list of peers. Per peer the table keeps `ref`, the local time of the newest evidence that it lives: an
own success, or the store showing a fresh lastSeen. All times follow from the peer's time to live T (`ranks.Timing`).

* Observers of a peer are ordered by hash (`ranks.rank`). Rank 0 probes every T/6; later ranks only when the peer has been
  out of sight for T/3 + T/6 and a step more per rank. So work per machine does not grow with the number of machines.
* Success is written only where it changes something, or the stored lastSeen is T/3 old.
* Two failures make a suspicion (Reachable=False). Anyone's success takes it back.
* The verdict falls when `ref` is T old, after two own failures just now: NotReady by an observer with standing, Unknown by any other.
* An observer doubts itself when its links are gone, its loop stalled, or none of several peers answer any more: it then
  suspects nobody.
* While the store is out of reach, or after a stall of our own, ages do not advance: `ref` starts again.
"""

import heapq
import ipaddress
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from k3.core import limits, node
from k3.core.node import NodeView
from k3.core.observation import Alive, Evidence, Facts, Forgotten, Joined, Left, Observation, Silent, Suspected, Unproven
from k3.network import ranks
from k3.network.messages import Announcement, Answered, Endpoint, Impostor, LocalFault, Outcome, Refused, Target, Withdrawal
from k3.network.ranks import HINT_RANKS, LAST_RANK, Member, Timing

NEVER: Final = float("inf")
GOODBYE_RETRY_SECONDS: Final = 0.2
FAILURES: Final = 2
CANDIDATE_PROBES: Final = 16
NAMES_PER_PEER: Final = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """What this agent is told at start."""

    name: str
    id: str
    peer_ttl_seconds: float = 90.0
    register_self: bool = True
    forget_after_seconds: float = 0.0


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Synced:
    """The store's whole list, at start and after every break of the watch."""

    nodes: tuple[NodeView, ...]


@dataclass(frozen=True, slots=True)
class NodeShown:
    """The store shows this Node now."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class NodeGone:
    """The store no longer holds this Node."""

    name: str


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The watch broke: what the store says is unknown until the next `Synced`."""


@dataclass(frozen=True, slots=True)
class Probed:
    """How the probe of a name went."""

    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class SelfProven:
    """This machine answers its own probe, and this is what it says of itself now."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class LinksChanged:
    """Our usable links. None at all means that we are the ones cut off."""

    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stalled:
    """Our own loop stood still for so long (seconds)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NameKept:
    """The other holder of our name is dead, or has to give way: its id may be displaced."""

    displaces: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


StoreEvent = Synced | NodeShown | NodeGone | StoreLost
Event = StoreEvent | Announcement | Withdrawal | Probed | SelfProven | NameKept | LinksChanged | Stalled | Tick


# ── actions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class StartProbe:
    """Ask this target; the answer comes back as `Probed`, exactly once."""

    target: Target
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the reconciler."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class Reannounce:
    """Say again on the network that we are here: others could not reach us."""


@dataclass(frozen=True, slots=True)
class Contested:
    """Another id uses our own name: on the network, or in the store's Node. Ask it, then say `NameKept` or stop."""

    target: Target


Action = StartProbe | Report | Reannounce | Contested


# ── what is known of one peer ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True, eq=False)
class Peer:
    """Private knowledge of one name. Times are local and monotonic."""

    name: str
    member: Member
    timing: Timing
    ref: float
    stored: NodeView | None = None
    stored_at: float = 0.0
    """When the stored lastSeen last changed, as seen here."""
    heard: dict[str, Announcement] = field(default_factory=dict)
    unheard_at: float = 0.0
    rank: int = 0
    answered: bool = False
    """It answered us at least once in this run."""
    failures: int = 0
    failed_at: tuple[float, float] = (-NEVER, -NEVER)
    """The last two failures, newest last."""
    refusals: int = 0
    probing: bool = False
    probe_evidence: Evidence = field(default_factory=Evidence)
    probed_at: float = -NEVER
    hinted_at: float = NEVER
    leaving: bool = False
    challenger: Announcement | None = None
    """Who claims the name while its holder does not answer."""
    backoff: float = 0.0
    in_slot: bool = False
    """Its probe takes one of the few places that candidates have."""
    suspected_by_me: bool = False
    abstain_until: float = -NEVER
    reported: type[Observation] | None = None
    settled_at: float = -NEVER
    """The same is not reported again before this: the store is still to show the last report."""
    not_ready_at: float = NEVER
    due: float = NEVER

    @property
    def is_candidate(self) -> bool:
        """Announced, but not a Node of ours."""
        return self.stored is None

    def same_facts(self, facts: Facts) -> bool:
        """Whether the Node already shows what the machine says of itself."""
        seen = self.stored
        return seen is not None and (
            (seen.id or facts.id) == facts.id
            and seen.boot == facts.boot
            and seen.port == facts.port
            and seen.pid == facts.pid
            and seen.links == facts.links
            and seen.addresses == tuple(node.publishable(facts.addresses))
        )


class PeerTable:
    """The state machine. One per agent."""

    def __init__(self, settings: Settings, *, random: Random, now: float) -> None:
        self.settings = settings
        self.timing = Timing.of(settings.peer_ttl_seconds)
        self.peers: dict[str, Peer] = {}
        self.foreign: set[str] = set()
        self.online = False
        self._random = random
        self._me = Member(settings.name, ranks.place(settings.id), frozenset())
        self._observers: dict[str, Member] = {}
        self._rerank_at = NEVER
        self._links: tuple[str, ...] = ()
        self._facts: Facts | None = None
        self._self = Peer(settings.name, self._me, self.timing, now)
        self._displaces = ""
        self._reannounced_at = -NEVER
        self._doubt_until = -NEVER
        self._answer_at = now
        self._mute: set[str] = set()
        self._waiting: deque[str] = deque(maxlen=limits.CANDIDATES)
        self._candidate_probes = 0
        self._unproven: dict[str, str] = {}
        self._instances: dict[str, str] = {}
        self._anywhere: dict[str, Member] = {}
        self._candidates: dict[str, None] = {}
        self._heap: list[tuple[float, str]] = []
        self._actions: list[Action] = []

    # ── the one entrance ────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event; returns what is to be done."""
        match event:
            case Tick():
                pass
            case NodeShown(seen):
                self._show(seen, now)
            case Probed(name, outcome):
                self._probed(name, outcome, now)
            case Announcement():
                self._announced(event, now)
            case Withdrawal(instance):
                self._withdrawn(instance, now)
            case NodeGone(name):
                self._gone(name, now)
            case Synced(nodes):
                self._synced(nodes, now)
            case StoreLost():
                self.online = False
            case SelfProven(facts):
                self._facts = facts
                self._self.settled_at = -NEVER
                self._plan(self._self, now)
            case NameKept(displaces):
                self._displaces = displaces
                self._self.settled_at = -NEVER
                self._plan(self._self, now)
            case LinksChanged(links):
                self._relinked(links, now)
            case Stalled(seconds):
                self._stalled(seconds, now)
        self._run(now)
        actions, self._actions = self._actions, []
        return actions

    @property
    def deadline(self) -> float:
        """When the next `Tick` is wanted (local monotonic seconds, maybe infinite)."""
        while self._heap and self._is_stale(*self._heap[0]):
            heapq.heappop(self._heap)
        return min(self._rerank_at, self._heap[0][0] if self._heap else NEVER)

    @property
    def has_observers(self) -> bool:
        """Whether any other agent on this store looks after this machine."""
        return any(name != self._me.name and each.shares_link(self._self.member) for name, each in self._observers.items())

    def in_doubt(self, now: float) -> bool:
        """Whether we should not trust our own failures: cut off, stalled, or nobody answers us any more."""
        if not self._links or now < self._doubt_until:
            return True
        return len(self._mute) >= FAILURES and now - self._answer_at > 2 * self.timing.period

    # ── events: the store ───────────────────────────────────────────────────────────────────────────────────────────

    def _synced(self, nodes: Iterable[NodeView], now: float) -> None:
        self.online = True
        listed = {seen.name: seen for seen in nodes}
        for name in [n for n, peer in self.peers.items() if peer.stored and n not in listed]:
            self._gone(name, now)
        if self._me.name not in listed:
            self._gone(self._me.name, now)
        self.foreign.intersection_update(listed)
        for seen in listed.values():
            self._show(seen, now)
        self._restart_ages(now)

    def _restart_ages(self, now: float) -> None:
        """Nothing that happened while we could not look counts against anybody."""
        for peer in self._everyone():
            peer.ref = now
            peer.reported = None
            self._plan(peer, now)

    def _show(self, seen: NodeView, now: float) -> None:
        if seen.owner != "network":
            self._disown(seen.name)
            return
        self.foreign.discard(seen.name)
        peer = self._self if seen.name == self._me.name else self._peer(seen.name, now)
        former = peer.stored
        peer.stored = seen
        peer.reported = None
        self._candidates.pop(seen.name, None)
        if former is None or ranks.member(seen) != peer.member or former.peer_ttl_seconds != seen.peer_ttl_seconds:
            peer.timing = Timing.of(max(self.settings.peer_ttl_seconds, seen.peer_ttl_seconds))
            peer.member = ranks.member(seen)
            peer.rank = self._rank(peer)
        self._observe(peer, seen, now)
        self._follow(peer, former, seen, now)
        if peer is self._self and seen.id not in {"", self.settings.id, self._displaces}:
            recorded = tuple(Endpoint(a, seen.port) for a in seen.addresses if seen.port)
            self._actions.append(Contested(Target(seen.name, (recorded,), seen.id)))
        self._plan(peer, now)

    def _follow(self, peer: Peer, former: NodeView | None, seen: NodeView, now: float) -> None:
        """Draw the conclusions from what changed between two states of one Node."""
        if former is None:
            peer.ref = peer.stored_at = now
            peer.backoff = 0.0
            peer.not_ready_at = NEVER if seen.is_ready else now
            if seen.is_ready:
                peer.hinted_at = NEVER
            if peer.probed_at == -NEVER:
                peer.probed_at = now - peer.timing.period * self._random.random()
            self._count_unproven(seen)
            return
        suspected = former.is_reachable and not seen.is_reachable
        if (seen.last_seen, seen.agent) != (former.last_seen, former.agent):
            peer.stored_at = now
            self._sign_of_life(peer, seen, now, suspected=suspected)
        if suspected and seen.is_ready:
            self._hint(peer, now)
        if peer.suspected_by_me and seen.is_reachable and seen.is_ready and seen.seen_by != self._me.name:
            peer.abstain_until = now + 10 * peer.timing.period
            peer.failures = 0
        if seen.is_reachable:
            peer.suspected_by_me = False
        if seen.is_ready != former.is_ready:
            peer.not_ready_at = NEVER if seen.is_ready else now
            peer.backoff = 0.0
        if not seen.is_ready:
            self._mute.discard(peer.name)
        self._count_unproven(seen)

    def _sign_of_life(self, peer: Peer, seen: NodeView, now: float, *, suspected: bool) -> None:
        if not suspected:
            peer.ref = now
            peer.hinted_at = NEVER if not peer.leaving else peer.hinted_at
            if not peer.answered:
                peer.failures = 0
            return
        # A suspicion tells how long its writer has been without a sign of life, by its own clock.
        moved = node.parse_timestamp(seen.reachable.transition if seen.reachable else "")
        last = node.parse_timestamp(seen.last_seen)
        if moved is not None and last is not None:
            silent = max(0.0, (moved - last).total_seconds())
            peer.ref = max(peer.ref, now - silent)

    def _observe(self, peer: Peer, seen: NodeView, now: float) -> None:
        """Keep the order of observers; a change of it changes ranks."""
        wanted = peer.member if ranks.is_observer(seen) else None
        if self._observers.get(seen.name) == wanted:
            return
        if wanted is None:
            del self._observers[seen.name]
        else:
            self._observers[seen.name] = wanted
        self._rerank_soon(now)

    def _gone(self, name: str, now: float) -> None:
        self.foreign.discard(name)
        self._unproven.pop(name, None)
        if self._observers.pop(name, None) is not None:
            self._rerank_soon(now)
        peer = self._self if name == self._me.name else self.peers.get(name)
        if peer is None:
            return
        had = peer.stored is not None
        peer.stored = None
        peer.ref = now
        peer.reported = None
        if peer is self._self:
            # A person may delete our Node; it returns, but not in the same breath.
            peer.settled_at = now + self.timing.period if had else -NEVER
        elif not peer.heard:
            self._drop(peer)
            return
        else:
            self._candidates[name] = None
            peer.backoff = 0.0
            peer.probed_at = now
            peer.hinted_at = NEVER
        self._plan(peer, now)

    def _disown(self, name: str) -> None:
        self.foreign.add(name)
        self._unproven.pop(name, None)
        if self._observers.pop(name, None) is not None:
            self._rerank_at = -NEVER
        if name == self._me.name:
            self._self.stored = None
        elif name in self.peers:
            self._drop(self.peers[name])

    # ── events: the network ─────────────────────────────────────────────────────────────────────────────────────────

    def _announced(self, heard: Announcement, now: float) -> None:
        if heard.node == self._me.name:
            if heard.id != self.settings.id:
                ends = tuple(Endpoint(a, heard.port) for a in heard.addresses)
                self._actions.append(Contested(Target(heard.node, (ends,), heard.id)))
            return
        if heard.node in self.foreign:
            return
        peer = self.peers.get(heard.node) or self._new_candidate(heard, now)
        if peer is None or (heard.instance not in peer.heard and len(peer.heard) >= NAMES_PER_PEER):
            return
        self._instances[heard.instance] = heard.node
        news = peer.heard.get(heard.instance) != heard and not _already_shown(peer.stored, heard)
        peer.heard[heard.instance] = heard
        peer.leaving = False
        if news or not (peer.stored and peer.stored.is_ready):
            peer.backoff = 0.0
            self._hint(peer, now)
        self._plan(peer, now)

    def _new_candidate(self, heard: Announcement, now: float) -> Peer | None:
        if len(self._candidates) >= limits.CANDIDATES and not self._make_room():
            return None
        peer = self._peer(heard.node, now)
        addresses = tuple(a.partition("%")[0] for a in heard.addresses)
        peer.member = Member(heard.node, ranks.place(heard.id or heard.node), frozenset(), addresses)
        peer.rank = self._rank(peer)
        self._candidates[heard.node] = None
        return peer

    def _withdrawn(self, instance: str, now: float) -> None:
        peer = self.peers.get(self._instances.pop(instance, ""))
        if peer is None or peer.heard.pop(instance, None) is None:
            return
        if not peer.heard:
            peer.unheard_at = now
        if peer.stored and peer.stored.is_ready:
            peer.leaving = True
            peer.refusals = 0
            self._hint(peer, now)
        self._plan(peer, now)

    def _relinked(self, links: tuple[str, ...], now: float) -> None:
        self._links = links
        self._me = Member(self._me.name, self._me.place, frozenset(links))
        self._rerank_soon(now)

    def _stalled(self, seconds: float, now: float) -> None:
        if seconds > 1.0:
            self._doubt_until = now + 2 * self.timing.period
            self._reannounce(now)
        if seconds > max(1.0, self.timing.period):
            self._restart_ages(now)

    def _hint(self, peer: Peer, now: float) -> None:
        if peer.hinted_at == NEVER:
            peer.hinted_at = now

    # ── events: answers ─────────────────────────────────────────────────────────────────────────────────────────────

    def _probed(self, name: str, outcome: Outcome, now: float) -> None:
        peer = self.peers.get(name)
        if peer is None or not peer.probing:
            return
        peer.probing = False
        self._free_slot(peer, now)
        match outcome:
            case Answered():
                self._answered(peer, outcome, now)
            case LocalFault():
                pass
            case Impostor(node=found, id=id_) if peer.stored is not None and found == name and self._claims(peer, id_):
                self._answer_at = now
                peer.challenger = self._claims(peer, id_)
                peer.hinted_at = now
            case _:
                self._failed(peer, outcome, now)
        self._plan(peer, now)

    def _answered(self, peer: Peer, answer: Answered, now: float) -> None:
        displaces = ""
        if peer.challenger is not None and peer.stored is not None:
            displaces = peer.stored.id
        peer.challenger = None
        peer.answered = True
        peer.failures = peer.refusals = 0
        peer.leaving = False
        peer.ref = now
        self._answer_at = now
        self._mute.discard(peer.name)
        seen = peer.stored
        if not self.online or self._just_said(peer, Alive, now):
            return
        due = peer.timing.write - peer.timing.period / 2
        if (
            seen is None
            or not seen.is_ready
            or not seen.is_reachable
            or displaces
            or not peer.same_facts(answer.facts)
            or now - peer.stored_at >= due
        ):
            self._report(peer, Alive(peer.name, answer.facts, self._me.name, peer.probe_evidence, displaces), now)

    def _failed(self, peer: Peer, outcome: Outcome, now: float) -> None:
        peer.failures += 1
        peer.failed_at = (peer.failed_at[1], now)
        if isinstance(outcome, Refused):
            peer.refusals += 1
            self._answer_at = now
            self._mute.discard(peer.name)
        else:
            peer.refusals = 0
            if peer.answered:
                self._mute.add(peer.name)
        if isinstance(outcome, Impostor):
            self._answer_at = now
            if peer.is_candidate:
                # Whoever is there is not who the announcement says: not worth a Node.
                peer.backoff = peer.timing.ttl
                peer.failures = 0
        self._after_failure(peer, now)

    def _after_failure(self, peer: Peer, now: float) -> None:
        challenger = next(
            (h for h in peer.heard.values() if peer.stored and peer.stored.id and h.id not in {"", peer.stored.id}), None
        )
        if peer.failures < FAILURES:
            return
        if peer.challenger is None and challenger is not None:
            peer.challenger = challenger
            peer.hinted_at = now
        elif peer.challenger is not None:
            peer.challenger = None
        if not self.online:
            return
        seen = peer.stored
        if seen is None:
            self._show_unproven(peer, now)
        elif peer.leaving and peer.refusals >= FAILURES and seen.is_ready:
            peer.leaving = False
            self._report(peer, Left(peer.name, seen.evidence, by_itself=False), now)
        elif seen.is_ready and seen.is_reachable and not self.in_doubt(now) and not self._just_said(peer, Suspected, now):
            peer.suspected_by_me = True
            silent = now - peer.ref
            self._report(peer, Suspected(peer.name, seen.evidence, silent, f"does not answer {self._me.name}"), now)

    def _show_unproven(self, peer: Peer, now: float) -> None:
        heard = next(iter(peer.heard.values()), None)
        if heard is None or peer.rank != 0 or not self._may_show_unproven() or self.in_doubt(now):
            return
        self._unproven[peer.name] = self._me.name
        where = _endpoint_text(heard.addresses[0], heard.port) if heard.addresses else f"port {heard.port}"
        facts = Facts(
            heard.node, heard.addresses, heard.port, heard.pid, heard.id, peer_ttl_seconds=self.settings.peer_ttl_seconds
        )
        self._report(peer, Unproven(peer.name, facts, self._me.name, f"announced, but {where} never answered: firewall?"), now)

    def _may_show_unproven(self) -> bool:
        """The few places for machines nobody has reached are dealt out among the observers, so none need count together."""
        agents = sorted(self._observers.keys() | {self._me.name})
        mine = len(range(agents.index(self._me.name), limits.UNPROVEN_NODES, len(agents)))
        used = sum(1 for shown_by in self._unproven.values() if shown_by == self._me.name)
        return used < mine and len(self._unproven) < limits.UNPROVEN_NODES

    # ── what is due ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, now: float) -> None:
        """Do everything whose time has come."""
        if self._rerank_at <= now:
            self._rerank(now)
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._is_stale(at, name):
                continue
            peer = self._named(name)
            if peer is None:
                continue
            peer.due = NEVER
            self._act(peer, now)
            self._plan(peer, now)

    def _act(self, peer: Peer, now: float) -> None:
        if peer is self._self:
            self._act_self(now)
        elif not peer.probing:
            if self._is_forgettable(peer, now):
                self._forget(peer, now)
            elif self._verdict_at(peer) <= now and self._may_judge(peer, now):
                self._judge(peer, now)
            elif self._probe_at(peer) <= now:
                self._probe(peer, now)

    def _plan(self, peer: Peer, now: float) -> None:
        """Set the time of the peer's next action."""
        due = self._self_at() if peer is self._self else self._next_at(peer, now)
        if due == peer.due:
            return
        peer.due = due
        if due < NEVER:
            heapq.heappush(self._heap, (due, peer.name))

    def _next_at(self, peer: Peer, now: float) -> float:
        if peer.probing or self.peers.get(peer.name) is not peer:
            return NEVER
        at = min(self._probe_at(peer), self._forget_at(peer))
        verdict = self._verdict_at(peer)
        if verdict > now or self._may_judge(peer, now):
            at = min(at, verdict)
        return at

    def _probe_at(self, peer: Peer) -> float:
        """When this peer is to be probed next, by its state and our rank."""
        timing, rank = peer.timing, peer.rank
        if rank > LAST_RANK or (peer.stored is None and not peer.heard) or not self._endpoints(peer):
            return NEVER
        hinted = peer.hinted_at + timing.step * rank if rank <= HINT_RANKS else NEVER
        if peer.failures and peer.failures < FAILURES:
            pause = GOODBYE_RETRY_SECONDS if peer.leaving and peer.refusals else timing.retry
            return max(min(peer.failed_at[1] + pause, hinted), self._earliest(peer))
        if peer.stored is not None and peer.stored.is_ready:
            regular = peer.probed_at + timing.period
            if rank:
                regular = max(regular, peer.ref + timing.takeover(rank))
            regular = max(regular, peer.abstain_until)
        elif rank <= HINT_RANKS or peer.stored is None:
            regular = peer.probed_at + (peer.backoff or timing.period)
            if peer.stored is None and rank > HINT_RANKS:
                regular = max(regular, peer.ref + timing.takeover(rank))
        else:
            regular = NEVER
        return max(min(regular, hinted), self._earliest(peer))

    def _earliest(self, peer: Peer) -> float:
        """Never two probes of one peer closer than this, whatever is announced."""
        return peer.probed_at + (GOODBYE_RETRY_SECONDS if peer.leaving else min(0.5, peer.timing.retry))

    def _verdict_at(self, peer: Peer) -> float:
        seen = peer.stored
        if seen is None or not seen.is_ready or not self.online:
            return NEVER
        timing = peer.timing
        if not self._reaches(peer):
            apart = ranks.rank(self._me, peer.member, self._anywhere)
            late = peer.ref + timing.ttl + timing.write + timing.order(apart)
            return self._unless_just_said(peer, Silent, late) if apart <= LAST_RANK else NEVER
        if peer.rank > LAST_RANK:
            return NEVER
        return self._unless_just_said(peer, Silent, peer.ref + timing.ttl + timing.order(peer.rank))

    def _may_judge(self, peer: Peer, now: float) -> bool:
        """Two own failures just now; for a peer on no link of ours nobody can ask that."""
        return not self._reaches(peer) or (peer.failures >= FAILURES and peer.failed_at[0] >= now - 2 * peer.timing.period)

    def _judge(self, peer: Peer, now: float) -> None:
        seen = peer.stored
        if seen is None:
            return
        standing = (peer.answered or seen.seen_by == self._me.name) and self._reaches(peer) and not self.in_doubt(now)
        ttl = node.duration(peer.timing.ttl)
        message = f"no answer for {ttl}" if standing else f"no sign of life for {ttl}, and nobody in a position to ask"
        self._report(peer, Silent(peer.name, seen.evidence, standing, message), now)

    def _probe(self, peer: Peer, now: float) -> None:
        target = self._target(peer)
        if peer.is_candidate:
            if self._candidate_probes >= CANDIDATE_PROBES:
                peer.hinted_at, peer.probed_at = NEVER, now
                self._waiting.append(peer.name)
                return
            self._candidate_probes += 1
            peer.in_slot = True
        if peer.stored is None or not peer.stored.is_ready:
            ceiling = min(60.0, peer.timing.ttl)
            peer.backoff = min(peer.backoff * 2 or peer.timing.period, max(ceiling, peer.timing.period))
        peer.probing = True
        peer.probed_at = now
        peer.hinted_at = NEVER
        peer.probe_evidence = peer.stored.evidence if peer.stored else Evidence()
        self._actions.append(StartProbe(target, peer.timing.timeout))

    def _free_slot(self, peer: Peer, now: float) -> None:
        """A candidate's probe is over: the newest one waiting comes next, so that a flood cannot hold up a newcomer."""
        if not peer.in_slot:
            return
        peer.in_slot = False
        self._candidate_probes -= 1
        while self._waiting:
            other = self.peers.get(self._waiting.pop())
            if other is not None and other.is_candidate and not other.probing and other.heard:
                other.hinted_at = now
                other.probed_at = -NEVER
                self._plan(other, now)
                return

    # ── rule by rule, small answers ─────────────────────────────────────────────────────────────────────────────────

    def _just_said(self, peer: Peer, kind: type[Observation], now: float) -> bool:
        return peer.reported is kind and now < peer.settled_at

    def _unless_just_said(self, peer: Peer, kind: type[Observation], at: float) -> float:
        return max(at, peer.settled_at) if peer.reported is kind else at

    def _report(self, peer: Peer, observation: Observation, now: float) -> None:
        peer.reported = type(observation)
        peer.settled_at = now + max(0.5, peer.timing.retry)
        self._actions.append(Report(observation))

    def _is_forgettable(self, peer: Peer, now: float) -> bool:
        return self._forget_at(peer) <= now

    def _forget_at(self, peer: Peer) -> float:
        seen = peer.stored
        if not self.online:
            return NEVER
        if seen is None:
            return NEVER if peer.heard else peer.unheard_at + peer.timing.ttl
        if peer.rank > HINT_RANKS or seen.is_ready:
            return NEVER
        if seen.is_unproven and not peer.heard:
            gone = max(peer.unheard_at, peer.ref) + peer.timing.ttl
        elif self.settings.forget_after_seconds:
            gone = peer.not_ready_at + self.settings.forget_after_seconds
        else:
            return NEVER
        return self._unless_just_said(peer, Forgotten, gone + peer.rank)

    def _forget(self, peer: Peer, now: float) -> None:
        if peer.stored is None:
            self._drop(peer)
        else:
            self._report(peer, Forgotten(peer.name, peer.stored.evidence), now)

    def _self_at(self) -> float:
        """When our own Node wants writing."""
        me = self._self
        if not self.settings.register_self or self._facts is None or not self.online or me.name in self.foreign:
            return NEVER
        seen = me.stored
        if seen is not None and seen.id not in {"", self.settings.id, self._displaces}:
            return NEVER
        if seen is None or seen.agent != self._facts.boot or not me.same_facts(self._facts):
            return me.settled_at
        if not seen.is_ready or not seen.is_reachable:
            return max(me.settled_at, self._reannounced_at + self.timing.period)
        wait = me.timing.takeover(LAST_RANK + 1) if self.has_observers else me.timing.write
        return max(me.settled_at, me.stored_at + wait)

    def _act_self(self, now: float) -> None:
        me, seen = self._self, self._self.stored
        if self._facts is None:
            return
        fresh = seen is None or seen.agent != self._facts.boot
        if seen is not None and not fresh and not (seen.is_ready and seen.is_reachable):
            self._reannounce(now)
            if me.same_facts(self._facts):
                return
        self._report(me, Joined(me.name, self._facts, fresh, displaces=self._displaces), now)

    def _reannounce(self, now: float) -> None:
        if now - self._reannounced_at >= self.timing.period:
            self._reannounced_at = now
            self._actions.append(Reannounce())

    def _claims(self, peer: Peer, id_: str) -> Announcement | None:
        """The announcement under which this id claims the name."""
        return next((heard for heard in peer.heard.values() if heard.id and heard.id == id_), None)

    def _target(self, peer: Peer) -> Target:
        if peer.challenger is not None:
            ends = tuple(Endpoint(a, peer.challenger.port) for a in peer.challenger.addresses)
            return Target(peer.name, (ends,), peer.challenger.id)
        id_ = peer.stored.id if peer.stored else next((h.id for h in peer.heard.values()), "")
        return Target(peer.name, self._endpoints(peer), id_)

    def _endpoints(self, peer: Peer) -> tuple[tuple[Endpoint, ...], ...]:
        """Where to ask: what the store records first, then what is announced; on our own links only."""
        recorded: list[Endpoint] = []
        if peer.stored is not None and peer.stored.port:
            on_link = (a for a in peer.stored.addresses if ranks.within(a, self._me.links))
            recorded = [Endpoint(address, peer.stored.port) for address in on_link][: limits.PEER_ADDRESSES]
        id_ = peer.stored.id if peer.stored else ""
        announced = [
            Endpoint(address, heard.port)
            for heard in peer.heard.values()
            if not id_ or not heard.id or heard.id == id_
            for address in heard.addresses
        ]
        fresh = [end for end in dict.fromkeys(announced) if end not in recorded][: limits.PEER_ADDRESSES]
        return tuple(tuple(group) for group in (recorded, fresh) if group)

    def _reaches(self, peer: Peer) -> bool:
        return bool(self._endpoints(peer))

    def _count_unproven(self, seen: NodeView) -> None:
        if seen.is_unproven:
            self._unproven[seen.name] = seen.seen_by
        else:
            self._unproven.pop(seen.name, None)

    # ── bookkeeping ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _peer(self, name: str, now: float) -> Peer:
        peer = self.peers.get(name)
        if peer is None:
            peer = self.peers[name] = Peer(name, Member(name, ranks.place(name), frozenset()), self.timing, now)
        return peer

    def _named(self, name: str) -> Peer | None:
        return self._self if name == self._me.name else self.peers.get(name)

    def _everyone(self) -> Iterable[Peer]:
        return [self._self, *self.peers.values()]

    def _make_room(self) -> bool:
        """The oldest candidate that failed makes way for a new one."""
        first = (self.peers[name] for name in self._candidates)
        stale = next((peer for peer in first if peer.failures and not peer.probing), None)
        if stale is not None:
            self._drop(stale)
        return stale is not None

    def _drop(self, peer: Peer) -> None:
        self.peers.pop(peer.name, None)
        self._candidates.pop(peer.name, None)
        self._mute.discard(peer.name)
        for instance in peer.heard:
            self._instances.pop(instance, None)
        if peer.in_slot:
            self._candidate_probes -= 1

    def _is_stale(self, at: float, name: str) -> bool:
        peer = self._named(name)
        return peer is None or peer.due != at

    def _rank(self, peer: Peer) -> int:
        return ranks.rank(self._me, peer.member, self._observers)

    def _rerank_soon(self, now: float) -> None:
        few = len(self._observers) * len(self.peers) < 2_500
        self._rerank_at = min(self._rerank_at, now if few else now + self.timing.step)

    def _rerank(self, now: float) -> None:
        self._rerank_at = NEVER
        self._anywhere = {name: Member(name, each.place, frozenset()) for name, each in self._observers.items()}
        for peer in self.peers.values():
            peer.rank = self._rank(peer)
            self._plan(peer, now)
        self._plan(self._self, now)


def _endpoint_text(address: str, port: int) -> str:
    try:
        version = ipaddress.ip_address(address.partition("%")[0]).version
    except ValueError:
        return f"{address}:{port}"
    return f"[{address}]:{port}" if version == 6 else f"{address}:{port}"  # noqa: PLR2004 - the IP version


def _already_shown(stored: NodeView | None, heard: Announcement) -> bool:
    """Whether an announcement says nothing that the Node does not show already."""
    return (
        stored is not None
        and stored.is_ready
        and bool(heard.boot)
        and (stored.boot, stored.port) == (heard.boot, heard.port)
        and {a for a in heard.addresses if "%" not in a} <= set(stored.addresses)
    )
