"""Cases of writes, one after the other on one object, for a real kube-apiserver and for the functions of this package."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from k3.core.objects import EVENT, LEASE, NODE, Kind

TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One write: `how` is create, update, or a patch type."""

    how: str
    body: Any
    manager: str = "tester"
    subresource: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    kind: Kind
    steps: list[Step]


def step(how: str, body: Any, manager: str = "tester", subresource: str = "", *, force: bool = False) -> Step:
    return Step(how=how, body=body, manager=manager, subresource=subresource, force=force)


def node(metadata: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "NAME", **(metadata or {})}, **parts}


def lease(metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    found = {"name": "NAME", "namespace": "default", **(metadata or {})}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": found, "spec": spec}


def event(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "NAME", "namespace": "default"}, **parts}


INVOLVED = {"kind": "Node", "name": "n", "namespace": "default"}
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Up",
    "message": "it is up",
    "lastHeartbeatTime": "2026-01-01T00:00:00Z",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
PRESSURE = {**READY, "type": "DiskPressure", "status": "False", "reason": "Space"}
ADDRESSES = [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n"}]
STATUS = {"conditions": [READY, PRESSURE], "addresses": ADDRESSES, "nodeInfo": {"machineID": "m", "osImage": "Debian"}}
OWNERS = [
    {"apiVersion": "v1", "kind": "Node", "name": "o", "uid": "u-1"},
    {"apiVersion": "v1", "kind": "Node", "name": "p", "uid": "u-2"},
]
FULL = node(
    {"labels": {"a": "1", "b": "2"}, "annotations": {"x": "y"}}, spec={"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]}
)
LABELS = step("create", node({"labels": {"a": "1", "b": "2"}}))
LAST = "kubectl.kubernetes.io/last-applied-configuration"


def labels(**texts: str) -> dict[str, Any]:
    return node({"labels": texts})


def conditions(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"status": {"conditions": list(found), **more}}


CASES: dict[str, Case] = {
    "a create is managed but for its status": Case(NODE, [step("create", {**FULL, "status": STATUS})]),
    "an update takes what it changes": Case(
        NODE,
        [
            LABELS,
            step("merge", {"metadata": {"labels": {"a": "9"}}}, "other"),
            step("merge", {"metadata": {"labels": {"a": None}}}, "third"),
            step("merge", {"metadata": {"labels": {"b": None}}}, "third"),
            step("merge", {"metadata": {"annotations": {"n": "1"}}}, "third"),
        ],
    ),
    "a write that changes nothing": Case(
        NODE,
        [
            LABELS,
            step("merge", {"metadata": {"labels": {"a": "1"}}}, "other"),
            step("merge", {}, "tester"),
            step("merge", {"spec": {"unschedulable": False}}),
        ],
    ),
    "taints are one field": Case(
        NODE,
        [
            LABELS,
            step("strategic", {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}, "kubectl-taint"),
            step("strategic", {"spec": {"taints": [{"key": "j", "effect": "NoExecute"}]}}, "other"),
            step("strategic", {"spec": {"taints": None, "unschedulable": True}}, "third"),
            step("strategic", {"spec": {"unschedulable": None}}, "third"),
        ],
    ),
    "status through its subresource": Case(
        NODE,
        [
            LABELS,
            step("merge", {"status": STATUS}, "kubelet", "status"),
            step("strategic", conditions({"type": "Ready", "status": "False", "reason": "Gone"}), "controller", "status"),
            step(
                "strategic", {"status": {"conditions": [{"type": "DiskPressure", "$patch": "delete"}]}}, "controller", "status"
            ),
            step(
                "strategic",
                {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}, {"$patch": "replace"}]}},
                "kubelet",
                "status",
            ),
            step(
                "merge",
                {"metadata": {"labels": {"s": "1"}}, "spec": {"providerID": "no"}, "status": {"phase": "Running"}},
                "kubelet",
                "status",
            ),
            step("merge", {"status": {"phase": "Pending"}, "spec": {"providerID": "yes"}}, "main"),
            step(
                "merge",
                {"status": {"nodeInfo": {"osImage": "Fedora"}, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}},
                "kubelet",
                "status",
            ),
            step(
                "merge",
                {
                    "status": {
                        "nodeInfo": {"osImage": ""},
                        "capacity": {"cpu": "4"},
                        "allocatable": {"cpu": "3"},
                        "images": [{"names": ["a"]}],
                    }
                },
                "kubelet",
                "status",
            ),
        ],
    ),
    "a heartbeat": Case(
        NODE,
        [
            LABELS,
            step("merge", {"status": STATUS}, "kubelet", "status"),
            step("strategic", conditions({"type": "Ready", "lastHeartbeatTime": "2026-01-01T00:00:10Z"}), "kubelet", "status"),
            step("strategic", conditions({"type": "Ready", "lastHeartbeatTime": None}), "kubelet", "status"),
        ],
    ),
    "the order of merged conditions": Case(
        NODE,
        [
            LABELS,
            step("merge", conditions(*({**READY, "type": each} for each in "ABCD")), "k", "status"),
            step("strategic", conditions({"type": "E", "status": "True"}, {"type": "B", "status": "False"}), "k", "status"),
            step("strategic", {"status": {"$setElementOrder/conditions": [{"type": "D"}, {"type": "A"}]}}, "k", "status"),
            step(
                "strategic",
                {
                    "status": {
                        "$setElementOrder/conditions": [{"type": "F"}, {"type": "B"}, {"type": "E"}],
                        "conditions": [{"type": "F", "status": "True"}],
                    }
                },
                "k",
                "status",
            ),
            step(
                "strategic",
                {"status": {"$setElementOrder/conditions": [{"type": "A"}], "conditions": [{"type": "B", "status": "x"}]}},
                "k",
                "status",
            ),
            step("strategic", {"status": {"conditions": [{"status": "x"}]}}, "k", "status"),
            step("strategic", {"status": {"conditions": [{"type": "A", "$patch": "merge"}]}}, "k", "status"),
            step("strategic", {"status": {"conditions": [{"type": "A", "$patch": "spam"}]}}, "k", "status"),
            step("strategic", {"status": {"conditions": ["A"]}}, "k", "status"),
            step("strategic", {"status": {"conditions": [["A"]]}}, "k", "status"),
        ],
    ),
    "finalizers and owners": Case(
        NODE,
        [
            step("create", node({"finalizers": ["a.b/c", "d.e/f"], "ownerReferences": OWNERS})),
            step("strategic", {"metadata": {"finalizers": ["g.h/i", "a.b/c"]}}, "other"),
            step("strategic", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["d.e/f"]}}, "other"),
            step("strategic", {"metadata": {"$setElementOrder/finalizers": ["g.h/i", "a.b/c"]}}, "other"),
            step("strategic", {"metadata": {"ownerReferences": [{"uid": "u-2", "controller": True}]}}, "other"),
            step("strategic", {"metadata": {"ownerReferences": [{"uid": "u-1", "$patch": "delete"}]}}, "other"),
            step("merge", {"metadata": {"finalizers": None}}, "third"),
        ],
    ),
    "directives in objects": Case(
        NODE,
        [
            step("create", FULL),
            step("strategic", {"metadata": {"labels": {"$patch": "replace", "c": "3"}}}, "other"),
            step("strategic", {"metadata": {"annotations": {"$patch": "delete"}}}, "other"),
            step("strategic", {"metadata": {"labels": {"$retainKeys": ["d"], "d": "4"}}}, "other"),
            step("strategic", {"metadata": {"labels": {"$retainKeys": ["d"], "e": "4"}}}, "other"),
            step("strategic", {"metadata": {"labels": {"$patch": "spam"}}}, "other"),
            step("strategic", {"metadata": {"$setElementOrder/spam": []}}, "other"),
            step("strategic", {"spec": {"$setElementOrder/taints": []}}, "other"),
            step("strategic", [], "other"),
            step("strategic", None, "other"),
        ],
    ),
    "json patches": Case(
        NODE,
        [
            step("create", FULL),
            step("json", [{"op": "add", "path": "/metadata/labels/a~1b", "value": "1"}]),
            step("json", [{"op": "test", "path": "/metadata/labels/a", "value": "7"}], "other"),
            step("json", [{"op": "replace", "path": "/metadata/labels/new", "value": "7"}], "other"),
            step("json", [{"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/z"}], "other"),
            step("json", [{"op": "copy", "from": "/metadata/labels/z", "path": "/metadata/annotations/z"}], "other"),
            step("json", [{"op": "remove", "path": "/metadata/none"}], "other"),
            step("json", [{"op": "spam", "path": "/metadata/none"}], "other"),
            step("json", {}, "other"),
            step("json", ["x"], "other"),
            step("json", [{"op": 1}], "other"),
            step("merge", [], "other"),
            step("merge", None, "other"),
        ],
    ),
    "an apply creates": Case(NODE, [step("apply", FULL, "a"), step("apply", FULL, "a"), step("apply", FULL, "b")]),
    "an apply takes back": Case(
        NODE,
        [
            step("apply", labels(a="1", b="2"), "a"),
            step("apply", labels(b="2", c="3"), "b"),
            step("apply", labels(a="1"), "a"),
            step("apply", node(), "a"),
            step("apply", node(), "b"),
        ],
    ),
    "an apply meets conflicts": Case(
        NODE,
        [
            step("apply", labels(a="1", b="2"), "a"),
            step("merge", {"metadata": {"labels": {"b": "3", "c": "4"}}}, "u"),
            step("apply", labels(a="9"), "b"),
            step("apply", labels(a="9", b="8", c="7"), "b"),
            step("apply", labels(a="9", b="8", c="7"), "b", force=True),
            step("apply", labels(a="9"), "a"),
            step("apply", labels(b="8"), "u"),
            step("merge", {"status": STATUS}, "kubelet", "status"),
            step(
                "apply",
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "metadata": {"name": "NAME"},
                    "status": {"conditions": [{**READY, "status": "False"}]},
                },
                "b",
                "status",
            ),
        ],
    ),
    "a first apply": Case(
        NODE,
        [
            LABELS,
            step("json", [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]),
            step("merge", {"metadata": {"labels": {"z": "1"}}}, "u"),
            step("apply", labels(a="1"), "a"),
            step("apply", node(), "a"),
        ],
    ),
    "entries replaced by a client": Case(
        NODE,
        [
            LABELS,
            step("merge", {"metadata": {"labels": {"c": "3"}}}, "other"),
            step(
                "json",
                [
                    {
                        "op": "replace",
                        "path": "/metadata/managedFields",
                        "value": [
                            {
                                "manager": "kubectl",
                                "operation": "Apply",
                                "apiVersion": "v1",
                                "time": "2020-01-01T00:00:00Z",
                                "fieldsType": "FieldsV1",
                                "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}},
                            },
                        ],
                    },
                ],
            ),
            step(
                "merge", {"metadata": {"managedFields": [{"manager": "x", "operation": "Spam"}], "labels": {"d": "4"}}}, "other"
            ),
            step("merge", {"metadata": {"managedFields": None, "labels": {"e": "5"}}}, "other"),
            step("merge", {"metadata": {"managedFields": [], "labels": {"f": "6"}}}, "other"),
        ],
    ),
    "lists in applies": Case(
        NODE,
        [
            step(
                "apply",
                node(
                    {"finalizers": ["a.b/c", "d.e/f"], "ownerReferences": OWNERS},
                    spec={"taints": [{"key": "k", "effect": "NoSchedule"}]},
                ),
                "a",
            ),
            step("apply", node({"finalizers": ["x.y/z", "d.e/f"]}), "b"),
            step(
                "apply",
                node(
                    {"finalizers": ["d.e/f"], "ownerReferences": OWNERS[1:]},
                    spec={"taints": [{"key": "j", "effect": "NoSchedule"}]},
                ),
                "a",
            ),
            step("apply", node({"ownerReferences": [{**OWNERS[1], "name": "q"}]}), "b"),
            step("apply", node({"finalizers": ["x.y/z", "x.y/z"]}), "b"),
            step("apply", node({"finalizers": ["a.b/c", "x.y/z", "d.e/f", "g.h/i"]}), "b"),
        ],
    ),
    "conditions in applies": Case(
        NODE,
        [
            LABELS,
            step("apply", node(status={"conditions": [READY, PRESSURE], "addresses": ADDRESSES}), "a", "status"),
            step("apply", node(status={"conditions": [{"type": "Mine", "status": "True"}]}), "b", "status"),
            step(
                "apply",
                node(status={"conditions": [{"type": "Ready", "status": "True"}, {"type": "New", "status": "True"}]}),
                "a",
                "status",
            ),
            step("apply", node(spec={"providerID": "x"}, status={"phase": "Running"}), "a", "status"),
            step("apply", node(spec={"providerID": "x"}, status={"phase": "Pending"}), "a"),
            step("apply", node(status={"nodeInfo": {"osImage": "Debian"}}), "c", "status"),
            step("apply", node(status={"nodeInfo": {"kernelVersion": "6"}}), "c", "status"),
        ],
    ),
    "applies that are refused": Case(
        NODE,
        [
            LABELS,
            step("apply", {**node(), "kind": "Lease"}, "a"),
            step("apply", {"metadata": {"name": "NAME"}}, "a"),
            step("apply", {**node(), "apiVersion": "apps/v1"}, "a"),
            step("apply", node({"managedFields": [{"manager": "x"}]}), "a"),
            step("apply", node({"managedFields": []}), "a"),
            step("apply", node(spec={"spam": 1}), "a"),
            step("apply", node(spec={"unschedulable": "x"}), "a"),
            step("apply", node(spec={"podCIDR": 1}), "a"),
            step("apply", node(spec={"podCIDR": {"a": [1]}}), "a"),
            step("apply", node(spec={"taints": {}}), "a"),
            step("apply", node(spec={"taints": [{"key": "a", "effect": 1}]}), "a"),
            step("apply", node(spec={"taints": ["a"]}), "a"),
            step("apply", node(spec={"podCIDRs": "y"}), "a"),
            step("apply", node({"labels": ["a"]}), "a"),
            step("apply", node({"finalizers": [{"a": 1}]}), "a"),
            step("apply", node({"finalizers": [["a"]]}), "a"),
            step("apply", node({"finalizers": [None]}), "a"),
            step("apply", node({"ownerReferences": ["a"]}), "a"),
            step("apply", node({"ownerReferences": [None]}), "a"),
            step("apply", node({"ownerReferences": [{"uid": "a", "spam": 1}]}), "a"),
            step("apply", node({"creationTimestamp": {"a": 1}}), "a"),
            step("apply", {**node(), "metadata": []}, "a"),
            step("apply", {**node(), "spec": "x"}, "a"),
            step("apply", node({"finalizers": ["a.b/c", "a.b/c"]}), "a"),
            step("apply", node({"labels": {"a": 1}}), "a"),
            step("apply", node({"labels": {"a": True}}), "a"),
            step("apply", [], "a"),
            step("apply", node(status={"daemonEndpoints": {"kubeletEndpoint": {"Port": "x"}}}), "a", "status"),
        ],
    ),
    "empty and null in applies": Case(
        NODE,
        [
            step("apply", node({"labels": {"a": ""}, "annotations": {}}, spec={"unschedulable": False, "taints": []}), "a"),
            step("apply", node({"labels": None}, spec={"providerID": None}), "a"),
            step("apply", node({"finalizers": []}, spec={}, status={}), "b"),
        ],
    ),
    "kubectl's two ways to apply": Case(
        NODE,
        [
            step(
                "create",
                node(
                    {
                        "labels": {"a": "1"},
                        "annotations": {LAST: '{"apiVersion":"v1","kind":"Node","metadata":{"labels":{"a":"1"}}}'},
                    }
                ),
                "kubectl-client-side-apply",
            ),
            step("apply", labels(a="2"), "kubectl"),
            step("apply", labels(a="2<&>"), "other"),
            step("merge", {"metadata": {"labels": {"a": "7"}}}, "u"),
            step("apply", labels(a="3"), "kubectl"),
        ],
    ),
    "many who update": Case(
        NODE, [LABELS, *(step("merge", {"metadata": {"labels": {f"l{n}": "x"}}}, f"m{n:02}") for n in range(12))]
    ),
    "a lease": Case(
        LEASE,
        [
            step("create", lease(holderIdentity="me", leaseDurationSeconds=40, renewTime="2026-01-01T00:00:00.000000Z")),
            step("merge", {"spec": {"renewTime": "2026-01-01T00:00:10.000000Z"}}),
            step(
                "update", lease(holderIdentity="you", leaseDurationSeconds=40, renewTime="2026-01-01T00:00:20.000000Z"), "you"
            ),
            step("merge", {"spec": {"holderIdentity": None}}),
            step("apply", lease(leaseDurationSeconds=40, acquireTime="2026-01-01T00:00:20.000000Z"), "a"),
            step("apply", lease(), "a"),
        ],
    ),
    "an event": Case(
        EVENT,
        [
            step(
                "create",
                event(
                    involvedObject=INVOLVED,
                    reason="R",
                    message="m",
                    type="Normal",
                    count=1,
                    source={"component": "c"},
                    firstTimestamp="2026-01-01T00:00:00Z",
                    lastTimestamp="2026-01-01T00:00:00Z",
                ),
            ),
            step("strategic", {"count": 2, "lastTimestamp": "2026-01-01T00:01:00Z", "message": "n"}),
            step(
                "merge",
                {"reportingComponent": "r", "series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}},
                "other",
            ),
            step("merge", {"series": None, "related": {"kind": "Node"}}, "other"),
            step("apply", event(involvedObject=INVOLVED, reason="S"), "a"),
            step("apply", event(involvedObject=INVOLVED, reason="S"), "a", force=True),
        ],
    ),
}


