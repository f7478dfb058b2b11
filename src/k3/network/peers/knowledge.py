"""What one agent knows of all peers, and what it wants done. The rules share this, and read and change it. Pure."""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from k3.core.observation import Alive, Explained, Joined, Observation
from k3.network import ranks
from k3.network.events import (
    Action,
    BoundMet,
    Contested,
    Event,
    Reannounce,
    Report,
    StartProbe,
    Suspecting,
    TableSettings,
    Tick,
)
from k3.network.messages import Announcement
from k3.network.peers import places
from k3.network.peers.crowd import Crowd
from k3.network.peers.doubt import SelfDoubt
from k3.network.peers.foreign import Foreign
from k3.network.peers.laws import Cause, Check, State, Step
from k3.network.peers.peer import Peer
from k3.network.peers.places import OwnPlace
from k3.network.ranks import Member, Timing

NAMES_PER_INSTANCE: Final = 4
SETTLE_SECONDS: Final = 0.5
"""So long, at least, a report is given to be shown by the store."""


class Knowledge:
    """Peers by name, the agent's own Node, and what has come of the present event so far."""

    def __init__(self, settings: TableSettings, now: float, check: Check | None = None) -> None:
        self.settings = settings
        self.timing = Timing.of(settings.peer_ttl_seconds)
        """As far as it follows from this agent's own setting."""
        self.me = Member(name=settings.name, place=ranks.place(settings.id), links=frozenset())
        """The agent's own machine in the order of observers (`ranks`)."""
        self.own = Peer(
            name=settings.name, key=settings.name, member=self.me, timing=self.timing, last_sign_at=now, is_own=True
        )
        """The agent's own Node. It is not among the peers."""
        self.peers: dict[str, Peer] = {}
        """The Nodes of network's in the store, by name. What is only announced is in the crowd."""
        self._instances: dict[str, tuple[str, ...]] = {}
        self.is_online = False
        """Whether the store is within reach, and what it holds is known."""
        self.listing = 0
        """How many Nodes the store is showing in one list just now."""
        self.here = OwnPlace(settings.id)
        self.doubt = SelfDoubt(now)
        self.crowd = Crowd(now)
        self.crowded_out: list[str] = []
        """The origins of candidates that have made way for others since this was last looked at."""
        self.foreign = Foreign()
        self.event: type[Event] = Tick
        """What leads to the next actions (`laws`)."""
        self._check = check
        self._touched: dict[str, Peer] = {}
        self._actions: list[Action] = []

    def keyed(self, key: str) -> Peer | None:
        """The peer or the candidate that is kept under this key, or the own Node."""
        return self.own if key == self.me.name else self.peers.get(key) or self.crowd.candidates.get(key)

    def everyone(self) -> Iterator[Peer]:
        """All peers and candidates."""
        return chain(self.peers.values(), self.crowd.candidates.values())

    def enter(self, name: str, now: float) -> Peer:
        """The peer of this name, made if there is none."""
        peer = self.peers.get(name)
        if peer is None:
            member = Member(name=name, place=ranks.place(name), links=frozenset())
            peer = self.peers[name] = Peer(name=name, key=name, member=member, timing=self.timing, last_sign_at=now)
        return peer

    def drop(self, peer: Peer) -> None:
        """Forget all about it."""
        if self.peers.get(peer.key) is peer:
            del self.peers[peer.key]
        self.crowd.drop(peer)
        self.doubt.forget(peer.key)
        if peer.name not in self.peers and not self.crowd.of(peer.name):
            for instance in peer.heard:
                self._instances.pop(instance, None)

    def make_way(self, candidate: Peer) -> None:
        """Drop a candidate for others."""
        self.crowded_out.append(candidate.origin)
        self.drop(candidate)

    def note_instance(self, heard: Announcement) -> None:
        """Under which names an mDNS instance announces itself: one, but for what is forged."""
        former = self._instances.get(heard.instance, ())
        if heard.node not in former:
            self._instances[heard.instance] = (*former[1 - NAMES_PER_INSTANCE :], heard.node)

    def names_of(self, instance: str) -> tuple[str, ...]:
        """The same, for a look."""
        return self._instances.get(instance, ())

    def take_instance(self, instance: str) -> tuple[str, ...]:
        """The same; it announces itself no longer."""
        return self._instances.pop(instance, ())

    def hear_foreign(self, heard: Announcement) -> None:
        """Keep in mind what is announced under the name of a Node that is not network's."""
        self.note_instance(heard)
        self.foreign.hear(heard)

    def restart_ages(self, now: float) -> None:
        """Nothing that happened while the agent could not look counts against any peer (rule 2)."""
        self.foreign.restart(now)
        for peer in (self.own, *self.everyone()):
            peer.last_sign_at = now
            peer.reported = None
            self.touch(peer)

    def has_say(self, peer: Peer) -> bool:
        """Whether this agent's failures to reach it mean anything (rule 3)."""
        return places.has_say(peer, self.here, self.me.name)

    def link_to(self, peer: Peer) -> str:
        """The link on which it answered; before that, the one on which it would be asked first."""
        return peer.link or (self.here.link_of(peer.ends[0][0].address) if peer.ends else "")

    def in_doubt(self, peer: Peer, now: float) -> bool:
        """Whether this agent may itself be why the peer does not answer (rule 9)."""
        return self.doubt.doubts(self.link_to(peer), now, 2 * self.timing.period)

    # What comes of an event

    def touch(self, peer: Peer) -> None:
        """Something about it has changed: when it is due is to be computed anew."""
        self._touched[peer.key] = peer

    def take_touched(self) -> list[Peer]:
        """All of them, once."""
        touched, self._touched = list(self._touched.values()), {}
        return touched

    def do(self, action: StartProbe | Reannounce | Contested | Suspecting | BoundMet) -> None:
        """Ask for this."""
        if self._check is not None:
            self._check(Step(self.event, type(action)))
        self._actions.append(action)

    def take_actions(self) -> list[Action]:
        """All that is asked for, once."""
        actions, self._actions = self._actions, []
        return actions

    def report(self, peer: Peer, cause: Cause, observation: Observation, now: float) -> None:
        """Report this of a peer, or of the own Node."""
        self._report(peer.state, cause, observation)
        peer.reported = type(observation)
        peer.settled_at = now + max(SETTLE_SECONDS, peer.timing.retry)

    def report_foreign(self, cause: Cause, observation: Alive | Joined) -> None:
        """Report this of a machine whose Node is another source's."""
        self._report(State.FOREIGN, cause, observation)

    def _report(self, state: State, cause: Cause, observation: Observation) -> None:
        if self._check is not None:
            self._check(Step(self.event, type(observation), state, cause))
        self._actions.append(Report(observation))

    def explain(self, peer: Peer, cause: Cause, message: str, now: float) -> None:
        """Say on a Node that is not Ready why; once, whichever of its addresses the observers ask."""
        seen = peer.stored
        if seen is None:
            return
        shown = seen.ready.message if seen.ready else ""
        if message.partition(" ")[2] not in shown and not peer.just_reported(Explained, now):
            self.report(peer, cause, Explained(peer.name, seen.evidence, message), now)
