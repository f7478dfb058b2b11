"""The entrance to the rules: which of them takes an event, and which acts when its time has come. Pure."""

import heapq
from collections.abc import Callable, Mapping

from k3.core.node import NodeView
from k3.network.events import (
    Action,
    CloneFound,
    Event,
    LinksChanged,
    NameKept,
    NodeGone,
    NodeShown,
    Probed,
    SelfProven,
    Stalled,
    StoreLost,
    Synced,
    TableSettings,
    Tick,
)
from k3.network.messages import Announcement, Withdrawal
from k3.network.peers.adoption import Adoption
from k3.network.peers.asking import Asking
from k3.network.peers.bounds import Bound
from k3.network.peers.candidates import Candidates
from k3.network.peers.forgetting import forget, forget_at
from k3.network.peers.from_network import FromNetwork
from k3.network.peers.from_store import FromStore
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.laws import Check
from k3.network.peers.observers import Observers
from k3.network.peers.own_node import OwnNode
from k3.network.peers.peer import NEVER, Peer
from k3.network.peers.probing import Probing, probe_at
from k3.network.peers.suspicion import Suspicion
from k3.network.peers.verdicts import Verdicts


class PeerTable:
    """The state machine. One per agent."""

    def __init__(self, settings: TableSettings, *, chance: Callable[[], float], now: float, check: Check | None = None) -> None:
        """`chance` (a number from 0 to 1, such as `Random().random`) spreads first probes; nothing else depends on it.

        `check` sees each step before it is taken: see `laws`.
        """
        self._known = known = Knowledge(settings, now, check)
        self._observers = observers = Observers(known)
        asking = Asking(known, observers, Candidates(known, observers))
        self._own_node = OwnNode(known, observers, asking)
        self._adoption = Adoption(known, observers, self._own_node)
        self._network = FromNetwork(known, observers, asking)
        self._store = FromStore(known, observers, asking, self._own_node, self._network, chance=chance)
        self._probing = Probing(known, observers, asking, Suspicion(known, observers))
        self._verdicts = Verdicts(known, observers)
        self._turn_at = NEVER
        """When a candidate that waits may be asked."""
        self._heap: list[tuple[float, str]] = []
        """When which peer is due, by its key. An entry whose peer is due at another time by now is passed over."""

    @property
    def peers(self) -> dict[str, Peer]:
        """By name: the Nodes of network's in the store but the own one."""
        return self._known.peers

    def knows(self, name: str) -> bool:
        """Whether there is such a Node, or the name is announced."""
        return name in self._known.peers or bool(self._known.crowd.of(name))

    def is_proven(self, instance: str) -> bool:
        """Whether this is the mDNS instance of a Node that was seen alive: by its name, or as it was heard before."""
        name, _, id_ = instance.rpartition("-")
        peer = self._known.peers.get(name)
        if peer is not None and peer.stored is not None and id_ and peer.stored.id.startswith(id_):
            return not peer.stored.is_unproven
        return any(_is_proven(self._known.peers.get(each), instance) for each in self._known.names_of(instance))

    @property
    def bounds_met(self) -> Mapping[Bound, int]:
        """How often each bound was met."""
        return self._probing.bounds.met

    def shown(self, name: str) -> NodeView | None:
        """A Node as the store showed it last, with what k3 still knows of it where another program replaced it."""
        peer = self._known.keyed(name)
        return peer.remembered if peer else None

    @property
    def deadline(self) -> float:
        """When the next `Tick` is wanted (local monotonic seconds, maybe infinite)."""
        while self._heap and self._due(*self._heap[0]) is None:
            heapq.heappop(self._heap)
        return min(self._observers.rank_all_at, self._adoption.at(), self._turn_at, self._heap[0][0] if self._heap else NEVER)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event, then do whatever is due by then; returns what the caller is to do."""
        self._known.event = type(event)
        self._take(event, now)
        self._known.event = Tick
        for peer in self._known.take_touched():
            self._plan(peer, now)
        self._run(now)
        self._turn_at = self._known.crowd.at(now)
        return self._known.take_actions()

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Tick():
                pass
            case NodeShown(seen):
                self._store.shown(seen, now)
            case Probed(key, outcome):
                self._adoption.probed(key, outcome)
                self._probing.done(key, outcome, now)
            case Announcement():
                self._network.announced(event, now)
            case Withdrawal(instance):
                self._network.withdrawn(instance, now)
            case NodeGone(name):
                self._store.gone(name, now)
            case _:
                self._take_rare(event, now)

    def _take_rare(self, event: Event, now: float) -> None:
        match event:
            case Synced(nodes):
                self._store.synced(nodes, now)
            case StoreLost():
                self._known.is_online = False
            case SelfProven(facts):
                self._own_node.proven(facts, now)
            case NameKept(displaces):
                self._own_node.keep_name(displaces)
            case CloneFound():
                self._own_node.clone_found(event)
            case LinksChanged(links, interfaces):
                self._network.relinked(links, interfaces, now)
            case Stalled(seconds):
                self._own_node.stalled(seconds, now)

    # What is due

    def _run(self, now: float) -> None:
        """Do everything whose time has come."""
        if self._observers.rank_all_at <= now:
            self._observers.rank_all(now)
            for each in (*self._known.everyone(), self._known.own):
                self._plan(each, now)
        if self._adoption.at() <= now:
            self._adoption.look(now)
        while self._heap and self._heap[0][0] <= now:
            peer = self._due(*heapq.heappop(self._heap))
            if peer is not None:
                peer.due = NEVER
                try:
                    self._act(peer, now)
                finally:
                    self._plan(peer, now)
        for peer in self._probing.take_turns(now):
            self._plan(peer, now)

    def _due(self, at: float, key: str) -> Peer | None:
        """The peer, or the own Node, of an entry of the heap; None: that is due at another time by now."""
        peer = self._known.keyed(key)
        return peer if peer is not None and peer.due == at else None

    def _act(self, peer: Peer, now: float) -> None:
        known = self._known
        if peer is known.own:
            if self._own_node.at() <= now:
                self._own_node.act(now)
        elif known.is_online and forget_at(peer, known.settings.forget_after_seconds) <= now:
            forget(known, peer, now)
        elif known.is_online and self._verdicts.at(peer, now) <= now:
            self._verdicts.judge(peer, now)
        elif not peer.probing and probe_at(peer) <= now:
            self._probing.start(peer, now)

    def _plan(self, peer: Peer, now: float) -> None:
        """Set the time at which the peer, or the own Node, needs attention next."""
        at = self._own_node.at() if peer is self._known.own else self._next_at(peer, now)
        if at != peer.due:
            peer.due = at
            if at < NEVER:
                heapq.heappush(self._heap, (at, peer.key))

    def _next_at(self, peer: Peer, now: float) -> float:
        known = self._known
        if known.keyed(peer.key) is not peer:
            return NEVER
        at = NEVER if peer.probing else probe_at(peer)
        if known.is_online:
            if not peer.probing:
                at = min(at, forget_at(peer, known.settings.forget_after_seconds))
            at = min(at, self._verdicts.at(peer, now))
        return at


def _is_proven(peer: Peer | None, instance: str) -> bool:
    if peer is None or peer.stored is None or peer.stored.is_unproven:
        return False
    heard = peer.heard.get(instance)
    return heard is not None and peer.is_its_own(heard)
