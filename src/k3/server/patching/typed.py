"""Whether an applied object has the fields of its kind, as Kubernetes' structured merge checks it. Pure."""

import json
from collections.abc import Iterator
from typing import Any, Final

from k3.core.documents import Manifest
from k3.core.objects import Kind
from k3.server.patching.changes import element_of
from k3.server.patching.field_sets import spoken
from k3.server.patching.refusals import as_go_prints, go_type, refuse_as_fault
from k3.server.patching.shapes import UNTYPED, Shape

_TYPES: Final[dict[str, tuple[type, ...]]] = {"string": (str,), "numeric": (int, float), "boolean": (bool,)}


def check_typed(kind: Kind, wanted: Manifest, shape: Shape) -> None:
    """Refuses an object with fields that its kind does not have, or of another type."""
    wrong = [f"{spoken(path)}: {why}" for path, why in _wrong(wanted, shape, ())]
    if not wrong:
        return
    metadata = wanted.get("metadata")
    namespace, name = (str((metadata if isinstance(metadata, dict) else {}).get(each) or "") for each in ("namespace", "name"))
    told = wrong[0] if len(wrong) == 1 else "errors:\n" + "\n".join(f"  {each}" for each in wrong)
    group = f"{kind.group}/{kind.version}"
    refuse_as_fault(f"failed to create typed patch object ({namespace}/{name}; {group}, Kind={kind.name}): {told}")


def _wrong(value: Any, shape: Shape, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:  # noqa: ANN401 - JSON
    if value is None or shape is UNTYPED:
        return
    if shape.scalar:
        yield from _wrong_scalar(value, shape, path)
    elif shape.list_type:
        if isinstance(value, list):
            yield from _wrong_items(value, shape, path)
        else:
            yield path, f"expected list, got {_told(value)}"
    elif not isinstance(value, dict):
        yield path, f"expected map, got {_told(value)}"
    else:
        for name in sorted(value):
            if name not in shape.fields and not shape.items:
                yield (*path, f"f:{name}"), "field not declared in schema"
                return  # Kubernetes looks no further
            yield from _wrong(value[name], shape.of(name), (*path, f"f:{name}"))


def _wrong_scalar(value: Any, shape: Shape, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:  # noqa: ANN401 - JSON
    if isinstance(value, dict | list):
        if shape.scalar == "untyped":
            yield path, f"expected any scalar, got {_told(value)}"
            return
    elif shape.scalar == "untyped" or type(value) in _TYPES[shape.scalar]:
        return
    if shape.scalar == "string":
        yield path, f"expected string, got &value.valueUnstructured{{Value:{_told_in_go(value)}}}"
    elif shape.scalar == "numeric":
        yield path, f"expected numeric (int or float), got {go_type(value)}"
    else:
        yield path, f"expected boolean, got {_told(value)}"


def _wrong_items(values: list[Any], shape: Shape, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    seen = set()
    for at, item in enumerate(values):
        element = f"i:{at}" if shape.list_type == "atomic" else element_of(item, shape)
        if not element:
            yield path, f"element {at}: {_why_no_element(item, shape)}"
            return
        if element in seen:
            yield path, f"duplicate entries for key {spoken((element,))}"
        seen.add(element)
        yield from _wrong(item, shape.items or UNTYPED, (*path, element))


def _why_no_element(item: Any, shape: Shape) -> str:  # noqa: ANN401 - JSON
    if shape.key:
        return f"associative list with keys may not have {'a null element' if item is None else 'non-map elements'}"
    if isinstance(item, dict):
        return "associative list without keys has an element that's a map type"
    if isinstance(item, list):
        return "not supported: associative list with lists as elements"
    return "associative list without keys has an element that's an explicit null"


def _told(value: Any) -> str:  # noqa: ANN401 - JSON
    return f"&{{{as_go_prints(value)}}}"


def _told_in_go(value: Any) -> str:  # noqa: ANN401 - JSON
    """Returns a value as Go's source would have it."""
    if isinstance(value, dict):
        members = ", ".join(f'"{name}":{_told_in_go(value[name])}' for name in sorted(value))
        return f"map[string]interface {{}}{{{members}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(_told_in_go, value))}}}"
    return "interface {}(nil)" if value is None else json.dumps(value)
