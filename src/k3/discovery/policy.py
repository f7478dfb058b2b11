"""What a registry may say about one machine, and what becomes of its Node: ownership and state, in one pure function.

Theory of operation
-------------------
`decide` gets the Node as it is stored now (or None), one observation, and the time; it answers with one write or none.
The write is made only if the Node is still exactly the one given. One process at a time mirrors a service into a store
(see the lease in `k3.discovery`), so an observation needs no evidence: the only other writer is the Node's owner.

*Whose Node is it?* Discovery manages what carries `k3.discovery/managed=true` (`ownership`). What another source
manages gets nothing, unless that has given it up and it is to be adopted (ADR 15). Any other Node is its controller's: it gets
a new `lastHeartbeatTime` in a Ready condition that is True already, when the source says that one is due, and not a byte
else.

A Node of the original, the program that the specification describes, bears the label `discovery=consul` and a reason of that
program's in Ready. It is discovery's to go on with, labels and all, unless that program still writes it (`inherits`).

*What does health mean?* It decides Ready; a warning is Ready with a second condition, and maintenance is not ill health
but `spec.unschedulable`, which is taken back only where k3 put it.

    now stored           passing, warning   critical   unknown   unasked        Deregistered   SourceLost
    ──────────           ────────────────   ────────   ───────   ───────        ────────────   ──────────
    nothing              True, created      False, cr. Unknown   Unknown, cr.   -              -
    True                 (refreshed)        False      Unknown   (refreshed)    False          Unknown
    False, Unknown       True               False      Unknown   -              False          Unknown
    ConsulDeregistered   True               False      Unknown   -              -              -
    Unknown, agent lost  True               False      Unknown   -              -              -
    NodeShutdown         -, the same run    False      Unknown   -              -              -

An instance that stays as it is costs one write per `REFRESH_SECONDS` and a little, spread over the Nodes by name.
"""

import zlib
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

from k3.core import name_rules, node, ownership, times
from k3.core.decision import (
    Create,
    Decision,
    Keep,
    Transition,
    Update,
    change_between,
    name_conflict,
    new_node,
    node_annotations,
    numbered,
    put_machine,
    put_notes,
    registered,
    set_ready,
)
from k3.core.node import NodeView
from k3.core.objects import Manifest, copied
from k3.core.observation import Evidence, Facts
from k3.core.phrases import AGENT_LOST
from k3.core.records import dataclass
from k3.core.sources import DISCOVERY

Health = Literal["passing", "warning", "critical", "unknown", "unasked"]
"""`unknown`: Consul cannot ask the machine. `unasked`: nothing new is known of it yet, and its Node stays as it is."""

GONE_REASONS: Final = frozenset({"ConsulDeregistered", "NodeShutdown"})
ALIVE: Final[frozenset[Health]] = frozenset({"passing", "warning"})
WARNING: Final = "k3.discovery/Warning"
REGION: Final = "topology.kubernetes.io/region"
NOT_REGISTERED: Final = "no longer registered in Consul"
REFRESH_SECONDS: Final = 300
SPREAD_SECONDS: Final = int(DISCOVERY.refresh_seconds) - REFRESH_SECONDS

