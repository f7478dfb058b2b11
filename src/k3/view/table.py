"""Rows under their titles, as text for a terminal: every column as wide as its widest cell. Writes nothing anywhere. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from k3.core.safe_text import printable

Colour = Literal["green", "yellow", "red", ""]

STATUS: Final = "STATUS"
"""The title of the column that may have a colour."""
_CODES: Final[dict[Colour, str]] = {"red": "31", "green": "32", "yellow": "33"}
_GAP: Final = "   "


class Table:
    """Rows under their titles. Cells are text from outside, and escaped here."""

    def __init__(self, titles: Sequence[str], *, headers: bool) -> None:
        self._titles = [printable(title) for title in titles]
        self._widths = [len(title) for title in self._titles]
        self._owes_titles = headers

    def widen(self, title: str, width: int) -> None:
        """Makes a column at least as wide as a cell that is still to come."""
        self._widths[self._titles.index(title)] = width

    def text(self, rows: Iterable[Sequence[str]], colours: Sequence[Colour] = ()) -> str:
        """Returns these rows, behind the titles if there are any rows and those have not been printed yet.

        `colours`: those of the status in each row, if it has any.
        """
        found = list(rows)
        owes = self._owes_titles and bool(found)
        self._owes_titles = self._owes_titles and not owes
        return "".join(f"{line}\n" for line in self.lines(found, colours, titles=owes))

    def lines(
        self, rows: Iterable[Sequence[str]], colours: Sequence[Colour] = (), *, titles: bool, width: int = 0
    ) -> list[str]:
        """Returns these rows as lines, behind the titles if so wanted; none is longer than `width`, unless that is 0."""
        lines = [[printable(cell) for cell in cells] for cells in rows]
        tints: list[Colour] = [*colours] or [""] * len(lines)
        if titles:
            lines, tints = [self._titles, *lines], ["", *tints]
        if lines:
            self._widths = [
                max(width, *map(len, column)) for width, column in zip(self._widths, zip(*lines, strict=True), strict=True)
            ]
        return [self._line(cells, colour, width) for cells, colour in zip(lines, tints, strict=True)]

    def _line(self, cells: Sequence[str], colour: Colour, most: int) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        line = _GAP.join(padded).rstrip()
        line = cut(line, most) if most else line
        if not colour:
            return line
        at = self._titles.index(STATUS)
        start = sum(self._widths[:at]) + at * len(_GAP)
        end = start + len(cells[at])
        return line[:start] + coloured(line[start:end], colour) + line[end:]


def cut(text: str, width: int) -> str:
    """Returns a text that is no longer than `width`, which is at least 1; an ellipsis stands for the rest."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def coloured(text: str, colour: Colour) -> str:
    """Returns a text with the codes that a terminal shows as a colour."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if text and colour else text