def named(value: Any, name: str) -> Any:
    """Returns a body for an object of this name."""
    if isinstance(value, dict):
        return {key: named(each, name) for key, each in value.items()}
    if isinstance(value, list):
        return [named(each, name) for each in value]
    return name if value == "NAME" else value


@dataclass(frozen=True, slots=True)
class Answer:
    """A code, and an object or a Status."""

    code: int
    body: Any


Do = Callable[[Kind, str, Step, int], Answer]
"""Does one step with the object of a name; the number of the step tells the time."""


def played(name: str, do: Do) -> list[Any]:
    """Returns what came of one of the cases."""
    return play(CASES[name], f"case-{list(CASES).index(name)}", do)


def play(case: Case, name: str, do: Do) -> list[Any]:
    """Returns what came of the steps of a case, without what differs each time."""
    moments: dict[str, str] = {}
    return [
        normal(do(case.kind, name, replace(each, body=named(each.body, name)), at), moments, at)
        for at, each in enumerate(case.steps)
    ]


def normal(answer: Answer, moments: dict[str, str], at: int) -> Any:
    """Returns an answer without uid, versions and times; a time is the step that first told it."""
    body = copy.deepcopy(answer.body)
    if answer.code >= 400:
        refusal = {name: body.get(name) for name in ("code", "reason", "message", "details")}
        if causes := (refusal["details"] or {}).get("causes"):
            causes.sort(key=lambda cause: (cause["message"], cause["field"]))  # kube-apiserver's order is left to chance
        return refusal
    metadata = body.get("metadata", {})
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        metadata.pop(name, None)
    for entry in metadata.get("managedFields", ()):
        if "time" in entry and not entry["time"].startswith("2020"):
            entry["time"] = moments.setdefault(entry["time"], f"step {at}")
    return body
