"""The four kinds of patches, by the media type of their body."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from k3.core import times
from k3.core.documents import DECODER, is_too_deep
from k3.core.objects import Kind, Manifest
from k3.server.decoding import decoded_body
from k3.server.options import WriteOptions
from k3.server.patching import apply, json_patch, managed, merge_patch, strategic
from k3.server.paths import Target
from k3.server.schema import types
from k3.server.status import Cause, bad_request, invalid, unsupported_media_type
from k3.server.writes import Guard, Writer, Written

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
TYPES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY)
_STRICT: Final = "strict decoding error: "
_OPTIONS: Final = Kind(group="meta.k8s.io", version="v1", name="PatchOptions", plural="", namespaced=False)


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch as it was sent: its body, what that is said to be, and the query."""

    body: bytes
    content_type: str
    query: Mapping[str, Any]


async def patched(writer: Writer, target: Target, sent: Patch, options: WriteOptions, guard: Guard) -> Written:
    """Patches an object; applied on the server's side, it is made where it is not there. Raises Refused, Unavailable."""
    media_type = sent.content_type.partition(";")[0].strip().lower()
    if media_type not in TYPES:
        known = ", ".join(TYPES)
        message = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise unsupported_media_type(message)
    if media_type == APPLY:
        return await _apply(writer, target, sent, options, guard)
    if options.force:
        raise invalid(
            _OPTIONS, "", [Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force")]
        )
    patch = _parsed(sent.body)
    told: list[str] = []

    def change(old: Manifest) -> Manifest:
        kind = target.resource.kind
        if media_type == JSON_PATCH:
            new = json_patch.patched(old, patch)
        elif media_type == MERGE_PATCH:
            new = merge_patch.patched(old, patch)
        else:
            new = strategic.patched(kind, old, patch)
        if not isinstance(new, dict):
            raise bad_request(_NO_OBJECT)
        told[:] = _unknown(target, old, new, options)
        return new

    written = await writer.change(target, change, options, guard)
    return Written(written.manifest, written.is_new, tuple(told))


def _unknown(target: Target, old: Manifest, new: Manifest, options: WriteOptions) -> list[str]:
    """Returns a warning for each field that the kind does not have, and that a patch brought. Raises Refused where strict."""
    if options.validation == "Ignore":
        return []
    kind = target.resource.kind
    before = set(types.unknown_fields(kind, old))
    found = [each for each in types.unknown_fields(kind, new) if each not in before]
    if found and options.validation == "Strict":
        raise bad_request(_STRICT + ", ".join(f'unknown field "{each}"' for each in found))
    return [f'unknown field "{each}"' for each in found]


async def _apply(writer: Writer, target: Target, sent: Patch, options: WriteOptions, guard: Guard) -> Written:
    if not sent.query.get("fieldManager"):
        why = "Required value: is required for apply patch"
        raise invalid(_OPTIONS, "", [Cause("FieldValueRequired", why, "fieldManager")])
    kind = target.resource.kind
    decoded = await decoded_body(kind, sent.body, "application/yaml", options.validation)
    wanted = decoded.manifest

    def applied(old: Manifest | None) -> Manifest:
        as_writer = managed.Writer(options.manager, times.timestamp(datetime.now(UTC)), target.subresource)
        return apply.applied(kind, old, wanted, as_writer, force=options.force)

    written = await writer.apply(target, applied, options, guard)
    return Written(written.manifest, written.is_new, decoded.warnings)


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Returns a patch. Raises Refused."""
    try:
        found = DECODER.decode(body.decode())
    except ValueError as odd:
        message = f"error decoding patch: {odd}"
        raise bad_request(message) from odd
    except RecursionError as odd:
        raise bad_request(_TOO_DEEP) from odd
    if is_too_deep(found, body.count(b"{") + body.count(b"[")):
        raise bad_request(_TOO_DEEP)
    return found


_TOO_DEEP: Final = "error decoding patch: it is nested too deep"
_NO_OBJECT: Final = "error decoding patch: what it makes is no object"
