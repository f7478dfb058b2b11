"""`metadata.managedFields`: who manages which fields, as entries of an object and as a table from managers to sets. Pure."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from k3.core import limits
from k3.core.documents import Manifest
from k3.core.records import dataclass
from k3.core.times import parse_timestamp
from k3.server.patching.field_sets import NOTHING, FieldSet, decoded, encoded, json_of, union
from k3.server.patching.shapes import Shape

APPLY: Final = "Apply"
UPDATE: Final = "Update"
_ANCIENT: Final = "ancient-changes"
_OPERATIONS: Final = (APPLY, UPDATE)
_RESETS: Final[tuple[Any, ...]] = ([], [{}])
_NO_ENTRY: Final = "not an entry of managed fields"

NO_MANAGER: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Manager:
    """One who manages fields. Who applies is one manager whatever the version: its `api_version` is empty."""

    name: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    @property
    def order(self) -> str:
        """How Kubernetes sorts managers among themselves: by their JSON."""
        told = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "subresource": self.subresource,
        }
        return "{" + ",".join(f"{json_of(name)}:{json_of(value)}" for name, value in told.items() if value) + "}"


@dataclass(frozen=True, slots=True)
class Share:
    """What one manager manages, and since when."""

    fields: FieldSet
    time: str = ""


Managed: TypeAlias = dict[Manager, Share]


def of(document: Manifest | None) -> list[Any]:
    """Returns the entries of an object as they are; none for one that has none, or something else in their place."""
    metadata = (document or {}).get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, dict) else None
    return entries if isinstance(entries, list) else []


def is_reset(document: Manifest) -> bool:
    """Returns whether an object asks for all entries to go: an empty list, or one empty entry."""
    metadata = document.get("metadata")
    return isinstance(metadata, dict) and metadata.get("managedFields") in _RESETS


def put(document: Manifest, entries: list[Any]) -> Manifest:
    """Returns an object with these entries; one whose metadata is something odd stays as it is."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict | None):
        return document
    known = {name: value for name, value in (metadata or {}).items() if name != "managedFields"}
    if entries:
        known["managedFields"] = entries
    return {**document, "metadata": known}


def decode(entries: Sequence[Any], api_version: str, shape: Shape) -> Managed:
    """Returns who manages what; those of another version than this are left out. Raises ValueError where an entry is none."""
    managed: Managed = {}
    for entry in entries:
        if not is_entry(entry):
            raise ValueError(_NO_ENTRY)
        try:
            fields = decoded(entry.get("fieldsV1"), shape)
        except RecursionError as odd:
            raise ValueError(_NO_ENTRY) from odd
        if entry["apiVersion"] == api_version:
            managed[manager_of(entry)] = Share(fields, _text(entry, "time"))
    return managed


def manager_of(entry: dict[str, Any]) -> Manager:
    """Returns whose entry one is."""
    operation = entry["operation"]
    api_version = entry["apiVersion"] if operation == UPDATE else ""
    return Manager(_text(entry, "manager"), operation, api_version, _text(entry, "subresource"))


def is_entry(entry: Any) -> bool:  # noqa: ANN401 - JSON
    """Returns whether something has the form of an entry."""
    return (
        isinstance(entry, dict)
        and entry.get("operation") in _OPERATIONS
        and entry.get("fieldsType") == "FieldsV1"
        and _text(entry, "apiVersion") != ""
    )


def _text(entry: dict[str, Any], name: str) -> str:
    text = entry.get(name)
    return text if isinstance(text, str) else ""


def encode(managed: Managed, api_version: str) -> list[dict[str, Any]]:
    """Returns the entries of a table, in Kubernetes' order."""
    return in_order([_entry(manager, share, api_version) for manager, share in managed.items() if share.fields])


def _entry(manager: Manager, share: Share, api_version: str) -> dict[str, Any]:
    entry = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": api_version,
        "time": share.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": encoded(share.fields),
        "subresource": manager.subresource,
    }
    return {name: value for name, value in entry.items() if value or name == "fieldsV1"}


def in_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns entries by operation, time, manager, version and subresource."""
    if len(entries) == 1:
        return entries
    return sorted(
        entries,
        key=lambda entry: (
            entry["operation"],
            _seconds(_text(entry, "time")),
            _text(entry, "manager"),
            entry["apiVersion"],
            _text(entry, "subresource"),
        ),
    )


def _seconds(time: str) -> int:
    at = parse_timestamp(time)
    return int(at.timestamp()) if at else 0


def capped(managed: Managed, api_version: str) -> Managed:
    """Returns a table in which at most `limits.UPDATE_MANAGERS` update: what the oldest changed is one ancient share."""
    updating = [manager for manager in managed if manager.operation == UPDATE]
    surplus = len(updating) - limits.UPDATE_MANAGERS
    if surplus <= 0:
        return managed
    updating.sort(key=lambda manager: (_seconds(managed[manager].time), manager.order))
    ancient = Manager(_ANCIENT, UPDATE, api_version)
    oldest = updating[: surplus + 1]
    if ancient in managed and ancient not in oldest:
        oldest = oldest[1:]
    left = {manager: share for manager, share in managed.items() if manager not in oldest}
    fields = left[ancient].fields if ancient in left else NOTHING
    for manager in oldest:
        fields = union(fields, managed[manager].fields)
    left[ancient] = Share(fields, managed[oldest[-1]].time)
    return left
