"""Rule 8: an agent writes its own Node on joining, on a change, and to refresh it where no other agent looks after it. Pure.

It never takes back what others concluded about it: it announces itself again, and whichever agent then reaches it corrects the
Node. That no observer was in a position to ask is no conclusion, and is taken back.
"""

from typing import Final

from k3.core.node import NodeView
from k3.core.observation import Facts, Joined, Silent
from k3.core.phrases import renamed
from k3.network import ranks
from k3.network.events import CloneFound, Contested, Reannounce
from k3.network.messages import Endpoint, Target
from k3.network.peers.asking import Asking
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.laws import Cause
from k3.network.peers.observers import Observers
from k3.network.peers.peer import NEVER, Peer
from k3.network.policy import CLONE_NOTE
from k3.network.ranks import LAST_RANK

STALL_SECONDS: Final = 1.0


class OwnNode:
    """When the agent writes its own Node, what it says there, and what it does about others under its name or id."""

    def __init__(self, known: Knowledge, observers: Observers, asking: Asking) -> None:
        self.facts: Facts | None = None
        """What the machine says of itself, once it has answered its own probe."""
        self._known = known
        self._observers = observers
        self._asking = asking
        self._displaces = ""
        self._clone = CloneFound("")
        self._reannounced_at = -NEVER

    # What the agent learns of itself

    def proven(self, facts: Facts, now: float) -> None:
        """The machine answers its own probe, and says this of itself."""
        known = self._known
        self.facts = facts
        former, known.here.ends = known.here.ends, frozenset(Endpoint(each, facts.port) for each in facts.addresses)
        for peer in [each for each in known.peers.values() if each.mentions(former ^ known.here.ends)]:
            self._asking.relocate(peer, now)
        self._write_at_once()
        for peer in known.peers.values():
            self.recognise(peer, now)

    def keep_name(self, displaces: str) -> None:
        """The other holder of the agent's name gives way: its id may be displaced."""
        self._displaces = displaces
        self._write_at_once()

    def clone_found(self, clone: CloneFound) -> None:
        """Another machine has this one's identity, or has one of its own by now (docs/adr/0029)."""
        self._clone = clone
        self._write_at_once()

    def stalled(self, seconds: float, now: float) -> None:
        """The own loop stood still: others may suspect the machine, and what failed meanwhile is its own fault (rule 9)."""
        if seconds > STALL_SECONDS:
            self._known.doubt.stood_still(now + 2 * self._known.timing.period)
            self._reannounce(now)
        if seconds > max(STALL_SECONDS, self._known.timing.period):
            self._known.restart_ages(now)

    # What the store shows

    def contest(self, seen: NodeView) -> None:
        """The Node of the agent's own name may stand for another machine: that one is to be asked."""
        if not self._is_own(seen):
            links = self._known.me.links
            ends = tuple(Endpoint(a, seen.port) for a in seen.addresses if seen.port and ranks.within(a, links))
            self._known.do(Contested(Target(seen.name, (ends,) if ends else (), seen.id)))

    def recognise(self, peer: Peer, now: float) -> None:
        """A Node with this machine's id, at the very place where it answers, is what the machine was called before."""
        seen, facts, known = peer.stored, self.facts, self._known
        if seen is None or facts is None or not known.is_online or not known.settings.register_self:
            return
        is_own = (facts.id, facts.port) == (seen.id, seen.port) and set(seen.addresses) <= set(facts.addresses)
        if not is_own or not seen.addresses:
            return
        message = renamed(seen.name, known.me.name)
        if not seen.is_ready:
            known.explain(peer, Cause.FORMER_NAME, message, now)
        elif not peer.just_reported(Silent, now):
            silent = Silent(seen.name, seen.evidence, standing=True, message=message)
            known.report(peer, Cause.FORMER_NAME, silent, now)

    # When it is written, and what is said

    def at(self) -> float:
        """When it wants writing."""
        known, seen = self._known, self._known.own.stored
        if not known.settings.register_self or self.facts is None or not known.is_online or known.me.name in known.foreign:
            return NEVER
        if seen is not None and not self._is_own(seen):
            return NEVER
        return max(known.own.settled_at, self._wanted_at(seen, self.facts))

    def _wanted_at(self, seen: NodeView | None, facts: Facts) -> float:
        own = self._known.own
        if own.is_overwritten:
            return own.restored_at + own.timing.write
        if seen is None or seen.is_unknown or self._has_news(seen, facts):
            return -NEVER
        if not seen.is_ready or not seen.is_reachable:
            return self._reannounced_at + self._known.timing.period
        others = self._observers.look_after_own()
        return own.refreshed_at + (own.timing.takeover(LAST_RANK + 1) if others else own.timing.write)

    def act(self, now: float) -> None:
        """Write it, or announce the machine again where others could not reach it."""
        own, seen = self._known.own, self._known.own.stored
        if self.facts is None:
            return
        fresh = seen is None or seen.agent != self.facts.boot
        if seen is not None and not fresh and not (seen.is_ready and seen.is_reachable):
            self._reannounce(now)
            if own.same_facts(self.facts) and not seen.is_unknown and self._says_of_clones(seen, self.facts):
                return
        if own.is_overwritten:
            own.restored_at = now
        clone = self._clone
        joined = Joined(
            name=own.name,
            facts=self.facts,
            fresh=fresh,
            conflict_with=self._known.settings.conflict_with,
            displaces=self._displaces,
            clone_at=clone.address,
            advice=clone.advice,
        )
        self._known.report(own, Cause.OWN_TURN, joined, now)

    def _write_at_once(self) -> None:
        """There is news, so it does not matter that the Node was written only just now."""
        self._known.own.settled_at = -NEVER
        self._known.touch(self._known.own)

    def _is_own(self, seen: NodeView) -> bool:
        return seen.id in {"", self._known.settings.id, self._displaces}

    def _has_news(self, seen: NodeView, facts: Facts) -> bool:
        """Whether the Node does not show yet what there is to say of the machine."""
        return seen.agent != facts.boot or not self._known.own.same_facts(facts) or not self._says_of_clones(seen, facts)

    def _says_of_clones(self, seen: NodeView, facts: Facts) -> bool:
        """Whether the Node says what is known; of which machine it is a clone the machine knows from its last run."""
        shown = seen.annotations.get(CLONE_NOTE, "")
        return shown == self._clone.address or (not self._clone.address and bool(facts.clone_of))

    def _reannounce(self, now: float) -> None:
        """At most once per period."""
        if now >= self._reannounced_at + self._known.timing.period:
            self._reannounced_at = now
            self._known.do(Reannounce())
