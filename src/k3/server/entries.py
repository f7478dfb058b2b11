"""One object as the API shows it: made when somebody asks for it, then kept. Pure.

An entry is what a window (`k3.server.window`) holds of an object: its document once more, as bytes that can be sent, and what
selectors look at. An object of another program's that cannot be read is shown as what can be said of it (ADR 47).
"""

import json
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, Final

from k3.core.objects import Key, Kind, Manifest, Object
from k3.core.records import dataclass

Place = tuple[str, str]
"""Namespace and name: lists are in this order."""

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def encoded(document: object) -> bytes:
    """Returns JSON in UTF-8, without spaces. A lone surrogate, which UTF-8 cannot say, is replaced."""
    return _ENCODER.encode(document).encode("utf-8", "replace")


@cache
def type_head(kind: Kind) -> bytes:
    """Returns how an object of a kind begins: its kind and apiVersion, up to what follows."""
    return encoded({"kind": kind.name, "apiVersion": kind.api_version})[:-1]


@dataclass(frozen=True, slots=True)
class AgingRow:
    """A row of a table but for its age: what is before that and behind it, and since when it counts (RFC 3339)."""

    before: bytes
    since: str
    behind: bytes


class Entry:
    """One object at one revision."""

    def __init__(self, item: Object) -> None:
        self.item = item
        self.row: tuple[object, AgingRow] | None = None
        """The object in the table that was asked for last, and what that table was."""
        self.key: Key = item.key
        self.revision: int = item.revision

    def manifest(self) -> Manifest:
        """Returns a fresh copy of the object's manifest."""
        return self.item.manifest()

    @cached_property
    def labels(self) -> Mapping[str, Any]:
        """The object's labels."""
        return self.manifest().get("metadata", {}).get("labels") or {}

    @cached_property
    def bare(self) -> bytes:
        """The object as in a list: JSON without its kind and apiVersion."""
        manifest = self.manifest()
        return encoded({name: part for name, part in manifest.items() if name not in {"kind", "apiVersion"}})

    def full(self) -> bytes:
        """Returns the object by itself: with kind and apiVersion."""
        return joined(type_head(self.key.kind), self.bare)

    def at(self, revision: int) -> "Entry":
        """Returns the object as of another revision: that of its deletion, or of a change that took it out of a selection."""
        return Entry(
            Object(
                key=self.key,
                uid=self.item.uid,
                revision=revision,
                document=self.item.document,
                created=self.item.created,
            )
        )


class Result(Entry):
    """What a write has led to: not always an object that is stored, since one may be tried only (a dry run)."""

    def __init__(self, kind: Kind, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        key = Key(kind, metadata["name"], metadata.get("namespace", ""))
        revision = int(metadata.get("resourceVersion") or 0)
        super().__init__(Object(key=key, uid=metadata.get("uid", ""), revision=revision, document=b"{}"))
        self._manifest = manifest

    def manifest(self) -> Manifest:
        """Returns the manifest; the caller does not change it."""
        return self._manifest


def joined(head: bytes, rest: bytes) -> bytes:
    """Returns one JSON object of two: the members of `rest` behind those of `head`, which has no closing brace yet."""
    return head + (b"," + rest[1:] if len(rest) > 2 else b"}")  # noqa: PLR2004 - `{}`
