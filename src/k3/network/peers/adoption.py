"""Nodes that another source of k3 has given up: their machines are asked, and adopted if they live (docs/adr/0015). Pure."""

from k3.core.node import NodeView
from k3.core.observation import Alive, Evidence, Joined
from k3.network import ranks
from k3.network.events import StartProbe
from k3.network.messages import Announcement, Answered, Outcome, Target
from k3.network.peers import places
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.laws import Cause
from k3.network.peers.observers import Observers
from k3.network.peers.own_node import OwnNode
from k3.network.peers.peer import NEVER
from k3.network.ranks import HINT_RANKS, Member


class Adoption:
    """Looks after the machines of such Nodes that are announced here, as one of the first ranks."""

    def __init__(self, known: Knowledge, observers: Observers, own_node: OwnNode) -> None:
        self._known = known
        self._observers = observers
        self._own_node = own_node
        self._asked: dict[str, Evidence] = {}
        """What the Nodes showed whose machines are being asked."""

    def at(self) -> float:
        """When to look next."""
        return self._known.foreign.deadline(self._known.me.name) if self._known.is_online else NEVER

    def look(self, now: float) -> None:
        """Ask the machines whose time has come; the own machine need not be asked."""
        for seen, heard in self._known.foreign.take_due(self._known.me.name, now):
            if seen.name == self._known.me.name:
                self._adopt_own(seen)
            elif heard is not None and seen.name not in self._asked:
                self._ask(seen, heard)

    def probed(self, name: str, outcome: Outcome) -> None:
        """The machine behind a Node was asked; the Node may be network's by now, and its machine a peer."""
        evidence = self._asked.pop(name, None)
        if evidence is None or name in self._known.peers or not self._known.is_online or not isinstance(outcome, Answered):
            return
        alive = Alive(
            name=name,
            facts=outcome.facts,
            seen_by=self._known.me.name,
            evidence=evidence,
            seen_run=self._known.settings.boot,
            adopts=evidence,
        )
        self._known.report_foreign(Cause.ANSWER, alive)

    def _ask(self, seen: NodeView, heard: Announcement) -> None:
        member = Member(name=seen.name, place=ranks.place(seen.id), links=frozenset(), addresses=frozenset(seen.addresses))
        if self._observers.rank_for(member) <= HINT_RANKS:
            self._asked[seen.name] = seen.evidence
            target = Target(seen.name, (tuple(places.announced_ends(heard)),), seen.id)
            self._known.do(StartProbe(seen.name, target, self._known.timing.timeout))

    def _adopt_own(self, seen: NodeView) -> None:
        """Where another agent looks after this machine, it is for that one to see it alive."""
        settings, facts = self._known.settings, self._own_node.facts
        if settings.register_self and facts is not None and seen.id == settings.id and not self._observers.look_after_own():
            joined = Joined(name=seen.name, facts=facts, fresh=True, adopts=seen.evidence)
            self._known.report_foreign(Cause.OWN_TURN, joined)
