"""Keeps the picture (see `picture`) up to date: draws it anew when what it depends on has changed, and notes what is new."""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import replace

from k3.discovery.agenda import Agenda
from k3.discovery.datacenters import Directory
from k3.discovery.doubts import Doubts
from k3.discovery.guards import Trust
from k3.discovery.nodes import StoredNodes
from k3.discovery.patience import Doubt
from k3.discovery.picture import Picture, Sight, doubts_of, observe, say
from k3.discovery.policy import RegistryObservation
from k3.discovery.snapshot import Instance


class Drawing:
    """What is to be said of each Node. Names of which there is news go to the agenda."""

    def __init__(
        self,
        service: str,
        directory: Directory,
        nodes: StoredNodes,
        doubts: Doubts,
        agenda: Agenda,
        *,
        grace_seconds: float,
    ) -> None:
        """`grace_seconds`: for so long a datacenter that is not believed, or a doubt, changes nothing."""
        self._service = service
        self._directory = directory
        self._nodes = nodes
        self._doubts = doubts
        self._agenda = agenda
        self._grace_seconds = grace_seconds
        self._drawn_from: tuple[object, ...] = ()
        """What the picture depends on, as it was when it was drawn."""
        self._generation = 0
        """Counts what makes the picture out of date."""
        self.picture = Picture()

    def outdate(self) -> None:
        """Notes that something the picture depends on has changed."""
        self._generation += 1
        self._agenda.wake()

    def draw(self) -> None:
        """Draws the picture anew, if anything it depends on has changed."""
        now = asyncio.get_running_loop().time()
        places = self._directory.places
        lost = {name for name, each in places.items() if each.guard.bad_seconds(now) >= self._grace_seconds}
        silent = {name for name, each in places.items() if each.guard.silent_seconds(now) >= self._grace_seconds}
        drawn_from = (self._generation, frozenset(lost), frozenset(silent), self._directory.own, self._over())
        if drawn_from == self._drawn_from:
            return
        self._drawn_from = drawn_from
        sights = {
            name: Sight(each.snapshot, each.guard.belief, is_lost=name in lost, is_silent=name in silent)
            for name, each in places.items()
        }
        former = self.picture
        fresh = self._observe(sights)
        if self._doubt(fresh, former, now):  # some new doubts are over at once, and the picture depends on that
            fresh = self._observe(sights)
        self.picture = Picture(dict(former.said), fresh.named, fresh.doubts)
        for seen in fresh.said.values():
            self._note(seen)
        for name in former.said.keys() - fresh.said.keys():
            self._forget(name)

    def _observe(self, sights: dict[str, Sight]) -> Picture:
        return observe(self._service, sights, self._nodes.known.values(), self._directory.own, self._over())

    def redraw(self, instances: Iterable[Instance]) -> None:
        """Takes in how these instances are now. Neither names nor membership can change by that, so the rest stays."""
        for each in instances:
            if (named := self.picture.named.get(each.identity)) is None:
                continue
            renamed = replace(each, facts=named.instance.facts)
            self.picture.named[each.identity] = named = replace(named, instance=renamed)
            if doubts_of(each):
                self.outdate()
            else:
                self._note(say(self._service, named, self._over()))
        self._agenda.wake()

    def compare(self, touched: Iterable[str]) -> None:
        """Takes in Nodes that are not as they were: they get their turn, and some make the picture out of date."""
        for name in touched:
            if not self.picture.covers(name, self._nodes.known.get(name)):
                self._generation += 1
            if name in self.picture.said and not self._nodes.is_as_written(name):
                self._agenda.note(name)

    def _over(self) -> frozenset[Doubt]:
        """Returns the doubts that hold nothing back any more."""
        return self._doubts.over(asyncio.get_running_loop().time(), self._grace_seconds)

    def _doubt(self, fresh: Picture, former: Picture, now: float) -> bool:
        """Hands the doubts on to be settled; returns whether some of them are over already."""
        if not fresh.doubts and not former.doubts:
            return False
        before = self._over()
        full = {name for name, each in self._directory.places.items() if each.guard.belief.trust is Trust.FULL}
        self._doubts.see(fresh, former, self._nodes.known.values(), answering=full, now=now)
        if (end := self._doubts.next_end(now, self._grace_seconds)) < math.inf:
            self._agenda.wake_after(end - now)
        return self._over() != before

    def _note(self, seen: RegistryObservation) -> None:
        """Has an observation said, if it is new."""
        if self.picture.said.get(seen.name) != seen:
            self.picture.said[seen.name] = seen
            self._agenda.note(seen.name)

    def _forget(self, name: str) -> None:
        """Forgets a name of which there is nothing to say any more."""
        self.picture.said.pop(name, None)
        self._agenda.drop(name)
        self._nodes.forget(name)
