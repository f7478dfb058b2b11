"""The types of a manifest: its canonical form, and the fields that its kind does not have."""

from typing import Final

from k3.core.objects import Kind, Manifest
from k3.core.safe_text import quoted
from k3.server import status
from k3.server.schema import wording
from k3.server.schema.shapes import Mistyped, Told, shape


def read(kind: Kind, manifest: Manifest, told: Told) -> Manifest:
    """Returns the canonical form of a manifest. Raises Mistyped, in Go's words."""
    made: Manifest = shape(of_kind(kind)).read(manifest, None, told)
    if told.wrong:
        raise Mistyped(told.wrong)
    made["kind"], made["apiVersion"] = kind.name, kind.api_version
    return made


def normalised(kind: Kind, manifest: Manifest) -> Manifest:
    """Returns the canonical form of a manifest that a patch made. Raises Refused (422), as for a patch."""
    try:
        return read(kind, manifest, Told())
    except Mistyped as odd:
        raise refused_patch(wording.document(manifest), str(odd)) from odd


def refused_patch(shown: str, why: str) -> status.Refused:
    """Returns the refusal (422) of a patch that makes no object of its kind; `shown` is the patch, or what it makes."""
    cause = status.Cause("FieldValueInvalid", f"Invalid value: {quoted(shown)}: {why}", "patch")
    return status.invalid(_NOTHING, "", [cause])


def unknown_fields(kind: Kind, manifest: Manifest) -> list[str]:
    """Returns the paths of the fields that the kind does not have: `spec.foo`."""
    told = Told()
    shape(of_kind(kind)).read(manifest, None, told)
    return [at for what, at in told.strict if what == "unknown field"]


_NOTHING: Final = Kind(group="", version="", name="", plural="", namespaced=False)
"""A patch that makes no object of the kind is refused without naming one."""


def of_kind(kind: Kind) -> str:
    """Returns the name of the type of a kind: `core_v1.Node`."""
    group = kind.group.removesuffix(".k8s.io").replace(".", "") or "core"
    return f"{'meta' if kind.name == 'DeleteOptions' else group}_{kind.version}.{kind.name}"
