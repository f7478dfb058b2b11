"""What must be true before a write: which object a client means, and which revision of it. Pure.

The refusals are a kube-apiserver's, with its codes and in its words.
"""

from dataclasses import replace
from typing import Any, Final

from k3.core.objects import NODE, Kind, Manifest, Object
from k3.server.options import DeleteOptions
from k3.server.paths import Target
from k3.server.resources import NAMESPACE, NAMESPACES
from k3.server.status import Refused, already_exists, bad_request, conflict, modified, not_found


def metadata_of(manifest: Manifest) -> dict[str, Any]:
    """Returns the metadata of a manifest, which has some from then on."""
    found = manifest.get("metadata")
    manifest["metadata"] = found = dict(found) if isinstance(found, dict) else {}
    return found


def check_namespace(target: Target, manifest: Manifest) -> None:
    """Refuses an object of another namespace than the path's, and a namespace that is not there."""
    if not target.resource.kind.namespaced:
        return
    said = (manifest.get("metadata") or {}).get("namespace") or ""
    if said and said != target.namespace:
        raise bad_request(_OTHER_NAMESPACE)
    if target.namespace not in NAMESPACES:
        raise not_found(NAMESPACE, target.namespace)


def check_name(target: Target, metadata: Manifest) -> None:
    """Refuses an object without a name, and with another than the path's."""
    name = metadata.get("name")
    if not name:
        message = f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        raise bad_request(message)
    if name != target.name:
        message = f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        raise bad_request(message)


def check_named(kind: Kind, old: Manifest, new: Manifest, target: Target) -> None:
    """Refuses an object of another name, or of another revision than the one that is there."""
    metadata = metadata_of(new)
    check_name(target, metadata)
    if target.namespace and metadata.get("namespace") not in {None, "", target.namespace}:
        raise bad_request(_OTHER_NAMESPACE)
    revision = metadata.get("resourceVersion") or ""
    number = number_of(revision or "0")
    if number is None:
        raise no_revision(revision)
    if number and revision != old["metadata"]["resourceVersion"]:
        raise modified(kind, target.name)


_OTHER_NAMESPACE: Final = "the namespace of the provided object does not match the namespace sent on the request"


def taken(there: Object) -> Refused:
    """Returns the refusal of a name that is taken: by an object that waits for its finalizers, it may be free soon."""
    refused = already_exists(there.key.kind, there.key.name)
    if there.manifest()["metadata"].get("deletionTimestamp"):
        return Refused(409, f"object is being deleted: {refused}", reason=refused.reason, details=refused.details)
    return refused


def number_of(revision: object) -> int | None:
    """Returns a revision as a number; None: it is none."""
    return int(revision) if isinstance(revision, str) and revision.isascii() and revision.isdigit() else None


def no_revision(revision: object) -> Refused:
    """Returns the refusal of a revision that is no number, which a kube-apiserver takes for its own fault."""
    return Refused(500, f'strconv.ParseUint: parsing "{revision}": invalid syntax', reason="")


def other_uid(target: Target, wanted: str, found: str) -> Refused:
    """Returns the refusal of an update of another object than the one that is there, which names a key of Kubernetes' store."""
    kind = target.resource.kind
    place = "minions" if kind == NODE else kind.plural
    key = "/".join(part for part in ("/registry", place, target.namespace, target.name) if part)
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    told = f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: {why}"
    return conflict(kind, target.name, told)


def check_deletion(kind: Kind, current: Object, wanted: DeleteOptions) -> None:
    """Refuses to delete another object, or another revision, than the one that the client means."""
    named = replace(kind, plural=kind.name)  # Kubernetes names the kind here, where it names the resource elsewhere
    if wanted.uid is not None and wanted.uid != current.uid:
        why = (
            f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({current.uid}). "
            "The object might have been deleted and then recreated"
        )
        raise conflict(named, current.key.name, why)
    if wanted.revision is not None and wanted.revision != str(current.revision):
        why = (
            f"the ResourceVersion in the precondition ({wanted.revision}) does not match the ResourceVersion in record "
            f"({current.revision}). The object might have been modified"
        )
        raise conflict(named, current.key.name, why)
