"""An applied object merged into the one that is there, and fields taken out of an object again. Pure.

The rules, and the order of merged lists, are those of Kubernetes' structured merge.
"""

from typing import Any

from k3.core.documents import Manifest
from k3.core.objects import copied
from k3.server.patching.changes import element_of
from k3.server.patching.field_sets import NOTHING, SELF, FieldSet, is_whole
from k3.server.patching.shapes import ABSENT, UNTYPED, Shape


def merged(live: Manifest, applied: Manifest, shape: Shape) -> Manifest:
    """Returns the live object with what is applied; neither is changed."""
    result = _merged(live, applied, shape)
    return result if isinstance(result, dict) else {}


def _merged(live: Any, applied: Any, shape: Shape) -> Any:  # noqa: ANN401 - JSON
    if applied is ABSENT:
        return copied(live)
    if is_whole(shape) or not (live or applied) or live is ABSENT:
        return copied(applied)
    if isinstance(live, dict) and (applied is None or isinstance(applied, dict)):
        given = applied or {}
        names = {**live, **given}
        return {name: _merged(live.get(name, ABSENT), given.get(name, ABSENT), shape.of(name)) for name in names}
    if shape.list_type and isinstance(live, list) and (applied is None or isinstance(applied, list)):
        return _merged_lists(live, applied or [], shape)
    return copied(applied)


def _merged_lists(live: list[Any], applied: list[Any], shape: Shape) -> list[Any]:
    left = [element_of(item, shape) for item in live]
    right = [element_of(item, shape) for item in applied]
    if "" in left or "" in right:
        return list(copied(applied))
    return _Weaving((live, left), (applied, right), shape.items or UNTYPED).woven()


class _Weaving:
    """Two lists on their way into one: applied items in their order, and live ones, if possible, before what follows them."""

    def __init__(self, live: tuple[list[Any], list[str]], applied: tuple[list[Any], list[str]], part: Shape) -> None:
        self._live, self._left = live
        _, self._right = applied
        self._part = part
        self._given = dict(zip(self._right, applied[0], strict=True))
        self._there: dict[str, Any] = {}
        for element, item in zip(self._left, self._live, strict=True):
            self._there[element] = ABSENT if element in self._there else item  # none of several is merged
        self._shared = [element for element in self._right if element in self._there]
        self._taken: set[str] = set()
        self._result: list[Any] = []
        self._l = self._r = self._s = 0

    def woven(self) -> list[Any]:
        """Returns the one list."""
        while self._l < len(self._left) or self._r < len(self._right):
            has_both = self._l < len(self._left) and self._r < len(self._right)
            if not (has_both and self._took_both()) and not (self._l < len(self._left) and self._took_live()):
                self._take_applied()
        return self._result

    def _took_both(self) -> bool:
        element = self._left[self._l]
        if element == self._right[self._r]:
            self._take_applied()
            self._l += 1
            return True
        comes_later = element in self._given and self._s < len(self._shared) and self._shared[self._s] != element
        self._l += comes_later
        return comes_later

    def _took_live(self) -> bool:
        element = self._left[self._l]
        if element not in self._given:
            self._result.append(copied(self._live[self._l]))
            self._l += 1
            return True
        self._l += element in self._taken
        return False

    def _take_applied(self) -> None:
        if self._r == len(self._right):
            return
        element = self._right[self._r]
        self._taken.add(element)
        self._result.append(_merged(self._there.get(element, ABSENT), self._given[element], self._part))
        self._r += 1
        if self._s < len(self._shared) and self._shared[self._s] == element:
            self._s += 1


def removed(value: Any, gone: FieldSet, shape: Shape) -> Any:  # noqa: ANN401 - JSON
    """Returns a value without some of its fields; None for a value of which nothing is left."""
    if not isinstance(value, dict | list):
        return value
    if not value or is_whole(shape):
        return None
    if isinstance(value, dict):
        kept = {
            name: removed(each, gone[f"f:{name}"], shape.of(name)) if f"f:{name}" in gone else each
            for name, each in value.items()
            if SELF not in gone.get(f"f:{name}", NOTHING)
        }
        return kept or None
    if not shape.list_type:
        return None
    items = []
    for item in value:
        node = gone.get(element_of(item, shape), NOTHING)
        if SELF not in node:
            items.append(removed(item, node, shape.items or UNTYPED) if node else item)
    return items or None


def tidied(value: Any, shape: Shape) -> Any:  # noqa: ANN401 - JSON
    """Returns a value as Go writes it: without the members that are null, but for those that it always writes."""
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, each in value.items():
        if each is not None:
            kept[name] = tidied(each, shape.of(name))
        elif name in shape.zeros:
            kept[name] = copied(shape.zeros[name])
    return kept
