"""What becomes of a Node when a source has seen something: ownership and state, in one pure function.

Theory of operation
-------------------
`decide` gets the Node as it is stored now (or None), one observation, and the time. It answers with one write or none.
The write is made only if the Node is still exactly the one given, so everything below may be read as if there were
no other writer.

*Whose Node is it?* The source network manages what carries `k3.network/managed=true`. Everything else belongs to a
controller, or to another source of k3, and is not touched (`core.ownership`, docs/adr/0030). A sign of life may adopt a Node
that another source has given up (docs/adr/0015).

*Is the observation still about this Node?* Whatever could turn a Node away from Ready, and a sign of life that was
under way while the machine said goodbye, counts only while the Node shows the very evidence that the observer had before it.

*What may be written?* The fields k3 owns, and nothing else: all that people and programs added survives.

    now stored        Alive/Joined   Suspected          Silent                     Left
    ──────────        ────────────   ─────────          ──────                     ────
    nothing           True, created  -                  -                          -
    True              refreshed      Reachable=False    False (standing) | Unknown False
    True, suspected   True           -                  False (standing) | Unknown False
    False, Unknown    True           -                  -                          False, if Unknown

Unproven creates a Node that is not Ready; Explained changes the message of one, and Forgotten removes it. Which of these an
agent reports, and when, is in `peers.laws`.

What a machine says of itself later in its run (Joined, not fresh) only takes back an Unknown that rests on no failure: an
observer that could not ask has concluded nothing (docs/adr/0028). No time that is stored is ever compared with `now`: it may
be another host's, or this host's own before its clock was set.

A change of Ready, of address or of identity is a *transition*: it is numbered on the Node, and the writer whose
compare-and-swap made it, and no other, writes an Event about it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from k3.core import node, ownership, times
from k3.core.decision import (
    Create,
    Decision,
    Delete,
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
from k3.core.observation import (
    Alive,
    Explained,
    Facts,
    Forgotten,
    Joined,
    Left,
    Observation,
    Silent,
    Suspected,
    System,
    Unproven,
)
from k3.core.phrases import STOPPED_REASONS
from k3.core.sources import NETWORK

_P: Final = NETWORK.prefix
_number = partial(numbered, source=NETWORK)
CLONE_NOTE: Final = _P + "clone"


def decide(current: Manifest | None, seen: Observation, *, now: datetime) -> Decision:
    """One write, or none, for one observation about one Node."""
    if current is None:
        return _create(seen, now)
    stored = node.view_manifest(seen.name, current)
    if foreign := ownership.foreign_reason(current, stored, NETWORK.name):
        return _adopted(foreign, stored, current, seen, now)
    rule = _RULES[type(seen)]
    return rule(stored, copied(current), seen, now)


def _adopted(why: str, stored: NodeView, current: Manifest, seen: Observation, now: datetime) -> Decision:
    """A controller's Node, or another source's: nothing is written, unless it is to be adopted."""
    if not isinstance(seen, Alive | Joined):
        return Keep(why, foreign=True)
    former = ownership.adoptable(current, stored, seen.facts.id, seen.adopts)
    if former is None:
        return Keep(why, foreign=True)
    message = f"k3 {former.name} had given it up; "
    message += f"it answers {seen.seen_by}" if isinstance(seen, Alive) else "it runs k3 network"
    wanted = copied(current)
    ownership.hand_over(wanted, former, NETWORK)
    _put_facts(wanted, seen.facts)
    _put_seen(wanted, now, seen)
    if isinstance(seen, Joined):
        node_annotations(wanted)[_P + "agent"] = seen.facts.boot
    set_ready(wanted, "True", "PeerAlive" if isinstance(seen, Alive) else "SelfRegistered", message, now)
    _set_reachable(wanted, now)
    return Update(wanted, _number(wanted, Transition("Adopted", message)))


def _create(seen: Observation, now: datetime) -> Decision:
    match seen:
        case Alive():
            manifest = _managed(seen.facts)
            _put_seen(manifest, now, seen)
            _set_reachable(manifest, now)
            set_ready(manifest, "True", "PeerAlive", "answered its identity probe", now)
            if seen.facts.node != seen.name:  # it is listed by its second name (`naming`)
                return Create(manifest, _number(manifest, name_conflict("another live machine", seen.facts.node, seen.name)))
            return _registered(manifest, seen.facts, "")
        case Joined():
            manifest = _managed(seen.facts)
            _put_seen(manifest, now, seen)
            _set_reachable(manifest, now)
            node_annotations(manifest)[_P + "agent"] = seen.facts.boot
            set_ready(manifest, "True", "SelfRegistered", "runs k3 network and answers its own probe", now)
            return _registered(manifest, seen.facts, seen.conflict_with)
        case Unproven():
            manifest = _managed(seen.facts)
            node_annotations(manifest)[_P + "seen-by"] = seen.shown_by
            set_ready(manifest, "False", "PeerUnreachable", seen.message, now)
            node.set_condition(manifest, node.REACHABLE, status="False", reason="ProbeFailed", message=seen.message, now=now)
            return Create(manifest, _number(manifest, Transition("NodeNotReady", seen.message, warning=True)))
        case _:
            return Keep("there is no such Node")


def _registered(manifest: Manifest, facts: Facts, conflict_with: str) -> Create:
    made = _conflict(facts, conflict_with) if conflict_with else registered(facts.node, facts.addresses)
    return Create(manifest, _number(manifest, made))


def _conflict(facts: Facts, name: str) -> Transition:
    return name_conflict("another live machine", name, facts.node)


def _alive(stored: NodeView, wanted: Manifest, seen: Alive, now: datetime) -> Decision:
    if stored.id and seen.facts.id and stored.id not in {seen.facts.id, seen.displaces}:
        return Keep("the name belongs to another machine")
    ready = stored.ready
    gone = ready is not None and ready.reason in STOPPED_REASONS and stored.boot == seen.facts.boot
    if gone and stored.evidence != seen.evidence:
        return Keep("it left while the probe was under way")
    _put_facts(wanted, seen.facts)
    if stored.id and seen.facts.id and stored.id != seen.facts.id:
        # Whose agent writes this Node only that agent says: the mark is what proves the holder of a name (docs/adr/0044).
        node_annotations(wanted).pop(_P + "agent", None)
    healthy = stored.is_ready and stored.is_reachable
    if healthy and stored.last_seen != seen.evidence.last_seen and _same_facts(stored, wanted):
        return Keep("somebody else has just seen it")
    _put_seen(wanted, now, seen)
    set_ready(wanted, "True", "PeerAlive", "answered its identity probe", now)
    _set_reachable(wanted, now)
    return Update(wanted, _change(stored, wanted, seen.facts))


def _joined(stored: NodeView, wanted: Manifest, seen: Joined, now: datetime) -> Decision:
    if stored.id and stored.id not in {seen.facts.id, seen.displaces}:
        return Keep("the name belongs to another machine")
    _put_facts(wanted, seen.facts)
    node_annotations(wanted)[_P + "agent"] = seen.facts.boot
    condemned = not stored.is_unknown and not (stored.is_ready and stored.is_reachable)
    if seen.fresh or not condemned:
        _put_seen(wanted, now, seen)
        _set_reachable(wanted, now)
        if not stored.is_ready:
            set_ready(wanted, "True", "SelfRegistered", "runs k3 network and answers its own probe", now)
    elif _same_facts(stored, wanted) and stored.agent == seen.facts.boot and _shows_clone(stored, seen):
        return Keep("others could not reach it; only they can take that back")
    if seen.fresh and seen.conflict_with:
        return Update(wanted, _number(wanted, _conflict(seen.facts, seen.conflict_with)))
    change = _change(stored, wanted, seen.facts)
    if change is None and not _shows_clone(stored, seen):  # one Event for one write: the other one's turn comes next
        change = _put_clone(wanted, seen, now)
    return Update(wanted, change)


def _shows_clone(stored: NodeView, seen: Joined) -> bool:
    """Whether the Node says of a clone what there is to say; of which machine it is one a machine knows from its own files."""
    shown = stored.annotations.get(CLONE_NOTE, "")
    return shown == seen.clone_at or (not seen.clone_at and bool(seen.facts.clone_of))


def _put_clone(wanted: Manifest, seen: Joined, now: datetime) -> Transition | None:
    """Say on the Node, and once in an Event, that another machine has this one's identity; or that there is none any more."""
    notes = node_annotations(wanted)
    if not seen.clone_at:
        notes.pop(CLONE_NOTE, None)
        status = wanted["status"]
        status["conditions"] = [each for each in status["conditions"] if not _is_cloned(each)]
        return None
    notes[CLONE_NOTE] = seen.clone_at
    message = (
        f"another machine has this machine's identity (same machine-id and MAC) at {seen.clone_at}: "
        f"one is a clone of the other; run on one of them: {seen.advice}"
    )
    node.set_condition(wanted, node.CLONED, status="True", reason="SameIdentity", message=message, now=now)
    return _number(wanted, Transition("IdentityCloned", message, warning=True))


