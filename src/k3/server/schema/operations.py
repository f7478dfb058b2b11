"""The operations of OpenAPI: for each path what may be done, with which parameters, on which kind. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from k3.core.objects import Kind
from k3.server.resources import Resource

Operations = dict[str, Any]

_TEXT: Final = {"type": "string", "uniqueItems": True}
_BOOL: Final = {"type": "boolean", "uniqueItems": True}
_NUMBER: Final = {"type": "integer", "uniqueItems": True}
_PARAMETERS: Final = {
    "dryRun": (_TEXT, "`All`: everything is done but storing."),
    "fieldManager": (_TEXT, "The name of who makes the change, in at most 128 printable characters."),
    "fieldValidation": (
        _TEXT,
        "What is done about fields that are unknown or there twice: `Ignore`, `Warn` (default), `Strict`.",
    ),
    "force": (_BOOL, "Fields that others own are taken over; for an apply only."),
    "gracePeriodSeconds": (_NUMBER, "How long the deletion waits."),
    "orphanDependents": (_BOOL, "Deprecated: see propagationPolicy."),
    "propagationPolicy": (_TEXT, "What becomes of dependents: `Orphan`, `Background`, `Foreground`."),
    "allowWatchBookmarks": (_BOOL, "A watch may send BOOKMARK events."),
    "continue": (_TEXT, "The token of the page before."),
    "fieldSelector": (_TEXT, "Only objects whose fields are so."),
    "labelSelector": (_TEXT, "Only objects whose labels are so."),
    "limit": (_NUMBER, "At most so many objects in one answer."),
    "resourceVersion": (_TEXT, "As the objects were at a resourceVersion."),
    "resourceVersionMatch": (_TEXT, "How the resourceVersion is meant: `Exact`, `NotOlderThan`."),
    "sendInitialEvents": (_BOOL, "A watch begins with what is there."),
    "timeoutSeconds": (_NUMBER, "How long a list or a watch lasts."),
    "watch": (_BOOL, "Changes are sent as they come."),
    "pretty": (_TEXT, "The answer is indented."),
}
_WRITING: Final = ("dryRun", "fieldManager", "fieldValidation")
_PATCHING: Final = (*_WRITING, "force")
_DELETING: Final = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_LISTING: Final = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_PATCHES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_METHODS: Final = {"post": "create", "get": "read", "put": "replace", "patch": "patch", "delete": "delete", "list": "list"}


def of_resource(resource: Resource, schema: str) -> dict[str, Operations]:
    """Returns the paths of a resource, and the operations at each."""
    kind = resource.kind
    base, scope = _base(kind), "namespaces/{namespace}/" if kind.namespaced else ""
    collection = f"{base}/{scope}{kind.plural}"
    paths: dict[str, Operations] = {collection: _collection(resource, schema)}
    if kind.namespaced:
        paths[f"{base}/{kind.plural}"] = {"get": _listing(kind, schema), "parameters": [_query("pretty")]}
    verbs = [verb for verb in ("get", "update", "patch", "delete") if verb in resource.verbs]
    paths[f"{collection}/{{name}}"] = _item(kind, schema, verbs)
    for part in resource.subresources:
        changing = [verb for verb in verbs if verb != "delete"]
        paths[f"{collection}/{{name}}/{part}"] = _item(kind, schema, changing)
    return paths


def of_review(kind: Kind, schema: str) -> dict[str, Operations]:
    """Returns the path of a kind that is only ever sent."""
    return {f"{_base(kind)}/{kind.plural}": {"post": _operation(kind, "post", schema, _WRITING, body=schema)}}


def of_eviction(pod: Kind, kind: Kind, schema: str) -> dict[str, Operations]:
    """Returns the path at which a pod is evicted."""
    path = f"{_base(pod)}/namespaces/{{namespace}}/{pod.plural}/{{name}}/eviction"
    return {path: {"post": _operation(kind, "post", schema, _WRITING, body=schema), "parameters": _of_path(pod)}}


def _collection(resource: Resource, schema: str) -> Operations:
    kind = resource.kind
    found: Operations = {"get": _listing(kind, schema)}
    if "create" in resource.verbs:
        found["post"] = _operation(kind, "post", schema, _WRITING, body=schema)
    if "deletecollection" in resource.verbs:
        parameters = (*_DELETING, *_LISTING[1:-1])
        found["delete"] = _operation(kind, "deletecollection", f"{_META}.Status", parameters, body=f"{_META}.DeleteOptions")
    return found | {"parameters": _of_path(kind)[1:]}


def _listing(kind: Kind, schema: str) -> Operations:
    return _operation(kind, "list", f"{schema}List", _LISTING)


def _item(kind: Kind, schema: str, verbs: Sequence[str]) -> Operations:
    made = {
        "get": lambda: _operation(kind, "get", schema),
        "update": lambda: _operation(kind, "put", schema, _WRITING, body=schema),
        "patch": lambda: _operation(kind, "patch", schema, _PATCHING, body=f"{_META}.Patch"),
        "delete": lambda: _operation(kind, "delete", f"{_META}.Status", _DELETING, body=f"{_META}.DeleteOptions"),
    }
    methods = {"update": "put"}
    return {methods.get(verb, verb): made[verb]() for verb in verbs} | {"parameters": _of_path(kind)}


def _operation(kind: Kind, action: str, answer: str, parameters: tuple[str, ...] = (), *, body: str = "") -> Operations:
    found: Operations = {
        "tags": [f"{_group(kind)}_{kind.version}"],
        "description": f"{action} {kind.name}",
        "operationId": f"{_METHODS.get(action, action)}{_group(kind).title()}{kind.version.title()}{kind.name}",
        "responses": {"200": {"description": "OK", "content": _content(("application/json",), answer)}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.name},
    }
    if parameters:
        found["parameters"] = [_query(name) for name in parameters]
    if body:
        found["requestBody"] = {"content": _content(_PATCHES if action == "patch" else ("*/*",), body)}
    if action in {"post", "put", "patch"}:
        found["responses"]["201"] = {"description": "Created", "content": _content(("application/json",), answer)}
    return found


def _content(formats: tuple[str, ...], schema: str) -> dict[str, Any]:
    return {each: {"schema": {"$ref": f"#/components/schemas/{schema}"}} for each in formats}


def _query(name: str) -> dict[str, Any]:
    form, about = _PARAMETERS[name]
    return {"name": name, "in": "query", "description": about, "schema": form}


def _of_path(kind: Kind) -> list[dict[str, Any]]:
    """Returns the parameters of an object's path; those of its collection's are all but the first."""
    named = ("name", "namespace") if kind.namespaced else ("name",)
    about = {"name": f"The name of the {kind.name}.", "namespace": "The namespace it is in."}
    made = [{"name": each, "in": "path", "description": about[each], "required": True, "schema": _TEXT} for each in named]
    return [*made, _query("pretty")]


def _group(kind: Kind) -> str:
    return kind.group.partition(".")[0] or "core"


def _base(kind: Kind) -> str:
    return f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
