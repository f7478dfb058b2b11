"""Lists in a strategic merge patch: which items meet, which go, and the order of the rest. Pure.

Lists of objects are merged by a key, lists of texts as sets. What only the server has keeps its place, what the patch names is
in the patch's order, and `$setElementOrder/<list>` goes before both.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from k3.server.patching.refusals import as_go_prints, does_not_apply, go_type, refuse_as_fault
from k3.server.patching.shapes import Shape
from k3.server.status import bad_request

DIRECTIVE: Final = "$patch"
RETAIN: Final = "$retainKeys"
SET_ORDER: Final = "$setElementOrder"
DELETE_FROM: Final = "$deleteFromPrimitiveList"
DELETED: Final = object()
"""What is left of a part that its own directive takes away."""

_BAD_SET_ORDER: Final = "invalid patch format of setElementOrder list"

Merging = Callable[[dict[str, Any], dict[str, Any], Shape], dict[str, Any]]
"""Merges one object into another of a shape: `strategic.merged`."""


def merged(original: list[Any], patch: list[Any], shape: Shape, merge: Merging) -> list[Any]:
    """Returns a list of the kind that is merged, with a patch merged into it. The patch is used up."""
    if not original and not patch:
        return original
    if _items(original, patch) is not dict:
        both = list({_identity(item): item for item in (*original, *patch)}.values())
        return _ordered(both, patch, original, "")
    original, patch = _special(original, patch, shape)
    return _ordered(_merged_by_key(original, patch, shape, merge), patch, original, shape.key)


def without(there: list[Any], values: list[Any]) -> list[Any]:
    """Returns a list of scalars without some of them. Raises Refused for any other list."""
    if (there or values) and _items(there, values) is dict:
        raise does_not_apply()
    gone = {_identity(value) for value in values}
    return [value for value in there if _identity(value) not in gone]


def plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Returns what a patch puts where there was nothing: no nulls in objects, and DELETED where `$patch` stands.

    Other directives stay, as kube-apiserver leaves them: they are then refused, or left out, as fields that are not known.
    """
    if isinstance(value, dict):
        if DIRECTIVE in value:
            return DELETED
        members = {name: plain(each) for name, each in value.items() if each is not None}
        return {name: each for name, each in members.items() if each is not DELETED}
    if isinstance(value, list):
        return [each for each in map(plain, value) if each is not DELETED]
    return value


def set_order(original: dict[str, Any], patch: dict[str, Any], shape: Shape, merge: Merging) -> None:
    """Merges the lists of an object that have a `$setElementOrder`, and takes them out of the patch."""
    for directive in [name for name in patch if name.startswith(SET_ORDER)]:
        order = patch.pop(directive)
        if not isinstance(order, list):
            refuse_as_fault(f"expected a []interface {{}}, but received a {go_type(order)}")
        prefix, slash, name = directive.partition("/")
        if not slash or prefix != SET_ORDER:
            raise bad_request(_BAD_SET_ORDER)
        _set_order(original, patch, name, order, shape, merge)


def _set_order(
    original: dict[str, Any],
    patch: dict[str, Any],
    name: str,
    order: list[Any],
    shape: Shape,
    merge: Merging,
) -> None:
    part = shape.fields.get(name)
    there, given = original.get(name), patch.get(name)
    for value in (there, given):
        if value is not None and not isinstance(value, list):
            refuse_as_fault(f"expected a []interface {{}}, but received a {go_type(value)}")
    if part is None or not part.list_type:
        refuse_as_fault(f'unable to find api field in struct {shape.go_name} for the json field "{name}"')
    if not there and given is None:
        return
    if not part.is_merged:
        raise does_not_apply()
    _check_order(given or [], order, part.key)
    if not there and not given:
        refuse_as_fault("no elements in any of the given slices")
    before = list(there or ())
    both = merged(there, given, part, merge) if there and given is not None else there or plain(given)
    original[name] = _ordered(both, order, before, part.key if _items(before, given or []) is dict else "")
    patch.pop(name, None)


