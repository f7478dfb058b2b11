"""Kubernetes' rules for `metadata` (apimachinery, `api/validation/objectmeta.go`), in its order. Pure."""

from typing import Any, Final

from k3.core import limits, name_rules
from k3.core.objects import Kind, Manifest
from k3.core.safe_text import quoted
from k3.server.schema.complaints import Complaints

_NOT_EMPTY: Final = "must not be empty"
_IMMUTABLE: Final = "field is immutable"
_ORPHAN: Final = "orphan"
_FOREGROUND: Final = "foregroundDeletion"
_SHOWN: Final = 16
"""Owners that a message shows; each that is one too many is told with all of them."""
_OPERATIONS: Final = ("Apply", "Update")


def check(found: Complaints, kind: Kind, metadata: Manifest, rule: name_rules.TextRule) -> None:
    """Notes what is wrong with the metadata of an object; `rule` is that of the names of its kind."""
    base = metadata.get("generateName", "")
    if base:
        prefix_rule = rule if rule is name_rules.path_segment else name_rules.any_prefix(rule)
        found.each_invalid("metadata.generateName", base, prefix_rule(base))
    name = metadata.get("name", "")
    if name:
        found.each_invalid("metadata.name", name, rule(name))
    else:
        found.required("metadata.name", "name or generateName is required")
    _check_namespace(found, kind, metadata.get("namespace", ""))
    _check_generation(found, metadata)
    _check_texts(found, metadata)
    finalizers = metadata.get("finalizers") or []
    for finalizer in finalizers:
        found.each_invalid("metadata.finalizers", finalizer, name_rules.label_key(finalizer))
    if _ORPHAN in finalizers and _FOREGROUND in finalizers:
        found.invalid("metadata.finalizers", finalizers, f"finalizer {_ORPHAN} and {_FOREGROUND} cannot be both set")
    _check_managed_fields(found, metadata)


def check_update(found: Complaints, metadata: Manifest, old: Manifest) -> None:
    """Notes what may not be changed so, beside `check`. What the server sets itself (creationTimestamp) is not looked at."""
    if old.get("deletionTimestamp"):
        stored = old.get("finalizers")
        known = {each for each in stored if isinstance(each, str)} if isinstance(stored, list) else set()
        added = sorted({each for each in metadata.get("finalizers") or () if each not in known})
        if added:
            shown = "[]string{" + ", ".join(map(quoted, added)) + "}"
            found.forbidden(
                "metadata.finalizers",
                f"no new finalizers can be added if the object is being deleted, found new finalizers {shown}",
            )
    for name in ("name", "namespace", "uid"):
        value = metadata.get(name, "")
        if value != old.get(name, "") and (value or name != "uid"):
            found.invalid(f"metadata.{name}", value, _IMMUTABLE)
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        value = metadata.get(name)
        if value is not None and value != old.get(name) and (name not in old or name != "deletionTimestamp"):
            found.invalid(f"metadata.{name}", value, _IMMUTABLE)


def _check_namespace(found: Complaints, kind: Kind, namespace: str) -> None:
    if not kind.namespaced:
        if namespace:
            found.forbidden("metadata.namespace", "not allowed on this type")
    elif namespace:
        found.each_invalid("metadata.namespace", namespace, name_rules.label(namespace))
    else:
        found.required("metadata.namespace")


def _check_generation(found: Complaints, metadata: Manifest) -> None:
    generation = metadata.get("generation", 0)
    if generation < 0:
        found.invalid("metadata.generation", generation, "must be greater than or equal to 0")


def _check_texts(found: Complaints, metadata: Manifest) -> None:
    for key, value in (metadata.get("labels") or {}).items():
        if found.is_full:
            return
        found.each_invalid("metadata.labels", key, name_rules.label_key(key))
        found.each_invalid("metadata.labels", value, name_rules.label_value(value))
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        found.each_invalid("metadata.annotations", key, name_rules.label_key(key.lower()))
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > limits.ANNOTATIONS_BYTES:
        found.too_long("metadata.annotations", limits.ANNOTATIONS_BYTES)
    _check_owners(found, metadata.get("ownerReferences") or [])


def _check_owners(found: Complaints, owners: list[Manifest]) -> None:
    first = ""
    for index, owner in enumerate(owners):
        if found.is_full:
            return
        _check_owner(found, f"metadata.ownerReferences[{index}]", owner)
        if owner.get("controller"):
            named = f"{owner['kind']}/{owner['name']}"
            if first:
                why = "Only one reference can have Controller set to true. "
                why += f'Found "true" in references for {first} and {named}'
                found.invalid("metadata.ownerReferences", list(map(_in_order, owners[:_SHOWN])), why)
            first = first or named


def _check_owner(found: Complaints, where: str, owner: Manifest) -> None:
    version = owner["apiVersion"]
    if not version:
        found.required(f"{where}.apiVersion", _NOT_EMPTY)
    elif version.count("/") > 1 or version.endswith("/"):
        found.invalid(f"{where}.apiVersion", version, "must be <group>/<version> or <version>")
    for name in ("kind", "name", "uid"):
        if not owner[name]:
            found.required(f"{where}.{name}", _NOT_EMPTY)
    if (version, owner["kind"]) == ("v1", "Event"):
        found.invalid(where, _in_order(owner), "/v1, Kind=Event is disallowed from being an owner")


def _in_order(owner: Manifest) -> Manifest:
    """Returns an owner with its fields in the order in which Go writes them."""
    order = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
    return {name: owner[name] for name in order if name in owner}


def _check_managed_fields(found: Complaints, metadata: Manifest) -> None:
    for index, entry in enumerate(metadata.get("managedFields") or []):
        where = f"metadata.managedFields[{index}]"
        operation, fields_type = entry.get("operation", ""), entry.get("fieldsType", "")
        if not operation:
            found.required(f"{where}.operation", _NOT_EMPTY)
        elif operation not in _OPERATIONS:
            found.not_supported(f"{where}.operation", operation, _OPERATIONS)
        if fields_type not in {"", "FieldsV1"}:
            found.invalid(f"{where}.fieldsType", fields_type, "must be `FieldsV1`")
        check_manager(found, f"{where}.manager", entry.get("manager", ""))
        if len(entry.get("subresource", "").encode()) > limits.MANAGER_BYTES * 2:
            found.too_long(f"{where}.subresource", limits.MANAGER_BYTES * 2)


def check_manager(found: Complaints, where: str, manager: Any) -> None:  # noqa: ANN401 - a text of a query or an entry
    """Notes what is wrong with the name of a field manager."""
    if len(manager.encode("utf-8", "surrogatepass")) > limits.MANAGER_BYTES:
        found.too_long(where, limits.MANAGER_BYTES)
    at = 0
    for character in manager:
        if not character.isprintable():
            found.invalid(where, manager, f"invalid character U+{ord(character):04X} (at position {at})")
            return
        at += len(character.encode("utf-8", "surrogatepass"))