def _is_cloned(condition: object) -> bool:
    return isinstance(condition, dict) and condition.get("type") == node.CLONED


def _suspected(stored: NodeView, wanted: Manifest, seen: Suspected, now: datetime) -> Decision:
    if not stored.is_ready or not stored.is_reachable or stored.evidence != seen.evidence:
        return Keep("the Node has changed meanwhile")
    if seen.silent_seconds is not None:
        _put_seen(wanted, now - timedelta(seconds=seen.silent_seconds), seen)
    node.set_condition(wanted, node.REACHABLE, status="False", reason="ProbeFailed", message=seen.message, now=now)
    return Update(wanted)


def _silent(stored: NodeView, wanted: Manifest, seen: Silent, now: datetime) -> Decision:
    if not stored.is_ready or stored.evidence != seen.evidence:
        return Keep("the Node has changed meanwhile")
    if seen.standing:
        set_ready(wanted, "False", "PeerUnreachable", seen.message, now)
        node.set_condition(wanted, node.REACHABLE, status="False", reason="ProbeFailed", message=seen.message, now=now)
    else:
        set_ready(wanted, "Unknown", "ObserverLost", seen.message, now)
        if stored.is_reachable:  # what another observer has found out stays
            node.set_condition(wanted, node.REACHABLE, status="Unknown", reason="NotAsked", message=seen.message, now=now)
    reason = "NodeNotReady" if seen.standing else "NodeUnknown"
    return Update(wanted, _number(wanted, Transition(reason, seen.message, warning=True)))


