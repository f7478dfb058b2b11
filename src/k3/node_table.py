"""Nodes as rows for people: kubectl's columns, and what k3 knows besides. Pure; says nothing about how rows are printed.

Cells hold text from outside as it is: whoever prints them escapes them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from k3.core import freshness, node
from k3.core.objects import Manifest

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"
_ROLE: Final = "node-role.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Moment:
    """When a Node is read, and whether somebody looks after it then (`core.freshness`)."""

    now: datetime
    is_observed: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `wide` ones are shown on request."""

    title: str
    cell: Callable[[Manifest, Moment], str]
    wide: bool = False


def titles(*, wide: bool) -> list[str]:
    """The head of the table."""
    return [column.title for column in COLUMNS if wide or not column.wide]


def row(manifest: Manifest, moment: Moment, *, wide: bool) -> list[str]:
    """The cells of one Node at a moment."""
    return [column.cell(manifest, moment) for column in COLUMNS if wide or not column.wide]


def status(manifest: Manifest, moment: Moment) -> str:
    """`Ready`, `NotReady`, `Unknown (no observer)`, `Ready (not answering)`: kubectl's word, and why where that surprises."""
    health = node.health(manifest, is_observed=moment.is_observed)
    is_plain = not health.why or health.status.startswith("NotReady")
    return health.status if is_plain else f"{health.status} ({health.why})"


def roles(manifest: Manifest) -> str:
    """The roles that labels give, sorted."""
    labels = _part(manifest, "metadata", "labels")
    found = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)}
    found |= {str(labels[key]) for key in labels if key == "kubernetes.io/role"}
    return ",".join(sorted(found - {""})) or NONE


def human_duration(span: timedelta) -> str:
    """A length of time as kubectl shows it, in at most two units: `5s`, `3m20s`, `4h`, `12d`, `2y40d`."""
    total = int(span.total_seconds())
    if total < -1:
        return "<invalid>"
    for below, unit, size, rest, rest_size in _STEPS:
        if total < below:
            count, left = max(total, 0) // size, max(total, 0) % size // rest_size if rest else 0
            return f"{count}{unit}{left}{rest}" if left else f"{count}{unit}"
    return f"{total // _YEAR}y"


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


def _part(manifest: Manifest, *path: str) -> dict[str, Any]:
    """A mapping inside the manifest; an odd or missing one reads as empty."""
    found: object = manifest
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _text(manifest: Manifest, *path: str) -> str:
    value = _part(manifest, *path[:-1]).get(path[-1])
    return value if isinstance(value, str) else ""


def _name(manifest: Manifest, _moment: Moment) -> str:
    return _text(manifest, "metadata", "name")


def _roles(manifest: Manifest, _moment: Moment) -> str:
    return roles(manifest)


def _age(manifest: Manifest, moment: Moment) -> str:
    created = node.parse_timestamp(_text(manifest, "metadata", "creationTimestamp"))
    return human_duration(moment.now - created) if created else UNKNOWN


def _version(manifest: Manifest, _moment: Moment) -> str:
    return node.kubelet_version(manifest) or NONE


def _source(manifest: Manifest, _moment: Moment) -> str:
    return node.owner_of(manifest) or "controller"


def _last_seen(manifest: Manifest, moment: Moment) -> str:
    """When somebody last knew the machine alive; of a controller's Node, when its Ready was last reported.

    A stamp of a clock that is known to be wrong says nothing.
    """
    seen = node.view_manifest("", manifest)
    stamp = seen.last_seen or (seen.ready.heartbeat if seen.ready and not seen.owner else "")
    at = node.parse_timestamp(stamp)
    if at is None:
        return "-"
    is_wrong = seen.is_ready and moment.is_observed and not freshness.agrees(seen, moment.now)
    if is_wrong or (moment.now - at).total_seconds() < -freshness.SKEW_SECONDS:
        return UNKNOWN
    return f"{human_duration(max(moment.now - at, timedelta()))} ago"


def _address(kind: str) -> Callable[[Manifest, Moment], str]:
    def cell(manifest: Manifest, _moment: Moment) -> str:
        found: Iterator[str] = (a for type_, a in node.addresses(_part(manifest, "status")) if type_ == kind)
        return next(found, NONE)

    return cell


def _node_info(key: str) -> Callable[[Manifest, Moment], str]:
    def cell(manifest: Manifest, _moment: Moment) -> str:
        return _text(manifest, "status", "nodeInfo", key) or UNKNOWN

    return cell


def _reason(manifest: Manifest, _moment: Moment) -> str:
    ready = node.condition(manifest, node.READY)
    return (ready.reason if ready else "") or NONE


COLUMNS: Final = (
    Column("NAME", _name),
    Column("STATUS", status),
    Column("ROLES", _roles),
    Column("AGE", _age),
    Column("VERSION", _version),
    Column("SOURCE", _source),
    Column("LAST SEEN", _last_seen),
    Column("INTERNAL-IP", _address("InternalIP"), wide=True),
    Column("EXTERNAL-IP", _address("ExternalIP"), wide=True),
    Column("OS-IMAGE", _node_info("osImage"), wide=True),
    Column("KERNEL-VERSION", _node_info("kernelVersion"), wide=True),
    Column("CONTAINER-RUNTIME", _node_info("containerRuntimeVersion"), wide=True),
    Column("REASON", _reason, wide=True),
)
