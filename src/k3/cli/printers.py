"""How `k3 nodes` shows Nodes: a list, then, when following, one change at a time."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from k3 import node_table
from k3.cli import documents
from k3.cli.terminal import answer
from k3.core.node import timestamp
from k3.core.objects import Manifest, Object
from k3.core.store import ChangeType
from k3.node_table import Moment
from k3.safe_text import printable

_STATUS: Final = 1
_GAP: Final = "   "
_CELL_CHARACTERS: Final = 253


class Printer(Protocol):
    """One output format."""

    def everything(self, items: Sequence[Object], moment: Callable[[Object], Moment]) -> None:
        """Print the Nodes there are."""
        ...

    def change(self, kind: ChangeType, item: Object, moment: Moment) -> None:
        """Print one change."""
        ...


class TablePrinter:
    """kubectl's table. While following, columns keep their widths, and a deleted Node's status is `Deleted`."""

    def __init__(self, *, wide: bool, headers: bool, following: bool) -> None:
        self._wide = wide
        self._titles = node_table.titles(wide=wide)
        self._widths = [len(title) for title in self._titles]
        if following:  # whatever the status becomes, what stands behind it stays where it is
            self._widths[_STATUS] = len("Unknown (no observer)")
        self._owes_titles = headers

    def everything(self, items: Sequence[Object], moment: Callable[[Object], Moment]) -> None:
        """The table; nothing at all where there are no Nodes."""
        self._print([self._cells(item, moment(item)) for item in items])

    def change(self, kind: ChangeType, item: Object, moment: Moment) -> None:
        """One more row."""
        cells = self._cells(item, moment)
        if kind == "DELETED":
            cells[_STATUS] = "Deleted"
        self._print([cells])

    def _cells(self, item: Object, moment: Moment) -> list[str]:
        cells = node_table.row(item.manifest(), moment, wide=self._wide)
        return [printable(cell, limit=_CELL_CHARACTERS) for cell in cells]

    def _print(self, rows: list[list[str]]) -> None:
        if rows and self._owes_titles:
            rows = [self._titles, *rows]
            self._owes_titles = False
        for cells in rows:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        answer("".join(self._line(cells) for cells in rows))

    def _line(self, cells: list[str]) -> str:
        return _GAP.join(cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)).rstrip() + "\n"


class DocumentPrinter:
    """JSON or YAML: one document, a Node if one was asked for by name, else a List; while following, one Node per change."""

    def __init__(self, render: Callable[[Manifest], str], *, separator: str, single: bool, following: bool) -> None:
        self._render = render
        self._separator = separator
        self._single = single
        self._following = following

    def everything(self, items: Sequence[Object], moment: Callable[[Object], Moment]) -> None:
        """The document, or one per Node while following."""
        if self._following:
            for item in items:
                self.change("ADDED", item, moment(item))
        elif self._single:
            answer(self._render(items[0].manifest()))
        else:
            answer(self._render(documents.listing(item.manifest() for item in items)))

    def change(self, kind: ChangeType, item: Object, moment: Moment) -> None:
        """One more document. A deleted Node carries the time of its deletion, as in Kubernetes."""
        manifest = item.manifest()
        if kind == "DELETED":
            manifest["metadata"].setdefault("deletionTimestamp", timestamp(moment.now))
        answer(self._separator + self._render(manifest))


class NamePrinter:
    """`node/web1`, to be handed to another command."""

    def everything(self, items: Sequence[Object], moment: Callable[[Object], Moment]) -> None:  # noqa: ARG002 - a name has no age
        """One name per line."""
        answer("".join(f"node/{printable(item.key.name)}\n" for item in items))

    def change(self, kind: ChangeType, item: Object, moment: Moment) -> None:  # noqa: ARG002 - see above
        """One more name."""
        self.everything([item], lambda _: moment)


def printer(output: str, *, headers: bool, single: bool, following: bool) -> Printer:
    """The printer of an output format: table, wide, json, yaml or name."""
    match output:
        case "json":
            return DocumentPrinter(documents.as_json, separator="", single=single, following=following)
        case "yaml":
            return DocumentPrinter(documents.as_yaml, separator="---\n", single=single, following=following)
        case "name":
            return NamePrinter()
        case _:
            return TablePrinter(wide=output == "wide", headers=headers, following=following)
