"""Watches: each goes on for a second."""

from typing import Final

from tests.server.beside.asking import EVENTS, LEASES, MERGE, NODES, Ask, Scene, delete, get, patch, post, scene
from tests.server.beside.reading import PARTIAL, TABLE


def _node(name: str, **labels: str) -> Ask:
    return post(NODES, {"metadata": {"name": name, "labels": labels}})


def _watch(query: str = "", path: str = NODES, **headers: str | None) -> Ask:
    return get(f"{path}?watch=1&timeoutSeconds=1{query and '&' + query}", **headers)


_SINCE: Final = "resourceVersion=${0.metadata.resourceVersion}"
_INITIAL: Final = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"

SCENES: Final[tuple[Scene, ...]] = (
    scene(
        "a watch of what is there",
        _node("a"),
        _node("b"),
        _watch(),
        _watch("resourceVersion=0"),
        _watch("fieldSelector=metadata.name=b"),
        _watch("allowWatchBookmarks=true"),
        _watch("allowWatchBookmarks=true&resourceVersion=0"),
    ),
    scene(
        "a watch of what has changed",
        _node("a", x="1"),
        _node("b"),
        patch(NODES + "/a", MERGE, {"metadata": {"labels": {"x": "2"}}}),
        delete(NODES + "/b"),
        _watch(_SINCE),
        _watch(_SINCE + "&labelSelector=x=1"),
        _watch(_SINCE + "&labelSelector=x=2"),
        _watch(_SINCE + "&fieldSelector=metadata.name=b"),
        _watch(_SINCE, Accept=TABLE),
        _watch(_SINCE, Accept=PARTIAL),
        _watch(_SINCE + "&includeObject=None", Accept=TABLE),
    ),
    scene(
        "a watch that tells when it has told all",
        _node("a"),
        _watch(_INITIAL + "&allowWatchBookmarks=true"),
        _watch(_INITIAL),
        _watch(_INITIAL + "&allowWatchBookmarks=true&resourceVersion=0"),
        _watch(_INITIAL + "&allowWatchBookmarks=true&" + _SINCE),
        _watch(_INITIAL + "&allowWatchBookmarks=true", Accept=TABLE),
        _watch(_INITIAL + "&allowWatchBookmarks=true", Accept=PARTIAL),
        _watch(_INITIAL + "&allowWatchBookmarks=true", path=LEASES),
        _watch(_INITIAL + "&allowWatchBookmarks=true", path="/api/v1/namespaces/default/pods"),
        _watch("sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"),
        _watch("sendInitialEvents=false&resourceVersionMatch=NotOlderThan&" + _SINCE),
    ),
    scene(
        "watches that cannot be",
        _node("a"),
        _watch("sendInitialEvents=true"),
        _watch("sendInitialEvents=false"),
        _watch("sendInitialEvents=true&resourceVersionMatch=Exact"),
        _watch("resourceVersionMatch=NotOlderThan"),
        _watch("resourceVersionMatch=Exact&resourceVersion=1"),
        _watch("resourceVersionMatch=Odd"),
        _watch("sendInitialEvents=odd"),
        _watch("resourceVersion=odd"),
        _watch("resourceVersion=-1"),
        _watch("limit=1"),
        _watch("continue=odd"),
        _watch("labelSelector=(("),
        _watch("fieldSelector=spec.foo=1"),
        _watch(Accept="text/html"),
        _watch("includeObject=Odd", Accept=TABLE),
        get(NODES + "?watch=1&timeoutSeconds=odd"),
        get(NODES + "?watch=1&timeoutSeconds=-1&resourceVersion=odd"),
        _watch("allowWatchBookmarks=odd"),
    ),
    scene(
        "old forms of a watch",
        _node("a"),
        _node("b"),
        get("/api/v1/watch/nodes?timeoutSeconds=1"),
        get("/api/v1/watch/nodes/a?timeoutSeconds=1"),
        get("/api/v1/watch/namespaces/default/events?timeoutSeconds=1"),
        get(NODES + "/a?watch=1&timeoutSeconds=1"),
        get(NODES + "?watch=True&timeoutSeconds=1"),
        get("/api/v1/watch/odd?timeoutSeconds=1"),
        post("/api/v1/watch/nodes", {}),
        get(NODES + "/b?watch=true&timeoutSeconds=1&resourceVersion=${0.metadata.resourceVersion}"),
    ),
    scene(
        "watches of namespaces",
        post(EVENTS, {"metadata": {"name": "a"}, "involvedObject": {}}),
        _watch(path=EVENTS),
        _watch("allowWatchBookmarks=true", path="/api/v1/namespaces/nowhere/events"),
        _watch("fieldSelector=metadata.name=default", path="/api/v1/namespaces"),
    ),
    scene("a watch of a revision to come", _watch("resourceVersion=9000000000000000000")),
)