_P: Final = DISCOVERY.prefix
_number = partial(numbered, source=DISCOVERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """The registry lists the machine and says how it is."""

    name: str
    facts: Facts
    service: str
    service_id: str
    consul_node: str
    datacenter: str
    health: Health
    message: str
    """What a person is told about the health: stable while the health is."""
    in_maintenance: bool = False
    conflict_with: str = ""
    """The name it asks for, held by another machine in the registry."""
    heartbeat_due: bool = False
    """If the Node is a controller's, its heartbeat may be renewed now."""
    refresh_due: bool = False
    """If the Node is discovery's and stays as it is, its `lastSeen` may be renewed now."""
    inherits: bool = False
    """If the Node is the original's, that program has written nothing for a while."""
    seen_by: str = ""
    """The Node of the mirror's machine, and the boot id of its run: readers ask whether it still lives (`freshness`)."""
    seen_run: str = ""
    adopts: Evidence | None = None
    """If the Node is another source's: what it showed when it had not been Ready for so long that it may be adopted."""


@dataclass(frozen=True, slots=True)
class Deregistered:
    """The registry answered, and no longer lists the machine."""

    name: str
    service: str
    inherits: bool = False
    """As for Mirrored."""


@dataclass(frozen=True, slots=True)
class SourceLost:
    """The registry, or the machine's datacenter, has been out of reach for longer than the grace."""

    name: str
    service: str
    message: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The observer's own machine shuts down, and is about to be taken out of the registry."""

    name: str
    service: str
    boot: str


RegistryObservation = Mirrored | Deregistered | SourceLost | Stopped


def decide(current: Manifest | None, seen: RegistryObservation, *, now: datetime) -> Decision:
    """Returns one write, or none, for one observation about one Node."""
    if current is None:
        return _create(seen, now) if isinstance(seen, Mirrored) else Keep("there is no such Node")
    stored = node.view_manifest(seen.name, current)
    if is_original(current, stored):
        return _inherit(stored, current, seen, now)
    if stored.owner is None:
        return _heartbeat(current, stored, seen, now)
    if foreign := ownership.foreign_reason(current, stored, DISCOVERY.name):
        return _adopted(foreign, stored, current, seen, now)
    if (other := stored.annotations.get(_P + "service", seen.service)) != seen.service:
        return Keep(f"mirrored from the service {other[:64]}", foreign=True)
    return _RULES[type(seen)](stored, copied(current), seen, now)


def explain(decision: Decision, seen: RegistryObservation) -> str:
    """Returns why a write is made, for people."""
    if isinstance(decision, Create | Update) and decision.transition is not None:
        return f"{decision.transition.reason}: {decision.transition.message}"
    return getattr(seen, "message", "") or NOT_REGISTERED


def _adopted(why: str, stored: NodeView, current: Manifest, seen: RegistryObservation, now: datetime) -> Decision:
    """Decides for a controller's Node, or another source's: nothing is written, unless it is to be adopted."""
    keep = Keep(why, foreign=stored.owner == DISCOVERY.name)
    if not isinstance(seen, Mirrored) or seen.health not in ALIVE:
        return keep
    former = ownership.adoptable(current, stored, seen.facts.id, seen.adopts)
    if former is None:
        return keep
    wanted = copied(current)
    ownership.hand_over(wanted, former, DISCOVERY)
    _put(wanted, seen)
    _put_health(wanted, seen, now)
    _put_seen(wanted, seen, now)
    message = f"k3 {former.name} had given it up; {seen.message}"
    return Update(wanted, _number(wanted, Transition("Adopted", message)))


def is_original(current: Manifest, stored: NodeView) -> bool:
    """Whether the original wrote this Node last, and no controller has taken it over since."""
    is_its = stored.ready is not None and stored.ready.reason in DISCOVERY.original_reasons
    if not is_its or stored.owner not in {None, DISCOVERY.name} or node.kubelet_version(current):
        return False
    metadata = current.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return isinstance(labels, dict) and labels.get("discovery") == "consul"


def _inherit(stored: NodeView, current: Manifest, seen: RegistryObservation, now: datetime) -> Decision:
    """Decides for a Node of the original: it is discovery's from now on, if that program no longer writes it."""
    if not isinstance(seen, Mirrored | Deregistered) or not seen.inherits:
        return Keep("written by another program, which may still run")
    if isinstance(seen, Mirrored) and seen.health == "unasked":
        return Keep("nothing new is known of it yet")
    wanted = copied(current)
    wanted["metadata"]["labels"] |= DISCOVERY.labels
    if isinstance(seen, Mirrored):
        _put(wanted, seen)
        _put_health(wanted, seen, now)
        _put_seen(wanted, seen, now)
    else:
        node_annotations(wanted)[_P + "service"] = seen.service
        node_annotations(wanted)[_P + "lastSeen"] = times.precise_timestamp(now)
        set_ready(wanted, "False", "ConsulDeregistered", NOT_REGISTERED, now)
    message = f"k3 goes on with it; {getattr(seen, 'message', NOT_REGISTERED)}"
    is_down = stored.is_ready and not node.view_manifest(seen.name, wanted).is_ready
    return Update(wanted, _number(wanted, Transition("NodeNotReady" if is_down else "Adopted", message, warning=is_down)))


def is_agent_lost(stored: NodeView) -> bool:
    """Whether its Consul agent had fallen silent when it was last heard of. Consul removes such an agent some time later."""
    return stored.ready is not None and (stored.ready.status, stored.ready.message) == ("Unknown", AGENT_LOST)


def mirrored_service(stored: NodeView) -> tuple[str, str] | None:
    """Returns the (service, datacenter) that a Node of discovery's stands for, None for any other Node."""
    if stored.owner != DISCOVERY.name:
        return None
    return stored.annotations.get(_P + "service", ""), stored.annotations.get(_P + "datacenter", "")


def refresh_seconds(name: str) -> int:
    """Returns after how many seconds a Node that stays as it is is written again."""
    return REFRESH_SECONDS + zlib.crc32(name.encode()) % SPREAD_SECONDS


def _create(seen: Mirrored, now: datetime) -> Decision:
    manifest = new_node(DISCOVERY)
    if seen.datacenter and not name_rules.label_value(seen.datacenter):
        manifest["metadata"]["labels"][REGION] = seen.datacenter
    _put(manifest, seen)
    _put_health(manifest, seen, now)
    _put_seen(manifest, seen, now)
    made = registered(seen.name, seen.facts.addresses)
    if seen.conflict_with:
        made = name_conflict("another machine in the registry", seen.conflict_with, seen.name)
    return Create(manifest, _number(manifest, made))


def _heartbeat(current: Manifest, stored: NodeView, seen: RegistryObservation, now: datetime) -> Decision:
    """Decides for a controller's Node: the heartbeat of its Ready condition, or nothing."""
    keep = Keep("not labelled k3.discovery/managed=true", foreign=True)
    if not isinstance(seen, Mirrored) or not seen.heartbeat_due or seen.health not in ALIVE:
        return keep
    former = times.parse_timestamp(stored.ready.heartbeat) if stored.ready else None
    if not stored.is_ready or (former is not None and former >= now.replace(microsecond=0)):
        return keep
    wanted = copied(current)
    entry = next(each for each in wanted["status"]["conditions"] if isinstance(each, dict) and each.get("type") == node.READY)
    entry["lastHeartbeatTime"] = times.timestamp(now)
    return Update(wanted)


def _mirrored(stored: NodeView, wanted: Manifest, seen: Mirrored, now: datetime) -> Decision:
    same_run = seen.facts.boot and seen.facts.boot == stored.boot
    if same_run and stored.ready is not None and stored.ready.reason == "NodeShutdown" and seen.health in ALIVE:
        return Keep("it was told to stop, and the registry does not know yet")
    before = copied(wanted)
    _put(wanted, seen)
    if seen.health != "unasked" or stored.ready is None:
        _put_health(wanted, seen, now)
    if _unstamped(wanted) == _unstamped(before) and not _is_stale(stored, seen):
        return Keep("nothing has changed")
    _put_seen(wanted, seen, now)
    change = change_between(stored, wanted)
    return Update(wanted, change and _number(wanted, change))


def _deregistered(stored: NodeView, wanted: Manifest, _seen: Deregistered, now: datetime) -> Decision:
    if stored.ready is not None and stored.ready.reason in GONE_REASONS:
        return Keep("already gone")
    if is_agent_lost(stored):
        return Keep("Consul removed a silent agent with all that was registered there: nobody has asked this machine")
    set_ready(wanted, "False", "ConsulDeregistered", NOT_REGISTERED, now)
    return Update(wanted, _number(wanted, Transition("NodeNotReady", NOT_REGISTERED)) if stored.is_ready else None)


def _source_lost(stored: NodeView, wanted: Manifest, seen: SourceLost, now: datetime) -> Decision:
    if stored.ready is not None and (stored.ready.status == "Unknown" or stored.ready.reason in GONE_REASONS):
        return Keep("nothing is known that could be lost")
    set_ready(wanted, "Unknown", "SourceUnreachable", seen.message, now)
    return Update(wanted, _number(wanted, Transition("NodeUnknown", seen.message, warning=True)))


def _stopped(stored: NodeView, wanted: Manifest, seen: Stopped, now: datetime) -> Decision:
    if stored.boot != seen.boot:
        return Keep("the name belongs to another run or machine")
    if stored.ready is not None and stored.ready.reason == "NodeShutdown":
        return Keep("already down")
    message = "k3 discovery was stopped"
    set_ready(wanted, "False", "NodeShutdown", message, now)
    return Update(wanted, _number(wanted, Transition("NodeNotReady", message)) if stored.is_ready else None)


_RULES: Final[dict[type, Callable[[NodeView, Manifest, Any, datetime], Decision]]] = {
    Mirrored: _mirrored,
    Deregistered: _deregistered,
    SourceLost: _source_lost,
    Stopped: _stopped,
}

_READY_OF: Final[dict[Health, tuple[str, str]]] = {
    "passing": ("True", "ConsulPassing"),
    "warning": ("True", "ConsulPassing"),
    "critical": ("False", "ConsulCritical"),
    "unknown": ("Unknown", "SourceUnreachable"),
    "unasked": ("Unknown", "SourceUnreachable"),
}


def _put(manifest: Manifest, seen: Mirrored) -> None:
    """Writes what the registry says of the machine, except its health."""
    put_machine(manifest, seen.facts, DISCOVERY)
    notes = {
        "service": seen.service,
        "service-id": seen.service_id,
        "consul-node": seen.consul_node,
        "datacenter": seen.datacenter,
    }
    put_notes(manifest, notes, DISCOVERY)


def _put_seen(manifest: Manifest, seen: Mirrored, now: datetime) -> None:
    """Writes when the registry last showed it, to which machine's mirror, and to which run of that."""
    notes = {"lastSeen": times.precise_timestamp(now), "seen-by": seen.seen_by, "seen-run": seen.seen_run}
    put_notes(manifest, notes, DISCOVERY)


def _put_health(manifest: Manifest, seen: Mirrored, now: datetime) -> None:
    status, reason = _READY_OF[seen.health]
    set_ready(manifest, status, reason, seen.message, now)
    is_warned = seen.health == "warning"
    if is_warned or node.condition(manifest, WARNING) is not None:
        word, why, message = ("True", "ConsulWarning", seen.message) if is_warned else ("False", "ConsulPassing", "no warning")
        node.set_condition(manifest, WARNING, status=word, reason=why, message=message, now=now)
    _put_maintenance(manifest, in_maintenance=seen.in_maintenance)


def _put_maintenance(manifest: Manifest, *, in_maintenance: bool) -> None:
    """Cordons the Node, or takes back a cordon that discovery put; one that a person put stays."""
    found = manifest.get("spec")
    spec = manifest["spec"] = found if isinstance(found, dict) else {}
    notes = node_annotations(manifest)
    if in_maintenance and spec.get("unschedulable") is not True:
        spec["unschedulable"] = True
        notes[ownership.CORDONED] = "true"
    elif not in_maintenance and notes.pop(ownership.CORDONED, None) is not None:
        spec.pop("unschedulable", None)


def _unstamped(manifest: Manifest) -> Manifest:
    """Returns the manifest without the times that every look at the machine renews. Shares its parts."""
    found = manifest.get("status")
    status: dict[str, Any] = found if isinstance(found, dict) else {}
    conditions = status.get("conditions")
    bare = [
        {**each, "lastHeartbeatTime": None} if isinstance(each, dict) and each.get("type") in {node.READY, WARNING} else each
        for each in (conditions if isinstance(conditions, list) else [])
    ]
    return {**manifest, "status": {**status, "conditions": bare}}


def _is_stale(stored: NodeView, seen: Mirrored) -> bool:
    """Whether it is time to renew `lastSeen`: the mirror counts that by its own clock."""
    return seen.refresh_due or times.parse_timestamp(stored.last_seen) is None
