"""The entrance: which rule takes an event, and what is done when its time has come. Pure.

What this is about is in the package's own docstring.
"""

import heapq
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from k3.core import times
from k3.core.node import NodeView
from k3.core.sources import NETWORK
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
    SelfProven,
    Settings,
    Stalled,
    StoreLost,
    Synced,
    Tick,
)
from k3.network.messages import Announcement, Target, Withdrawal
from k3.network.peers import places
from k3.network.peers.adoption import Adoption
from k3.network.peers.asking import Asking
from k3.network.peers.crowd import PROBES_AT_ONCE
from k3.network.peers.forgetting import forget, forget_at
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.observers import Observers
from k3.network.peers.own_node import OwnNode
from k3.network.peers.peer import NEVER, Peer
from k3.network.peers.probing import Probing, probe_at
from k3.network.peers.suspicion import Suspicion
from k3.network.peers.verdicts import Verdicts
from k3.network.ranks import Member, Timing

NAMES_PER_PEER: Final = 8
LOOK_SECONDS: Final = 0.02
"""Between the first probes of two peers found in one list, on average."""


class PeerTable:
    """The state machine. One per agent."""

    def __init__(self, settings: Settings, *, chance: Callable[[], float], now: float) -> None:
        """`chance` (a number from 0 to 1, such as `Random().random`) spreads first probes; nothing else depends on it."""
        self._chance = chance
        self._known = Knowledge(settings, now)
        self._observers = Observers(self._known)
        self._asking = Asking(self._known, self._observers)
        self._own_node = OwnNode(self._known, self._observers, self._asking)
        self._adoption = Adoption(self._known, self._observers, self._own_node)
        self._probing = Probing(self._known, self._observers, self._asking, Suspicion(self._known, self._observers))
        self._verdicts = Verdicts(self._known, self._observers)
        self._heap: list[tuple[float, str]] = []

    @property
    def peers(self) -> dict[str, Peer]:
        """By name: the Nodes of network's in the store, and the candidates."""
        return self._known.peers

    # The one entrance

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event; returns what is to be done."""
        match event:
            case Tick():
                pass
            case NodeShown(seen):
                self._show(seen, now)
            case Probed(name, outcome):
                self._adoption.probed(name, outcome)
                self._probing.done(name, outcome, now)
            case Announcement():
                self._announced(event, now)
            case Withdrawal(instance):
                self._withdrawn(instance, now)
            case NodeGone(name):
                self._gone(name, now)
            case _:
                self._handle_rare(event, now)
        self._plan_touched(now)
        self._run(now)
        return self._known.take_actions()

    def _handle_rare(self, event: Event, now: float) -> None:
        match event:
            case Synced(nodes):
                self._synced(nodes, now)
            case StoreLost():
                self._known.is_online = False
            case SelfProven(facts):
                self._own_node.proven(facts, now)
            case NameKept(displaces):
                self._own_node.keep_name(displaces)
            case CloneFound():
                self._own_node.clone_found(event)
            case LinksChanged(links, interfaces):
                self._relinked(links, interfaces, now)
            case Stalled(seconds):
                self._own_node.stalled(seconds, now)

    def shown(self, name: str) -> NodeView | None:
        """A Node as the store showed it last, with what k3 still knows of it where another program replaced it."""
        peer = self._known.named(name)
        return peer.known if peer else None

    @property
    def deadline(self) -> float:
        """When the next `Tick` is wanted (local monotonic seconds, maybe infinite)."""
        while self._heap and self._is_stale(*self._heap[0]):
            heapq.heappop(self._heap)
        return min(self._observers.rank_all_at, self._adoption.at(), self._heap[0][0] if self._heap else NEVER)

    # Events: the store

    def _synced(self, nodes: Iterable[NodeView], now: float) -> None:
        self._known.is_online = True
        for peer in self._known.peers.values():
            peer.suspected_by_me = False  # whether that was refuted, a whole list does not say
        listed = {seen.name: seen for seen in nodes}
        for name in [name for name, peer in self._known.peers.items() if peer.stored and name not in listed]:
            self._gone(name, now)
        if self._known.me.name not in listed:
            self._gone(self._known.me.name, now)
        for name in [name for name in self._known.foreign.names if name not in listed]:
            self._gone(name, now)
        self._known.listing = len(listed)
        for seen in listed.values():
            self._show(seen, now)
        self._known.listing = 0
        self._observers.rank_all(now)
        for name in self._known.crowd.names:
            # What a candidate answered while we could not write is to be heard again.
            self._known.peers[name].hint(now)
        self._known.restart_ages(now)

    def _show(self, seen: NodeView, now: float) -> None:
        if seen.owner != NETWORK.name:
            self._disown(seen, now)
            return
        announced = self._known.foreign.drop(seen.name)
        peer = self._known.own if seen.name == self._known.me.name else self._known.enter(seen.name, now)
        former, peer.reported = peer.known, None
        peer.show(seen)
        known = peer.known or seen
        self._place(peer, former, known)
        self._observers.shown(peer, known, now)
        if former is None:
            self._meet(peer, known, now)
        else:
            self._follow(peer, former, known, now)
        if seen.ready is not None and seen.ready.status == "False":
            self._known.doubt.forget(peer.name)
        if seen.is_unproven:
            self._known.crowd.show(seen.name, seen.seen_by)
        else:
            self._known.crowd.hide(seen.name)
        if peer is self._known.own:
            self._own_node.contest(seen)
        else:
            self._own_node.recognise(peer, now)
        self._known.touch(peer)
        if announced is not None:
            self._announced(announced, now)

    def _place(self, peer: Peer, former: NodeView | None, seen: NodeView) -> None:
        """Where it is now, and who looks after it."""
        if former is not None and seen.addresses and _has_moved(former, seen) and seen.seen_by != self._known.me.name:
            peer.link = ""  # to have a say we must reach it where it is now
        took = former is not None and (former.seen_by == self._known.me.name) != (seen.seen_by == self._known.me.name)
        if took or former is None or _bearings(former) != _bearings(seen):
            peer.timing = Timing.of(max(self._known.settings.peer_ttl_seconds, seen.peer_ttl_seconds))
            peer.member = ranks.member(seen)
            self._asking.locate(peer)

    def _meet(self, peer: Peer, seen: NodeView, now: float) -> None:
        """The store shows this Node for the first time."""
        self._known.crowd.drop(peer.name)
        peer.last_sign_at = peer.refreshed_at = peer.first_shown_at = now
        peer.backoff = 0.0
        peer.not_ready_at = NEVER if seen.is_ready else now
        if seen.is_ready:
            peer.hinted_at = NEVER
        if peer.probed_at == -NEVER:
            # A newcomer is looked at from outside at once; a whole list of them, one after the other.
            wait = min(peer.timing.period, self._known.listing * LOOK_SECONDS)
            peer.probed_at = now - peer.timing.period + wait * self._chance()

    def _follow(self, peer: Peer, former: NodeView, seen: NodeView, now: float) -> None:
        """Draw the conclusions from what changed between two states of one Node."""
        suspected = former.is_reachable and not seen.is_reachable
        if (seen.last_seen, seen.agent) != (former.last_seen, former.agent):
            peer.refreshed_at = now
            if suspected:
                peer.last_sign_at = max(peer.last_sign_at, now - _silence(seen))
            else:
                peer.last_sign_at = now
                peer.hinted_at = peer.hinted_at if peer.said_goodbye else NEVER
        if suspected and seen.is_ready:
            peer.hint(now)
        if peer.suspected_by_me and seen.is_reachable:
            peer.suspected_by_me = False
            if seen.is_ready and seen.seen_by != self._known.me.name:
                peer.abstain_until = now + 10 * peer.timing.period
                peer.failures = 0
                peer.link = ""
                self._asking.locate(peer)
        if seen.agent != former.agent:
            peer.probed_at = min(peer.probed_at, now - peer.timing.period)
        if seen.is_ready != former.is_ready:
            peer.not_ready_at = NEVER if seen.is_ready else now
            peer.backoff = 0.0
            self._asking.ask_instead(peer, now)  # who is not Ready any more may lose the name to whoever announced it long ago

    def _gone(self, name: str, now: float) -> None:
        self._known.crowd.hide(name)
        self._observers.gone(name, now)
        if name in self._known.foreign and (announced := self._known.foreign.drop(name)) is not None:
            self._announced(announced, now)
        peer = self._known.own if name == self._known.me.name else self._known.peers.get(name)
        if peer is None:
            return
        had, peer.reported, peer.last_sign_at = peer.stored is not None, None, now
        peer.show(None)
        if peer is self._known.own:
            # A person may delete our Node; it returns, but not in the same breath.
            peer.settled_at = now + self._known.timing.period if had else -NEVER
        elif not peer.heard:
            self._known.drop(peer)
            return
        elif had:
            self._known.crowd.names[name] = None
            self._asking.locate(peer)
            peer.backoff, peer.probed_at, peer.hinted_at = 0.0, now, NEVER
        self._known.touch(peer)

    def _disown(self, seen: NodeView, now: float) -> None:
        """It belongs to a controller, or to another source."""
        name = seen.name
        self._known.foreign.show(seen, now)
        self._known.crowd.hide(name)
        self._observers.gone(name, now)
        if name == self._known.me.name:
            self._known.own.show(None)
        elif (peer := self._known.peers.get(name)) is not None:
            self._known.drop(peer)
            for heard in peer.heard.values():
                self._known.hear_foreign(heard)

    # Events: the network

    def _announced(self, heard: Announcement, now: float) -> None:
        if heard.node == self._known.me.name:
            if heard.id != self._known.settings.id:
                self._known.do(Contested(Target(heard.node, (tuple(places.announced_ends(heard)),), heard.id)))
            return
        if heard.node in self._known.foreign:
            self._known.hear_foreign(heard)
            return
        peer = self._known.peers.get(heard.node) or self._new_candidate(heard, now)
        if peer is None or (heard.instance not in peer.heard and len(peer.heard) >= NAMES_PER_PEER):
            return
        news = peer.heard.get(heard.instance) != heard and not peer.already_shows(heard)
        self._known.instances[heard.instance] = heard.node
        peer.heard[heard.instance] = heard
        peer.said_goodbye = False
        self._asking.locate(peer)
        self._observers.is_here(peer, now)
        self._asking.ask_instead(peer, now)
        if news or not peer.is_ready:
            peer.backoff = 0.0
            peer.hint(now)
        self._known.touch(peer)

    def _new_candidate(self, heard: Announcement, now: float) -> Peer | None:
        if self._known.crowd.is_full and not self._make_room():
            return None
        peer = self._known.enter(heard.node, now)
        addresses = tuple(address.partition("%")[0] for address in heard.addresses)
        peer.member = Member(
            name=heard.node, place=ranks.place(heard.id or heard.node), links=frozenset(), addresses=frozenset(addresses)
        )
        self._known.crowd.names[heard.node] = None
        return peer

    def _make_room(self) -> bool:
        """The oldest candidate that failed makes way for a new one, or else the oldest."""
        oldest = [self._known.peers[name] for name in islice(self._known.crowd.names, 2 * PROBES_AT_ONCE)]
        idle = [peer for peer in oldest if not peer.probing]
        stale = next((peer for peer in idle if peer.failures), idle[0] if idle else None)
        if stale is not None:
            self._known.drop(stale)
        return stale is not None

    def _withdrawn(self, instance: str, now: float) -> None:
        name = self._known.instances.pop(instance, "")
        self._known.foreign.withdraw(name, instance)
        peer = self._known.peers.get(name)
        if peer is None or peer.heard.pop(instance, None) is None:
            return
        if not peer.heard:
            peer.unheard_at = now
        if peer.is_ready:
            # Nobody is believed who says that a machine is gone, but it is worth a look.
            peer.said_goodbye, peer.refusals = True, 0
            peer.hint(now)
        if peer.stored is None or not peer.ends:
            self._asking.locate(peer)
        else:  # it is still asked where it was announced
            self._observers.rank(peer)
        self._known.touch(peer)

    def _relinked(self, links: tuple[str, ...], interfaces: tuple[str, ...], now: float) -> None:
        self._known.doubt.is_cut_off = not links
        self._known.here.change(links, interfaces)
        self._known.me = Member(name=self._known.me.name, place=self._known.me.place, links=frozenset(links))
        for peer in self._known.peers.values():
            self._asking.relocate(peer, now)
        self._observers.rank_soon(now)

    # What is due

    def _run(self, now: float) -> None:
        """Do everything whose time has come."""
        if self._observers.rank_all_at <= now:
            self._observers.rank_all(now)
            for each in (*self._known.peers.values(), self._known.own):
                self._plan(each, now)
        if self._adoption.at() <= now:
            self._adoption.look(now)
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            peer = None if self._is_stale(at, name) else self._known.named(name)
            if peer is not None:
                peer.due = NEVER
                self._act(peer, now)
                self._plan(peer, now)

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
        """Set the time of the peer's next action."""
        at = self._own_node.at() if peer is self._known.own else self._next_at(peer, now)
        if at != peer.due:
            peer.due = at
            if at < NEVER:
                heapq.heappush(self._heap, (at, peer.name))

    def _plan_touched(self, now: float) -> None:
        for peer in self._known.take_touched():
            self._plan(peer, now)

    def _next_at(self, peer: Peer, now: float) -> float:
        known = self._known
        if known.peers.get(peer.name) is not peer:
            return NEVER
        at = NEVER if peer.probing else probe_at(peer)
        if known.is_online:
            if not peer.probing:
                at = min(at, forget_at(peer, known.settings.forget_after_seconds))
            at = min(at, self._verdicts.at(peer, now))
        return at

    # Bookkeeping

    def _is_stale(self, at: float, name: str) -> bool:
        peer = self._known.named(name)
        return peer is None or peer.due != at


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
