"""Objects that are made, and bodies that make none."""

from typing import Any, Final

from tests.server.beside.asking import EVENTS, LEASES, NODES, Ask, Scene, get, post, scene

YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
NODE: Final = {"apiVersion": "v1", "kind": "Node"}
LEASE: Final = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
EVENT: Final = {"apiVersion": "v1", "kind": "Event"}
NOWHERE: Final = "/api/v1/namespaces/nowhere/events"


def node(**metadata: Any) -> dict[str, Any]:
    """Returns a Node with metadata."""
    return {**NODE, "metadata": metadata}


def _labels(*labels: dict[str, str]) -> tuple[Ask, ...]:
    return tuple(post(NODES, node(name="a", labels=each)) for each in labels)


def _annotations(*annotations: dict[str, str]) -> tuple[Ask, ...]:
    return tuple(post(NODES, node(name="a", annotations=each)) for each in annotations)


def _taints(*taints: dict[str, Any]) -> tuple[Ask, ...]:
    return tuple(post(NODES, {**node(name="a"), "spec": {"taints": [each]}}) for each in taints)


def _validated(path: str, body: str | dict[str, Any]) -> tuple[Ask, ...]:
    """Returns a request with each way to take fields that are not known, none of which makes anything."""
    ways = ("", "Ignore", "Warn", "Strict", "Odd")
    return tuple(post(f"{path}?dryRun=All{'&fieldValidation=' + way if way else ''}", body) for way in ways)


