"""Rule 7: what is said when a peer's time to live has run out, and when. Pure.

NotReady is said by an agent with standing: the peer answered it, or the store says that it was the last to be answered, and it
has no grounds to doubt itself. Any other agent says Unknown. Agents with standing come first, rank by rank, and an agent that
never reached the peer waits for those that may have (docs/adr/0011, 0035).
"""

from k3.core import times
from k3.core.observation import Silent
from k3.core.phrases import renamed
from k3.network.peers import places
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.laws import Cause
from k3.network.peers.observers import Observers
from k3.network.peers.peer import FAILURES, NEVER, Peer, written
from k3.network.ranks import LAST_RANK


class Verdicts:
    """When a verdict falls, and which."""

    def __init__(self, known: Knowledge, observers: Observers) -> None:
        self._known = known
        self._observers = observers

    def at(self, peer: Peer, now: float) -> float:
        """When to judge it; never, while its time is over and the failures that a verdict rests on are missing."""
        at = self._due_at(peer)
        return at if at > now or self._may_judge(peer, now) else NEVER

    def judge(self, peer: Peer, now: float) -> None:
        """Its time to live has run out: say NotReady or Unknown, and why."""
        seen, known = peer.stored, self._known
        if seen is not None:
            is_known = places.was_last_answered(peer, known.me.name) or places.is_former_name(peer, known.here)
            has_seen = peer.was_renamed or (known.has_say(peer) and is_known)
            standing = has_seen and not peer.faults and not known.in_doubt(peer, now)
            silent = Silent(peer.name, seen.evidence, standing, self._reason(peer, standing=standing))
            known.report(peer, Cause.SILENCE, silent, now)

    def _due_at(self, peer: Peer) -> float:
        saw = places.was_last_answered(peer, self._known.me.name)
        if self._known.has_say(peer):
            wait = peer.timing.write if not saw and self._observers.may_know_better(peer) else 0.0
            return verdict_at(peer, peer.rank, standing=saw, wait_seconds=wait)
        # Others may be able to ask it, and its own agent may have a way to the store that no observer knows.
        is_late = peer.has_others or (not saw and peer.stored is not None and bool(peer.stored.agent))
        wait = peer.timing.write if is_late else 0.0
        return verdict_at(peer, peer.far_rank, standing=False, wait_seconds=wait)

    def _may_judge(self, peer: Peer, now: float) -> bool:
        return not self._known.has_say(peer) or has_just_failed(peer, now)

    def _reason(self, peer: Peer, *, standing: bool) -> str:
        ttl, me, here = times.duration(peer.timing.ttl), self._known.me.name, self._known.here
        if places.is_former_name(peer, here):
            return renamed(peer.name, me)
        if peer.who_answers and (standing or peer.was_renamed):
            return peer.who_answers
        if standing:
            return f"no answer for {ttl}"
        if peer.answered and not here.has(peer.link):
            return f"no sign of life for {ttl}, and {me} has lost its own link to it"
        if self._known.has_say(peer) and not peer.answered:
            return f"no sign of life for {ttl}, and {written(peer.ends[0][0])} never answered {me}: firewall?"
        return f"no sign of life for {ttl}, and nobody in a position to ask"


def verdict_at(peer: Peer, rank: int, *, standing: bool, wait_seconds: float = 0.0) -> float:
    """When its time to live has run out for this agent: ranks take turns, and agents without standing come last."""
    if not peer.is_ready or rank > LAST_RANK:
        return NEVER
    at = peer.last_sign_at + peer.timing.ttl + peer.timing.order(rank, standing=standing)
    return peer.after_report(Silent, at + wait_seconds)


def has_just_failed(peer: Peer, now: float) -> bool:
    """Whether a verdict would rest on two failures of this agent just now, or on as many times that it could not even ask."""
    recent = now - 2 * peer.timing.period - peer.timing.timeout
    return peer.faults >= FAILURES or (peer.failures >= FAILURES and peer.failed_at[0] >= recent)
