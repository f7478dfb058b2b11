"""Nodes as rows for people and for the Kubernetes API: kubectl's columns, and what k3 knows besides. Pure.

`TABLE` is what a Kubernetes API shows of a Node, `COLUMNS` what `k3 nodes` shows: the same columns, and k3's own among them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from k3.core import freshness, node, ownership, times
from k3.core.node import Condition, NodeView
from k3.core.objects import Manifest, Object
from k3.core.records import dataclass
from k3.view import cells
from k3.view.cells import AGE, NAME, NONE, UNKNOWN, Column, Moment, Row, human_duration, part, text_at

_ROLE: Final = "node-role.kubernetes.io/"
_ONE_ROLE: Final = "kubernetes.io/role"
CORDONED: Final = "SchedulingDisabled"
"""Behind a comma, after the word for the health."""
NO_OBSERVER: Final = "no observer"
NOT_ANSWERING: Final = "not answering"
A_CLONE: Final = "a clone"
"""The remarks that a state may have."""


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
class Reading(Row):
    """One Node as a reader finds it: all that the cells of its row are made of."""

    view: NodeView
    state: State


def view_of(item: Object) -> NodeView:
    """Returns a stored Node with its true owner: None where a controller has taken it over, whatever labels it has kept."""
    return ownership.view(item.key.name, item.manifest())


def read(manifest: Manifest, at: Moment) -> Reading:
    """Returns a Node as it is to be read at a moment."""
    seen = ownership.view(text_at(manifest, "metadata", "name"), manifest)
    return Reading(manifest, at, seen, _state(manifest, seen, at))


def titles(*, wide: bool) -> list[str]:
    """Returns the head of the table."""
    return [column.title for column in columns(wide=wide)]


def row(manifest: Manifest, at: Moment, *, wide: bool) -> list[str]:
    """Returns the cells of one Node at a moment."""
    reading = read(manifest, at)
    return [column.cell(reading) for column in columns(wide=wide)]


def columns(*, wide: bool) -> tuple[Column[Reading], ...]:
    """Returns the columns of the table, in their order."""
    return tuple(column for column in COLUMNS if wide or not column.is_wide)


def status(manifest: Manifest, at: Moment) -> str:
    """Returns the state in the few words of a table."""
    return str(read(manifest, at).state)


def status_word(manifest: Manifest, at: Moment) -> str:
    """Returns kubectl's word for a Node's state, without k3's remark."""
    return _word(manifest, node.condition_status(manifest, node.READY), at)


def _state(manifest: Manifest, seen: NodeView, at: Moment) -> State:
    """Returns a Node's state: one that no agent refreshes any more is Unknown, whatever is stored."""
    ready, reachable = seen.ready, seen.reachable
    word = _word(manifest, ready.status if ready else None, at)
    if ready is None:
        return State(word=word, reason="NoCondition", message="the Node has no Ready condition")
    if seen.is_unreadable:
        return _state_by(ready, ready.reason)
    if seen.is_ready and not at.is_observed:
        message = f"no agent has refreshed this Node since {seen.last_seen}"
        return State(word=word, remark=NO_OBSERVER, reason="NoObserver", message=message, since=seen.last_seen)
    if seen.is_ready and reachable is not None and not seen.is_reachable:
        return _state_by(reachable, word, remark=NOT_ANSWERING)
    if seen.is_ready and (cloned := node.condition(manifest, node.CLONED)) is not None:
        return _state_by(cloned, word, remark=A_CLONE)
    return _state_by(ready, word)


def _word(manifest: Manifest, ready: str | None, at: Moment) -> str:
    """Returns kubectl's word for a Node's state: NotReady is also what is not known, Unknown what no agent looks after."""
    word = "Ready" if ready == "True" else "NotReady"
    if ready is None or (ready == "True" and not at.is_observed):
        word = "Unknown"
    return f"{word},{CORDONED}" if part(manifest, "spec").get("unschedulable") is True else word


def _state_by(condition: Condition, word: str, *, remark: str = "") -> State:
    return State(word=word, remark=remark, reason=condition.reason, message=condition.message, since=condition.transition)


