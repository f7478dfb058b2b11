"""The entrance: which rule takes an event, and what is done when its time has come. Pure.

What this is about is in the package's own docstring.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Final

from k3.core import times
from k3.core.node import NodeView
from k3.core.observation import (
    Alive,
    Evidence,
    Explained,
    Facts,
    Forgotten,
    Joined,
    Left,
    Observation,
    Silent,
    Suspected,
    Unproven,
)
from k3.network import ranks
from k3.network.events import (
    Action,
    CloneFound,
    Contested,
    Event,
    LinksChanged,
    NameKept,
    NodeGone,
    NodeShown,
    Probed,
    Reannounce,
    Report,
    SelfProven,
    Settings,
    Stalled,
    StartProbe,
    StoreLost,
    Suspecting,
    Synced,
    Tick,
)
from k3.network.messages import Announcement, Answered, Endpoint, Impostor, LocalFault, Outcome, Refused, Target, Withdrawal
from k3.network.peers import peer as peers_
from k3.network.peers import places
from k3.network.peers.crowd import PROBES_AT_ONCE, Crowd
from k3.network.peers.doubt import SelfDoubt
from k3.network.peers.foreign import Foreign
from k3.network.peers.peer import FAILURES, NEVER, Peer
from k3.network.policy import CLONE_NOTE
from k3.network.ranks import HINT_RANKS, LAST_RANK, Member, Timing

NAMES_PER_PEER: Final = 8
RERANK_AT_ONCE: Final = 2_500
STALL_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.02
"""Between the first probes of two peers found in one list, on average."""


class PeerTable:
    """The state machine. One per agent."""

    def __init__(self, settings: Settings, *, chance: Callable[[], float], now: float) -> None:
        """`chance` (a number from 0 to 1, such as `Random().random`) spreads first probes; nothing else depends on it."""
        self.settings = settings
        self.peers: dict[str, Peer] = {}
        self._timing = Timing.of(settings.peer_ttl_seconds)
        self._chance = chance
        self._online = False
        self._listing = 0
        """How many Nodes the store is just telling us about, all in one list."""
        self._me = Member(name=settings.name, place=ranks.place(settings.id), links=frozenset())
        self._self = Peer(name=settings.name, member=self._me, timing=self._timing, last_sign_at=now)
        self._facts: Facts | None = None
        self._displaces = ""
        self._clone = CloneFound("")
        self._reannounced_at = -NEVER
        self._doubt = SelfDoubt(now)
        self._crowd = Crowd()
        self._foreign = Foreign()
        self._adopting: dict[str, Evidence] = {}
        """What the Nodes showed whose machines are being asked."""
        self._ours = places.Ours(settings.id)
        self._lines = places.Lines()
        self._rerank_at = NEVER
        self._instances: dict[str, str] = {}
        self._heap: list[tuple[float, str]] = []
        self._actions: list[Action] = []

    # The one entrance

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
            case _:
                self._handle_rare(event, now)
        self._run(now)
        actions, self._actions = self._actions, []
        return actions

    def _handle_rare(self, event: Event, now: float) -> None:
        match event:
            case Synced(nodes):
                self._synced(nodes, now)
            case StoreLost():
                self._online = False
            case SelfProven(facts):
                self._know_ourselves(facts, now)
            case NameKept() | CloneFound():
                self._learn_of_another(event, now)
            case LinksChanged(links, interfaces):
                self._relinked(links, interfaces, now)
            case Stalled(seconds):
                self._stalled(seconds, now)

    def _know_ourselves(self, facts: Facts, now: float) -> None:
        self._facts = facts
        former, self._ours.ends = self._ours.ends, frozenset(Endpoint(each, facts.port) for each in facts.addresses)
        for peer in [each for each in self.peers.values() if each.mentions(former ^ self._ours.ends)]:
            self._relocate(peer, now)
        self._replan_self(now)
        for peer in self.peers.values():
            self._recognise(peer, now)

    def shown(self, name: str) -> NodeView | None:
        """A Node as the store showed it last, with what k3 still knows of it where another program replaced it."""
        peer = self._named(name)
        return peer.known if peer else None

    def _learn_of_another(self, event: NameKept | CloneFound, now: float) -> None:
        if isinstance(event, NameKept):
            self._displaces = event.displaces
        else:
            self._clone = event
        self._replan_self(now)

    @property
    def deadline(self) -> float:
        """When the next `Tick` is wanted (local monotonic seconds, maybe infinite)."""
        while self._heap and self._is_stale(*self._heap[0]):
            heapq.heappop(self._heap)
        adoption = self._foreign.deadline(self._me.name) if self._online else NEVER
        return min(self._rerank_at, adoption, self._heap[0][0] if self._heap else NEVER)

    # Events: the store

    def _synced(self, nodes: Iterable[NodeView], now: float) -> None:
        self._online = True
        for peer in self.peers.values():
            peer.suspected_by_me = False  # whether that was refuted, a whole list does not say
        listed = {seen.name: seen for seen in nodes}
        for name in [name for name, peer in self.peers.items() if peer.stored and name not in listed]:
            self._gone(name, now)
        if self._me.name not in listed:
            self._gone(self._me.name, now)
        for name in [name for name in self._foreign.names if name not in listed]:
            self._gone(name, now)
        self._listing = len(listed)
        for seen in listed.values():
            self._show(seen, now)
        self._listing = 0
        self._rank_all(now)
        for name in self._crowd.names:
            # What a candidate answered while we could not write is to be heard again.
            self._hint(self.peers[name], now)
        self._restart_ages(now)

    def _restart_ages(self, now: float) -> None:
        """Nothing that happened while we could not look counts against anybody."""
        self._foreign.restart(now)
        for peer in (self._self, *self.peers.values()):
            peer.last_sign_at = now
            peer.reported = None
            self._plan(peer, now)

    def _show(self, seen: NodeView, now: float) -> None:
        if seen.owner != "network":
            self._disown(seen, now)
            return
        announced = self._foreign.drop(seen.name)
        peer = self._self if seen.name == self._me.name else self._peer(seen.name, now)
        former, peer.reported = peer.known, None
        peer.show(seen)
        known = peer.known or seen
        self._place(peer, former, known)
        self._enrol(peer, known, now)
        if former is None:
            self._meet(peer, known, now)
        else:
            self._follow(peer, former, known, now)
        if seen.ready is not None and seen.ready.status == "False":
            self._doubt.forget(peer.name)
        if seen.is_unproven:
            self._crowd.show(seen.name, seen.seen_by)
        else:
            self._crowd.hide(seen.name)
        if peer is self._self:
            self._defend(seen)
        else:
            self._recognise(peer, now)
        self._plan(peer, now)
        if announced is not None:
            self._announced(announced, now)

    def _place(self, peer: Peer, former: NodeView | None, seen: NodeView) -> None:
        """Where it is now, and who looks after it."""
        if former is not None and seen.addresses and _has_moved(former, seen) and seen.seen_by != self._me.name:
            peer.link = ""  # to have a say we must reach it where it is now
        took = former is not None and (former.seen_by == self._me.name) != (seen.seen_by == self._me.name)
        if took or former is None or _bearings(former) != _bearings(seen):
            peer.timing = Timing.of(max(self.settings.peer_ttl_seconds, seen.peer_ttl_seconds))
            peer.member = ranks.member(seen)
            self._locate(peer)

    def _meet(self, peer: Peer, seen: NodeView, now: float) -> None:
        """The store shows this Node for the first time."""
        self._crowd.drop(peer.name)
        peer.last_sign_at = peer.stored_at = peer.met_at = now
        peer.backoff = 0.0
        peer.not_ready_at = NEVER if seen.is_ready else now
        if seen.is_ready:
            peer.hinted_at = NEVER
        if peer.probed_at == -NEVER:
            # A newcomer is looked at from outside at once; a whole list of them, one after the other.
            wait = min(peer.timing.period, self._listing * LOOK_SECONDS)
            peer.probed_at = now - peer.timing.period + wait * self._chance()

    def _follow(self, peer: Peer, former: NodeView, seen: NodeView, now: float) -> None:
        """Draw the conclusions from what changed between two states of one Node."""
        suspected = former.is_reachable and not seen.is_reachable
        if (seen.last_seen, seen.agent) != (former.last_seen, former.agent):
            peer.stored_at = now
            if suspected:
                peer.last_sign_at = max(peer.last_sign_at, now - _silence(seen))
            else:
                peer.last_sign_at = now
                peer.hinted_at = peer.hinted_at if peer.leaving else NEVER
        if suspected and seen.is_ready:
            self._hint(peer, now)
        if peer.suspected_by_me and seen.is_reachable:
            peer.suspected_by_me = False
            if seen.is_ready and seen.seen_by != self._me.name:
                peer.abstain_until = now + 10 * peer.timing.period
                peer.failures = 0
                peer.link = ""
                self._locate(peer)
        if seen.agent != former.agent:
            peer.probed_at = min(peer.probed_at, now - peer.timing.period)
        if seen.is_ready != former.is_ready:
            peer.not_ready_at = NEVER if seen.is_ready else now
            peer.backoff = 0.0
            self._ask_instead(peer, now)  # who is not Ready any more may lose the name to whoever announced it long ago

    def _enrol(self, peer: Peer, seen: NodeView, now: float) -> None:
        """Keep the order of observers; a change of it changes ranks."""
        wanted = peer.member if ranks.is_observer(seen) else None
        if self._lines.all.get(seen.name) == wanted:
            return
        if wanted is None:
            del self._lines.all[seen.name]
        else:
            self._lines.all[seen.name] = wanted
        self._rerank_soon(now)

    def _gone(self, name: str, now: float) -> None:
        self._leave_lists(name, now)
        if name in self._foreign and (announced := self._foreign.drop(name)) is not None:
            self._announced(announced, now)
        peer = self._self if name == self._me.name else self.peers.get(name)
        if peer is None:
            return
        had, peer.reported, peer.last_sign_at = peer.stored is not None, None, now
        peer.show(None)
        if peer is self._self:
            # A person may delete our Node; it returns, but not in the same breath.
            peer.settled_at = now + self._timing.period if had else -NEVER
        elif not peer.heard:
            self._drop(peer)
            return
        elif had:
            self._crowd.names[name] = None
            self._locate(peer)
            peer.backoff, peer.probed_at, peer.hinted_at = 0.0, now, NEVER
        self._plan(peer, now)

    def _disown(self, seen: NodeView, now: float) -> None:
        """It belongs to a controller, or to discovery."""
        name = seen.name
        self._foreign.show(seen, now)
        self._leave_lists(name, now)
        if name == self._me.name:
            self._self.show(None)
        elif (peer := self.peers.get(name)) is not None:
            self._drop(peer)
            for heard in peer.heard.values():
                self._hear_foreign(heard)

    def _hear_foreign(self, heard: Announcement) -> None:
        self._instances[heard.instance] = heard.node
        self._foreign.hear(heard)

    def _leave_lists(self, name: str, now: float) -> None:
        self._crowd.hide(name)
        if self._lines.all.pop(name, None) is not None:
            self._rerank_soon(now)

    def _defend(self, seen: NodeView) -> None:
        """Our own Node may stand for somebody else."""
        if not self._is_ours(seen):
            ends = tuple(Endpoint(a, seen.port) for a in seen.addresses if seen.port and ranks.within(a, self._me.links))
            self._actions.append(Contested(Target(seen.name, (ends,) if ends else (), seen.id)))

    def _recognise(self, peer: Peer, now: float) -> None:
        """A Node with our id, at the very place where we answer, is what we were called before."""
        seen, facts = peer.stored, self._facts
        if seen is None or facts is None or not self._online or not self.settings.register_self:
            return
        ours = (facts.id, facts.port) == (seen.id, seen.port) and set(seen.addresses) <= set(facts.addresses)
        if not ours or not seen.addresses:
            return
        message = peers_.renamed(seen.name, self._me.name)
        if not seen.is_ready:
            self._explain(peer, seen, message, now)
        elif not peer.just_said(Silent, now):
            self._report(peer, Silent(seen.name, seen.evidence, standing=True, message=message), now)

    # Events: the network

    def _announced(self, heard: Announcement, now: float) -> None:
        if heard.node == self._me.name:
            if heard.id != self.settings.id:
                self._actions.append(Contested(Target(heard.node, (tuple(places.announced_ends(heard)),), heard.id)))
            return
        if heard.node in self._foreign:
            self._hear_foreign(heard)
            return
        peer = self.peers.get(heard.node) or self._new_candidate(heard, now)
        if peer is None or (heard.instance not in peer.heard and len(peer.heard) >= NAMES_PER_PEER):
            return
        news = peer.heard.get(heard.instance) != heard and not peer.already_shows(heard)
        self._instances[heard.instance] = heard.node
        peer.heard[heard.instance] = heard
        peer.leaving = False
        self._locate(peer)
        self._count_in(peer, now)
        self._ask_instead(peer, now)
        if news or not peer.is_ready:
            peer.backoff = 0.0
            self._hint(peer, now)
        self._plan(peer, now)

    def _new_candidate(self, heard: Announcement, now: float) -> Peer | None:
        if self._crowd.is_full and not self._make_room():
            return None
        peer = self._peer(heard.node, now)
        addresses = tuple(address.partition("%")[0] for address in heard.addresses)
        peer.member = Member(
            name=heard.node, place=ranks.place(heard.id or heard.node), links=frozenset(), addresses=frozenset(addresses)
        )
        self._crowd.names[heard.node] = None
        return peer

    def _make_room(self) -> bool:
        """The oldest candidate that failed makes way for a new one, or else the oldest."""
        oldest = [self.peers[name] for name in islice(self._crowd.names, 2 * PROBES_AT_ONCE)]
        idle = [peer for peer in oldest if not peer.probing]
        stale = next((peer for peer in idle if peer.failures), idle[0] if idle else None)
        if stale is not None:
            self._drop(stale)
        return stale is not None

    def _withdrawn(self, instance: str, now: float) -> None:
        name = self._instances.pop(instance, "")
        self._foreign.withdraw(name, instance)
        peer = self.peers.get(name)
        if peer is None or peer.heard.pop(instance, None) is None:
            return
        if not peer.heard:
            peer.unheard_at = now
        if peer.is_ready:
            # Nobody is believed who says that a machine is gone, but it is worth a look.
            peer.leaving, peer.refusals = True, 0
            self._hint(peer, now)
        if peer.stored is None or not peer.ends:
            self._locate(peer)
        else:  # it is still asked where it was announced
            self._rank(peer)
        self._plan(peer, now)

    def _relinked(self, links: tuple[str, ...], interfaces: tuple[str, ...], now: float) -> None:
        self._doubt.is_cut_off = not links
        self._ours.change(links, interfaces)
        self._me = Member(name=self._me.name, place=self._me.place, links=frozenset(links))
        for peer in self.peers.values():
            self._relocate(peer, now)
        self._rerank_soon(now)

    def _relocate(self, peer: Peer, now: float) -> None:
        """What is ours has changed; who can be asked again is asked soon."""
        former = {end for group in peer.ends for end in group}
        self._locate(peer)
        if any(end not in former for group in peer.ends for end in group):
            peer.backoff = 0.0
            self._hint(peer, now)
        self._ask_instead(peer, now)
        self._plan(peer, now)

    def _ask_instead(self, peer: Peer, now: float) -> None:
        """Its Node shows no place to ask, such as our own address of before: whoever else announces the name is asked."""
        if not peer.ends:
            self._turn_to_challenger(peer, now)

    def _stalled(self, seconds: float, now: float) -> None:
        if seconds > STALL_SECONDS:
            self._doubt.stood_still(now + 2 * self._timing.period)
            self._reannounce(now)
        if seconds > max(STALL_SECONDS, self._timing.period):
            self._restart_ages(now)

    def _hint(self, peer: Peer, now: float) -> None:
        if peer.hinted_at == NEVER:
            peer.hinted_at = now

    # What probes bring

    def _probed(self, name: str, outcome: Outcome, now: float) -> None:
        self._crowd.done(name)
        peer = self.peers.get(name)
        if (evidence := self._adopting.pop(name, None)) is not None and peer is None:
            self._adopt(name, outcome, evidence)
        if peer is not None and peer.probing:
            peer.probing = False
            if isinstance(outcome, LocalFault):  # which says nothing about the peer
                self._could_not_ask(peer, outcome, now)
            else:
                peer.faults = 0
                self._conclude(peer, outcome, now)
            self._plan(peer, now)
        waiting = self._crowd.next_waiting()
        if waiting is not None and not (other := self.peers[waiting]).probing:
            other.hinted_at, other.probed_at = now, -NEVER
            self._plan(other, now)

    def _could_not_ask(self, peer: Peer, fault: LocalFault, now: float) -> None:
        """What passes by itself is like standing still: that time does not count. Anything else ends in Unknown."""
        if fault.passes:
            peer.last_sign_at = now
        else:
            peer.faults += 1

    def _conclude(self, peer: Peer, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, Answered):
            self._answered(peer, outcome, now)
        elif (
            isinstance(outcome, Impostor)
            and self._may_displace(peer)
            and outcome.node == peer.name
            and (claim := _claim(peer, outcome.id))
        ):
            # The recorded place answers under another id, and that id is announced: the holder is gone for good.
            self._doubt.heard_from(peer.name, self._link_to(peer), now)
            peer.challenger, peer.hinted_at = claim, now
        else:
            self._failed(peer, outcome, now)

    def _answered(self, peer: Peer, answer: Answered, now: float) -> None:
        displaces = peer.stored.id if peer.challenger is not None and peer.stored is not None else ""
        peer.challenger = None
        peer.leaving = False
        peer.failures = peer.refusals = 0
        peer.answers_as = None
        peer.answered_at = peer.last_sign_at = now
        peer.link = self._ours.link_of(answer.endpoint.address)
        if peer.is_ready:
            peer.backoff = 0.0
        self._count_in(peer, now)
        self._doubt.heard_from(peer.name, peer.link, now)
        seen = peer.stored
        if not self._online or peer.just_said(Alive, now):
            return
        facts = _said(answer.facts, peer.known)
        healthy = seen is not None and seen.is_ready and seen.is_reachable
        aged = now - peer.stored_at >= peer.timing.write - peer.timing.period / 2
        if not healthy or displaces or aged or not peer.same_facts(facts):
            self._report(
                peer,
                Alive(
                    name=peer.name,
                    facts=facts,
                    seen_by=self._me.name,
                    evidence=peer.probe_evidence,
                    displaces=displaces,
                    seen_run=self.settings.boot,
                ),
                now,
            )

    def _failed(self, peer: Peer, outcome: Outcome, now: float) -> None:
        peer.failures += 1
        peer.failed_at = (peer.failed_at[1], now)
        peer.refusals = peer.refusals + 1 if isinstance(outcome, Refused) else 0
        peer.answers_as = outcome if isinstance(outcome, Impostor) else None
        if isinstance(outcome, Refused | Impostor):
            self._doubt.heard_from(peer.name, self._link_to(peer), now)
        elif self._has_say(peer) and peer.answered:
            self._doubt.fell_silent(peer.name, peer.link)
        if isinstance(outcome, Impostor) and peer.is_candidate:
            # Whoever is there is not who the announcement says: not worth a Node, nor many questions.
            peer.backoff, peer.failures = peer.ceiling, 0
        if peer.failures >= FAILURES:
            if peer.is_ready and not self._has_say(peer):
                peer.backoff = min(peer.backoff * 2 or peer.timing.period, peer.ceiling)
            if peer.failures == FAILURES and peer.name in self._lines.all and not peer.is_here:
                self._rerank_soon(now)
            self._turn_to_challenger(peer, now)
            if self._online:
                self._accuse(peer, now)

    def _turn_to_challenger(self, peer: Peer, now: float) -> None:
        """The holder of a name is silent and somebody else claims it: ask that one, every other time."""
        seen = peer.stored
        if (peer.challenger is not None and peer.ends) or seen is None or not seen.id or not self._may_displace(peer):
            peer.challenger = None
            return
        peer.challenger = next((heard for heard in peer.heard.values() if heard.id not in {"", seen.id}), None)
        if peer.challenger is not None:
            peer.hinted_at = now

    def _may_displace(self, peer: Peer) -> bool:
        """Whether the holder of a name that does not answer us is gone. It may live elsewhere, and write to the store."""
        return peer.stored is not None and (self._has_say(peer) or not peer.is_ready)

    def _accuse(self, peer: Peer, now: float) -> None:
        """Two failures in a row: say what they mean."""
        seen = peer.stored
        if seen is None:
            self._show_unproven(peer, now)
        elif not self._has_say(peer):
            return
        elif peer.leaving and peer.refusals >= FAILURES and seen.is_ready:
            peer.leaving = False
            self._report(peer, Left(peer.name, seen.evidence, by_itself=False), now)
        elif seen.is_ready and seen.is_reachable and not self._in_doubt(peer, now) and not peer.just_said(Suspected, now):
            if not peer.suspected_by_me:
                where = ", ".join(peers_.written(end) for group in peer.ends for end in group)
                self._actions.append(Suspecting(peer.name, where))
            peer.suspected_by_me = True
            # Only an answer that the store has not seen may move lastSeen; `last_sign_at` may be no more than a restart.
            silent = now - peer.answered_at if peer.answered_at > peer.stored_at else None
            message = peer.is_now or f"does not answer {self._me.name}"
            self._report(
                peer,
                Suspected(
                    name=peer.name,
                    evidence=seen.evidence,
                    silent_seconds=silent,
                    message=message,
                    seen_by=self._me.name,
                    seen_run=self.settings.boot,
                ),
                now,
            )
        elif peer.is_now and not seen.is_ready and (peer.was_renamed or places.was_last_answered(peer, self._me.name)):
            self._explain(peer, seen, peer.is_now, now)

    def _explain(self, peer: Peer, seen: NodeView, message: str, now: float) -> None:
        """Say it once, whichever of its addresses the observers ask."""
        shown = seen.ready.message if seen.ready else ""
        if message.partition(" ")[2] not in shown and not peer.just_said(Explained, now):
            self._report(peer, Explained(peer.name, seen.evidence, message), now)

    def _show_unproven(self, peer: Peer, now: float) -> None:
        heard = next(iter(peer.heard.values()), None)
        if heard is None or peer.rank or self._in_doubt(peer, now):
            return
        if not self._crowd.has_room(self._me.name, self._lines.all):
            return
        self._crowd.show(peer.name, self._me.name)
        ttl = self.settings.peer_ttl_seconds
        facts = Facts(
            node=heard.node, addresses=heard.addresses, port=heard.port, pid=heard.pid, id=heard.id, peer_ttl_seconds=ttl
        )
        where = peers_.written(peer.ends[0][0]) if peer.ends else f"port {heard.port}"
        message = f"announced, but {where} never answered: firewall?"
        self._report(peer, Unproven(peer.name, facts, self._me.name, message), now)

    # What is due

    def _run(self, now: float) -> None:
        """Do everything whose time has come."""
        if self._rerank_at <= now:
            self._rerank(now)
        if self._online and self._foreign.deadline(self._me.name) <= now:
            self._look_at_the_abandoned(now)
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            peer = None if self._is_stale(at, name) else self._named(name)
            if peer is not None:
                peer.due = NEVER
                self._act(peer, now)
                self._plan(peer, now)

    def _act(self, peer: Peer, now: float) -> None:
        if peer is self._self:
            if self._self_at() <= now:
                self._act_self(now)
        elif self._online and peers_.forget_at(peer, self.settings.forget_after_seconds) <= now:
            self._forget(peer, now)
        elif self._online and self._verdict_at(peer) <= now and self._may_judge(peer, now):
            self._judge(peer, now)
        elif not peer.probing and peers_.probe_at(peer) <= now:
            self._probe(peer, now)

    def _plan(self, peer: Peer, now: float) -> None:
        """Set the time of the peer's next action."""
        due = self._self_at() if peer is self._self else self._next_at(peer, now)
        if due != peer.due:
            peer.due = due
            if due < NEVER:
                heapq.heappush(self._heap, (due, peer.name))

    def _next_at(self, peer: Peer, now: float) -> float:
        if self.peers.get(peer.name) is not peer:
            return NEVER
        at = NEVER if peer.probing else peers_.probe_at(peer)
        if self._online:
            if not peer.probing:
                at = min(at, peers_.forget_at(peer, self.settings.forget_after_seconds))
            verdict = self._verdict_at(peer)
            if verdict > now or self._may_judge(peer, now):
                at = min(at, verdict)
        return at

    def _judge(self, peer: Peer, now: float) -> None:
        seen = peer.stored
        if seen is not None:
            is_known = places.was_last_answered(peer, self._me.name) or places.is_former_name(peer, self._ours)
            has_seen = peer.was_renamed or (self._has_say(peer) and is_known)
            standing = has_seen and not peer.faults and not self._in_doubt(peer, now)
            self._report(peer, Silent(peer.name, seen.evidence, standing, self._reason(peer, standing=standing)), now)

    def _verdict_at(self, peer: Peer) -> float:
        saw = places.was_last_answered(peer, self._me.name)
        if self._has_say(peer):
            wait = peer.timing.write if not saw and self._has_better_witness(peer) else 0.0
            return peers_.verdict_at(peer, peer.rank, standing=saw, wait_seconds=wait)
        # Others may be able to ask it, and its own agent may have a way to the store that none of us knows.
        is_late = peer.has_others or (not saw and peer.stored is not None and bool(peer.stored.agent))
        wait = peer.timing.write if is_late else 0.0
        return peers_.verdict_at(peer, peer.far_rank, standing=False, wait_seconds=wait)

    def _has_better_witness(self, peer: Peer) -> bool:
        """Whether another agent on this store has reached it, as far as the store and the ranks tell.

        That one's word is NotReady, where this agent could only say Unknown. It is given time: on a busy machine, or just after
        the store has returned, it may be a moment behind.
        """
        seen_by = peer.known.seen_by if peer.known else ""
        return peer.rank > 0 or (seen_by in self._lines.all and seen_by not in {self._me.name, peer.name})

    def _has_say(self, peer: Peer) -> bool:
        return places.has_say(peer, self._ours, self._me.name)

    def _may_judge(self, peer: Peer, now: float) -> bool:
        return not self._has_say(peer) or peers_.has_just_failed(peer, now)

    def _reason(self, peer: Peer, *, standing: bool) -> str:
        ttl = times.duration(peer.timing.ttl)
        if places.is_former_name(peer, self._ours):
            return peers_.renamed(peer.name, self._me.name)
        if peer.is_now and (standing or peer.was_renamed):
            return peer.is_now
        if standing:
            return f"no answer for {ttl}"
        if peer.answered and not self._ours.has(peer.link):
            return f"no sign of life for {ttl}, and {self._me.name} has lost its own link to it"
        if self._has_say(peer) and not peer.answered:
            return f"no sign of life for {ttl}, and {peers_.written(peer.ends[0][0])} never answered {self._me.name}: firewall?"
        return f"no sign of life for {ttl}, and nobody in a position to ask"

    def _probe(self, peer: Peer, now: float) -> None:
        peer.probed_at, peer.hinted_at = now, NEVER
        is_retry = 0 < peer.failures < FAILURES  # which needs no place of its own: it follows at once
        if peer.is_candidate and not is_retry and not self._crowd.ask(peer.name, is_new=not peer.backoff):
            return
        if not peer.is_ready:
            peer.backoff = min(peer.backoff * 2 or peer.timing.period, peer.ceiling)
        peer.probing = True
        peer.probe_evidence = peer.stored.evidence if peer.stored else Evidence()
        self._actions.append(StartProbe(_target(peer), peer.timing.timeout))

    def _forget(self, peer: Peer, now: float) -> None:
        if peer.stored is None:
            self._drop(peer)
        else:
            self._report(peer, Forgotten(peer.name, peer.stored.evidence), now)

    # Ourselves

    def _self_at(self) -> float:
        """When it wants writing."""
        me, seen = self._self, self._self.stored
        if not self.settings.register_self or self._facts is None or not self._online or me.name in self._foreign:
            return NEVER
        if seen is not None and not self._is_ours(seen):
            return NEVER
        return max(me.settled_at, self._wanted_at(seen, self._facts))

    def _wanted_at(self, seen: NodeView | None, facts: Facts) -> float:
        me = self._self
        if me.is_overwritten:
            return me.restored_at + me.timing.write
        if seen is None or seen.is_unknown or self._has_news(seen, facts):
            return -NEVER
        if not seen.is_ready or not seen.is_reachable:
            return self._reannounced_at + self._timing.period
        return me.stored_at + (me.timing.takeover(LAST_RANK + 1) if self._has_observers() else me.timing.write)

    def _says_of_clones(self, seen: NodeView, facts: Facts) -> bool:
        """Whether our Node says what we know; of whom it is a clone a machine knows from its last run."""
        shown = seen.annotations.get(CLONE_NOTE, "")
        return shown == self._clone.address or (not self._clone.address and bool(facts.clone_of))

    def _has_news(self, seen: NodeView, facts: Facts) -> bool:
        """Whether our Node does not show yet what there is to say of ourselves."""
        return seen.agent != facts.boot or not self._self.same_facts(facts) or not self._says_of_clones(seen, facts)

    def _act_self(self, now: float) -> None:
        me, seen = self._self, self._self.stored
        if self._facts is None:
            return
        fresh = seen is None or seen.agent != self._facts.boot
        if seen is not None and not fresh and not (seen.is_ready and seen.is_reachable):
            self._reannounce(now)
            if me.same_facts(self._facts) and not seen.is_unknown and self._says_of_clones(seen, self._facts):
                return
        if me.is_overwritten:
            me.restored_at = now
        clone = self._clone
        joined = Joined(
            name=me.name,
            facts=self._facts,
            fresh=fresh,
            conflict_with=self.settings.conflict_with,
            displaces=self._displaces,
            clone_at=clone.address,
            advice=clone.advice,
        )
        self._report(me, joined, now)

    def _replan_self(self, now: float) -> None:
        self._self.settled_at = -NEVER
        self._plan(self._self, now)

    def _is_ours(self, seen: NodeView) -> bool:
        return seen.id in {"", self.settings.id, self._displaces}

    def _has_observers(self) -> bool:
        """Whether any other agent on this store may look after this machine."""
        return ranks.others_look_after(self._me, self._self.member, self._lines.ours)

    def _reannounce(self, now: float) -> None:
        if now >= self._reannounced_at + self._timing.period:
            self._reannounced_at = now
            self._actions.append(Reannounce())

    # Nodes that discovery has given up

    def _look_at_the_abandoned(self, now: float) -> None:
        """Ask the machines that are announced here, as one of the first ranks; ourselves we need not ask."""
        for seen, heard in self._foreign.take_due(self._me.name, now):
            if seen.name == self._me.name:
                self._adopt_self(seen)
            elif heard is not None and seen.name not in self._adopting:
                member = Member(
                    name=seen.name, place=ranks.place(seen.id), links=frozenset(), addresses=frozenset(seen.addresses)
                )
                if ranks.rank(self._me, member, self._lines.all) <= HINT_RANKS:
                    self._adopting[seen.name] = seen.evidence
                    ends = tuple(places.announced_ends(heard))
                    self._actions.append(StartProbe(Target(seen.name, (ends,), seen.id), self._timing.timeout))

    def _adopt(self, name: str, outcome: Outcome, evidence: Evidence) -> None:
        if isinstance(outcome, Answered) and self._online:
            self._actions.append(
                Report(
                    Alive(
                        name=name,
                        facts=outcome.facts,
                        seen_by=self._me.name,
                        evidence=evidence,
                        seen_run=self.settings.boot,
                        adopts=evidence,
                    )
                )
            )

    def _adopt_self(self, seen: NodeView) -> None:
        """Where somebody else looks after us, it is theirs to see us alive."""
        if (
            self.settings.register_self
            and self._facts is not None
            and seen.id == self.settings.id
            and not self._has_observers()
        ):
            self._actions.append(Report(Joined(name=seen.name, facts=self._facts, fresh=True, adopts=seen.evidence)))

    # Bookkeeping

    def _report(self, peer: Peer, observation: Observation, now: float) -> None:
        peer.reported = type(observation)
        peer.settled_at = now + max(0.5, peer.timing.retry)
        self._actions.append(Report(observation))

    def _in_doubt(self, peer: Peer, now: float) -> bool:
        return self._doubt.doubts(self._link_to(peer), now, 2 * self._timing.period)

    def _link_to(self, peer: Peer) -> str:
        """Where it answered us; before that, where it would be asked first."""
        return peer.link or (self._ours.link_of(peer.ends[0][0].address) if peer.ends else "")

    def _count_in(self, peer: Peer, now: float) -> None:
        """An agent that has shown to be here is counted for everybody."""
        if peer.name in self._lines.all and not self._lines.counts(peer):
            self._rerank_soon(now)

    def _peer(self, name: str, now: float) -> Peer:
        peer = self.peers.get(name)
        if peer is None:
            peer = self.peers[name] = Peer(
                name=name,
                member=Member(name=name, place=ranks.place(name), links=frozenset()),
                timing=self._timing,
                last_sign_at=now,
            )
        return peer

    def _named(self, name: str) -> Peer | None:
        return self._self if name == self._me.name else self.peers.get(name)

    def _is_stale(self, at: float, name: str) -> bool:
        peer = self._named(name)
        return peer is None or peer.due != at

    def _drop(self, peer: Peer) -> None:
        self.peers.pop(peer.name, None)
        self._crowd.drop(peer.name)
        self._doubt.forget(peer.name)
        for instance in peer.heard:
            self._instances.pop(instance, None)

    def _locate(self, peer: Peer) -> None:
        """Where it can be asked from here, and the ranks that follow."""
        peer.ends = places.endpoints(peer, self._ours)
        if not self._listing:  # else the ranks follow from the whole list, once it has been read
            self._rank(peer)

    def _rank(self, peer: Peer) -> None:
        line = self._lines.of(peer)
        peer.rank = ranks.rank(self._me, peer.member, line)
        if peer.rank > LAST_RANK:  # then it is so anywhere
            peer.far_rank = peer.rank
        elif not self._has_say(peer):
            peer.far_rank = ranks.rank(self._me, peer.member, self._lines.anywhere)
            peer.has_others = ranks.others_look_after(self._me, peer.member, line)

    def _rerank_soon(self, now: float) -> None:
        few = len(self._lines.all) * len(self.peers) < RERANK_AT_ONCE
        self._rerank_at = min(self._rerank_at, now if few else now + self._timing.step)

    def _rerank(self, now: float) -> None:
        self._rank_all(now)
        for peer in (*self.peers.values(), self._self):
            self._plan(peer, now)

    def _rank_all(self, now: float) -> None:
        """Sort the observers anew, and compute the rank for every peer once."""
        self._rerank_at = self._lines.rebuild(self.peers, now)
        for peer in self.peers.values():
            self._rank(peer)


