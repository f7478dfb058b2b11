"""What the cells of every table are made of, and the columns that all Kubernetes tables share. Pure.

Reading never fails: an odd field of a document reads as absent. Cells hold text from outside as it is: what prints them
escapes them.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from k3.core import times
from k3.core.objects import Manifest
from k3.core.records import dataclass

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"


@dataclass(frozen=True, slots=True)
class Moment:
    """When an object is read, and whether an agent looks after it then."""

    now: datetime
    is_observed: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """One object and the moment at which it is read: all that the cells of Kubernetes' own columns are made of."""

    manifest: Manifest
    at: Moment


R_contra = TypeVar("R_contra", bound=Row, contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[R_contra]):
    """One column; `is_wide` ones are shown on request, and what `moves` changes although nothing happens."""

    name: str
    """As the Kubernetes API writes it: `Internal-IP`."""
    cell: Callable[[R_contra], Any]
    description: str = ""
    type: str = "string"
    format: str = ""
    is_wide: bool = False
    moves: bool = False

    @property
    def title(self) -> str:
        """Returns the head of the column as `kubectl` and `k3` print it: `INTERNAL-IP`."""
        return self.name.upper()

    def definition(self) -> dict[str, Any]:
        """Returns the column as a Table of the Kubernetes API declares it."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": int(self.is_wide),
        }


def part(manifest: Manifest, *path: str) -> dict[str, Any]:
    """Returns a mapping inside the manifest; an odd or missing one reads as empty."""
    found: object = manifest
    for name in path:
        if not isinstance(found, dict):
            return {}
        found = found.get(name)
    return found if isinstance(found, dict) else {}


def text_at(manifest: Manifest, *path: str) -> str:
    """Returns a text inside the manifest; an odd or missing one reads as empty."""
    found: object = manifest
    for name in path:
        if not isinstance(found, dict):
            return ""
        found = found.get(name)
    return found if isinstance(found, str) else ""


def texts(mapping: dict[str, Any]) -> dict[str, str]:
    """Returns the entries that are texts."""
    return {key: text for key, text in mapping.items() if isinstance(text, str)}


def entries(value: object) -> list[dict[str, Any]]:
    """Returns the mappings in a list; an odd one reads as empty."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def number(value: object) -> int:
    """Returns a whole number; an odd one reads as 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def pairs(mapping: dict[str, str]) -> str:
    """Returns labels as `kubectl` shows them: `a=b,c=d`, sorted."""
    return ",".join(f"{key}={text}" for key, text in sorted(mapping.items())) or NONE


def since(stamp: str, now: datetime) -> str:
    """Returns how long ago a time was; `<unknown>` where there is none."""
    at = times.parse_timestamp(stamp)
    return human_duration(now - at) if at else UNKNOWN


def human_duration(span: timedelta) -> str:
    """Returns a length of time as kubectl shows it, in at most two units: `5s`, `3m20s`, `4h`, `12d`, `2y40d`."""
    return _duration(int(span.total_seconds()))


@lru_cache(maxsize=4_096)
def _duration(total: int) -> str:
    if total < -1:
        return "<invalid>"
    total = max(total, 0)
    for below, unit, size, rest, rest_size in _STEPS:
        if total < below:
            left = total % size // rest_size if rest else 0
            return f"{total // size}{unit}{left}{rest}" if left else f"{total // size}{unit}"
    return f"{total // _YEAR}y"


def clock_offset(ahead_seconds: float) -> str:
    """Returns how far a clock is from another, roughly, as a stamp may be as old as a refresh: `about 60m ahead of`."""
    unit = 1 if abs(ahead_seconds) < 2 * _MINUTE else _MINUTE
    span = timedelta(seconds=round(abs(ahead_seconds) / unit) * unit)
    return f"about {human_duration(span)} {'ahead of' if ahead_seconds > 0 else 'behind'}"


_MINUTE, _HOUR, _DAY, _YEAR = 60, 3_600, 86_400, 31_536_000
_STEPS: Final = (
    # below this many seconds: the unit, its seconds, the second unit (none: left out), its seconds
    (2 * _MINUTE, "s", 1, "", 1),
    (10 * _MINUTE, "m", _MINUTE, "s", 1),
    (3 * _HOUR, "m", _MINUTE, "", 1),
    (8 * _HOUR, "h", _HOUR, "m", _MINUTE),
    (2 * _DAY, "h", _HOUR, "", 1),
    (8 * _DAY, "d", _DAY, "h", _HOUR),
    (2 * _YEAR, "d", _DAY, "", 1),
    (8 * _YEAR, "y", _YEAR, "d", _DAY),
)


def _name(row: Row) -> str:
    return text_at(row.manifest, "metadata", "name")


def _age(row: Row) -> str:
    return since(text_at(row.manifest, "metadata", "creationTimestamp"), row.at.now)


NAME: Final[Column[Row]] = Column(
    name="Name",
    cell=_name,
    format="name",
    description=(
        "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a"
        " client to request the generation of an appropriate name automatically. Name is primarily intended for creation"
        " idempotence and configuration definition. Cannot be updated. More info:"
        " https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
    ),
)
AGE: Final[Column[Row]] = Column(
    name="Age",
    cell=_age,
    moves=True,
    description=(
        "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be"
        " set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339"
        " form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info:"
        " https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
    ),
)
