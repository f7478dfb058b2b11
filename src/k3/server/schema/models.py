"""The types of Kubernetes' kinds, read from the text of lightkube-models: fields, their types, and their descriptions.

The modules of that package import the lightkube client, which the server has no use for; and importing all of `core_v1` makes
some 230 classes of which a few are needed. Its text is made by a generator, and has one form: a class for each type, its
fields and their descriptions in its docstring. Only the classes asked for are parsed (ADR 50 has the figures).
"""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from k3.core.records import dataclass

_CLASS: Final = re.compile(r"^class (\w+)\(DictMixin\):\n(.*?)(?=^@dataclass|^\w|\Z)", re.MULTILINE | re.DOTALL)
_PARAMETER: Final = re.compile(r"^\s*\* \*\*(\w+)\*\* ``[^`]*`` - ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a type."""

    name: str
    """As JSON has it."""
    type: str
    """`str`, `int`, `bool`, `dict`, `List[…]`, or a type such as `core_v1.NodeSpec`, `meta_v1.Time`, `resource.Quantity`."""
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Model:
    """One type: `module` is where it is, such as `core_v1`."""

    module: str
    name: str
    description: str
    fields: tuple[Field, ...]


class NoSuchType(LookupError):
    """The models have no such type."""


@cache
def model(name: str) -> Model:
    """Returns the type of a name such as `core_v1.Node`. Raises NoSuchType."""
    module, _, title = name.partition(".")
    try:
        text = _texts(module)[title]
    except KeyError:
        raise NoSuchType(name) from None
    (found,) = ast.parse(text).body
    assert isinstance(found, ast.ClassDef)  # noqa: S101 - the pattern says so
    about, of_fields = _descriptions(ast.get_docstring(found) or "")
    fields = tuple(_field(each, module, of_fields) for each in found.body if isinstance(each, ast.AnnAssign))
    return Model(module, title, about, fields)


def names(module: str) -> frozenset[str]:
    """Returns the names of the types in a module such as `core_v1`; empty where there is no such module."""
    try:
        return frozenset(_texts(module))
    except KeyError:
        return frozenset()


@cache
def _texts(module: str) -> dict[str, str]:
    """Returns the text of each class of a module. Raises KeyError."""
    file = _folder() / f"{module}.py"
    if not file.is_file():
        raise KeyError(module)
    return {found[1]: found[0] for found in _CLASS.finditer(file.read_text(encoding="utf-8"))}


@cache
def _folder() -> Path:
    """Returns where the models are. Only the package above them is looked for: to look for them would import that."""
    package = find_spec("lightkube")
    places = (package.submodule_search_locations if package else None) or ()
    return next(folder for folder in (Path(place, "models") for place in places) if folder.is_dir())


def _field(found: ast.AnnAssign, module: str, descriptions: dict[str, str]) -> Field:
    assert isinstance(found.target, ast.Name)  # noqa: S101 - so the generator writes it
    assert isinstance(found.annotation, ast.Constant)  # noqa: S101
    name, annotation = found.target.id, str(found.annotation.value)
    required = found.value is None
    if annotation.startswith("Optional["):
        annotation = annotation.removeprefix("Optional[").removesuffix("]")
    if isinstance(found.value, ast.Call):
        for word in found.value.keywords:
            if word.arg == "metadata":
                name = str(ast.literal_eval(word.value).get("json", name))
    about = descriptions.get(found.target.id, "")
    return Field(name=name, type=_qualified(annotation, module), required=required, description=about)


def _qualified(annotation: str, module: str) -> str:
    if annotation.startswith("List["):
        return f"List[{_qualified(annotation[5:-1], module)}]"
    return annotation if "." in annotation or annotation[0].islower() else f"{module}.{annotation}"


def _descriptions(docstring: str) -> tuple[str, dict[str, str]]:
    """Returns the description of a type, and those of its fields."""
    about, _, parameters = docstring.partition("**parameters**")
    parts = _PARAMETER.split(parameters)
    return _joined(about), {name: _joined(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _joined(text: str) -> str:
    return " ".join(text.split())
