"""Nodes that network does not manage: a controller's, or another source's. What is announced under their names is kept in mind.

A Node that another source of k3 has given up (`core.ownership`) may be adopted if its very machine is announced and answers.
This module says which machines to ask, and when; `adoption` does the asking. Pure.
"""

from dataclasses import replace
from typing import Final

from k3.core.node import NodeView
from k3.core.ownership import Abandoned
from k3.core.sources import SOURCES
from k3.network.messages import Announcement
from k3.network.peers.peer import NEVER

AGAIN_SECONDS: Final = 15.0
"""Between two looks at a machine whose Node may be adopted."""


class Foreign:
    """Such Nodes by name. At most one announcement is kept per name, and only for names that the store shows."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeView] = {}
        self._heard: dict[str, Announcement] = {}
        self._abandoned = Abandoned()
        self._looked_at: dict[str, float] = {}
        """When to look at one again."""

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    @property
    def names(self) -> list[str]:
        """All their names."""
        return list(self._nodes)

    def show(self, seen: NodeView, now: float) -> None:
        """The store shows such a Node."""
        self._nodes[seen.name] = replace(seen, annotations={})
        if seen.owner in SOURCES and seen.id:
            self._abandoned.show(seen, now)
        else:
            self._abandoned.drop(seen.name)

    def drop(self, name: str) -> Announcement | None:
        """The Node is gone, or network's. Returns what is announced under its name."""
        self._nodes.pop(name, None)
        self._abandoned.drop(name)
        self._looked_at.pop(name, None)
        return self._heard.pop(name, None)

    def hear(self, heard: Announcement) -> None:
        """The Node's own machine is preferred to any other that uses its name."""
        if heard.id == self._nodes[heard.node].id or heard.node not in self._heard:
            self._heard[heard.node] = heard

    def withdraw(self, name: str, instance: str) -> None:
        """It is no longer announced."""
        if name in self._heard and self._heard[name].instance == instance:
            del self._heard[name]

    def restart(self, now: float) -> None:
        """Time in which the agent could not look does not count."""
        self._abandoned.restart(now)

    def deadline(self, me: str) -> float:
        """When the next of them may be adopted, by the agent whose own Node is `me`."""
        if not self._nodes:  # as in most fleets; this is asked at every event
            return NEVER
        return min(map(self._at, self._near(me)), default=NEVER)

    def take_due(self, me: str, now: float) -> list[tuple[NodeView, Announcement | None]]:
        """Those that may be adopted now, with the machine's own announcement (none for `me`). They come again after a while."""
        ready = [name for name in self._near(me) if self._at(name) <= now]
        self._looked_at |= dict.fromkeys(ready, now + AGAIN_SECONDS)
        return [(self._nodes[name], self._heard.get(name)) for name in ready]

    def _near(self, me: str) -> list[str]:
        """Those whose very machine is announced here; and `me`."""
        near = [name for name, heard in self._heard.items() if heard.id == self._nodes[name].id]
        return [*near, me] if me in self._nodes else near

    def _at(self, name: str) -> float:
        return max(self._abandoned.at(name), self._looked_at.get(name, 0.0))
