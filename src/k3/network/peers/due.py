"""When a peer is to be asked, judged or forgotten, by what is known of it and by this agent's rank. Pure functions."""

import math
from typing import Final

from k3.core.observation import Forgotten, Observation, Silent
from k3.network.peers.peer import FAILURES, NEVER, Peer
from k3.network.ranks import HINT_RANKS, LAST_RANK

GOODBYE_RETRY_SECONDS: Final = 0.2
HINT_PAUSE_SECONDS: Final = 0.5
ROUNDS_PER_PERIOD: Final = 8


def probe_at(peer: Peer) -> float:
    """When to ask it next (rules 4, 6, 10)."""
    if peer.rank > LAST_RANK or not (peer.ends or peer.challenger):
        return NEVER
    hinted = peer.hinted_at + peer.timing.step * peer.rank if peer.rank <= HINT_RANKS else NEVER
    if 0 < peer.failures < FAILURES:
        pause = GOODBYE_RETRY_SECONDS if peer.said_goodbye and peer.refusals else peer.timing.retry
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
    """From when on this rank looks for itself (rule 4)."""
    return peer.last_sign_at + peer.timing.takeover(peer.rank) if peer.rank else -NEVER


def _earliest(peer: Peer) -> float:
    """Never two probes of one peer closer than this, whatever is announced."""
    return peer.probed_at + (GOODBYE_RETRY_SECONDS if peer.said_goodbye else min(HINT_PAUSE_SECONDS, peer.timing.retry))


def verdict_at(peer: Peer, rank: int, *, standing: bool, wait_seconds: float = 0.0) -> float:
    """When its time to live has run out for this agent (rule 7): ranks take turns, and those who cannot ask it come last."""
    if not peer.is_ready or rank > LAST_RANK:
        return NEVER
    at = peer.last_sign_at + peer.timing.ttl + peer.timing.order(rank, standing=standing)
    return _unless_said(peer, Silent, at + wait_seconds)


def has_just_failed(peer: Peer, now: float) -> bool:
    """Whether a verdict would rest on two failures of this agent just now, or on as many times that it could not even ask."""
    recent = now - 2 * peer.timing.period - peer.timing.timeout
    return peer.faults >= FAILURES or (peer.failures >= FAILURES and peer.failed_at[0] >= recent)


def forget_at(peer: Peer, forget_after_seconds: float) -> float:
    """When its Node, or what was heard of it, is to be dropped."""
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