SCENES: Final[tuple[Scene, ...]] = (
    scene(
        "a node is made",
        post(NODES, node(name="a", labels={"x": "1"})),
        post(NODES, node(name="a")),
        get(NODES + "/a"),
        post(NODES, {**node(name="b"), "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        post(NODES, {**node(name="c"), "spec": {"podCIDR": "10.0.0.0/24", "unschedulable": False, "providerID": "x://c"}}),
        get(NODES),
    ),
    scene(
        "names of new nodes",
        post(NODES, node()),
        post(NODES, {}),
        post(NODES, node(generateName="made-")),
        post(NODES, node(name="A_b")),
        post(NODES, node(name="a/b")),
        post(NODES, node(name="..")),
        post(NODES, node(name="a" * 254)),
        post(NODES, node(generateName="made-", name="n")),
        post(NODES, node(generateName="MADE-")),
        post(NODES, node(name="")),
        post(NODES, {**NODE, "metadata": None}),
        post(NODES + "?dryRun=All", node(generateName="made-")),
    ),
    scene(
        "kinds and versions that are not the resource's",
        post(NODES, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}),
        post(NODES, {"apiVersion": "v2", "kind": "Node", "metadata": {"name": "a"}}),
        post(NODES, {"apiVersion": "apps/v1", "kind": "Node", "metadata": {"name": "a"}}),
        post(NODES, {"apiVersion": "a/b/c", "kind": "Node", "metadata": {"name": "a"}}),
        post(NODES, {"apiVersion": "v1", "metadata": {"name": "b"}}),
        post(NODES, {"kind": "Node", "metadata": {"name": "c"}}),
        post(NODES, {"apiVersion": "v1", "kind": "NodeList", "items": []}),
        post(NODES, {"apiVersion": "v1", "kind": "Status", "metadata": {}}),
        post(NODES, {"apiVersion": "v1", "kind": "Odd", "metadata": {}}),
        post(NODES, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}}),
        post(LEASES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}),
        post(EVENTS, {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"}}),
        post(NODES, {"apiVersion": 1, "kind": "Node", "metadata": {"name": "a"}}),
        post(NODES, {"apiVersion": "v1", "kind": ["Node"], "metadata": {"name": "a"}}),
    ),
    scene(
        "what a new node may not say",
        post(NODES, node(name="a", resourceVersion="5")),
        post(NODES, node(name="b", resourceVersion="0")),
        post(NODES, node(name="c", uid="7f2f4b7e-0000-4000-8000-000000000000")),
        post(NODES, node(name="d", namespace="default")),
        post(NODES, node(name="e", creationTimestamp="2020-01-01T00:00:00Z", generation=7, selfLink="/x")),
        post(NODES, node(name="f", deletionTimestamp="2020-01-01T00:00:00Z")),
        post(NODES, node(name="g", managedFields=[{"manager": "x"}])),
        post(NODES, node(name="h", resourceVersion="x")),
        post(NODES, node(name="i", finalizers=["odd"])),
        post(NODES, node(name="j", finalizers=["k3/x"], ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "a"}])),
        post(NODES, node(name="k", ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "u"}])),
    ),
    scene(
        "namespaces of new events and leases",
        post(EVENTS, {**EVENT, "metadata": {"name": "a", "namespace": "default"}, "involvedObject": {"namespace": "default"}}),
        post(EVENTS, {**EVENT, "metadata": {"name": "b"}, "involvedObject": {}}),
        post(EVENTS, {**EVENT, "metadata": {"name": "c", "namespace": "kube-system"}, "involvedObject": {}}),
        post(EVENTS, {**EVENT, "metadata": {"name": "d"}, "involvedObject": {"namespace": "kube-system"}}),
        post(NOWHERE, {**EVENT, "metadata": {"name": "e"}, "involvedObject": {"namespace": "nowhere"}}),
        post(LEASES, {**LEASE, "metadata": {"name": "a", "namespace": "kube-system"}}),
        post(LEASES, {**LEASE, "metadata": {"name": "b"}}),
        post(LEASES.replace("default", "nowhere"), {**LEASE, "metadata": {"name": "c"}}),
        post("/api/v1/events", {**EVENT, "metadata": {"name": "f", "namespace": "default"}, "involvedObject": {}}),
        post("/api/v1/namespaces/NOT_ONE/events", {**EVENT, "metadata": {"name": "e"}, "involvedObject": {}}),
    ),
    scene("fields that are not known, in JSON", *_validated(NODES, {**node(name="a"), "odd": 1, "spec": {"foo": {"a": 1}}})),
    scene(
        "members that are there twice, in JSON",
        *_validated(NODES, '{"apiVersion":"v1","kind":"Node","metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}}}'),
    ),
    scene(
        "fields in another case",
        *_validated(
            NODES, '{"apiVersion":"v1","kind":"Node","metadata":{"Name":"a","name":"b"},"Spec":{"UNSCHEDULABLE":true}}'
        ),
    ),
    scene(
        "fields of leases and events that are not known",
        *_validated(LEASES, {**LEASE, "metadata": {"name": "a"}, "spec": {"holder": "x"}, "status": {}}),
        *_validated(EVENTS, {**EVENT, "metadata": {"name": "a", "odd": 1}, "involvedObject": {"odd": 1}}),
    ),
    scene(
        "values of another type",
        post(NODES, {**NODE, "metadata": {"name": 5}}),
        post(NODES, {**NODE, "metadata": []}),
        post(NODES, {**NODE, "metadata": "a"}),
        post(NODES, {**node(name="a"), "spec": []}),
        post(NODES, {**node(name="a"), "spec": {"unschedulable": "true"}}),
        post(NODES, {**node(name="a"), "spec": {"taints": {}}}),
        post(NODES, {**node(name="a"), "spec": {"taints": ["x"]}}),
        post(NODES, node(name="a", labels={"x": True})),
        post(NODES, node(name="a", labels=["x"])),
        post(NODES, node(name="a", annotations={"x": 1})),
        post(NODES, {**node(name="a"), "status": {"capacity": {"cpu": "odd"}}}),
        post(NODES, {**node(name="a"), "status": {"capacity": {"cpu": [1]}}}),
        post(NODES, {**node(name="a"), "status": {"capacity": {"cpu": 4, "memory": "1Gi"}}}),
        post(NODES, {**node(name="a"), "status": {"conditions": [{"type": "Ready", "lastHeartbeatTime": "yesterday"}]}}),
        post(NODES, {**node(name="b"), "status": {"conditions": None}, "spec": None}),
        post(NODES, {**node(name="c"), "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 70000}}}}),
        post(NODES, {**node(name="d"), "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": "x"}}}}),
        post(LEASES, {**LEASE, "metadata": {"name": "a"}, "spec": {"leaseDurationSeconds": "40"}}),
        post(LEASES, {**LEASE, "metadata": {"name": "a"}, "spec": {"leaseDurationSeconds": 40.5}}),
        post(LEASES, {**LEASE, "metadata": {"name": "a"}, "spec": {"leaseDurationSeconds": 4294967296}}),
        post(LEASES, {**LEASE, "metadata": {"name": "a"}, "spec": {"leaseDurationSeconds": -1, "leaseTransitions": -1}}),
        post(LEASES, {**LEASE, "metadata": {"name": "a"}, "spec": {"renewTime": "2020-01-01T00:00:00Z"}}),
        post(LEASES, {**LEASE, "metadata": {"name": "b"}, "spec": {"renewTime": "2020-01-01 00:00:00"}}),
        post(EVENTS, {**EVENT, "metadata": {"name": "a"}, "involvedObject": {}, "count": "1"}),
        post(EVENTS, {**EVENT, "metadata": {"name": "a"}, "involvedObject": []}),
    ),
    scene(
        "labels, annotations and taints that cannot be",
        *_labels(
            {"a b": "x"}, {"x": "a b"}, {"x": "a" * 64}, {"a/b/c": "x"}, {"": "x"}, {"a" * 64: "x"}, {"A.b/c": "x"}, {"/x": ""}
        ),
        *_annotations({"a b": "x"}, {"A.example/x": "Any text: ü"}, {"x": "a" * 262144}, {"-x": ""}),
        *_taints(
            {"key": "a", "effect": "Odd"},
            {"key": "a"},
            {"effect": "NoSchedule"},
            {"key": "a b", "effect": "NoSchedule"},
            {"key": "a", "value": "x y", "effect": "NoSchedule"},
        ),
        post(NODES, {**node(name="a"), "spec": {"taints": [{"key": "a", "effect": "NoExecute"}] * 2}}),
    ),
    scene(
        "bodies that are no object",
        post(NODES, ""),
        post(NODES, "null"),
        post(NODES, "[]"),
        post(NODES, '"text"'),
        post(NODES, "5"),
        post(NODES, "text"),
        post(NODES, "{"),
        post(NODES, '{"metadata":{"name":"a"}} x'),
        post(NODES, "   "),
        post(NODES, b"\xff\xfe"),
        post(NODES, b"\x00"),
        post(NODES, '{"a":' * 12000),
        post(NODES, None),
        post(NODES, '{"metadata":{"name":"a\\u0000b"}}'),
        post(NODES, '{"metadata":{"name":"\\ud800"}}'),
    ),
    scene(
        "what bodies are said to be",
        post(NODES, node(name="a"), Content_Type=None),
        post(NODES, node(name="b"), Content_Type=""),
        post(NODES, node(name="c"), Content_Type="application/json; charset=utf-8"),
        post(NODES, node(name="d"), Content_Type="Application/JSON"),
        post(NODES, node(name="e"), Content_Type="*/*"),
        post(NODES, node(name="f"), Content_Type="text/plain"),
        post(NODES, node(name="g"), Content_Type="application/cbor"),
        post(NODES, node(name="h"), Content_Type="application/x-www-form-urlencoded"),
        post(NODES, node(name="i"), Content_Type="application/json;odd"),
        post(NODES, node(name="j"), Content_Type="application"),
        post(NODES, node(name="k"), Content_Type="application/merge-patch+json"),
        post(NODES, node(name="l"), Content_Type=PROTOBUF),
        post(NODES, b"k8s\x00\x0a\x0a\x0a\x02v1\x12\x04Node\x12\x05\x0a\x03\x0a\x01m", Content_Type=PROTOBUF),
        post(NODES, b"k8s\x00\x0a\x0b\x0a\x02v1\x12\x03Pod\x12\x05\x0a\x03\x0a\x01m", Content_Type=PROTOBUF),
        post(NODES, b"k8s\x00\xff\xff\xff", Content_Type=PROTOBUF),
        post(NODES, b"k8s\x00", Content_Type=PROTOBUF),
        post(NODES, "", Content_Type=PROTOBUF),
    ),
    scene(
        "bodies in YAML",
        post(NODES, "apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  labels: {x: '1'}\n", Content_Type=YAML),
        post(NODES, "metadata:\n  name: b\n  labels: {x: yes}\n", Content_Type=YAML),
        post(NODES, "metadata:\n  name: c\n  name: d\n", Content_Type=YAML),
        post(NODES + "?fieldValidation=Strict", "metadata:\n  name: e\n  name: f\nodd: 1\n", Content_Type=YAML),
        post(NODES, "metadata: [\n", Content_Type=YAML),
        post(NODES, "a\n", Content_Type=YAML),
        post(NODES, "", Content_Type=YAML),
        post(NODES, "metadata: {name: g}\n---\nmetadata: {name: h}\n", Content_Type=YAML),
        post(NODES, "metadata: &x {name: i}\nodd: *x\n", Content_Type=YAML),
        post(NODES, '{"metadata":{"name":"j"}}', Content_Type=YAML),
        post(NODES, "metadata:\n\tname: k\n", Content_Type=YAML),
    ),
    scene(
        "options of a create",
        post(NODES + "?dryRun=All", node(name="a")),
        get(NODES + "/a"),
        post(NODES + "?dryRun=", node(name="b")),
        post(NODES + "?dryRun=Some", node(name="a")),
        post(NODES + "?dryRun=All&dryRun=All", node(name="a")),
        post(NODES + "?fieldManager=" + "m" * 129, node(name="a")),
        post(NODES + "?fieldManager=a%09b", node(name="a")),
        post(NODES + "?fieldManager=me", node(name="c")),
        post(NODES + "?force=true", node(name="d")),
        post(NODES + "?pretty=true", node(name="e")),
        post(NODES + "?timeout=odd", node(name="f")),
        post(NODES + "?timeout=1s", node(name="g")),
        post(NODES + "?odd=1", node(name="h")),
        post(NODES, node(name="i"), User_Agent=None),
        post(NODES, node(name="j"), User_Agent="Mozilla/5.0 (X11)"),
        post(NODES + "?dryRun=All", node(name="c")),
        post(NODES + "?fieldValidation=strict&dryRun=some&fieldManager=" + "m" * 129, node(name="k")),
    ),
    scene(
        "creates in other forms",
        post(NODES, node(name="a"), Accept="application/json;as=Table;v=v1;g=meta.k8s.io"),
        post(NODES, node(name="b"), Accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"),
        post(NODES, node(name="c"), Accept="text/html"),
        post(NODES, node(name="d"), Accept="*/*"),
        get(NODES + "/c"),
        post(NODES, node(name="A"), Accept="application/json;as=Table;v=v1;g=meta.k8s.io"),
    ),
    scene(
        "a lease and an event are made",
        post(LEASES, {**LEASE, "metadata": {"name": "a"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 40}}),
        post(LEASES, {**LEASE, "metadata": {"name": "b"}, "spec": {"renewTime": "2020-01-01T00:00:00.5+02:00"}}),
        post(LEASES, {**LEASE, "metadata": {"name": "c"}, "spec": {"strategy": "OldestEmulationVersion"}}),
        post(LEASES, {**LEASE, "metadata": {"name": "d"}, "spec": {"holderIdentity": ""}}),
        post(LEASES, {**LEASE, "metadata": {"name": "e"}, "spec": {"leaseTransitions": 0, "leaseDurationSeconds": 0}}),
        post(
            EVENTS,
            {
                **EVENT,
                "metadata": {"name": "a"},
                "involvedObject": {"kind": "Node", "name": "a"},
                "reason": "R",
                "message": "m",
                "type": "Normal",
                "count": 1,
                "firstTimestamp": "2020-01-01T00:00:00Z",
                "source": {"component": "k3"},
            },
        ),
        post(EVENTS, {**EVENT, "metadata": {"name": "b"}, "involvedObject": {}, "eventTime": "2020-01-01T00:00:00.000000Z"}),
        post(EVENTS, {**EVENT, "metadata": {"name": "c"}}),
        post(EVENTS, {**EVENT, "metadata": {"name": "d"}, "involvedObject": {}, "message": "m" * 2000, "type": "Odd"}),
        get(EVENTS + "/a"),
        get(LEASES + "/b"),
    ),
)
