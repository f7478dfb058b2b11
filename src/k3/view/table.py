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
        lines = [[printable(cell) for cell in cells] for cells in rows]
        tints: list[Colour] = [*colours] or [""] * len(lines)
        if lines and self._owes_titles:
            lines, tints = [self._titles, *lines], ["", *tints]
            self._owes_titles = False
        for cells in lines:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        return "".join(self._line(cells, colour) for cells, colour in zip(lines, tints, strict=True))

    def _line(self, cells: Sequence[str], colour: Colour) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        if colour:
            at = self._titles.index(STATUS)
            padded[at] = _coloured(cells[at], colour) + padded[at][len(cells[at]) :]
        return _GAP.join(padded).rstrip() + "\n"


def _coloured(text: str, colour: Colour) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