def _check_order(patch: list[Any], order: list[Any], key: str) -> None:
    """Raises Refused unless what the patch has comes in the order that it asks for."""
    if not order or not patch:
        return
    rest = iter([_key_of(item, key) for item in order])
    for item in patch:
        if isinstance(item, dict) and DIRECTIVE in item:
            continue
        if _key_of(item, key) not in rest:  # consumes it up to there
            told = f"The order in patch list:\n{as_go_prints(patch)}\n doesn't match {SET_ORDER} list:\n{as_go_prints(order)}\n"
            refuse_as_fault(told)


def _special(original: list[Any], patch: list[Any], shape: Shape) -> tuple[list[Any], list[Any]]:
    """Does what `$patch` asks for in items. Returns what is left of the original, and of the patch."""
    plain_items = [item for item in patch if DIRECTIVE not in item]
    is_replaced = False
    gone = set()
    for item in patch:
        directive = item.get(DIRECTIVE, "")
        if directive == "delete":
            gone.add(_key_of(item, shape.key))
        elif directive == "replace":
            is_replaced = True
        elif directive == "merge":
            refuse_as_fault("merging lists cannot yet be specified in the patch")
        elif DIRECTIVE in item:
            refuse_as_fault(f"unknown patch type: {as_go_prints(directive)} in map: {as_go_prints(item)}")
    if is_replaced:
        return plain_items, []
    return [item for item in original if not gone or _key_of(_whole(item, shape), shape.key) not in gone], plain_items


def _merged_by_key(original: list[Any], patch: list[Any], shape: Shape, merge: Merging) -> list[Any]:
    items = [_whole(item, shape) for item in original]
    place: dict[Any, int] = {}
    for at, item in enumerate(items):
        place.setdefault(_key_of(item, shape.key), at)
    for item in patch:
        identity = _key_of(item, shape.key)
        if identity in place:
            items[place[identity]] = merge(items[place[identity]], item, shape.of(""))
        else:
            place[identity] = len(items)
            items.append(item)
    return items


def _whole(item: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """An item that a store has without its key has an empty one, as Go reads it."""
    return item if shape.key in item else {shape.key: "", **item}


def _ordered(items: list[Any], order: list[Any], before: list[Any], key: str) -> list[Any]:
    """Returns items in an order; those that it does not name stand where they stood before, as far as both can be had."""
    wanted, was = _places(order, key), _places(before, key)
    named = sorted((item for item in items if _key_of(item, key) in wanted), key=lambda item: wanted[_key_of(item, key)])
    others = [item for item in items if _key_of(item, key) not in wanted]
    others.sort(key=lambda item: was.get(_key_of(item, key), len(was)))
    result = []
    left = 0
    for item in named:
        place = was.get(_key_of(item, key), -1)
        while left < len(others) and 0 <= was.get(_key_of(others[left], key), -1) < place:
            result.append(others[left])
            left += 1
        result.append(item)
    return result + others[left:]


def _places(items: Iterable[Any], key: str) -> dict[Any, int]:
    places: dict[Any, int] = {}
    for at, item in enumerate(items):
        places.setdefault(_key_of(item, key), at)
    return places


def _key_of(item: Any, key: str) -> Any:  # noqa: ANN401 - JSON
    """Returns what tells an item from others. Raises Refused where it has no key."""
    if not key:
        return _identity(item)
    if not isinstance(item, dict):
        refuse_as_fault(f"expected a map[string]interface {{}}, but received a {go_type(item)}")
    if key not in item:
        refuse_as_fault(f"map: {as_go_prints(item)} does not contain declared merge key: {key}")
    return _identity(item[key])


def _identity(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict | list):
        raise does_not_apply()
    return type(value), value


def _items(*lists: list[Any]) -> type:
    """Returns the one type of the items of lists. Raises Refused where there are several, or lists of lists."""
    types = dict.fromkeys(type(item) for each in lists for item in each)
    if not types:
        refuse_as_fault("no elements in any of the given slices")
    first = next(iter(types))
    if first in {list, type(None)}:
        raise does_not_apply()
    if len(types) > 1:
        refuse_as_fault(f"list element types are not identical: {as_go_prints(list(lists))}")
    return first
