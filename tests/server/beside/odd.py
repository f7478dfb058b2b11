"""What is asked seldom: long bodies, compressed answers, encoded paths, several namespaces at once, lost races."""

from typing import Any, Final

from tests.server.beside.asking import (
    APPLY,
    EVENTS,
    JSON_PATCH,
    LEASES,
    MERGE,
    NODES,
    STRATEGIC,
    Ask,
    Scene,
    delete,
    get,
    patch,
    post,
    put,
    scene,
)
from tests.server.beside.reading import PARTIAL, TABLE

A: Final = NODES + "/a"
EVERY_LEASE: Final = "/apis/coordination.k8s.io/v1/leases"
NODE_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_OURS: Final = "labelSelector=x"


def _node(name: str = "a", **parts: Any) -> Ask:
    return post(NODES, {"metadata": {"name": name, **parts.pop("metadata", {})}, **parts})


def _lease(path: str, name: str) -> Ask:
    return post(path, {"metadata": {"name": name, "labels": {"x": "1"}}})


SCENES: Final[tuple[Scene, ...]] = (
    scene(
        "bodies that are too long",
        post(NODES, {"metadata": {"name": "a", "annotations": {"x": "a" * 3200000}}}),
        _node(),
        put(A, {"metadata": {"name": "a", "annotations": {"x": "a" * 3200000}}}),
        patch(A, MERGE, {"metadata": {"annotations": {"x": "a" * 3200000}}}),
        patch(A + "?fieldManager=m", APPLY, {"metadata": {"name": "a", "annotations": {"x": "a" * 3200000}}}),
        delete(A, '{"kind":"DeleteOptions"' + " " * 3200000 + "}"),
        get(A),
    ),
    scene(
        "answers that are compressed",
        _node(metadata={"annotations": {"x": "a" * 200000}}),
        get(A, Accept_Encoding="gzip"),
        get(A, Accept_Encoding="deflate, gzip;q=1.0"),
        get(A, Accept_Encoding="identity"),
        get(A, Accept_Encoding="br"),
        get(NODES, Accept_Encoding="gzip"),
        get(NODES + "?fieldSelector=metadata.name=b", Accept_Encoding="gzip"),
        get(A, Accept_Encoding="gzip", Accept=PARTIAL),
    ),
    scene(
        "encoded paths",
        _node(),
        get("/api/v1/%6eodes/a"),
        get("/api/v1/nodes/%61"),
        get("/api/v1/nodes/a%2Fstatus"),
        get("/api/v1/nodes/a%20b"),
        get("/api/v1/nodes/a?"),
        get("/api/v1/nodes/a/?x"),
        get("/api/v1/nodes/a//"),
        get("/api/v1/nodes/a/status/"),
        post("/api/v1/nodes/", {"metadata": {"name": "b"}}),
        put("/api/v1/nodes/b/", {"metadata": {"name": "b"}}),
        patch("/api/v1/nodes/b/", MERGE, {}),
        delete("/api/v1/nodes/b/"),
    ),
    scene(
        "several namespaces at once",
        _lease(LEASES, "b"),
        _lease(NODE_LEASES, "a"),
        _lease(NODE_LEASES, "c"),
        get(f"{EVERY_LEASE}?{_OURS}"),
        get(f"{EVERY_LEASE}?{_OURS}&limit=1"),
        get(f"{EVERY_LEASE}?{_OURS}&fieldSelector=metadata.namespace=kube-node-lease"),
        get(f"{EVERY_LEASE}?{_OURS}&fieldSelector=metadata.namespace!=kube-node-lease"),
        get(f"{EVERY_LEASE}?{_OURS}&fieldSelector=metadata.name=b,metadata.namespace=default"),
        get(f"{NODE_LEASES}?fieldSelector=metadata.namespace=default"),
        get(f"{EVERY_LEASE}?{_OURS}", Accept=TABLE),
        get(f"{EVERY_LEASE}?{_OURS}&watch=1&timeoutSeconds=1"),
        get(f"{NODE_LEASES}?watch=1&timeoutSeconds=1&resourceVersion=${{0.metadata.resourceVersion}}"),
        post(EVENTS, {"metadata": {"name": "a"}, "involvedObject": {"namespace": "default"}}),
        post(
            "/api/v1/namespaces/kube-system/events",
            {"metadata": {"name": "a", "labels": {"x": "1"}}, "involvedObject": {"namespace": "kube-system"}},
        ),
        get(f"/api/v1/events?{_OURS}"),
        get("/api/v1/events?fieldSelector=involvedObject.namespace=default,metadata.name=a"),
        delete("/api/v1/namespaces/kube-system/events/a"),
    ),
    scene(
        "a node's life with kubectl",
        _node(metadata={"labels": {"beta.kubernetes.io/os": "linux"}}),
        patch(A + "?fieldManager=kubectl-label", MERGE, {"metadata": {"labels": {"x": "1"}}}),
        patch(A + "?fieldManager=kubectl-annotate", MERGE, {"metadata": {"annotations": {"a": "b"}}}),
        patch(
            A + "?fieldManager=kubectl-taint&fieldValidation=Strict",
            STRATEGIC,
            {"spec": {"taints": [{"effect": "NoSchedule", "key": "k", "value": "v"}]}},
        ),
        patch(A, STRATEGIC, {"spec": {"unschedulable": True}}),
        patch(A, STRATEGIC, {"spec": {"unschedulable": None}}),
        patch(A + "?fieldManager=kubectl-taint", STRATEGIC, {"spec": {"taints": None}}),
        patch(A + "?fieldManager=kubectl-label", MERGE, {"metadata": {"labels": {"x": None}}}),
        patch(A + "/status?fieldManager=kubelet", STRATEGIC, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        patch(
            A + "?fieldManager=kubectl-client-side-apply&fieldValidation=Strict",
            STRATEGIC,
            {
                "metadata": {
                    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"metadata":{"name":"a"}}\n'},
                    "labels": {"y": "1"},
                }
            },
        ),
        patch(
            A + "?fieldManager=kubectl&force=false&fieldValidation=Strict",
            APPLY,
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  labels:\n    y: '2'\n",
        ),
        get(A),
        delete(A, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}),
    ),
    scene(
        "a leader election",
        get(LEASES + "/a"),
        post(
            LEASES,
            {
                "metadata": {"name": "a", "namespace": "default"},
                "spec": {
                    "holderIdentity": "me",
                    "leaseDurationSeconds": 15,
                    "acquireTime": "2026-01-01T00:00:00.000000Z",
                    "renewTime": "2026-01-01T00:00:00.000000Z",
                    "leaseTransitions": 0,
                },
            },
        ),
        put(
            LEASES + "/a",
            {
                "metadata": {"name": "a", "resourceVersion": "${1.metadata.resourceVersion}", "uid": "${1.metadata.uid}"},
                "spec": {
                    "holderIdentity": "you",
                    "leaseDurationSeconds": 15,
                    "acquireTime": "2026-01-01T00:01:00.123456Z",
                    "renewTime": "2026-01-01T00:01:00.123456+00:00",
                    "leaseTransitions": 1,
                },
            },
        ),
        put(
            LEASES + "/a",
            {
                "metadata": {"name": "a", "resourceVersion": "${1.metadata.resourceVersion}"},
                "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15},
            },
        ),
        put(
            LEASES + "/a",
            {
                "metadata": {"name": "a", "resourceVersion": "${2.metadata.resourceVersion}"},
                "spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": -1},
            },
        ),
        get(LEASES + "/a"),
    ),
    scene(
        "a recorder of events",
        post(
            EVENTS + "?fieldManager=r",
            {
                "metadata": {"name": "a.17", "namespace": "default"},
                "involvedObject": {"kind": "Node", "name": "a", "uid": "a", "apiVersion": "v1"},
                "reason": "Starting",
                "message": "m",
                "source": {"component": "kubelet", "host": "a"},
                "firstTimestamp": "2026-01-01T00:00:00Z",
                "lastTimestamp": "2026-01-01T00:00:00Z",
                "count": 1,
                "type": "Normal",
                "reportingComponent": "kubelet",
                "reportingInstance": "a",
            },
        ),
        patch(
            EVENTS + "/a.17",
            STRATEGIC,
            {"count": 2, "lastTimestamp": "2026-01-01T00:00:05Z", "message": "m", "involvedObject": {"kind": "Node"}},
        ),
        get(EVENTS + "/a.17", Accept=TABLE),
        get(EVENTS + "?fieldSelector=involvedObject.uid=a,involvedObject.kind=Node,type=Normal"),
        delete(EVENTS + "?fieldSelector=involvedObject.kind=Node"),
    ),
    scene(
        "kopf's finalizer",
        _node(),
        patch(
            A,
            JSON_PATCH,
            [
                {"op": "test", "path": "/metadata/resourceVersion", "value": "${0.metadata.resourceVersion}"},
                {"op": "add", "path": "/metadata/finalizers", "value": ["kopf.zalando.org/x"]},
            ],
        ),
        patch(A + "/status", MERGE, {"status": {"kopf": {"progress": {}}}}),
        delete(A),
        patch(A, MERGE, {"metadata": {"finalizers": [], "annotations": {"kopf.zalando.org/y": "1"}}}),
        get(A),
    ),
    scene(
        "names that a store might mind",
        *(get(f"{NODES}/{name}") for name in ("a" * 300, "%2e%2e", "a%5Cb", "a%3Fb", "a%23b", "-", "a..b", "A", "%E2%82%AC")),
        *(put(f"{NODES}/{name}", {"metadata": {"name": name}}) for name in ("a" * 254, "-", "a..b", "A")),
        *(post(EVENTS, {"metadata": {"name": name}, "involvedObject": {}}) for name in ("A", "a_b", "a b", "a%b", ".", "a:b")),
        get(EVENTS),
    ),
)
