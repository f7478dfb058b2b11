"""Rules 4 and 5: a peer is asked when it is due, and what an answer, or the lack of one, changes. Pure."""

import math
from dataclasses import replace
from typing import Final

from k3.core.node import NodeView
from k3.core.observation import Alive, Evidence, Facts
from k3.network.events import StartProbe
from k3.network.messages import Answered, Impostor, LocalFault, Outcome, Refused
from k3.network.peers.asking import Asking, target
from k3.network.peers.bounds import Bound, Bounds
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.laws import Cause
from k3.network.peers.observers import Observers
from k3.network.peers.peer import FAILURES, NEVER, Peer
from k3.network.peers.suspicion import Suspicion
from k3.network.ranks import HINT_RANKS, LAST_RANK

GOODBYE_RETRY_SECONDS: Final = 0.2
"""Between two refusals that confirm a goodbye (rule 10)."""
HINT_PAUSE_SECONDS: Final = 0.5
"""Between two probes of one peer, at least, whatever is announced."""
ROUNDS_PER_PERIOD: Final = 8


class Probing:
    """Starts probes, at most one of a peer at a time, and takes their outcomes."""

    def __init__(self, known: Knowledge, observers: Observers, asking: Asking, suspicion: Suspicion) -> None:
        self._known = known
        self._observers = observers
        self._asking = asking
        self._candidates = asking.candidates
        self._suspicion = suspicion
        self.bounds = Bounds(known)

    def start(self, peer: Peer, now: float) -> None:
        """Ask it; a candidate waits for its turn, but for a second question, which follows at once."""
        peer.probed_at, peer.hinted_at = now, NEVER
        if peer.is_candidate and not 0 < peer.failures < FAILURES:
            self._known.crowd.wait(peer)
        else:
            self._ask(peer, now)

    def take_turns(self, now: float) -> list[Peer]:
        """Ask the candidates whose turn it is, if there is room for them. Returns them."""
        known, having = self._known, []
        for origin in known.crowded_out:
            self.bounds.meet(Bound.CANDIDATES, origin, now)
        known.crowded_out.clear()
        while (peer := known.crowd.next(now)) is not None:
            if self.bounds.has_room(peer, now):
                self._ask(peer, now)
            else:
                known.crowd.done(peer.key)
                peer.probed_at, peer.backoff = now, peer.ceiling
                self._has_failed(peer)
            having.append(peer)
        return having

    def _has_failed(self, peer: Peer) -> None:
        for other in self._known.crowd.failed(peer):
            self._known.make_way(other)

    def _ask(self, peer: Peer, now: float) -> None:
        peer.probed_at = now
        if not peer.is_ready:
            peer.back_off()
        peer.probing = True
        peer.probe_evidence = peer.stored.evidence if peer.stored else Evidence()
        timeout = self._known.crowd.patience(peer) if peer.is_candidate else peer.timing.timeout
        self._known.do(StartProbe(peer.key, target(peer), timeout))

    def done(self, key: str, outcome: Outcome, now: float) -> None:
        """A probe is over: draw the conclusions."""
        known = self._known
        known.crowd.done(key)
        peer = known.keyed(key)
        if peer is not None and peer.probing:
            peer.probing = False
            if isinstance(outcome, LocalFault):  # which says nothing about the peer
                _could_not_ask(peer, outcome, now)
            else:
                peer.faults = 0
                self._take(peer, outcome, now)
            if peer.is_candidate and not peer.answered:
                self._has_failed(peer)
            known.touch(peer)

    def _take(self, peer: Peer, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, Answered):
            self._answered(peer, outcome, now)
        elif isinstance(outcome, Impostor) and self._is_succeeded(peer, outcome, now):
            self._known.doubt.heard_from(peer.key, self._known.link_to(peer), now)
            peer.answers_as = outcome
        else:
            self._failed(peer, outcome, now)

    def _is_succeeded(self, peer: Peer, outcome: Impostor, now: float) -> bool:
        """The recorded place answers under another id, and that id is announced: the machine there is asked for the name."""
        may_succeed = outcome.node == peer.name and (self._known.has_say(peer) or not peer.is_ready)
        return may_succeed and not peer.is_candidate and self._asking.ask_claimant(peer, outcome.id, now)

    def _answered(self, peer: Peer, answer: Answered, now: float) -> None:
        known = self._known
        peer.said_goodbye = False
        peer.failures = peer.refusals = 0
        peer.answers_as = None
        peer.answered_at = peer.last_sign_at = now
        peer.link = known.here.link_of(answer.endpoint.address)
        peer.answered_from = answer.endpoint.address.partition("%")[0]
        if peer.is_ready:
            peer.backoff = 0.0
        known.doubt.heard_from(peer.key, peer.link, now)
        if peer.is_candidate:
            self._candidate_answered(peer, answer.facts, now)
            return
        self._observers.is_here(peer, now)
        if known.is_online and not peer.just_reported(Alive, now):
            displaces = _displaced(peer, answer.facts)
            self._report_alive(peer, _said(answer.facts, peer.remembered), displaces, now)

    def _candidate_answered(self, candidate: Peer, facts: Facts, now: float) -> None:
        """It is proven, if there is room for it. A Node that has the name is another machine's, or its own elsewhere."""
        known = self._known
        known.crowd.proven(candidate)
        peer = known.peers.get(candidate.name, candidate)
        if not known.is_online or peer.just_reported(Alive, now):
            return
        if not self.bounds.may_be_listed(candidate, now):
            candidate.answered_at, candidate.backoff = -NEVER, candidate.ceiling
            return
        displaces = _displaced(peer, facts)
        if not displaces or self._asking.may_displace(peer, facts.id):
            self._report_alive(peer, facts, displaces, now)

    def _report_alive(self, peer: Peer, facts: Facts, displaces: str, now: float) -> None:
        """Only where that changes something, or lastSeen is about W old (docs/adr/0001)."""
        seen = peer.stored
        healthy = seen is not None and seen.is_ready and seen.is_reachable
        aged = now - peer.refreshed_at >= peer.timing.write - peer.timing.period / 2
        if healthy and not displaces and not aged and peer.same_facts(facts):
            return
        alive = Alive(
            name=peer.name,
            facts=facts,
            seen_by=self._known.me.name,
            evidence=peer.probe_evidence,
            displaces=displaces,
            seen_run=self._known.settings.boot,
        )
        self._known.report(peer, Cause.ANSWER, alive, now)

    def _failed(self, peer: Peer, outcome: Outcome, now: float) -> None:
        known = self._known
        peer.failures += 1
        peer.failed_at = (peer.failed_at[1], now)
        peer.refusals = peer.refusals + 1 if isinstance(outcome, Refused) else 0
        peer.answers_as = outcome if isinstance(outcome, Impostor) else None
        if isinstance(outcome, Refused | Impostor):
            known.doubt.heard_from(peer.key, known.link_to(peer), now)
        elif known.has_say(peer) and peer.answered:
            known.doubt.fell_silent(peer.key, peer.link)
        if isinstance(outcome, Impostor) and peer.is_candidate:
            # The machine there is not the one that is announced: not worth a Node, nor many questions.
            peer.backoff, peer.failures = peer.ceiling, 0
            if outcome.endpoint is not None:
                self._candidates.lead_to(outcome.node, outcome.endpoint.address)
        if peer.failures >= FAILURES:
            self._failed_again(peer, now)

    def _failed_again(self, peer: Peer, now: float) -> None:
        """At least two failures in a row: something may be concluded from them."""
        if peer.is_ready and not self._known.has_say(peer):
            peer.back_off()
        if peer.failures == FAILURES and peer.name in self._observers.names and not peer.is_here:
            self._observers.rank_soon(now)
        if self._known.is_online:
            self._suspicion.conclude(peer, now)


