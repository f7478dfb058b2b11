"""Objects that are replaced, and their status."""

from typing import Any, Final

from tests.server.beside.asking import EVENTS, LEASES, NODES, Scene, get, post, put, scene

NODE: Final = {"apiVersion": "v1", "kind": "Node"}
LEASE: Final = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
EVENT: Final = {"apiVersion": "v1", "kind": "Event", "involvedObject": {}}
NOW: Final = "${0.metadata.resourceVersion}"
UID: Final = "${0.metadata.uid}"
OTHER: Final = "7f2f4b7e-0000-4000-8000-000000000000"
A: Final = NODES + "/a"


def _node(**metadata: Any) -> dict[str, Any]:
    return {**NODE, "metadata": {"name": "a", **metadata}}


_READY: Final = {"conditions": [{"type": "Ready", "status": "True"}]}

SCENES: Final[tuple[Scene, ...]] = (
    scene(
        "revisions of a node that is put",
        post(NODES, _node()),
        put(A, _node(resourceVersion=NOW, labels={"x": "1"})),
        put(A, _node(resourceVersion=NOW, labels={"x": "2"})),
        put(A, _node(labels={"x": "3"})),
        put(A, _node(labels={"x": "3"})),
        put(A, _node(resourceVersion="0", labels={"x": "4"})),
        put(A, _node(resourceVersion="odd")),
        put(A, _node(resourceVersion="")),
        put(A, _node(resourceVersion="999999999")),
        put(A, _node(resourceVersion=5)),
        get(A),
    ),
    scene(
        "a node that is put is that node",
        post(NODES, _node(labels={"x": "1"})),
        put(A, {**NODE, "metadata": {"name": "b"}}),
        put(A, {**NODE, "metadata": {}}),
        put(A, NODE),
        put(A, _node(uid=OTHER)),
        put(A, _node(uid=UID)),
        put(A, _node(uid=OTHER, resourceVersion="1")),
        put(A, _node(namespace="default")),
        put(A, _node(creationTimestamp="2020-01-01T00:00:00Z")),
        put(A, _node(creationTimestamp=None)),
        put(A, _node(deletionTimestamp="2020-01-01T00:00:00Z")),
        put(A, _node(generateName="made-")),
        put(A, _node(generation=5, selfLink="/x")),
        put(NODES + "/b", {**NODE, "metadata": {"name": "b"}}),
        put(NODES + "/b", {**NODE, "metadata": {"name": "b", "resourceVersion": "1"}}),
        put(NODES + "/b", {**NODE, "metadata": {"name": "c"}}),
        put(NODES + "/A_b", {**NODE, "metadata": {"name": "A_b"}}),
        get(A),
    ),
    scene(
        "a node's status is not the node",
        post(NODES, {**_node(), "spec": {"podCIDR": "10.0.0.0/24"}, "status": _READY}),
        put(A, {**_node(), "status": {"conditions": []}}),
        put(A, {**_node(), "spec": {"podCIDR": "10.0.1.0/24"}}),
        put(A, {**_node(), "spec": {"podCIDR": "10.0.0.0/24", "providerID": "x://1"}}),
        put(A, {**_node(), "spec": {"podCIDR": "10.0.0.0/24", "providerID": "x://2"}}),
        put(A, {**_node(), "spec": {}}),
        put(A + "/status", {**_node(labels={"y": "1"}), "spec": {"unschedulable": True}, "status": {}}),
        put(A + "/status", {**_node(), "status": _READY}),
        put(A + "/status", {**_node(resourceVersion="1"), "status": _READY}),
        put(A + "/status", {**NODE, "metadata": {"name": "b"}, "status": _READY}),
        put(A + "/status", {**_node(uid=OTHER), "status": _READY}),
        put(A + "/status", {**_node(finalizers=["k3/x"]), "status": _READY}),
        put(A + "/status?dryRun=All", {**_node(), "status": {"phase": "Running"}}),
        put(NODES + "/b/status", {**NODE, "metadata": {"name": "b"}, "status": _READY}),
        put(A + "/odd", _node()),
        get(A + "/status"),
        get(A),
    ),
    scene(
        "a lease that is put",
        post(LEASES, {**LEASE, "metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}}),
        put(LEASES + "/a", {**LEASE, "metadata": {"name": "a"}, "spec": {"holderIdentity": "you"}}),
        put(LEASES + "/a", {**LEASE, "metadata": {"name": "a", "resourceVersion": NOW}, "spec": {"holderIdentity": "you"}}),
        put(LEASES + "/a", {**LEASE, "metadata": {"name": "a", "resourceVersion": NOW}, "spec": {"holderIdentity": "she"}}),
        put(LEASES + "/a", {**LEASE, "metadata": {"name": "a", "resourceVersion": "0"}, "spec": {"holderIdentity": "he"}}),
        put(LEASES + "/a", {**LEASE, "metadata": {"name": "a", "resourceVersion": NOW, "uid": OTHER}, "spec": {}}),
        put(LEASES + "/b", {**LEASE, "metadata": {"name": "b"}, "spec": {"holderIdentity": "me"}}),
        put(LEASES + "/c", {**LEASE, "metadata": {"name": "c", "resourceVersion": "1"}, "spec": {}}),
        put(LEASES + "/d", {**LEASE, "metadata": {"name": "d", "uid": OTHER}, "spec": {}}),
        put(LEASES + "/e", {**LEASE, "metadata": {"name": "x"}, "spec": {}}),
        put(LEASES + "/f", {**LEASE, "metadata": {"name": "f", "namespace": "kube-system"}, "spec": {}}),
        put(LEASES + "/g", {**LEASE, "metadata": {}, "spec": {}}),
        put(LEASES + "/h?dryRun=All", {**LEASE, "metadata": {"name": "h"}, "spec": {}}),
        put(LEASES.replace("default", "nowhere") + "/a", {**LEASE, "metadata": {"name": "a"}}),
        put(LEASES + "/a/status", {**LEASE, "metadata": {"name": "a"}}),
        get(LEASES),
    ),
    scene(
        "an event that is put",
        post(EVENTS, {**EVENT, "metadata": {"name": "a"}, "reason": "R"}),
        put(EVENTS + "/a", {**EVENT, "metadata": {"name": "a"}, "reason": "S"}),
        put(EVENTS + "/a", {**EVENT, "metadata": {"name": "a", "resourceVersion": NOW}, "reason": "T"}),
        put(EVENTS + "/a", {**EVENT, "metadata": {"name": "a"}, "involvedObject": {"name": "x"}, "reason": "T"}),
        put(EVENTS + "/b", {**EVENT, "metadata": {"name": "b"}, "reason": "R"}),
        put(EVENTS + "/c", {**EVENT, "metadata": {"name": "c", "resourceVersion": "1"}, "reason": "R"}),
        get(EVENTS),
    ),
    scene(
        "options of a put",
        post(NODES, _node()),
        put(A + "?dryRun=All", _node(labels={"x": "1"})),
        put(A + "?dryRun=Odd", _node(labels={"x": "1"})),
        put(A + "?fieldValidation=Strict", {**_node(), "odd": 1}),
        put(A, {**_node(), "odd": 1}),
        put(A + "?fieldManager=me", _node(labels={"x": "1"})),
        put(A + "?fieldManager=" + "m" * 129, _node()),
        put(A + "?force=true", _node(labels={"x": "1"})),
        put(A, ""),
        put(A, "null"),
        put(A, "[]"),
        put(A, _node(), Content_Type=None),
        put(A, _node(), Content_Type="text/plain"),
        put(A, {**LEASE, "metadata": {"name": "a"}}),
        put(A, _node(labels={"a b": "x"})),
        put(A, "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n", Content_Type="application/yaml"),
        get(A),
    ),
)