def labels(manifest: Manifest) -> dict[str, str]:
    """Returns a Node's labels; an odd one reads as absent."""
    return cells.texts(part(manifest, "metadata", "labels"))


def label_column(key: str) -> Column[Reading]:
    """Returns a column for one label, under the last part of its key as in kubectl: `kubernetes.io/arch` is ARCH."""
    return Column(name=key.rpartition("/")[2], cell=lambda reading: labels(reading.manifest).get(key) or NONE)


def roles(manifest: Manifest) -> str:
    """Returns the roles that labels give, sorted."""
    known = part(manifest, "metadata", "labels")
    found = [key[len(_ROLE) :] for key in known if key.startswith(_ROLE)]
    if _ONE_ROLE in known:
        found.append(str(known[_ONE_ROLE]))
    return ",".join(sorted({*found} - {""})) or NONE if found else NONE


def _status(reading: Reading) -> str:
    return str(reading.state)


def _status_word(row: Row) -> str:
    return status_word(row.manifest, row.at)


def _roles(row: Row) -> str:
    return roles(row.manifest)


def _version(row: Row) -> str:
    return node.kubelet_version(row.manifest)


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


def _address(kind: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        return node.first_address(row.manifest, kind) or NONE

    return cell


def _node_info(key: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        return text_at(row.manifest, "status", "nodeInfo", key) or UNKNOWN

    return cell


def _kernel(row: Row) -> str:
    info = part(row.manifest, "status", "nodeInfo")
    version, architecture = text_at(info, "kernelVersion") or UNKNOWN, text_at(info, "architecture")
    return f"{version} ({architecture})" if architecture else version


def _reason(reading: Reading) -> str:
    return reading.state.reason or NONE


def _message(reading: Reading) -> str:
    """Returns what is wrong, in a sentence; empty for a Ready machine."""
    found = reading.state
    return found.message if found.message and not found.is_well else NONE


def _labels(row: Row) -> str:
    return cells.pairs(labels(row.manifest))


_ADDRESSES: Final = (
    "List of addresses reachable to the node. Queried from cloud provider, if available. More info:"
    " https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge"
    " key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a"
    " full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change"
    " during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that"
    " inherit a Node's address in its own status or consumers of the downward API (status.hostIP)."
)
_STATUS: Final[Column[Row]] = Column(name="Status", cell=_status_word, description="The status of the node")
_INTERNAL_IP: Final[Column[Row]] = Column(name="Internal-IP", cell=_address("InternalIP"), description=_ADDRESSES, is_wide=True)
TABLE: Final[tuple[Column[Row], ...]] = (
    NAME,
    _STATUS,
    Column(name="Roles", cell=_roles, description="The roles of the node"),
    AGE,
    Column(name="Version", cell=_version, description="Kubelet Version reported by the node."),
    _INTERNAL_IP,
    Column(name="External-IP", cell=_address("ExternalIP"), description=_ADDRESSES, is_wide=True),
    Column(
        name="OS-Image",
        cell=_node_info("osImage"),
        description="OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).",
        is_wide=True,
    ),
    Column(
        name="Kernel-Version",
        cell=_kernel,
        description="Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).",
        is_wide=True,
    ),
    Column(
        name="Container-Runtime",
        cell=_node_info("containerRuntimeVersion"),
        description="ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
        is_wide=True,
    ),
)
"""What kube-apiserver 1.37 shows of a Node, word for word: programs compare it (ADR 54)."""


def _columns() -> Iterator[Column[Reading]]:
    """Gives the columns of `k3 nodes`: those of `TABLE`, STATUS with its remark, and k3's own."""
    for column in TABLE:
        if column is _STATUS:
            yield Column(name=column.name, cell=_status)
        elif column is _INTERNAL_IP:
            yield Column(name="Source", cell=_source)
            yield Column(name="Last Seen", cell=_last_seen, moves=True)
            yield replace(column, is_wide=False)
        else:
            yield column
    yield Column(name="Reason", cell=_reason, is_wide=True)
    yield Column(name="Message", cell=_message, is_wide=True)


COLUMNS: Final = tuple(_columns())
LABELS: Final[Column[Row]] = Column(name="Labels", cell=_labels)
