"""JSON merge patches (RFC 7386): `application/merge-patch+json`. Pure."""

from typing import Any, Final

from k3.core.documents import Manifest
from k3.core.objects import copied
from k3.server.patching.refusals import refuse_type
from k3.server.status import bad_request

_INVALID: Final = "Invalid JSON Patch"


def patched(document: Manifest, patch: Any) -> Manifest:  # noqa: ANN401 - JSON
    """Returns the document as the patch wants it; neither is changed, and what the patch does not touch is shared.

    A patch is an object. A null in it removes a member, an object is merged into the one that is there, and anything else,
    lists too, takes the place of what is there (RFC 7386 section 2). Raises Refused (400) for a patch that is no object.
    """
    if patch is None:
        raise bad_request(_INVALID)
    if not isinstance(patch, dict):
        refuse_type("value of type map[string]interface {}", patch, prefix="error decoding patch: ")
    try:
        return _merged(document, patch)
    except RecursionError as odd:
        raise bad_request(_INVALID) from odd


def _merged(target: Any, patch: dict[str, Any]) -> Manifest:  # noqa: ANN401 - JSON
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merged(merged.get(name), value)
        else:
            merged[name] = copied(value)
    return merged
