"""Nodes as rows for people: kubectl's columns, and what k3 knows besides. Pure; says nothing about how rows are printed.

Cells hold text from outside as it is: what prints them escapes them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from k3.core import freshness, node, ownership, times
from k3.core.node import Condition, NodeView
from k3.core.objects import Manifest, Object

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"
_ROLE: Final = "node-role.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Moment:
    """When a Node is read, and whether an agent looks after it then."""

    now: datetime
    is_observed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A Node's health as people read it. Reason and message may be empty, and are shown word for word."""

    word: str
    """kubectl's word for it: Ready, NotReady or Unknown, with `,SchedulingDisabled` where cordoned."""
    remark: str = ""
    """What has to be said beside the word, where that alone would mislead."""
    reason: str = ""
    message: str = ""
    since: str = ""
    """RFC 3339: when it became so."""

    @property
    def is_well(self) -> bool:
        """Ready, and nothing to add to that."""
        return self.word.startswith("Ready") and not self.remark

    def __str__(self) -> str:
        """`Ready`, `NotReady`, `Unknown (no observer)`, `Ready (not answering)`."""
        return f"{self.word} ({self.remark})" if self.remark else self.word


@dataclass(frozen=True, slots=True)
class Reading:
    """One Node as a reader finds it: all that the cells of its row are made of."""

    manifest: Manifest
    view: NodeView
    at: Moment
    state: State


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `wide` ones are shown on request, and what `moves` changes although nothing happens."""

    title: str
    cell: Callable[[Reading], str]
    wide: bool = False
    moves: bool = False


def view_of(item: Object) -> NodeView:
    """Returns a stored Node with its true owner: None where a controller has taken it over, whatever labels it has kept."""
    return ownership.view(item.key.name, item.manifest())


def read(manifest: Manifest, at: Moment) -> Reading:
    """Returns a Node as it is to be read at a moment."""
    seen = ownership.view("", manifest)
    return Reading(manifest, seen, at, _state(manifest, seen, at))


def titles(*, wide: bool) -> list[str]:
    """Returns the head of the table."""
    return [column.title for column in columns(wide=wide)]


def row(manifest: Manifest, at: Moment, *, wide: bool) -> list[str]:
    """Returns the cells of one Node at a moment."""
    reading = read(manifest, at)
    return [column.cell(reading) for column in columns(wide=wide)]


def columns(*, wide: bool) -> tuple[Column, ...]:
    """Returns the columns of the table, in their order."""
    return tuple(column for column in COLUMNS if wide or not column.wide)


def status(manifest: Manifest, at: Moment) -> str:
    """Returns the state in the few words of a table."""
    return str(read(manifest, at).state)


def _state(manifest: Manifest, seen: NodeView, at: Moment) -> State:
    """Returns a Node's state: one that no agent refreshes any more is Unknown, whatever is stored."""
    cordoned = ",SchedulingDisabled" if part(manifest, "spec").get("unschedulable") is True else ""
    ready, reachable = seen.ready, seen.reachable
    if ready is None:
        return State(word="Unknown" + cordoned, reason="NoCondition", message="the Node has no Ready condition")
    if seen.is_unreadable:
        return _state_by(ready, ready.reason)
    if seen.is_ready and not at.is_observed:
        message = f"no agent has refreshed this Node since {seen.last_seen}"
        return State(
            word="Unknown" + cordoned, remark="no observer", reason="NoObserver", message=message, since=seen.last_seen
        )
    if seen.is_ready and reachable is not None and not seen.is_reachable:
        return _state_by(reachable, "Ready" + cordoned, remark="not answering")
    if seen.is_ready and (cloned := node.condition(manifest, node.CLONED)) is not None:
        return _state_by(cloned, "Ready" + cordoned, remark="a clone")
    return _state_by(ready, ("Ready" if seen.is_ready else "NotReady") + cordoned)


def _state_by(condition: Condition, word: str, *, remark: str = "") -> State:
    return State(word=word, remark=remark, reason=condition.reason, message=condition.message, since=condition.transition)


def labels(manifest: Manifest) -> dict[str, str]:
    """Returns a Node's labels; an odd one reads as absent."""
    return {key: text for key, text in part(manifest, "metadata", "labels").items() if isinstance(text, str)}


