"""Requests whose answers by a real kube-apiserver are kept in `answers.json`: bodies that are created or put."""

from dataclasses import dataclass
from typing import Any, Final

from k3.core.objects import EVENT, LEASE, NODE, Kind
from k3.server.schema.bodies import FieldValidation

JSON: Final = "application/json"
YAML: Final = "application/yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request. `old` is what is there before a PUT (None: a POST), as a document."""

    name: str
    kind: Kind
    body: Any
    """A document, or a text that is sent as it is."""
    old: Any = None
    subresource: str = ""
    content_type: str = JSON
    validation: FieldValidation = "Strict"


def node(**parts: Any) -> dict[str, Any]:
    """Returns a Node with a name."""
    return {"metadata": {"name": "n", **parts.pop("metadata", {})}, **parts}


def event(**parts: Any) -> dict[str, Any]:
    """Returns an Event with a name."""
    return {"metadata": {"name": "e", "namespace": "default", **parts.pop("metadata", {})}, "involvedObject": {}, **parts}


def lease(**spec: Any) -> dict[str, Any]:
    """Returns a Lease with a name."""
    return {"metadata": {"name": "l", "namespace": "default"}, "spec": spec}


_SYNTAX: Final = (
    "",
    "[]",
    '"x"',
    "5",
    "{",
    '{"a"',
    '{"a":1,}',
    '{"a":[1,2',
    '{"a":[1,2,]}',
    '{"a":[1 2]}',
    '{"a" 1}',
    '{"a":tru}',
    '{"a":-}',
    '{"a":1.}',
    '{"a":1e}',
    '{"a":1e+',
    '{"a":01}',
    '{"a":"\x01"}',
    '{"a":"\\q"}',
    '{"a":"\\u12x"}',
    '{"a":"\\',
    '{"a":NaN}',
    '{"a":-Infinity}',
    "{a:1}",
    "{'a':1}",
    "{} x",
    "\ufeff{}",
    '{"a":"\u00e4',
    '{"kind":5}',
    '{"Kind":"Pod"}',
    '{"apiVersion":[]}',
    '{"kind":"Pod"}',
    '{"kind":"Foo"}',
    '{"kind":"NodeList"}',
    '{"apiVersion":"v2"}',
    '{"apiVersion":"foo/v1"}',
    '{"apiVersion":"a/b/c"}',
    '{"apiVersion":"apps/v1","kind":"Deployment"}',
    '{"apiVersion":"coordination.k8s.io/v1","kind":"Lease"}',
    '{"kind":"","apiVersion":"","metadata":{"name":"n"}}',
    '{"metadata":{"name":"n","foo":1,"labels":{"a":"1","a":"2"}},"spec":{"x":1,"taints":[{"kye":"a","key":"b","key":"c"}]},"y":1e9}',
    '{"metadata":{"name":"n"},"metadata":{"name":"m"}}',
    '{"metadata":{"name":"n"},"Spec":{}}',
    '{"spec":{"x":1},"status":3}',
)
_TYPES: Final[tuple[Any, ...]] = (
    {"spec": {"unschedulable": "yes"}},
    {"spec": {"unschedulable": 1}},
    {"spec": {"taints": [{"key": 5}]}},
    {"spec": {"taints": {}}},
    {"spec": {"taints": [5]}},
    {"spec": []},
    {"spec": "x"},
    {"metadata": []},
    {"metadata": {"name": 5}},
    {"metadata": {"uid": 5}},
    {"metadata": {"labels": {"a": 5}}},
    {"metadata": {"labels": []}},
    {"metadata": {"finalizers": "a"}},
    {"metadata": {"finalizers": [1]}},
    {"metadata": {"ownerReferences": [{"uid": 1}]}},
    {"metadata": {"generation": 1.5}},
    {"metadata": {"generation": 2**63}},
    {"metadata": {"generation": "1"}},
    {"metadata": {"deletionGracePeriodSeconds": True}},
    {"metadata": {"creationTimestamp": 5}},
    {"metadata": {"creationTimestamp": "x"}},
    {"metadata": {"creationTimestamp": ""}},
    {"metadata": {"creationTimestamp": "2026-11-23"}},
    {"metadata": {"creationTimestamp": "2026-13-23T00:00:00Z"}},
    {"metadata": {"creationTimestamp": "2026-02-30T00:00:00Z"}},
    {"metadata": {"creationTimestamp": "2026-11-23T24:00:00Z"}},
    {"metadata": {"creationTimestamp": "2026-11-23T00:00:00"}},
    {"metadata": {"creationTimestamp": "2026-11-23T00:00:00Zx"}},
    {"metadata": {"creationTimestamp": "2026-11-23T00:00:00+0100"}},
    {"metadata": {"creationTimestamp": "2026-11-23 00:00:00Z"}},
    {"metadata": {"managedFields": [{"time": "x"}]}},
    {"status": {"capacity": []}},
    {"status": {"capacity": {"cpu": "x"}}},
    {"status": {"capacity": {"cpu": ""}}},
    {"status": {"capacity": {"cpu": "1Q"}}},
    {"status": {"capacity": {"cpu": "1kk"}}},
    {"status": {"capacity": {"cpu": True}}},
    {"status": {"capacity": {"cpu": {}}}},
    {"status": {"conditions": [{"type": 1, "lastHeartbeatTime": "x"}]}},
    {"status": {"conditions": [{"status": False}]}},
    {"status": {"conditions": [{"lastHeartbeatTime": {}}]}},
    {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": "x"}}}},
    {"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 2**31}}}},
    {"status": {"nodeInfo": {"swap": {"capacity": "x"}}}},
    {"status": {"images": [{"names": ["a", 1], "sizeBytes": 5}]}},
    {"status": {"volumesInUse": [5]}},
)
_QUANTITIES: Final = {
    "a": "4",
    "b": "1.50",
    "c": "0.5Gi",
    "d": "1024Mi",
    "e": 2000,
    "f": 1.5,
    "g": "1e3",
    "h": "3e4",
    "i": "1000m",
    "j": "0.0",
    "k": "0.1n",
    "l": "1.5Ki",
    "m": "+5",
    "n": "100E",
    "o": "20Ei",
    "p": ".5",
    "q": "16Gi",
    "r": "1E",
    "s": "1500Mi",
    "t": " 5 ",
    "u": "0",
    "v": "1e-3",
    "w": "12345678901234567890",
    "x": "1.Ki",
    "y": "0Ki",
    "z": None,
}
_NAMES: Final = ("", "A", "a_b", ".a", "a.", "-", "a" * 254, "a/b", "a%b", "..", "\u00e4")
_KEYS: Final = ("", "a/b/c", "/a", "a/", "A/b", "a" * 64, "a_", "-a", "x.y/" + "b" * 64, "\u00e4")


def _created() -> list[Case]:
    made = [Case(name=f"syntax {index}", kind=NODE, body=body) for index, body in enumerate(_SYNTAX)]
    made += [Case(name=f"type {index}", kind=NODE, body=body) for index, body in enumerate(_TYPES)]
    made += [
        Case(name=f"node name {index}", kind=NODE, body=node(metadata={"name": name})) for index, name in enumerate(_NAMES)
    ]
    made += [
        Case(name=f"lease name {index}", kind=LEASE, body={"metadata": {"name": name}}) for index, name in enumerate(_NAMES)
    ]
    made += [
        Case(name=f"event name {index}", kind=EVENT, body=event(metadata={"name": name})) for index, name in enumerate(_NAMES)
    ]
    for index, key in enumerate(_KEYS):
        made += [
            Case(name=f"label key {index}", kind=NODE, body=node(metadata={"labels": {key: ""}})),
            Case(name=f"label value {index}", kind=NODE, body=node(metadata={"labels": {"a": key}})),
            Case(name=f"annotation key {index}", kind=LEASE, body={"metadata": {"name": "l", "annotations": {key: "x"}}}),
            Case(name=f"finalizer {index}", kind=NODE, body=node(metadata={"finalizers": [key]})),
            Case(name=f"taint {index}", kind=NODE, body=node(spec={"taints": [{"key": key, "value": key, "effect": key}]})),
        ]
    return made


CREATED: Final = (
    *_created(),
    Case(name="empty node", kind=NODE, body=node()),
    Case(name="empty event", kind=EVENT, body=event()),
    Case(name="empty lease", kind=LEASE, body=lease()),
    Case(name="nulls", kind=NODE, body=node(spec=None, status={"conditions": None}, metadata={"labels": None})),
    Case(name="null elements", kind=NODE, body=node(status={"addresses": [None], "volumesInUse": [None], "images": [None]})),
    Case(name="unknown, warned", kind=NODE, body=node(spec={"foo": 1}, x=2), validation="Warn"),
    Case(name="unknown, ignored", kind=NODE, body=node(spec={"foo": 1}, x=2), validation="Ignore"),
    Case(name="zeros", kind=NODE, body=node(spec={"unschedulable": False, "podCIDR": "", "taints": []})),
    Case(name="quantities", kind=NODE, body=node(status={"capacity": _QUANTITIES})),
    Case(
        name="negative", kind=NODE, body=node(status={"capacity": {"cpu": "-1"}, "allocatable": {"pods": "1.5", "a.b/c": "1m"}})
    ),
    Case(name="swap", kind=NODE, body=node(status={"nodeInfo": {"swap": {"capacity": 0}}})),
    Case(
        name="old fields",
        kind=NODE,
        body=node(spec={"configSource": {}, "externalID": "x", "podPreemptionPolicy": {}}, status={"config": {"error": "x"}}),
    ),
    Case(
        name="features", kind=NODE, body=node(status={"features": {}, "declaredFeatures": ["b", "a"], "runtimeHandlers": [{}]})
    ),
    Case(name="user namespace", kind=NODE, body=node(status={"nodeInfo": {"runningInUserNamespace": True}})),
    Case(
        name="taints twice",
        kind=NODE,
        body=node(spec={"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "value": "<", "effect": "NoExecute"}]}),
    ),
    Case(name="taint time", kind=NODE, body=node(spec={"taints": [{"key": "a", "effect": "NoExecute", "timeAdded": None}]})),
    Case(name="cidrs", kind=NODE, body=node(spec={"podCIDRs": ["10.0.0.0/33", "x"]})),
    Case(name="cidrs of one family", kind=NODE, body=node(spec={"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]})),
    Case(
        name="cidr and cidrs", kind=NODE, body=node(spec={"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.1.0.0/24", "fd00::/64"]})
    ),
    Case(name="cidr alone", kind=NODE, body=node(spec={"podCIDR": "10.0.0.0/24"})),
    Case(name="cidrs alone", kind=NODE, body=node(spec={"podCIDRs": ["10.0.0.0/24"]})),
    Case(
        name="owners",
        kind=NODE,
        body=node(
            metadata={
                "ownerReferences": [
                    {"apiVersion": "", "kind": "", "name": "", "uid": ""},
                    {"apiVersion": "a/b/c", "kind": "A", "name": "a", "uid": "u", "controller": True},
                    {"apiVersion": "v1", "kind": "Event", "name": "b", "uid": "u", "controller": True},
                ]
            }
        ),
    ),
    Case(name="both finalizers", kind=NODE, body=node(metadata={"finalizers": ["orphan", "foregroundDeletion"]})),
    Case(name="annotations too long", kind=LEASE, body={"metadata": {"name": "l", "annotations": {"a": "x" * 262_144}}}),
    Case(name="negative generation", kind=NODE, body=node(metadata={"generation": -1})),
    Case(
        name="lease numbers",
        kind=LEASE,
        body=lease(leaseDurationSeconds=0, leaseTransitions=-1, strategy="x", preferredHolder="a", holderIdentity=""),
    ),
    Case(name="preferred holder", kind=LEASE, body=lease(preferredHolder="a")),
    Case(name="lease strategy", kind=LEASE, body=lease(strategy="a/b/c")),
    Case(name="lease times", kind=LEASE, body=lease(acquireTime="2026-11-23T02:08:48.123456-01:30", renewTime=None)),
    Case(name="lease time of seconds", kind=LEASE, body=lease(renewTime="2026-11-23T02:08:48Z")),
    Case(name="lease time of nanoseconds", kind=LEASE, body=lease(renewTime="2026-11-23T02:08:48.123456789Z")),
    Case(name="event elsewhere", kind=EVENT, body=event(involvedObject={"namespace": "other"})),
    Case(name="new event", kind=EVENT, body=event(eventTime="2026-11-23T02:08:48.123456Z")),
    Case(
        name="long event",
        kind=EVENT,
        body=event(
            eventTime="2026-11-23T02:08:48.123456Z",
            reportingComponent="x y",
            reportingInstance="i" * 129,
            action="a" * 129,
            reason="r" * 129,
            message="m" * 1025,
            involvedObject={"namespace": "other"},
        ),
    ),
    Case(name="event series", kind=EVENT, body=event(series={"count": 0}, type="X", count=-1)),
    Case(name="yaml", kind=NODE, body="metadata:\n  name: n\n  labels: {a: '1', 2: 'y'}\n", content_type=YAML),
    Case(name="yaml words", kind=NODE, body="metadata: {name: n, labels: {a: y}}\n", content_type=YAML),
    Case(name="yaml doubled", kind=NODE, body="metadata:\n  name: n\n  name: m\n  foo: 3\n", content_type=YAML),
    Case(
        name="yaml doubled, warned", kind=NODE, body="metadata:\n  name: n\n  name: m\n", content_type=YAML, validation="Warn"
    ),
    Case(name="yaml error", kind=NODE, body="a: b: c", content_type=YAML),
    Case(name="yaml error below", kind=NODE, body="x: 1\na: [\nb", content_type=YAML),
    Case(name="yaml list", kind=NODE, body="- a\n", content_type=YAML),
    Case(name="yaml nothing", kind=NODE, body="", content_type=YAML),
    Case(name="cbor", kind=NODE, body="x", content_type="application/cbor"),
    Case(name="no format", kind=NODE, body="{}", content_type="text/plain"),
)

VERSIONED: Final = {"name": "l", "namespace": "default", "resourceVersion": "@version@"}
"""The recorder puts the resourceVersion of what is there in its place."""
_OLD: Final = node(spec={"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"], "providerID": "p"})
_PUT: Final = (
    ("same", _OLD, _OLD),
    ("cidr changed", _OLD, node(spec={"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"], "providerID": "p"})),
    ("cidr removed, provider cleared", _OLD, node()),
    ("provider changed", _OLD, node(spec={**_OLD["spec"], "providerID": "q"})),
    ("label", node(), node(metadata={"labels": {"a": "_"}})),
    ("owner", node(), node(metadata={"ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a", "uid": ""}]})),
    ("taint", node(), node(spec={"taints": [{"key": "a", "effect": "x"}]})),
    ("external", node(), node(spec={"externalID": "x"})),
    ("finalizer", node(), node(metadata={"finalizers": ["a_"]})),
    ("generation", node(), node(metadata={"generation": -1})),
)
UPDATED: Final = (
    *(Case(name=f"node {name}", kind=NODE, body=new, old=old) for name, old, new in _PUT),
    Case(
        name="addresses",
        kind=NODE,
        old=node(),
        body=node(status={"addresses": [{"type": "a", "address": "b"}] * 2, "capacity": {"cpu": "-1"}}),
        subresource="status",
    ),
    Case(name="status label", kind=NODE, old=node(), body=node(metadata={"labels": {"a": "_"}}), subresource="status"),
    Case(name="lease duration", kind=LEASE, old=lease(), body={**lease(leaseDurationSeconds=-1), "metadata": VERSIONED}),
    Case(name="lease without a version", kind=LEASE, old=lease(), body=lease(leaseDurationSeconds=-1)),
    Case(name="lease label", kind=LEASE, old=lease(), body={"metadata": {**VERSIONED, "labels": {"a": "_"}}}),
    Case(name="event elsewhere now", kind=EVENT, old=event(), body=event(involvedObject={"namespace": "other"})),
    Case(name="event label", kind=EVENT, old=event(), body=event(metadata={"labels": {"a": "_"}})),
)
CASES: Final = {case.name: case for case in (*CREATED, *UPDATED)}
