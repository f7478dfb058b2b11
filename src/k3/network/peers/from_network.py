"""Rules 4 and 10: what is announced by multicast is a hint, never a proof: it says which machine to ask, and where. Pure.

Any host can announce or withdraw any name. So a name that is only announced is a candidate, held in bounds by `crowd`; a
goodbye makes the agent look, and nothing more; and while the recorded place of a machine answers, no announcement moves it.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Final

from k3.network import ranks
from k3.network.events import Contested
from k3.network.messages import Announcement, Target
from k3.network.peers import places
from k3.network.peers.asking import Asking
from k3.network.peers.crowd import PROBES_AT_ONCE
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.observers import Observers
from k3.network.peers.peer import Peer
from k3.network.ranks import Member

INSTANCES_PER_NAME: Final = 8


class FromNetwork:
    """Takes announcements and withdrawals, and changes of this machine's own links."""

    def __init__(self, known: Knowledge, observers: Observers, asking: Asking) -> None:
        self._known = known
        self._observers = observers
        self._asking = asking

    def announced(self, heard: Announcement, now: float) -> None:
        """A machine announces itself, or another one does in its name."""
        known = self._known
        if heard.node == known.me.name:
            self._contest(heard)
        elif heard.node in known.foreign:
            known.hear_foreign(heard)
        else:
            peer = known.peers.get(heard.node) or self._new_candidate(heard, now)
            if peer is not None and (heard.instance in peer.heard or len(peer.heard) < INSTANCES_PER_NAME):
                self._hear(peer, heard, now)

    def _contest(self, heard: Announcement) -> None:
        """The agent's own name under another id."""
        if heard.id != self._known.settings.id:
            self._known.do(Contested(Target(heard.node, (tuple(places.announced_ends(heard)),), heard.id)))

    def _hear(self, peer: Peer, heard: Announcement, now: float) -> None:
        is_news = peer.heard.get(heard.instance) != heard and not peer.already_shows(heard)
        self._known.instances[heard.instance] = heard.node
        peer.heard[heard.instance] = heard
        peer.said_goodbye = False
        self._asking.locate(peer)
        self._observers.is_here(peer, now)
        self._asking.ask_instead(peer, now)
        if is_news or not peer.is_ready:
            peer.backoff = 0.0
            peer.hint(now)
        self._known.touch(peer)

    def _new_candidate(self, heard: Announcement, now: float) -> Peer | None:
        if self._known.crowd.is_full and not self._make_room():
            return None
        peer = self._known.enter(heard.node, now)
        peer.member = Member(
            name=heard.node,
            place=ranks.place(heard.id or heard.node),
            links=frozenset(),
            addresses=frozenset(address.partition("%")[0] for address in heard.addresses),
        )
        self._known.crowd.add(heard.node)
        return peer

    def _make_room(self) -> bool:
        """The oldest candidate that failed makes way for a new one, or else the oldest."""
        oldest = [self._known.peers[name] for name in islice(self._known.crowd.names, 2 * PROBES_AT_ONCE)]
        idle = [peer for peer in oldest if not peer.probing]
        stale = next((peer for peer in idle if peer.failures), idle[0] if idle else None)
        if stale is not None:
            self._known.drop(stale)
        return stale is not None

    def withdrawn(self, instance: str, now: float) -> None:
        """A goodbye, real or forged, or records that expired."""
        known = self._known
        name = known.instances.pop(instance, "")
        known.foreign.withdraw(name, instance)
        peer = known.peers.get(name)
        if peer is None or peer.heard.pop(instance, None) is None:
            return
        if not peer.heard:
            peer.unheard_at = now
        if peer.is_ready:
            # A goodbye alone changes nothing (rule 10), but it is worth a look.
            peer.said_goodbye, peer.refusals = True, 0
            peer.hint(now)
        if peer.stored is None or not peer.ends:
            self._asking.locate(peer)
        else:  # it is still asked where it was announced
            self._observers.rank(peer)
        known.touch(peer)

    def relinked(self, links: Iterable[str], interfaces: Iterable[str], now: float) -> None:
        """These are the usable links of this machine now; without any, it is this machine that is cut off (rule 9)."""
        known = self._known
        known.here.change(links, interfaces)
        known.doubt.is_cut_off = not known.here.links
        known.me = replace(known.me, links=known.here.links)
        for peer in known.peers.values():
            self._asking.relocate(peer, now)
        self._observers.rank_soon(now)
