"""What the API says of itself: versions, groups, resources, in today's form and in the older one. Pure."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from k3.server.resources import RESOURCES, Resource
from k3.server.schema.kinds import REVIEWS

VERSION: Final = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": f"python{sys.version_info.major}.{sys.version_info.minor}",
    "compiler": "k3",
    "platform": "linux/amd64",
}
"""The version of Kubernetes whose API this is: clients compare it with their own, and look up what they may expect."""


@cache
def group_versions() -> dict[str, str]:
    """Returns the groups that are served besides the core one, with their version."""
    named = [each.kind.group for each in RESOURCES if each.kind.group] + [kind.group for kind in REVIEWS]
    return dict.fromkeys(sorted(named), "v1")


def _resource_rows(group: str) -> Iterator[dict[str, Any]]:
    for each in RESOURCES:
        if each.kind.group == group:
            yield _row(each)
            for subresource in each.subresources:
                verbs = ["get", "patch", "update"]
                yield _bare(each.kind.plural + "/" + subresource, each.kind.name, verbs, namespaced=each.kind.namespaced)
    if not group:
        eviction = _bare("pods/eviction", "Eviction", ["create"], namespaced=True)
        yield {**eviction, "group": "policy", "version": "v1"}
    for kind in REVIEWS:  # a question that is asked by creating an object
        if kind.group == group:
            yield {**_bare(kind.plural, kind.name, ["create"], namespaced=False), "singularName": kind.name.lower()}


def _row(each: Resource) -> dict[str, Any]:
    row = _bare(each.kind.plural, each.kind.name, list(each.verbs), namespaced=each.kind.namespaced)
    row["singularName"] = each.singular
    if each.short_names:
        row["shortNames"] = list(each.short_names)
    if each.categories:
        row["categories"] = list(each.categories)
    return row


def _bare(name: str, kind: str, verbs: list[str], *, namespaced: bool) -> dict[str, Any]:
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs}


def resource_list(group: str) -> dict[str, Any]:
    """Returns the resources of one group."""
    group_version = f"{group}/v1" if group else "v1"
    head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version}
    return (
        {**head, "resources": list(_resource_rows(group))}
        if group
        else {"kind": "APIResourceList", "groupVersion": group_version, "resources": list(_resource_rows(group))}
    )


def versions(address: str) -> dict[str, Any]:
    """Returns the versions of the core group, for a client that reached the server at an address."""
    places = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": places}


def group(name: str) -> dict[str, Any]:
    """Returns one group."""
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def one_group(name: str) -> dict[str, Any]:
    """Returns one group as an answer by itself."""
    return {"kind": "APIGroup", "apiVersion": "v1", **group(name)}


def groups() -> dict[str, Any]:
    """Returns all groups but the core one."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in group_versions()]}


def aggregated(*, core: bool) -> dict[str, Any]:
    """Returns groups with all their resources in one answer: of `/api` the core one, of `/apis` the others."""
    names = [""] if core else list(group_versions())
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
            "versions": [{"version": "v1", "resources": _aggregated_rows(name), "freshness": "Current"}],
        }
        for name in names
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_rows(group_name: str) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for row in _resource_rows(group_name):
        plural, _, subresource = row["name"].partition("/")
        kind = {"group": row.get("group", group_name), "version": "v1", "kind": row["kind"]}
        if subresource:
            below = {"subresource": subresource, "responseKind": kind, "verbs": row["verbs"]}
            rows[plural].setdefault("subresources", []).append(below)
            continue
        rows[plural] = {
            "resource": plural,
            "responseKind": kind,
            "scope": "Namespaced" if row["namespaced"] else "Cluster",
            "singularResource": row["singularName"],
            "verbs": row["verbs"],
        }
        rows[plural] |= {name: row[name] for name in ("shortNames", "categories") if name in row}
    return list(rows.values())


def document(path: tuple[str, ...], address: str) -> dict[str, Any] | None:
    """Returns what is said of the API at a path; None where that is no such path."""
    if (made := _FIXED.get(path)) is not None:
        return made()
    match path:
        case ("api",):
            return versions(address)
        case ("apis", name) if name in group_versions():
            return one_group(name)
        case ("apis", name, "v1") if name in group_versions():
            return resource_list(name)
    return None


def is_unknown(path: tuple[str, ...]) -> bool:
    """Whether nothing at all is served at a path and below: no group of the API's, no document."""
    if path[:1] == ("apis",):
        return len(path) > 1 and path[1] not in group_versions()
    return path[:1] != ("api",) and path not in _FIXED


_PATHS: Final = [
    "/api",
    "/api/v1",
    "/apis",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/readyz",
    "/version",
]
_FIXED: Final[dict[tuple[str, ...], Callable[[], dict[str, Any]]]] = {
    (): lambda: {"paths": _PATHS},
    ("version",): lambda: dict(VERSION),
    ("apis",): groups,
    ("api", "v1"): lambda: resource_list(""),
}
