"""`--sort-by`: a column of the table (`age`), or a path into the document as kubectl takes it (`.metadata.name`).

Numbers in texts count as numbers: web2 comes before web10. What lacks the value comes last.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from k3.cli.usage import BadUsage
from k3.core import times
from k3.core.objects import Manifest
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.view import node_table
from k3.view.cells import NONE, UNKNOWN
from k3.view.node_table import Reading

Value = Callable[[Reading], object]
Key = tuple[int, Any]

_STEP: Final = re.compile(r"\.((?:\\.|[^.\\\[\]{}])+)|\[(\d{1,6})\]|\['([^']*)'\]")
_LAST: Final[Key] = (3, 0)
_COMPARED: Final = 1_000
"""How many characters of a text are compared."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order of Nodes."""

    value: Value

    def key(self, reading: Reading) -> Key:
        """Returns what a Node is compared by."""
        value = self.value(reading)
        if isinstance(value, bool | int | float):
            return (0, value) if value == value else _LAST  # noqa: PLR0124 - NaN
        if isinstance(value, str) and value not in {"", NONE, UNKNOWN}:
            return 1, _natural(value)
        return _LAST


def columns() -> tuple[str, ...]:
    """Returns the names of the columns that Nodes can be ordered by."""
    return tuple(_COLUMNS)


def parse_order(text: str) -> Order:
    """Returns an order from what people write. Raises BadUsage."""
    path = text.strip()
    if path.startswith("{") and path.endswith("}"):
        path = path[1:-1]
    name = re.sub(r"[\s_]+", "-", path.lower())
    if name in _COLUMNS:
        return Order(_COLUMNS[name])
    steps = _steps(path if path.startswith((".", "[")) else f".{path}")
    if steps is None or (len(steps) == 1 and not path.startswith(".")):
        from k3.settings.parsing import nearest  # noqa: PLC0415 - difflib is slow to load, and only a mistake needs it

        known = f"expected a column ({', '.join(_COLUMNS)}) or a path like .metadata.creationTimestamp"
        msg = f'--sort-by: there is no column "{printable(text, limit=80)}", {known}{nearest(name, _COLUMNS)}'
        raise BadUsage(msg, command="nodes")
    return Order(lambda reading: _at(reading.manifest, steps))


def _steps(path: str) -> list[str | int] | None:
    """Returns a path as keys and indices; None where it is no path."""
    found: list[str | int] = []
    end = 0
    for step in _STEP.finditer(path):
        if step.start() != end:
            return None
        end = step.end()
        key, place, quoted = step.groups()
        found.append(int(place) if place is not None else quoted if key is None else re.sub(r"\\(.)", r"\1", key))
    return found if found and end == len(path) else None


def _at(manifest: Manifest, steps: Sequence[str | int]) -> object:
    found: object = manifest
    for step in steps:
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and isinstance(step, int) and step < len(found):
            found = found[step]
        else:
            return None
    return found


def _natural(text: str) -> list[str | int]:
    """Returns texts and numbers in turn, beginning with a text."""
    parts = re.split(r"([0-9]+)", text[:_COMPARED])
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def _ago(at: datetime | None) -> float | None:
    """Returns a number that is smaller the later the time is: the latest comes first."""
    return -at.timestamp() if at else None


def _created(reading: Reading) -> float | None:
    return _ago(times.parse_timestamp(_at(reading.manifest, ("metadata", "creationTimestamp"))))


_COLUMNS: Final[dict[str, Value]] = {
    **{column.title.lower().replace(" ", "-"): column.cell for column in node_table.COLUMNS},
    "age": _created,
    "last-seen": lambda reading: _ago(node_table.last_seen(reading)),
}
