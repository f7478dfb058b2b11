"""Objects that are deleted, one by one and many at once."""

from typing import Any, Final

from tests.server.beside.asking import (
    EVENTS,
    JSON_PATCH,
    LEASES,
    MERGE,
    NODES,
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
OTHER: Final = "7f2f4b7e-0000-4000-8000-000000000000"


def _node(name: str = "a", **metadata: Any) -> Ask:
    return post(NODES, {"metadata": {"name": name, **metadata}})


def _lease(name: str) -> Ask:
    return post(LEASES, {"metadata": {"name": name, "labels": {"x": name}}})


def _options(**parts: Any) -> dict[str, Any]:
    return {"kind": "DeleteOptions", "apiVersion": "v1", **parts}


SCENES: Final[tuple[Scene, ...]] = (
    scene(
        "a node is deleted",
        _node(),
        delete(A),
        delete(A),
        get(A),
        _node(),
        delete(A, "{}"),
        post(LEASES, {"metadata": {"name": "a"}}),
        delete(LEASES + "/a"),
        delete(LEASES + "/a"),
        post(EVENTS, {"metadata": {"name": "a"}, "involvedObject": {}}),
        delete(EVENTS + "/a"),
        delete(NODES + "/A_b"),
        delete("/api/v1/namespaces/nowhere/events/a"),
    ),
    scene(
        "preconditions",
        _node(),
        delete(A, _options(preconditions={"uid": OTHER})),
        delete(A, _options(preconditions={"resourceVersion": "1"})),
        delete(A, _options(preconditions={"uid": OTHER, "resourceVersion": "1"})),
        delete(A, _options(preconditions={"uid": "", "resourceVersion": "1"})),
        delete(A, _options(preconditions={"uid": ""})),
        _node(),
        delete(A, _options(preconditions={"uid": "${6.metadata.uid}", "resourceVersion": "${6.metadata.resourceVersion}"})),
        delete(A, _options(preconditions={"uid": OTHER})),
    ),
    scene(
        "options in the body",
        _node(),
        delete(A, _options(dryRun=["All"])),
        delete(A, _options(dryRun=["Odd"])),
        delete(A, _options(propagationPolicy="Odd")),
        delete(A, _options(propagationPolicy="Foreground", orphanDependents=True)),
        delete(A, _options(gracePeriodSeconds=-5, dryRun=["All"])),
        delete(A, _options(gracePeriodSeconds="5")),
        delete(A, {"kind": "Odd", "apiVersion": "v1"}),
        delete(A, {"kind": "DeleteOptions", "apiVersion": "odd/v1", "dryRun": ["All"]}),
        delete(A, {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"]}),
        delete(A, {"dryRun": ["All"], "odd": 1}),
        delete(A, "[]"),
        delete(A, "null"),
        _node(),
        delete(A, "text"),
        delete(A, "{"),
        delete(A, _options(dryRun=["All"]), Content_Type="text/plain"),
        delete(A, _options(dryRun=["All"]), Content_Type=None),
        delete(A, None, Content_Type="text/plain"),
        _node(),
        delete(A, "kind: DeleteOptions\napiVersion: v1\ndryRun: [All]\n", Content_Type="application/yaml"),
        delete(A, _options(ignoreStoreReadErrorWithClusterBreakingPotential=True)),
        get(A),
    ),
    scene(
        "options in the query",
        _node(),
        delete(A + "?dryRun=All"),
        delete(A + "?dryRun=Odd"),
        delete(A + "?propagationPolicy=Odd"),
        delete(A + "?gracePeriodSeconds=odd"),
        delete(A + "?gracePeriodSeconds=0&dryRun=All"),
        delete(A + "?orphanDependents=true&propagationPolicy=Orphan"),
        delete(A + "?propagationPolicy=Background&dryRun=All"),
        delete(A + "?resourceVersion=1&dryRun=All"),
        delete(A + "?dryRun=All", _options()),
        _node(),
        delete(A + "?dryRun=Odd", _options(dryRun=["All"])),
        delete(NODES + "/b?dryRun=All"),
        get(A),
    ),
    scene(
        "policies",
        _node(),
        delete(A + "?propagationPolicy=Background"),
        _node(),
        delete(A + "?gracePeriodSeconds=30"),
        _node(),
        delete(A, _options(propagationPolicy="Background", gracePeriodSeconds=0)),
    ),
    scene("policies of a garbage collector", _node(), delete(A + "?propagationPolicy=Foreground"), get(A)),
    scene(
        "policies of a garbage collector that is to keep its hands off", _node(), delete(A + "?orphanDependents=odd"), get(A)
    ),
    scene(
        "finalizers",
        _node(finalizers=["k3/x"]),
        delete(A),
        get(A),
        delete(A),
        patch(A, MERGE, {"metadata": {"labels": {"y": "1"}}}),
        patch(A, MERGE, {"metadata": {"finalizers": ["k3/x", "k3/y"]}}),
        put(A, {"metadata": {"name": "a", "finalizers": ["k3/x"]}}),
        post(NODES, {"metadata": {"name": "a"}}),
        delete(A + "?dryRun=All"),
        patch(A + "?dryRun=All", JSON_PATCH, [{"op": "remove", "path": "/metadata/finalizers"}]),
        get(A),
        patch(A, JSON_PATCH, [{"op": "remove", "path": "/metadata/finalizers"}]),
        get(A),
    ),
    scene(
        "many at once",
        _lease("a"),
        _lease("b"),
        _lease("c"),
        delete(LEASES + "?dryRun=All"),
        delete(LEASES + "?labelSelector=x=a"),
        delete(LEASES + "?fieldSelector=metadata.name=b"),
        delete(LEASES + "?labelSelector=(("),
        delete(LEASES + "?fieldSelector=spec.x=1"),
        delete(LEASES + "?labelSelector=x=nothing"),
        get(LEASES),
        delete(LEASES + "?limit=odd"),
        delete(LEASES + "?dryRun=Odd"),
        delete(LEASES, _options(preconditions={"uid": OTHER})),
        delete(LEASES, "text"),
        delete(LEASES),
        delete(LEASES),
        get(LEASES),
        delete("/apis/coordination.k8s.io/v1/leases"),
        delete("/api/v1/events"),
        delete(LEASES + "?watch=1"),
    ),
    scene(
        "nodes, many at once",
        _node("a", labels={"x": "1"}),
        _node("b"),
        delete(NODES + "?labelSelector=x"),
        delete(NODES),
        get(NODES),
    ),
    scene(
        "many at once, some with finalizers",
        _node("a", finalizers=["k3/x"]),
        _node("b"),
        delete(NODES),
        get(NODES),
    ),
    scene(
        "deletes in other forms",
        _node(),
        delete(A, Accept="text/html"),
        get(A),
        delete(A, Accept=TABLE),
        _node(),
        delete(A, Accept=PARTIAL),
        _lease("a"),
        delete(LEASES, Accept=TABLE),
    ),
    scene(
        "what cannot be deleted",
        delete(A + "/status"),
        _node(),
        delete(A + "/status"),
        delete("/api/v1/namespaces/default/status"),
    ),
)
