"""Names whose Nodes network does not manage: a controller's, or discovery's. What is announced under them is kept in mind.

A Node of discovery's that has not been Ready for `ADOPTION_SECONDS`, by our clock, may be adopted if its very machine is
announced and answers. This says whom to ask and when; `PeerTable` does the asking.
"""

from dataclasses import replace
from typing import Final

from k3.core.node import NodeView
from k3.core.ownership import ADOPTION_SECONDS
from k3.network.messages import Announcement
from k3.network.peer import NEVER

AGAIN_SECONDS: Final = 15.0
"""Between two looks at a machine whose Node may be adopted."""


class Foreign:
    """At most one announcement is kept per name, and only for names that the store shows."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeView] = {}
        self._heard: dict[str, Announcement] = {}
        self._due: dict[str, float] = {}
        """When a Node of discovery's that is not Ready may be adopted."""

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    @property
    def names(self) -> list[str]:
        """All of them."""
        return list(self._nodes)

    def show(self, seen: NodeView, now: float) -> None:
        """The store shows such a Node."""
        self._nodes[seen.name] = replace(seen, annotations={})
        if seen.owner != "discovery" or seen.is_ready or not seen.id:
            self._due.pop(seen.name, None)
        else:
            self._due.setdefault(seen.name, now + ADOPTION_SECONDS)

    def drop(self, name: str) -> Announcement | None:
        """It is not foreign any more. Returns what is announced under it."""
        self._nodes.pop(name, None)
        self._due.pop(name, None)
        return self._heard.pop(name, None)

    def hear(self, heard: Announcement) -> None:
        """The machine of the Node is preferred to whoever else uses its name."""
        if heard.id == self._nodes[heard.node].id or heard.node not in self._heard:
            self._heard[heard.node] = heard

    def withdraw(self, name: str, instance: str) -> None:
        """It is no longer announced."""
        if name in self._heard and self._heard[name].instance == instance:
            del self._heard[name]

    def restart(self, now: float) -> None:
        """Time in which we could not look does not count."""
        self._due = dict.fromkeys(self._due, now + ADOPTION_SECONDS)

    @property
    def deadline(self) -> float:
        """When somebody may be adopted next."""
        return min(self._due.values(), default=NEVER)

    def take_due(self, now: float) -> list[tuple[NodeView, Announcement | None]]:
        """Whose time has come, with the machine's own announcement, if there is one. They come again after a while."""
        ready = [name for name, at in self._due.items() if at <= now]
        self._due |= dict.fromkeys(ready, now + AGAIN_SECONDS)
        return [(self._nodes[name], self._own(name)) for name in ready]

    def _own(self, name: str) -> Announcement | None:
        heard = self._heard.get(name)
        return heard if heard is not None and heard.id == self._nodes[name].id else None
