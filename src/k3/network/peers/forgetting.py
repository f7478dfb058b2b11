"""Which Nodes an agent removes by itself: never-proven ones that are no longer announced, and what `--forget-after` ends. Pure.

Never-proven Nodes are bounded and dealt out among the observers (docs/adr/0008).
"""

from k3.core.observation import Forgotten
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.laws import Cause
from k3.network.peers.peer import NEVER, Peer
from k3.network.ranks import HINT_RANKS


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
    return peer.after_report(Forgotten, gone + peer.rank)


def forget(known: Knowledge, peer: Peer, now: float) -> None:
    """Drop what was heard of it; its Node, where it has one, is to be removed."""
    if peer.stored is None:
        known.drop(peer)
    else:
        known.report(peer, Cause.AGE, Forgotten(peer.name, peer.stored.evidence), now)
