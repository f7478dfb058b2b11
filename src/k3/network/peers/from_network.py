"""Rules 4 and 10: what is announced by multicast is a hint, never a proof: it says which machine to ask, and where. Pure.

Any host can announce or withdraw any name. So what is only announced is a candidate (`candidates`), held in bounds by `crowd`.
A goodbye makes the agent look, and nothing more. While the recorded place of a machine answers, no announcement moves it.
"""

from collections.abc import Iterable
from dataclasses import replace

from k3.network.events import Contested
from k3.network.messages import Announcement, Target
from k3.network.peers import places
from k3.network.peers.asking import Asking
from k3.network.peers.knowledge import Knowledge
from k3.network.peers.observers import Observers
from k3.network.peers.peer import Peer


class FromNetwork:
    """Takes announcements and withdrawals, and changes of this machine's own links."""

    def __init__(self, known: Knowledge, observers: Observers, asking: Asking) -> None:
        self._known = known
        self._observers = observers
        self._asking = asking
        self._candidates = asking.candidates

    def announced(self, heard: Announcement, now: float) -> None:
        """A machine announces itself, or another one does in its name."""
        known = self._known
        if heard.node == known.me.name:
            self._contest(heard)
        elif heard.node in known.foreign:
            known.hear_foreign(heard)
        elif (peer := known.peers.get(heard.node)) is None:
            self._candidates.hear(heard, now)
        else:
            self._hear(peer, heard, now)

    def _contest(self, heard: Announcement) -> None:
        """The agent's own name under another id."""
        if heard.id != self._known.settings.id:
            self._known.do(Contested(Target(heard.node, (tuple(places.announced_ends(heard)),), heard.id)))

    def _hear(self, peer: Peer, heard: Announcement, now: float) -> None:
        """There is a Node of this name."""
        known = self._known
        is_news = peer.heard.get(heard.instance) != heard and not peer.already_shows(heard)
        known.note_instance(heard)
        peer.hear(heard)
        if peer.is_its_own(heard):
            peer.said_goodbye = False
            self._asking.locate(peer)
            self._observers.is_here(peer, now)
            if is_news or not peer.is_ready:
                peer.backoff = 0.0
                peer.hint(now)
        elif not peer.is_ready:
            self._candidates.hear(heard, now)
        elif is_news and now >= peer.claimed_at + peer.timing.period:
            # Another machine claims the name: whether its holder still answers is worth a look, and not one for each claim.
            peer.claimed_at = now
            peer.hint(now)
        known.touch(peer)

    def withdrawn(self, instance: str, now: float) -> None:
        """A goodbye, real or forged, or records that expired."""
        known = self._known
        for name in known.take_instance(instance):
            known.foreign.withdraw(name, instance)
            peer = known.peers.get(name)
            for each in (*known.crowd.of(name), *((peer,) if peer is not None else ())):
                if each.heard.pop(instance, None) is not None:
                    self._unheard(each, now)

    def _unheard(self, peer: Peer, now: float) -> None:
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
        self._known.touch(peer)

    def relinked(self, links: Iterable[str], interfaces: Iterable[str], now: float) -> None:
        """These are the usable links of this machine now; without any, it is this machine that is cut off (rule 9)."""
        known = self._known
        known.here.change(links, interfaces)
        known.doubt.is_cut_off = not known.here.links
        known.me = replace(known.me, links=known.here.links)
        for peer in tuple(known.everyone()):
            self._asking.relocate(peer, now)
        self._observers.rank_soon(now)
