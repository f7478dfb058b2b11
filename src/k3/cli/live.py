"""`k3 nodes -w` on a terminal: one table of what there is now, the troubled first (ADR 59).

`LiveTable` is a printer like the others: `follow.Shown` tells it what has changed. It works out a Node's place only when that
Node has changed, and the cells only of the rows that fit, so ten thousand Nodes cost little more than ten.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from k3.cli.follow import Shown, follow, tick
from k3.cli.printers import Read, colour_of
from k3.cli.screen import Notes, Screen, Size
from k3.cli.sorting import Order
from k3.core.objects import NODE, Object
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.core.store import ChangeType, Page, Store
from k3.view.cells import Column, human_duration
from k3.view.node_table import CORDONED, Reading, State
from k3.view.table import Table, coloured, cut

_WELL: Final = 2
_RANKS: Final = {"red": 0, "yellow": 1, "green": _WELL, "": _WELL}
_WORDS: Final = ("Ready", "NotReady", "Unknown")
_Place = tuple[int, Any, str]
"""Where a Node stands: the worst first, then as the person wants it, then by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the person wants of the table."""

    columns: Sequence[Column[Reading]]
    order: Order | None
    headers: bool
    is_coloured: bool
    where: str
    """The store, as it is shown."""
    empty: str
    """What to say where there are no Nodes."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the table begins with: the Nodes that are wanted, those that an agent looks after, and whether one is wanted."""

    found: Sequence[Object]
    observed: Collection[str]
    wanted: Callable[[Object], bool]


async def show_live(store: Store, page: Page, start: Start, layout: Layout, notes: Notes) -> int:
    """Draws the table until a signal or a key ends it; returns the exit code that this means."""
    screen = Screen(notes)
    table = LiveTable(layout, screen.changed.set)
    shown = Shown(table, start.wanted, lambda: datetime.now(UTC))

    def resumed() -> None:
        if shown.away_since is None:
            shown.restart()  # while k3 was stopped it has seen nothing: that counts against no Node

    def frame(size: Size) -> list[str]:
        return table.frame(size, _note(notes, shown.away_since))

    with screen.opened(resumed):
        shown.first(start.found, start.observed)
        async with asyncio.TaskGroup() as tasks:
            works = tick(store, shown), follow(store, NODE, page, shown), screen.draw(frame)
            started = [tasks.create_task(work) for work in works]
            exit_code = await screen.ended
            for task in started:
                task.cancel()
    return exit_code


def _note(notes: Notes, away_since: datetime | None) -> str:
    """Returns what is to be told: an outage for as long as it lasts, and that the table is from before it."""
    said = notes.latest(is_over=away_since is None)
    return said if away_since is None else f"As of {human_duration(datetime.now(UTC) - away_since)} ago: {said}"


class LiveTable:
    """The Nodes of one table, and how much of it fits."""

    def __init__(self, layout: Layout, changed: Callable[[], None]) -> None:
        """`changed` is called where there is something to draw."""
        self._layout = layout
        self._changed = changed
        self._table = Table([column.title for column in layout.columns], headers=False)
        self._items: dict[str, Object] = {}
        self._places: dict[str, _Place] = {}
        self._states: dict[str, str] = {}
        self._stale: set[str] = set()
        """Nodes that have changed since their place was worked out."""
        self._read: Read | None = None
        self._has_moved = True
        """Whether a place or a state has changed since Nodes were put in order and counted."""
        self._first: list[str] = []
        """The names of the first Nodes."""
        self._counts: Counter[str] = Counter()
        self._troubled = 0

    def everything(self, items: Sequence[Object], read: Read) -> None:
        """Takes in the Nodes there are."""
        for item in items:
            self.change("ADDED", item, read)

    def change(self, kind: ChangeType, item: Object, read: Read) -> None:
        """Takes in one change."""
        name = item.key.name
        self._read = read
        if kind == "DELETED":
            for known in (self._items, self._places, self._states):
                known.pop(name, None)
            self._stale.discard(name)
            self._has_moved = True
        else:
            self._items[name] = item
            self._stale.add(name)
        self._changed()

    def face(self, item: Object, read: Read) -> object:  # noqa: ARG002 - the ages are shown, too
        """Returns what equals nothing: every change is taken in."""
        return object()

    def frame(self, size: Size, note: str) -> list[str]:
        """Returns the lines that fill a terminal, at the most. `note` is something to be told."""
        self._settle(size.lines)
        layout, width = self._layout, max(1, size.columns - 1)
        lines = [cut(self._headline(), width)] if layout.headers else []
        if note or layout.headers:
            lines.append(coloured(cut(printable(note), width), "yellow" if layout.is_coloured else ""))
        if not self._items:
            return [*lines, cut(layout.empty, width)][: size.lines]
        return [*lines, *self._body(size.lines - len(lines), width)][: size.lines]

    def _body(self, lines: int, width: int) -> list[str]:
        """Returns titles, rows, and, where not all fit, how many more there are."""
        room = max(0, lines - self._layout.headers)
        if (total := len(self._items)) > room:
            room = max(0, room - 1)
        readings = [self._reading(name) for name in self._first[:room]]
        rows = [[column.cell(reading) for column in self._layout.columns] for reading in readings]
        tints = [colour_of(reading.state) if self._layout.is_coloured else "" for reading in readings]
        body = self._table.lines(rows, tints, titles=self._layout.headers, width=width)
        return body if total == len(rows) else [*body, cut(self._more(total, len(rows)), width)]

    def _more(self, total: int, shown: int) -> str:
        troubled = max(0, self._troubled - shown)
        return f"… {total - shown:,} more, " + (f"{troubled:,} of them not well" if troubled else "all Ready")

    def _headline(self) -> str:
        total = len(self._items)
        states = ", ".join(f"{self._counts[state]:,} {state}" for state in sorted(self._counts, key=_by_word))
        said = f"{total:,} Node{'' if total == 1 else 's'}{': ' if states else ''}{states}"
        return f"{said}   (q ends)   {self._layout.where}"

    def _reading(self, name: str) -> Reading:
        if self._read is None:
            raise LookupError(name)  # never: whoever named the Node said how to read it
        return self._read(self._items[name])

    def _settle(self, lines: int) -> None:
        """Works out the places of the Nodes that have changed, and which Nodes come first."""
        for name in self._stale:
            reading = self._reading(name)
            place = _rank(reading.state), self._layout.order.key(reading) if self._layout.order else (), name
            state = str(reading.state).replace(f",{CORDONED}", "")
            if self._places.get(name) != place or self._states.get(name) != state:
                self._places[name], self._states[name] = place, state
                self._has_moved = True
        self._stale.clear()
        if self._has_moved or len(self._first) < min(lines, len(self._places)):
            self._first = [name for *_, name in heapq.nsmallest(lines, self._places.values())]
            self._counts = Counter(self._states.values())
            self._troubled = sum(rank < _WELL for rank, *_ in self._places.values())
            self._has_moved = False


def _rank(state: State) -> int:
    """Returns how far down a Node stands. One that is Ready and cordoned is well: a person wanted it so."""
    return _WELL if state.is_well else _RANKS[colour_of(state)]


def _by_word(state: str) -> tuple[int, str]:
    word = state.split(" ", maxsplit=1)[0]
    return _WORDS.index(word) if word in _WORDS else len(_WORDS), state
