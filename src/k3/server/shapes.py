"""How objects are written into an answer: as they are, as their metadata alone, or as rows of a table. Pure.

Each shape writes one object, a list and an event of a watch; all is bytes, so that what many readers ask for is made once.
"""

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from k3.core.objects import Kind, Manifest
from k3.core.records import dataclass
from k3.server.entries import AgingRow, Entry, encoded
from k3.server.negotiation import META, Form
from k3.server.schema import types
from k3.view import api_tables
from k3.view.cells import since, text_at

LIST_END: Final = b"]}\n"
INITIAL_END: Final = "k8s.io/initial-events-end"
"""The annotation of the bookmark behind the objects that a watch began with."""


def list_of(head: bytes, items: Iterable[bytes]) -> bytes:
    """Returns a list that begins so, copied once: a page of 500 Nodes is half a megabyte."""
    parts = [*items] or [b""]
    parts[0] = head + parts[0]
    parts[-1] += LIST_END
    return b",".join(parts)


class Shape(ABC):
    """One shape, for one kind and one answer."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    @abstractmethod
    def one(self, entry: Entry) -> bytes:
        """Returns one object as an answer."""

    @abstractmethod
    def item(self, entry: Entry) -> bytes:
        """Returns one object as part of a list."""

    def items(self, entries: Iterable[Entry]) -> list[bytes]:
        """Returns some objects as parts of a list."""
        return [self.item(entry) for entry in entries]

    @abstractmethod
    def head(self, metadata: dict[str, Any]) -> bytes:
        """Returns how a list begins: its items, with commas between them, and `LIST_END` follow."""

    def whole(self, metadata: dict[str, Any], items: Iterable[bytes]) -> bytes:
        """Returns a list."""
        return list_of(self.head(metadata), items)

    def event(self, type_: str, entry: Entry) -> bytes:
        """Returns one line of a watch."""
        return b'{"type":"%s","object":%s}\n' % (type_.encode(), self.one(entry))

    def bookmark(self, revision: int, *, is_initial_end: bool = False) -> bytes:
        """Returns the line that says how far a watch has come."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if is_initial_end:
            metadata["annotations"] = {INITIAL_END: "true"}
        return encoded({"type": "BOOKMARK", "object": self._bookmark(metadata)}) + b"\n"

    def _bookmark(self, metadata: dict[str, Any]) -> Manifest:
        """Returns an object of which nothing but this metadata is said."""
        return types.normalised(self.kind, {"metadata": metadata})


class Plain(Shape):
    """Objects as they are."""

    def one(self, entry: Entry) -> bytes:
        """Returns the object, with its kind."""
        return entry.full()

    def event(self, type_: str, entry: Entry) -> bytes:
        """Returns one line of a watch, made once for all who watch."""
        return _plain_line(type_, entry)

    def item(self, entry: Entry) -> bytes:
        """Returns the object without its kind, which the list says."""
        return entry.bare

    def items(self, entries: Iterable[Entry]) -> list[bytes]:
        """Returns some objects without their kind."""
        return [entry.bare for entry in entries]

    def head(self, metadata: dict[str, Any]) -> bytes:
        """Returns how a list such as a NodeList begins."""
        head = {"kind": f"{self.kind.name}List", "apiVersion": self.kind.api_version, "metadata": metadata}
        return b'%s,"items":[' % encoded(head)[:-1]


@lru_cache(maxsize=256)
def _plain_line(type_: str, entry: Entry) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (type_.encode(), entry.full())