def probe_at(peer: Peer) -> float:
    """When to ask it next (rules 4, 6, 10)."""
    if peer.rank > LAST_RANK or not peer.ends or peer.waiting:
        return NEVER
    hinted = peer.hinted_at + peer.timing.step * peer.rank if peer.rank <= HINT_RANKS else NEVER
    if 0 < peer.failures < FAILURES:  # one failure is followed up at once (rule 6), after a goodbye even sooner (rule 10)
        pause = GOODBYE_RETRY_SECONDS if peer.said_goodbye and peer.refusals else peer.timing.retry
        regular = peer.failed_at[1] + pause
    elif peer.is_ready:  # in turns by rank; more rarely by one without a say, not at all by one that suspected wrongly
        regular = max(_next_round(peer), _turn(peer), peer.abstain_until, peer.probed_at + peer.backoff)
    elif peer.is_candidate:
        regular = max(peer.probed_at + (peer.backoff or peer.timing.period), _turn(peer) if peer.rank > HINT_RANKS else 0.0)
    elif peer.rank <= HINT_RANKS:  # a Node that is not Ready is left to the first ranks
        regular = peer.probed_at + (peer.backoff or peer.timing.period)
    else:
        regular = NEVER
    return max(min(regular, hinted), _earliest(peer))


def _next_round(peer: Peer) -> float:
    """One period after the last time, on a grid: peers asked at the same moment are also written in one commit."""
    grid = peer.timing.period / ROUNDS_PER_PERIOD
    return math.floor((peer.probed_at + peer.timing.period) / grid) * grid


def _turn(peer: Peer) -> float:
    """From when on this rank looks for itself (rule 4)."""
    return peer.last_sign_at + peer.timing.takeover(peer.rank) if peer.rank else -NEVER


def _earliest(peer: Peer) -> float:
    """Never two probes of one peer closer than this, whatever is announced."""
    return peer.probed_at + (GOODBYE_RETRY_SECONDS if peer.said_goodbye else min(HINT_PAUSE_SECONDS, peer.timing.retry))


def _could_not_ask(peer: Peer, fault: LocalFault, now: float) -> None:
    """A fault that passes is like standing still: that time does not count. Any other ends in Unknown (docs/adr/0019, 0028)."""
    if fault.passes:
        peer.last_sign_at = now
    else:
        peer.faults += 1


def _said(facts: Facts, seen: NodeView | None) -> Facts:
    """What a machine says of itself, given what its Node shows.

    Where an agent of another source holds the port, it knows neither links nor a time to live: it proves that the machine
    lives, and everything else stays as the machine's own network agent wrote it.
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


def _displaced(peer: Peer, facts: Facts) -> str:
    """The id that the Node has and the machine that answered has not; empty: there is no such id."""
    seen = peer.stored
    return seen.id if seen is not None and seen.id != facts.id else ""
