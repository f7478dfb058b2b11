"""OpenAPI v3 of what the server serves: from it kubectl learns how to check, explain and patch objects.

Types and their descriptions are those of the models, paths and verbs those of the table of resources. A document is made when
it is first asked for. Its hash, by which clients keep it, is that of the versions it is made from.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import k3
from k3.core.objects import Kind
from k3.server import status
from k3.server.resources import POD, RESOURCES, Resource
from k3.server.schema import facts, operations, types
from k3.server.schema.kinds import EVICTION, REVIEWS
from k3.server.schema.models import Field, NoSuchType, model

Schema = dict[str, Any]

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PLAIN: Final[dict[str, Schema]] = {
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer", "format": "int64"},
}
_ZERO: Final = {"str": "", "bool": False, "int": 0}
_NAMED: Final[dict[str, tuple[str, Schema]]] = {
    "meta_v1.Time": (
        f"{_META}.Time",
        {"description": "A time (RFC 3339), in seconds.", "type": "string", "format": "date-time"},
    ),
    "meta_v1.MicroTime": (
        f"{_META}.MicroTime",
        {"description": "A time (RFC 3339), in microseconds.", "type": "string", "format": "date-time"},
    ),
    "meta_v1.FieldsV1": (f"{_META}.FieldsV1", {"description": "A set of fields, as a tree.", "type": "object"}),
    "meta_v1.Patch": (f"{_META}.Patch", {"description": "The body of a patch.", "type": "object"}),
    "resource.Quantity": (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        {"description": "A number with a suffix: `500m`, `16Gi`.", "oneOf": [{"type": "string"}, {"type": "number"}]},
    ),
    "util_intstr.IntOrString": (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {"description": "A number or a text.", "format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    ),
    "runtime.RawExtension": (
        "io.k8s.apimachinery.pkg.runtime.RawExtension",
        {"description": "An object of any kind.", "type": "object"},
    ),
}
"""Types that the models have only as names."""


@cache
def index() -> dict[str, Any]:
    """Returns what `/openapi/v3` answers: where the document of each group and version is."""
    return {
        "paths": {where: {"serverRelativeURL": f"/openapi/v3/{where}?hash={hash_of(where)}"} for where in _kinds_by_place()}
    }


def hash_of(where: str) -> str:
    """Returns the hash of a document (`api/v1`), which is also its ETag. Raises Refused (404) where there is none."""
    if where not in _kinds_by_place():
        raise status.no_such_resource()
    from importlib.metadata import version  # noqa: PLC0415 - takes longer to load than all else here

    made_from = f"{where} {k3.__version__} {version('lightkube-models')}"
    return hashlib.sha256(made_from.encode()).hexdigest().upper()


@cache
def document(where: str) -> bytes:
    """Returns a document: `api/v1`, `apis/coordination.k8s.io/v1`. Raises Refused (404) where there is none."""
    hash_of(where)
    kinds = _kinds_by_place()[where]
    paths: dict[str, Any] = {}
    for resource in RESOURCES:
        if resource.kind in kinds:
            paths |= operations.of_resource(resource, schema_name(types.of_kind(resource.kind)))
    for kind in REVIEWS:
        if kind in kinds:
            paths |= operations.of_review(kind, schema_name(types.of_kind(kind)))
    if POD in kinds:
        paths |= operations.of_eviction(POD, EVICTION, schema_name(types.of_kind(EVICTION)))
    schemas = dict(sorted(_schemas(kinds)))
    made = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "1.37"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas},
    }
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()


@cache
def _kinds_by_place() -> dict[str, list[Kind]]:
    found: dict[str, list[Kind]] = {}
    for kind in (*map(_kind, RESOURCES), *REVIEWS, EVICTION):
        found.setdefault(f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}", []).append(kind)
    return found


def _kind(resource: Resource) -> Kind:
    return resource.kind


def _schemas(kinds: list[Kind]) -> Iterator[tuple[str, Schema]]:
    """Yields the types of kinds, of their lists, and all that they are made of."""
    waiting = ["meta_v1.DeleteOptions", "meta_v1.Status", "meta_v1.Patch"]
    own = {types.of_kind(kind): kind for kind in kinds}
    if POD in kinds:
        own[types.of_kind(EVICTION)] = EVICTION
    for name in tuple(own):
        waiting += [name, f"{name}List"]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            made, inner = _schema(name)
        except NoSuchType:  # a review has no list
            continue
        kind = own.get(name) or own.get(name.removesuffix("List"))
        if kind is not None:
            named = {"group": kind.group, "kind": name.partition(".")[2], "version": kind.version}
            made["x-kubernetes-group-version-kind"] = [named]
        waiting += inner
        yield schema_name(name), made


def schema_name(type_name: str) -> str:
    """Returns the name that Kubernetes gives a type: `io.k8s.api.core.v1.Node`."""
    if type_name in _NAMED:
        return _NAMED[type_name][0]
    module, _, name = type_name.partition(".")
    group, _, version = module.partition("_")
    return f"{_META}.{name}" if group == "meta" else f"io.k8s.api.{group}.{version}.{name}"


def _schema(type_name: str) -> tuple[Schema, list[str]]:
    """Returns the schema of a type, and the types that it names. Raises NoSuchType."""
    if type_name in _NAMED:
        return dict(_NAMED[type_name][1]), []
    found = model(type_name)
    inner: list[str] = []
    properties = {each.name: _property(found.name, each, inner) for each in found.fields}
    made: Schema = {"description": found.description, "type": "object"}
    required = [each.name for each in found.fields if each.required]
    if required:
        made["required"] = required
    return made | {"properties": properties}, inner


def _property(struct: str, field: Field, inner: list[str]) -> Schema:
    fact = facts.fact(struct, field.name)
    about: Schema = {"description": field.description} if field.description else {}
    if field.type.startswith("List["):
        return about | {"type": "array", "items": _item(field.type[5:-1], inner)} | _merging(f"{struct}.{field.name}")
    if field.type == "dict":
        return about | {"type": "object", "additionalProperties": _value(fact.go, inner)}
    if field.type in _PLAIN:
        made = about | _PLAIN[field.type]
        if fact.go == "int32":
            made["format"] = "int32"
        return made | ({"default": _ZERO[field.type]} if field.required else {})
    default: Schema = {"default": {}} if fact.number and not fact.pointer and field.type not in _NAMED else {}
    return about | default | {"allOf": [_item(field.type, inner)]}


def _item(type_name: str, inner: list[str]) -> Schema:
    if type_name in _PLAIN:
        return dict(_PLAIN[type_name])
    inner.append(type_name)
    return {"$ref": f"#/components/schemas/{schema_name(type_name)}"}


def _value(go: str, inner: list[str]) -> Schema:
    """Returns the schema of the values of a map."""
    if go == "v1.ResourceList":
        return _item("resource.Quantity", inner)
    if go == "map[string]v1.ExtraValue":
        return {"type": "array", "items": {"type": "string"}}
    return {"type": "string", "format": "byte"} if go == "map[string][]uint8" else {"type": "string"}


def _merging(where: str) -> Schema:
    """Returns how a patch and an apply merge a list: as a whole, unless `facts.LISTS` says otherwise."""
    key = facts.LISTS.get(where)
    if where.endswith("List.items"):
        return {}
    if key is None:
        return {"x-kubernetes-list-type": "atomic"}
    if not key:
        return {"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"}
    return {
        "x-kubernetes-list-map-keys": [key],
        "x-kubernetes-list-type": "map",
        "x-kubernetes-patch-merge-key": key,
        "x-kubernetes-patch-strategy": "merge",
    }
