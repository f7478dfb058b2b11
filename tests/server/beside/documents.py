"""What the server says of itself, what it is asked about its users, and methods that are not served."""

from typing import Any, Final

from tests.server.beside.asking import LEASES, NODES, Ask, Scene, get, post, scene

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
ACCESS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES: Final = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
WHO: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def _ask(method: str, path: str, body: Any = None) -> Ask:
    return Ask(method=method, path=path, body=body)


SCENES: Final[tuple[Scene, ...]] = (
    scene(
        "documents",
        get("/api"),
        get("/api/"),
        get("/api", Accept="text/html"),
        get("/apis", Accept="text/html"),
        get("/apis/coordination.k8s.io"),
        get("/apis/coordination.k8s.io/v1"),
        get("/apis/coordination.k8s.io/v1/"),
        get("/apis/coordination.k8s.io/v1", Accept="text/html"),
        get("/healthz"),
        get("/livez"),
        get("/readyz"),
        get("/healthz/ping"),
        get("/healthz/odd"),
        get("/readyz?verbose=1&exclude=odd", Accept="text/html"),
        get("/apis", Accept="application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList"),
        get("/api", Accept="application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
    ),
    scene(
        "methods that are not served",
        _ask("POST", "/api", {}),
        _ask("PUT", "/apis", {}),
        _ask("DELETE", "/api/v1"),
        _ask("POST", "/version", {}),
        _ask("DELETE", "/healthz"),
        _ask("PUT", NODES, {}),
        _ask("PATCH", NODES, {}),
        _ask("POST", NODES + "/a", {}),
        _ask("POST", NODES + "/a/status", {}),
        _ask("DELETE", NODES + "/a/status"),
        _ask("OPTIONS", NODES),
        _ask("OPTIONS", NODES + "/a"),
        _ask("ODD", NODES),
        _ask("TRACE", NODES),
        _ask("CONNECT", NODES),
        _ask("get", NODES),
        _ask("POST", "/odd", {}),
        _ask("PUT", "/apis/odd/v1/x", {}),
        _ask("PUT", "/apis/coordination.k8s.io/v1/leases", {}),
        _ask("POST", LEASES + "/a", {}),
        _ask("PUT", "/apis/coordination.k8s.io/v1/leases/a", {}),
        _ask("GET", WHO),
        _ask("GET", ACCESS),
        _ask("DELETE", WHO),
        _ask("GET", WHO + "/a"),
    ),
    scene(
        "HEAD",
        post(NODES, {"metadata": {"name": "a"}}),
        _ask("HEAD", NODES + "/a"),
        _ask("HEAD", NODES + "/b"),
        _ask("HEAD", NODES),
        _ask("HEAD", NODES + "?limit=odd"),
        _ask("HEAD", "/api"),
        _ask("HEAD", "/version"),
        _ask("HEAD", "/healthz"),
        _ask("HEAD", "/odd"),
    ),
    scene(
        "reviews",
        post(ACCESS, {"spec": {"resourceAttributes": {"verb": "get", "resource": "nodes"}}}),
        post(ACCESS, {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {}}),
        post(ACCESS, {}),
        post(ACCESS, ""),
        post(ACCESS, "[]"),
        post(ACCESS, {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/healthz"}}}),
        post(
            ACCESS,
            {
                "spec": {
                    "resourceAttributes": {"verb": "get", "resource": "nodes"},
                    "nonResourceAttributes": {"verb": "get", "path": "/"},
                }
            },
        ),
        post(ACCESS, {"metadata": {"name": "a"}, "spec": {"resourceAttributes": {"verb": "get", "resource": "nodes"}}}),
        post(ACCESS, {"kind": "Node", "apiVersion": "v1"}),
        post(ACCESS, {"spec": {"odd": 1, "resourceAttributes": {"verb": "get", "resource": "nodes"}}}),
        post(ACCESS + "?fieldValidation=Strict", {"spec": {"odd": 1, "resourceAttributes": {"verb": "get"}}}),
        post(ACCESS, {"spec": {"resourceAttributes": {"verb": "get"}}}, Accept="application/json;as=Table;v=v1;g=meta.k8s.io"),
        post(ACCESS, {"spec": {"resourceAttributes": {"verb": "get"}}}, Accept="text/html"),
        post(ACCESS, {"spec": {"resourceAttributes": {"verb": "get"}}}, Content_Type="text/plain"),
        post(ACCESS + "?dryRun=All", {"spec": {"resourceAttributes": {"verb": "get"}}}),
        post(ACCESS + "?dryRun=Odd", {"spec": {"resourceAttributes": {"verb": "get"}}}),
        post(RULES, {"spec": {}}),
        post(RULES, {"spec": {"namespace": ""}}),
        post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {}}),
        post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {}}),
        post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "odd"}}),
        post("/apis/authentication.k8s.io/v1/odd", {"spec": {}}),
    ),
    scene(
        "evictions",
        post("/api/v1/namespaces/default/pods/a/eviction", {"metadata": {"name": "a", "namespace": "default"}}),
        get("/api/v1/namespaces/default/pods/a/eviction"),
        post("/api/v1/namespaces/default/pods/a/eviction", {"metadata": {"name": "b"}}),
        post("/api/v1/namespaces/default/pods/a/odd", {}),
    ),
)