def label_column(key: str) -> Column:
    """Returns a column for one label, under the last part of its key as in kubectl: `kubernetes.io/arch` is ARCH."""
    return Column(key.rpartition("/")[2].upper(), lambda reading: labels(reading.manifest).get(key) or NONE)


def roles(manifest: Manifest) -> str:
    """Returns the roles that labels give, sorted."""
    known = part(manifest, "metadata", "labels")
    found = {key.removeprefix(_ROLE) for key in known if key.startswith(_ROLE)}
    found |= {str(known[key]) for key in known if key == "kubernetes.io/role"}
    return ",".join(sorted(found - {""})) or NONE


def human_duration(span: timedelta) -> str:
    """Returns a length of time as kubectl shows it, in at most two units: `5s`, `3m20s`, `4h`, `12d`, `2y40d`."""
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


def part(manifest: Manifest, *path: str) -> dict[str, Any]:
    """Returns a mapping inside the manifest; an odd or missing one reads as empty."""
    found: object = manifest
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def text_at(manifest: Manifest, *path: str) -> str:
    """Returns a text inside the manifest; an odd or missing one reads as empty."""
    value = part(manifest, *path[:-1]).get(path[-1])
    return value if isinstance(value, str) else ""


def _name(reading: Reading) -> str:
    return text_at(reading.manifest, "metadata", "name")


def _status(reading: Reading) -> str:
    return str(reading.state)


def _roles(reading: Reading) -> str:
    return roles(reading.manifest)


def _age(reading: Reading) -> str:
    created = times.parse_timestamp(text_at(reading.manifest, "metadata", "creationTimestamp"))
    return human_duration(reading.at.now - created) if created else UNKNOWN


def _version(reading: Reading) -> str:
    return node.kubelet_version(reading.manifest) or NONE


def _source(reading: Reading) -> str:
    return reading.view.owner or "controller"


def _last_seen(reading: Reading) -> str:
    """Returns how long ago; `<unknown>` where the stamp is of a clock that is known to be wrong."""
    last, seen, now = last_seen(reading), reading.view, reading.at.now
    if last is None:
        return "-"
    is_wrong = seen.is_ready and reading.at.is_observed and not freshness.agrees(seen, now)
    if is_wrong or (now - last).total_seconds() < -freshness.SKEW_SECONDS:
        return UNKNOWN
    return f"{human_duration(max(now - last, timedelta()))} ago"


def last_seen(reading: Reading) -> datetime | None:
    """Returns when an observer last knew the machine alive; of a controller's Node, when its Ready was last reported."""
    seen = reading.view
    return times.parse_timestamp(seen.last_seen if seen.owner else seen.ready.heartbeat if seen.ready else "")


def _address(kind: str) -> Callable[[Reading], str]:
    def cell(reading: Reading) -> str:
        status = part(reading.manifest, "status")
        found: Iterator[str] = (a for type_, a in node.addresses(status) if type_ == kind)
        return next(found, NONE)

    return cell


def _node_info(key: str) -> Callable[[Reading], str]:
    def cell(reading: Reading) -> str:
        return text_at(reading.manifest, "status", "nodeInfo", key) or UNKNOWN

    return cell


def _reason(reading: Reading) -> str:
    return reading.state.reason or NONE


def _message(reading: Reading) -> str:
    """Returns what is wrong, in a sentence; empty for a Ready machine."""
    found = reading.state
    return found.message if found.message and not found.is_well else NONE


def _labels(reading: Reading) -> str:
    pairs = sorted(labels(reading.manifest).items())
    return ",".join(f"{key}={text}" for key, text in pairs) or NONE


COLUMNS: Final = (
    Column("NAME", _name),
    Column("STATUS", _status),
    Column("ROLES", _roles),
    Column("AGE", _age, moves=True),
    Column("VERSION", _version),
    Column("SOURCE", _source),
    Column("LAST SEEN", _last_seen, moves=True),
    Column("INTERNAL-IP", _address("InternalIP")),
    Column("EXTERNAL-IP", _address("ExternalIP"), wide=True),
    Column("OS-IMAGE", _node_info("osImage"), wide=True),
    Column("KERNEL-VERSION", _node_info("kernelVersion"), wide=True),
    Column("CONTAINER-RUNTIME", _node_info("containerRuntimeVersion"), wide=True),
    Column("REASON", _reason, wide=True),
    Column("MESSAGE", _message, wide=True),
)
LABELS: Final = Column("LABELS", _labels)