class Metadata(Shape):
    """What is said of objects: their metadata."""

    def __init__(self, kind: Kind, version: str) -> None:
        super().__init__(kind)
        self._api_version = f"{META}/{version}"

    def one(self, entry: Entry) -> bytes:
        """Returns the metadata of an object."""
        return encoded(_metadata_only(entry.manifest(), self._api_version))

    def item(self, entry: Entry) -> bytes:
        """Returns the same: a list of these names the kind of each."""
        return self.one(entry)

    def head(self, metadata: dict[str, Any]) -> bytes:
        """Returns how a PartialObjectMetadataList begins."""
        head = {"kind": "PartialObjectMetadataList", "apiVersion": self._api_version, "metadata": metadata}
        return b'%s,"items":[' % encoded(head)[:-1]

    def _bookmark(self, metadata: dict[str, Any]) -> Manifest:
        return {"kind": "PartialObjectMetadata", "apiVersion": self._api_version, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Reading:
    """When the rows of a table are read, and which Nodes an agent looks after then."""

    now: datetime
    observed: Container[str]


class Table(Shape):
    """Objects as rows for people. What moves with time, such as an age, is as of the moment at which the answer was begun."""

    def __init__(self, kind: Kind, version: str, include: str, at: Reading) -> None:
        """`include`: how much of an object comes with its row, None, Metadata or Object."""
        super().__init__(kind)
        self._api_version = f"{META}/{version}"
        self._include = include
        self._at = at
        self._has_columns = False
        self._age_at = api_tables.age_at(kind)

    def one(self, entry: Entry) -> bytes:
        """Returns a table of one row."""
        metadata = {"resourceVersion": str(entry.revision)}
        return self.whole(metadata, [self.item(entry)]).rstrip(b"\n")

    def item(self, entry: Entry) -> bytes:
        """Returns a row."""
        if self._age_at is None:
            manifest = entry.manifest()
            return encoded(self._row(manifest, self._cells(entry, manifest)))
        what = (self._api_version, self._include, entry.key.name in self._at.observed)
        if entry.row is None or entry.row[0] != what:
            entry.row = what, self._aging(entry, self._age_at)
        row = entry.row[1]
        return row.before + encoded(since(row.since, self._at.now)) + row.behind

    def _aging(self, entry: Entry, at: int) -> AgingRow:
        manifest = entry.manifest()
        cells = self._cells(entry, manifest)
        whole = encoded(self._row(manifest, cells))
        before = encoded({"cells": cells[:at]})[: -len("]}")] + b"," * (at > 0)
        return AgingRow(before, text_at(manifest, "metadata", "creationTimestamp"), whole[len(before + encoded(cells[at])) :])

    def _row(self, manifest: Manifest, cells: list[Any]) -> Manifest:
        row: Manifest = {"cells": cells}
        if self._include == "Metadata":
            row["object"] = _metadata_only(manifest, self._api_version)
        else:
            row["object"] = manifest if self._include == "Object" else None
        return row

    def _cells(self, entry: Entry, manifest: Manifest) -> list[Any]:
        return api_tables.cells(self.kind, manifest, self._at.now, is_observed=entry.key.name in self._at.observed)

    def head(self, metadata: dict[str, Any]) -> bytes:
        """Returns how a table begins."""
        head = {"kind": "Table", "apiVersion": self._api_version, "metadata": metadata, "columnDefinitions": self._columns()}
        return b'%s,"rows":[' % encoded(head)[:-1]

    def event(self, type_: str, entry: Entry) -> bytes:
        """Returns a line of a watch; only the first one names the columns."""
        line = super().event(type_, entry)
        self._has_columns = True
        return line

    def _bookmark(self, metadata: dict[str, Any]) -> Manifest:
        head = {"kind": "Table", "apiVersion": self._api_version, "metadata": {"resourceVersion": metadata["resourceVersion"]}}
        manifest = super()._bookmark(metadata)
        row: dict[str, Any] = {"cells": api_tables.cells(self.kind, manifest, self._at.now)}
        row["object"] = _metadata_only({"metadata": metadata}, self._api_version) if self._include == "Metadata" else None
        return {**head, "columnDefinitions": self._columns(), "rows": [row]}

    def _columns(self) -> Sequence[dict[str, Any]] | None:
        return None if self._has_columns else api_tables.definitions(self.kind)


def shape(form: Form, kind: Kind, include: str, at: Reading) -> Shape:
    """Returns the shape of an answer."""
    if form.shape == "table":
        return Table(kind, form.version, include, at)
    return Metadata(kind, form.version) if form.shape == "metadata" else Plain(kind)


def _metadata_only(manifest: Manifest, api_version: str) -> Manifest:
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": manifest.get("metadata", {})}


def status_line(status: dict[str, Any]) -> bytes:
    """Returns the line that ends a watch with an error."""
    return encoded({"type": "ERROR", "object": status}) + b"\n"
