"""Sources that other packages bring: found by their entry points, as backends are (`k3.settings.backends`).

A source is a module behind an entry point of the group `k3.sources`, whose name is the source's. k3's own are not looked up
there: their rows stand in `k3.core.sources`, and their commands with all others.
"""

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Final, Protocol

from k3.core.sources import SOURCES, SourceRow
from k3.settings.structs import Note

GROUP: Final = "k3.sources"


class SourceModule(Protocol):
    """What the module of a source has."""

    ROW: SourceRow
    """Its row in the table of sources."""

    def run(self, arguments: list[str]) -> int:
        """`k3 <name>` with these arguments; returns the exit code. Raises K3Error."""
        ...


@cache
def _entries() -> Mapping[str, str]:
    from importlib import metadata  # noqa: PLC0415 - 30 ms that most commands need not spend

    return {entry.name: entry.value for entry in metadata.entry_points(group=GROUP)}


def learn() -> tuple[Note, ...]:
    """Adds the rows of all installed sources to the table, for a command that reads Nodes of any source.

    Returns what is to be said of those that cannot be loaded: their Nodes are shown as a controller's are.
    """
    notes = []
    for name in _entries():
        try:
            module = find(name)
        except Exception as error:  # noqa: BLE001 - what another package does wrong keeps nobody from reading the list
            notes.append(Note("source.broken", {"source": name, "why": f"{type(error).__name__}: {error}"}, warning=True))
        else:
            if module is not None:
                SOURCES.setdefault(name, module.ROW)
    return tuple(notes)


def find(name: str) -> SourceModule | None:
    """The source of this name that another package brings; None: there is none. Raises whatever importing it does."""
    if (module := _entries().get(name)) is None:
        return None
    found: SourceModule = importlib.import_module(module)
    return found
