"""Rules 6 and 10: what two failures in a row mean for a peer, by what the store shows of it. Pure.

| the store shows | two failures are reported as |
|---|---|
| no Node: it is only announced | `Unproven`, by the first rank, as long as there is room (docs/adr/0008) |
| Ready, and it said goodbye and refuses connections | `Left` |
| Ready and reachable | `Suspected`, unless the agent doubts itself (rule 9) |
| not Ready, and another machine answers in its place | `Explained` |
"""

from k3.core.node import NodeView
from k3.core.observation import Facts, Left, Suspected, Unproven
from k3.core.phrases import does_not_answer
from k3.network.events import Suspecting
from k3.network.peers import places
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.laws import Cause, State
from k3.network.peers.observers import Observers
from k3.network.peers.peer import FAILURES, Peer, written


class Suspicion:
    """Concludes from failures, where the agent has a say."""

    def __init__(self, known: Knowledge, observers: Observers) -> None:
        self._known = known
        self._observers = observers

    def conclude(self, peer: Peer, now: float) -> None:
        """At least two failures in a row."""
        known, seen = self._known, peer.stored
        if seen is None:
            self._show_unproven(peer, now)
        elif known.has_say(peer):
            self._conclude_of_node(peer, seen, now)

    def _conclude_of_node(self, peer: Peer, seen: NodeView, now: float) -> None:
        known = self._known
        match peer.state:
            case State.READY | State.SUSPECTED if peer.said_goodbye and peer.refusals >= FAILURES:
                peer.said_goodbye = False
                known.report(peer, Cause.GOODBYE, Left(peer.name, seen.evidence, by_itself=False), now)
            case State.READY if not known.in_doubt(peer, now) and not peer.just_reported(Suspected, now):
                self._suspect(peer, seen, now)
            case State.NOT_READY if peer.who_answers and (peer.was_renamed or places.was_last_answered(peer, known.me.name)):
                known.explain(peer, Cause.FAILURES, peer.who_answers, now)

    def _suspect(self, peer: Peer, seen: NodeView, now: float) -> None:
        if not peer.suspected_by_me:
            where = ", ".join(written(end) for group in peer.ends for end in group)
            self._known.do(Suspecting(peer.name, where))
        peer.suspected_by_me = True
        # `last_sign_at` may be no more than a restart: only an answer that is news to the store moves lastSeen (docs/adr/0012).
        silent = now - peer.answered_at if peer.answered_at > peer.refreshed_at else None
        suspected = Suspected(
            name=peer.name,
            evidence=seen.evidence,
            silent_seconds=silent,
            message=peer.who_answers or does_not_answer(self._known.me.name),
            seen_by=self._known.me.name,
            seen_run=self._known.settings.boot,
        )
        self._known.report(peer, Cause.FAILURES, suspected, now)

    def _show_unproven(self, peer: Peer, now: float) -> None:
        """People are to find the firewall: an announced machine that never answers gets a Node that says so."""
        known = self._known
        heard = next(iter(peer.heard.values()), None)
        if heard is None or peer.name in known.peers or peer.rank or known.in_doubt(peer, now):
            return
        if not known.crowd.may_show(known.me.name, self._observers.names, now):
            return
        known.crowd.show(peer.name, known.me.name)
        facts = Facts(
            node=heard.node,
            addresses=heard.addresses,
            port=heard.port,
            pid=heard.pid,
            id=heard.id,
            peer_ttl_seconds=known.settings.peer_ttl_seconds,
        )
        where = written(peer.ends[0][0]) if peer.ends else f"port {heard.port}"
        message = f"announced, but {where} never answered: firewall?"
        known.report(peer, Cause.FAILURES, Unproven(peer.name, facts, known.me.name, message), now)
