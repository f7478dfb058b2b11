"""How `k3 nodes` shows Nodes: a list, then, when following, one change at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from k3.cli.terminal import answer, answer_in_pieces
from k3.core import node
from k3.core.objects import Manifest, Object
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.core.store import ChangeType
from k3.core.times import timestamp
from k3.view import documents, node_table
from k3.view.cells import Column
from k3.view.node_table import Reading, State
from k3.view.table import STATUS, Colour, Table

Read = Callable[[Object], Reading]
"""Returns how a Node is to be read at the moment."""


class Printer(Protocol):
    """One output format."""

    def everything(self, items: Sequence[Object], read: Read) -> None:
        """Prints the Nodes there are."""
        ...

    def change(self, kind: ChangeType, item: Object, read: Read) -> None:
        """Prints one change."""
        ...

    def face(self, item: Object, read: Read) -> object:
        """Returns what is shown of a Node, without what moves by itself: only a change of that is printed (ADR 31)."""
        ...


@dataclass(frozen=True, slots=True)
class Style:
    """What a table has besides its rows."""

    headers: bool = True
    following: bool = False
    """Columns keep their widths from row to row."""
    coloured: bool = False
    summed_up: bool = False
    """The last line says how many are Ready."""


class TablePrinter:
    """kubectl's table. While following, a deleted Node's status is `Deleted`."""

    def __init__(self, columns: Sequence[Column[Reading]], style: Style) -> None:
        self._columns = columns
        self._style = style
        self._table = Table([column.title for column in columns], headers=style.headers)
        self._prepared: dict[str, tuple[list[str], State]] = {}
        if style.following:  # whatever the status becomes, what stands behind it stays where it is
            self._table.widen(STATUS, len("Unknown (no observer)"))

    def prepare(self, item: Object, reading: Reading) -> None:
        """Keeps the row of a Node for `everything`: it is read once, before it is known whether an agent looks after it."""
        self._prepared[item.key.name] = self._row(reading)

    def discard(self, name: str) -> None:
        """Has `everything` read this Node itself."""
        self._prepared.pop(name, None)

    def everything(self, items: Sequence[Object], read: Read) -> None:
        """Prints the table; nothing at all where there are no Nodes."""
        # One at a time: the manifests of ten thousand Nodes are not kept.
        prepared = self._prepared
        found = [prepared[item.key.name] if item.key.name in prepared else self._row(read(item)) for item in items]
        prepared.clear()
        states = [state for _, state in found]
        text = self._table.text((cells for cells, _ in found), [self._tint(state) for state in states])
        answer(text + (f"{_summary(states)}\n" if states and self._style.summed_up else ""))

    def change(self, kind: ChangeType, item: Object, read: Read) -> None:
        """Prints one more row."""
        reading = read(item)
        cells = self._cells(reading)
        if kind == "DELETED":
            cells[[column.title for column in self._columns].index(STATUS)] = "Deleted"
        answer(self._table.text([cells], ["" if kind == "DELETED" else self._tint(reading.state)]))

    def face(self, item: Object, read: Read) -> object:
        """Returns all cells but those that count the time."""
        reading = read(item)
        return tuple(column.cell(reading) for column in self._columns if not column.moves)

    def _row(self, reading: Reading) -> tuple[list[str], State]:
        return self._cells(reading), reading.state

    def _cells(self, reading: Reading) -> list[str]:
        return [column.cell(reading) for column in self._columns]

    def _tint(self, state: State) -> Colour:
        return colour_of(state) if self._style.coloured else ""


def colour_of(state: State) -> Colour:
    """Returns the colour of a status: green for well, red for not, yellow where there is something to say."""
    if state.word == "Ready" and state.is_well:
        return "green"
    return "red" if state.word.startswith("NotReady") else "yellow"


def _summary(states: Sequence[State]) -> str:
    ready = sum(state.word.startswith("Ready") for state in states)
    return f"{ready} Ready" if ready == len(states) else f"{ready} Ready, {len(states) - ready} not"


class DocumentPrinter:
    """JSON or YAML: one document, a Node if one was asked for by name, else a List; while following, one Node per change."""

    def __init__(
        self,
        render: Callable[[Manifest], str],
        render_list: Callable[[Iterable[Manifest]], Iterator[str]],
        *,
        separator: str,
        single: bool,
        following: bool,
    ) -> None:
        self._render = render
        self._render_list = render_list
        self._separator = separator
        self._single = single
        self._following = following
        self.odd: list[Object] = []
        """Nodes of which a stand-in may have been printed: their Ready says that they cannot be read."""

    def everything(self, items: Sequence[Object], read: Read) -> None:
        """Prints the document, or one per Node while following."""
        if self._following:
            for item in items:
                self.change("ADDED", item, read)
        elif self._single:
            answer(self._render(self._manifest(items[0])))
        else:
            answer_in_pieces(self._render_list(map(self._manifest, items)))

    def _manifest(self, item: Object) -> Manifest:
        manifest = item.manifest()
        if node.condition_status(manifest, node.READY) == "Unknown":  # as a stand-in's is
            self.odd.append(item)
        return manifest

    def change(self, kind: ChangeType, item: Object, read: Read) -> None:
        """Prints one more document. A deleted Node carries the time of its deletion, as in Kubernetes."""
        manifest = item.manifest()
        if kind == "DELETED":
            manifest["metadata"].setdefault("deletionTimestamp", timestamp(read(item).at.now))
        answer(self._separator + self._render(manifest))

    def face(self, item: Object, read: Read) -> object:  # noqa: ARG002 - a program gets every revision
        """Returns the whole document: all of it is shown."""
        return item.revision


class NamePrinter:
    """`node/web1`, to be handed to another command; while following, whenever that would find something new."""

    def __init__(self, columns: Sequence[Column[Reading]]) -> None:
        self._columns = columns

    def everything(self, items: Sequence[Object], read: Read) -> None:  # noqa: ARG002 - a name has no age
        """Prints one name per line."""
        answer_in_pieces(f"node/{printable(item.key.name)}\n" for item in items)

    def change(self, kind: ChangeType, item: Object, read: Read) -> None:  # noqa: ARG002 - see above
        """Prints one more name."""
        self.everything([item], read)

    def face(self, item: Object, read: Read) -> object:
        """Returns what the widest table shows."""
        reading = read(item)
        return tuple(column.cell(reading) for column in self._columns if not column.moves)


def printer(output: str, columns: Sequence[Column[Reading]], style: Style, *, single: bool) -> Printer:
    """Returns the printer of a format: table, wide, json, yaml or name. `single`: one Node was asked for by its name."""
    match output:
        case "json":
            return DocumentPrinter(
                documents.as_json, documents.json_list, separator="", single=single, following=style.following
            )
        case "yaml":
            return DocumentPrinter(
                documents.as_yaml, documents.yaml_list, separator="---\n", single=single, following=style.following
            )
        case "name":
            return NamePrinter([*node_table.COLUMNS, node_table.LABELS])
        case _:
            return TablePrinter(columns, style)
