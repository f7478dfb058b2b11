"""Cases left to chance: a few managers write the same few fields of one Node, in every way there is."""

import random
from typing import Any

from k3.core.objects import EVENT, LEASE, NODE, Kind
from tests.server.patching.cases import INVOLVED, Case, Step, event, lease, node, step

TYPES = ("Ready", "A", "B")
KEYS = ("a", "b", "c")
FINALIZERS = ("a.b/c", "d.e/f", "g.h/i", "j.k/l")


def case(chance: random.Random) -> Case:
    """Returns a create and eight writes."""
    kind = chance.choice((NODE, NODE, NODE, LEASE, EVENT))
    if kind != NODE:
        return Case(kind, [step("create", _small(kind, chance)), *(_small_write(kind, chance) for _ in range(8))])
    return Case(NODE, [step("create", _object(chance)), *(_write(chance) for _ in range(8))])


def _small(kind: Kind, chance: random.Random) -> dict[str, Any]:
    """Returns a Lease or an Event."""
    made = _lease(chance) if kind == LEASE else _event(chance)
    if chance.random() < 0.5:
        made["metadata"]["labels"] = _texts(chance)
    return made


def _lease(chance: random.Random) -> dict[str, Any]:
    known: dict[str, tuple[Any, ...]] = {
        "holderIdentity": ("me", "you"),
        "leaseDurationSeconds": (10, 20),
        "leaseTransitions": (0, 1),
        "renewTime": ("2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:10.000000Z"),
    }
    drawn: dict[str, Any] = {name: chance.choice(values) for name, values in known.items() if chance.random() < 0.6}
    return lease(**drawn)


def _event(chance: random.Random) -> dict[str, Any]:
    known: dict[str, tuple[Any, ...]] = {
        "count": (0, 1, 2),
        "message": ("", "m", "n"),
        "source": ({}, {"component": "c"}, {"host": "h"}),
        "lastTimestamp": ("2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z"),
        "reportingComponent": ("", "r"),
        "related": ({}, {"kind": "Node"}, {"name": "n"}),
        "series": ({"count": 1, "lastObservedTime": "2026-01-01T00:00:10.000000Z"}, {"count": 2}),
    }
    drawn = {name: chance.choice(values) for name, values in known.items() if chance.random() < 0.5}
    return event(involvedObject=INVOLVED, **drawn)


def _small_write(kind: Kind, chance: random.Random) -> Step:
    how = chance.choice(("merge", "strategic", "apply"))
    body = _small(kind, chance)
    return step(how, body, chance.choice(("m", "n", "kubectl")), force=how == "apply" and chance.random() < 0.6)


def _write(chance: random.Random) -> Step:
    manager = chance.choice(("m", "n", "kubectl"))
    subresource = chance.choice(("", "", "status"))
    how = chance.choice(("merge", "strategic", "apply", "apply", "json"))
    if how == "json":
        return step("json", [_operation(chance) for _ in range(chance.randint(1, 3))], manager, subresource)
    if how == "apply":
        return step("apply", _object(chance), manager, subresource, force=chance.random() < 0.6)
    patch = _object(chance)
    del patch["metadata"]["name"]
    if how == "strategic":
        _direct(patch, chance)
    return step(how, patch, manager, subresource)


def _operation(chance: random.Random) -> dict[str, Any]:
    path = chance.choice(("/metadata/labels", "/spec", "/status/conditions", "/metadata/finalizers", "/metadata/annotations"))
    op = chance.choice(("add", "replace", "remove", "test", "copy", "move"))
    name = {
        "/spec": "podCIDR",
        "/status/conditions": chance.choice(("0", "-")),
        "/metadata/finalizers": chance.choice(("0", "-", "1")),
    }.get(path, chance.choice(KEYS))
    value: Any = chance.choice(("1", "2"))
    if path == "/status/conditions":
        value = _condition(chance, chance.choice(TYPES))
    elif path == "/metadata/finalizers":
        value = chance.choice(FINALIZERS)
    elif path == "/spec":
        return {"op": chance.choice(("add", "remove")), "path": "/spec/unschedulable", "value": True}
    return {"op": op, "path": f"{path}/{name}", "from": f"{path}/{chance.choice((*KEYS, '0'))}", "value": value}


def _object(chance: random.Random) -> dict[str, Any]:
    found = node()
    metadata = found["metadata"]
    if chance.random() < 0.8:
        metadata["labels"] = _texts(chance)
    if chance.random() < 0.3:
        metadata["annotations"] = _texts(chance)
    if chance.random() < 0.5:
        metadata["finalizers"] = chance.sample(FINALIZERS, chance.randint(0, 4))
    if chance.random() < 0.2:
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Node", "name": chance.choice(KEYS), "uid": uid}
            for uid in chance.sample(KEYS, chance.randint(0, 3))
        ]
    if chance.random() < 0.5:
        found["spec"] = {"unschedulable": chance.random() < 0.5}
        if chance.random() < 0.5:
            found["spec"]["taints"] = [
                {"key": key, "effect": "NoSchedule"} for key in chance.sample(KEYS, chance.randint(0, 2))
            ]
    if chance.random() < 0.5:
        found["status"] = _status(chance)
    return found


def _status(chance: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if chance.random() < 0.8:
        found["conditions"] = [_condition(chance, each) for each in chance.sample(TYPES, chance.randint(0, 3))]
    if chance.random() < 0.3:
        found["addresses"] = [
            {"type": each, "address": chance.choice(KEYS)} for each in chance.sample(KEYS, chance.randint(0, 3))
        ]
    if chance.random() < 0.3:
        found["nodeInfo"] = {name: chance.choice(("", "x")) for name in chance.sample(("osImage", "bootID", "machineID"), 2)}
    if chance.random() < 0.2:
        found["volumesInUse"] = chance.sample(KEYS, chance.randint(0, 2))
    if chance.random() < 0.2:
        found["features"] = chance.choice(({}, {"supplementalGroupsPolicy": False}))
    return found


def _condition(chance: random.Random, kind: str) -> dict[str, Any]:
    found = {"type": kind, "status": chance.choice(("True", "False"))}
    if chance.random() < 0.5:
        found["lastHeartbeatTime"] = chance.choice(("2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z"))
    if chance.random() < 0.3:
        found["reason"] = chance.choice(KEYS)
    return found


def _texts(chance: random.Random) -> dict[str, Any]:
    return {key: chance.choice(("1", "2", "")) for key in chance.sample(KEYS, chance.randint(0, 3))}


def _direct(patch: dict[str, Any], chance: random.Random) -> None:
    """Adds directives of strategic merge patches."""
    conditions = patch.get("status", {}).get("conditions")
    if conditions and chance.random() < 0.5:
        conditions[0] = {"type": conditions[0]["type"], "$patch": chance.choice(("delete", "replace"))}
    if conditions and chance.random() < 0.5:
        order = [{"type": each} for each in TYPES]
        chance.shuffle(order)
        patch["status"]["$setElementOrder/conditions"] = order
    labels = patch["metadata"].get("labels")
    if labels is not None and chance.random() < 0.4:
        directive, value = chance.choice((("$patch", "replace"), ("a", None)))
        labels[directive] = value
    if chance.random() < 0.3:
        patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = chance.sample(FINALIZERS, 2)
        patch["metadata"].pop("finalizers", None)
    if patch["metadata"].get("finalizers") and chance.random() < 0.5:
        patch["metadata"]["$setElementOrder/finalizers"] = list(FINALIZERS)