def _said(facts: Facts, seen: NodeView | None) -> Facts:
    """What a machine says of itself, given what its Node shows.

    Where k3 discovery holds the port, it knows neither links nor a time to live: it proves that the machine lives, and
    everything else stays as the machine's own network agent wrote it.
    """
    if seen is None or not seen.id or seen.id != facts.id or facts.peer_ttl_seconds or not seen.peer_ttl_seconds:
        return facts
    return replace(
        facts,
        addresses=seen.addresses,
        port=seen.port,
        pid=seen.pid,
        boot=seen.boot,
        links=seen.links,
        peer_ttl_seconds=seen.peer_ttl_seconds,
    )


def _has_moved(former: NodeView, seen: NodeView) -> bool:
    """Whether nothing is left of where it was."""
    return set(former.addresses).isdisjoint(seen.addresses)


def _bearings(seen: NodeView) -> tuple[object, ...]:
    """What decides who looks after a Node, where it is asked, and how often."""
    return seen.id, seen.links, seen.addresses, seen.port, seen.peer_ttl_seconds


def _silence(seen: NodeView) -> float:
    """How long the writer of a suspicion had been without a sign of life. Both times are its own, of one write."""
    moved = times.parse_timestamp(seen.reachable.transition if seen.reachable else "")
    last = times.parse_timestamp(seen.last_seen)
    return max(0.0, (moved - last).total_seconds()) if moved is not None and last is not None else 0.0


def _claim(peer: Peer, id_: str) -> Announcement | None:
    """The announcement under which this id claims the name."""
    return next((heard for heard in peer.heard.values() if heard.id and heard.id == id_), None)


def _target(peer: Peer) -> Target:
    if peer.challenger is not None:
        return Target(peer.name, (tuple(places.announced_ends(peer.challenger)),), peer.challenger.id)
    id_ = peer.known.id if peer.known else next((heard.id for heard in peer.heard.values()), "")
    return Target(peer.name, peer.ends, id_)
