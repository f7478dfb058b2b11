"""Names that are announced but not proven. Any host can invent them, so everything about them is bounded. Pure."""

from collections.abc import Iterable
from typing import Final

from k3.core import limits

PROBES_AT_ONCE: Final = 16


class Crowd:
    """The candidates: their names, which are being asked, which wait, and which are shown as never-proven Nodes."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        """In order of arrival."""
        self._probing: set[str] = set()
        self._unasked: dict[str, None] = {}
        self._again: dict[str, None] = {}
        self._shown: dict[str, str] = {}

    @property
    def is_full(self) -> bool:
        """Whether a newcomer needs the place of another one."""
        return len(self.names) >= limits.CANDIDATES

    def add(self, name: str) -> None:
        """It is a candidate from now on."""
        self.names[name] = None

    def ask(self, name: str, *, is_new: bool) -> bool:
        """Take a place for a probe; without one the name waits."""
        if len(self._probing) >= PROBES_AT_ONCE:
            (self._unasked if is_new else self._again).setdefault(name)
            return False
        self._probing.add(name)
        return True

    def done(self, name: str) -> None:
        """Its probe is over."""
        self._probing.discard(name)

    def next_waiting(self) -> str | None:
        """The next to ask: the newest of those never asked, so that a flood cannot hold up a newcomer."""
        for waiting in (self._unasked, self._again):
            while waiting:
                name, _ = waiting.popitem()
                if name in self.names:
                    return name
        return None

    def drop(self, name: str) -> None:
        """It is no candidate any more."""
        self.names.pop(name, None)
        self._probing.discard(name)
        self._unasked.pop(name, None)
        self._again.pop(name, None)

    def show(self, name: str, shown_by: str) -> None:
        """A never-proven Node is in the store, or will be."""
        self._shown[name] = shown_by

    def hide(self, name: str) -> None:
        """No such Node any more."""
        self._shown.pop(name, None)

    def has_room(self, me: str, observers: Iterable[str]) -> bool:
        """Whether the agent `me` may show one more (docs/adr/0008).

        The few places are dealt out among the observers, so that no two need to count together.
        """
        agents = sorted({me, *observers})
        mine = len(range(agents.index(me), limits.UNPROVEN_NODES, len(agents)))
        used = sum(1 for shown_by in self._shown.values() if shown_by == me)
        return used < mine and len(self._shown) < limits.UNPROVEN_NODES
