"""Strategic merge patches: `application/strategic-merge-patch+json`. Pure.

A merge patch that knows which lists have a key. An object may hold directives beside its fields: `$patch` (`replace` or
`delete`; in a list of objects also `merge`, which is refused), `$retainKeys`, `$setElementOrder/<list>` and
`$deleteFromPrimitiveList/<list>`. Lists are in `strategic_lists`.
"""

from typing import Any, Final

from k3.core.documents import Manifest
from k3.core.objects import Kind, copied
from k3.server.patching import strategic_lists
from k3.server.patching.refusals import as_go_prints, does_not_apply, refuse_as_fault, refuse_type
from k3.server.patching.shapes import Shape, shape_of
from k3.server.patching.strategic_lists import DELETE_FROM, DELETED, DIRECTIVE, RETAIN, SET_ORDER, plain
from k3.server.status import bad_request

_BAD_RETAIN: Final = "invalid patch format of retainKeys"
_BAD_DELETE_FROM: Final = "invalid patch format of primitive list"


def patched(kind: Kind, document: Manifest, patch: Any) -> Manifest:  # noqa: ANN401 - JSON
    """Returns the document as the patch wants it; neither is changed, and what the patch does not touch is shared.

    Raises Refused: 400 for a patch that is no object or has a directive of a wrong form, 422 or 500, as kube-apiserver has it,
    where a list cannot be merged.
    """
    if patch is None:
        return document
    if not isinstance(patch, dict):
        refuse_type("value of type map[string]interface {}", patch)
    try:
        return merged(document, copied(patch), shape_of(kind))
    except RecursionError as odd:
        raise does_not_apply() from odd


def merged(original: dict[str, Any], patch: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Returns an object with a patch merged into it. The patch is used up; what it does not touch, both objects share."""
    directive = patch.get(DIRECTIVE, patch)
    if directive is not patch:
        return _directed(directive, patch)
    original = dict(original)
    _retain(original, patch)
    strategic_lists.set_order(original, patch, shape, merged)
    for name, value in patch.items():
        if name.startswith(DELETE_FROM):
            _delete_from(original, _listed_name(name), value)
        elif value is None:
            original.pop(name, None)
        else:
            _put(original, name, value, shape)
    return original


def _directed(directive: object, patch: dict[str, Any]) -> dict[str, Any]:
    if directive == "replace":
        del patch[DIRECTIVE]
        return patch
    if directive != "delete":
        refuse_as_fault(f"unknown patch type: {as_go_prints(directive)} in map: {as_go_prints(patch)}")
    return {}


def _retain(original: dict[str, Any], patch: dict[str, Any]) -> None:
    """Leaves of the original only what `$retainKeys` names, which must be all that the patch sets."""
    if RETAIN not in patch:
        return
    names = patch.pop(RETAIN)
    if not isinstance(names, list):
        raise bad_request(_BAD_RETAIN)
    kept = {name for name in names if isinstance(name, str)}
    for name, value in patch.items():
        if value is not None and not name.startswith((DELETE_FROM, SET_ORDER)) and name not in kept:
            raise bad_request(_BAD_RETAIN)
    for name in original.keys() - kept:
        del original[name]


def _listed_name(name: str) -> str:
    prefix, slash, listed = name.partition("/")
    if not slash or prefix != DELETE_FROM:
        raise bad_request(_BAD_DELETE_FROM)
    return listed


def _delete_from(original: dict[str, Any], name: str, values: Any) -> None:  # noqa: ANN401 - JSON
    if values is None:
        original.pop(name, None)
        return
    there = original.get(name)
    if isinstance(there, list) and isinstance(values, list):
        original[name] = strategic_lists.without(there, values)


def _put(original: dict[str, Any], name: str, value: Any, shape: Shape) -> None:  # noqa: ANN401 - JSON
    there = original.get(name)
    if there is None:
        there = copied(shape.zeros.get(name))  # Go has an empty struct where JSON has nothing
    part = shape.of(name)
    if isinstance(value, dict) and isinstance(there, dict):
        original[name] = merged(there, value, part)
    elif isinstance(value, list) and isinstance(there, list):
        original[name] = strategic_lists.merged(there, value, part, merged) if part.is_merged else value
    else:
        _set_new(original, name, value)


def _set_new(original: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401 - JSON
    kept = plain(value)
    if kept is DELETED:
        original.pop(name, None)
    else:
        original[name] = kept