def _left(stored: NodeView, wanted: Manifest, seen: Left, now: datetime) -> Decision:
    if seen.by_itself and stored.agent != seen.boot:
        return Keep("the name belongs to another machine")
    if not seen.by_itself and stored.evidence != seen.evidence:
        return Keep("the Node has changed meanwhile")
    if stored.ready is not None and stored.ready.status == "False":
        return Keep("already down")
    if seen.by_itself:
        node_annotations(wanted).pop(_P + "agent", None)  # the agent there looks after no others any more
    reason, message = ("NodeShutdown", "k3 network was stopped") if seen.by_itself else ("PeerLeft", "said goodbye")
    set_ready(wanted, "False", reason, message, now)
    return Update(wanted, _number(wanted, Transition("NodeNotReady", message)))


def _forgotten(stored: NodeView, _wanted: Manifest, seen: Forgotten, _now: datetime) -> Decision:
    if stored.evidence != seen.evidence or stored.is_ready:
        return Keep("the Node has changed meanwhile")
    return Delete()


def _unproven(_stored: NodeView, _wanted: Manifest, _seen: Unproven, _now: datetime) -> Decision:
    return Keep("already known")


def _explained(stored: NodeView, wanted: Manifest, seen: Explained, now: datetime) -> Decision:
    if stored.ready is None or stored.is_ready or stored.evidence != seen.evidence:
        return Keep("the Node has changed meanwhile")
    if stored.ready.message == seen.message:
        return Keep("it says so already")
    set_ready(wanted, stored.ready.status, stored.ready.reason, seen.message, now)
    return Update(wanted, _number(wanted, Transition("Replaced", seen.message)))


_RULES: Final[dict[type, Callable[[NodeView, Manifest, Any, datetime], Decision]]] = {
    Alive: _alive,
    Joined: _joined,
    Suspected: _suspected,
    Silent: _silent,
    Left: _left,
    Forgotten: _forgotten,
    Unproven: _unproven,
    Explained: _explained,
}


def _managed(facts: Facts) -> Manifest:
    """A new Node, without conditions, that no observer has seen alive yet."""
    manifest = new_node(NETWORK)
    _put_facts(manifest, facts)
    return manifest


def _put_facts(manifest: Manifest, facts: Facts) -> None:
    put_machine(manifest, facts, NETWORK)
    put_notes(manifest, _facts_notes(facts), NETWORK)
    if facts.id and not facts.clone_of:
        node_annotations(manifest).pop(_P + "clone-of", None)
    if facts.system != System():
        node.set_info(manifest, _info(facts))


def _info(facts: Facts) -> dict[str, str]:
    system = facts.system
    return {
        "operatingSystem": facts.os,
        "architecture": facts.arch,
        "osImage": system.os_image,
        "kernelVersion": system.kernel_version,
        "machineID": system.machine_id,
        "bootID": system.boot_id,
    }


def _facts_notes(facts: Facts) -> dict[str, str]:
    return {
        "clone-of": facts.clone_of,
        "peer-ttl": times.duration(facts.peer_ttl_seconds) if facts.peer_ttl_seconds else "",
        "links": ",".join(facts.links),
    }


def _put_seen(manifest: Manifest, now: datetime, seen: Alive | Joined | Suspected) -> None:
    """When the machine was seen, by whose agent, and by which run of it."""
    seen_by, run = (seen.name, seen.facts.boot) if isinstance(seen, Joined) else (seen.seen_by, seen.seen_run)
    notes = node_annotations(manifest)
    notes.update({_P + "lastSeen": times.precise_timestamp(now), _P + "seen-by": seen_by, _P + "seen-run": run})


def _set_reachable(manifest: Manifest, now: datetime) -> None:
    node.set_condition(
        manifest, node.REACHABLE, status="True", reason="ProbeSucceeded", message="answers its identity probe", now=now
    )


def _same_facts(stored: NodeView, wanted: Manifest) -> bool:
    """Whether what the machine says of itself is what the Node already shows."""
    fresh = node.view_manifest(stored.name, wanted)
    return (stored.addresses, stored.id, stored.boot, stored.links, stored.port, stored.pid, stored.peer_ttl_seconds) == (
        fresh.addresses,
        fresh.id,
        fresh.boot,
        fresh.links,
        fresh.port,
        fresh.pid,
        fresh.peer_ttl_seconds,
    )


def _change(stored: NodeView, wanted: Manifest, facts: Facts) -> Transition | None:
    known = f"{stored.name} goes by an identity of its own now: another machine has its machine id and hardware address"
    found = change_between(stored, wanted, identity=known if facts.clone_of and facts.clone_of == stored.id else "")
    return found and _number(wanted, found)
