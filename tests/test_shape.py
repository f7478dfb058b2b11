"""The shape of the code: how many fields are given by position, and how much one class does."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tests import source

pytestmark = source.READERS

FIELDS: Final = 4
"""More of them are given by name."""
METHODS: Final = 25
"""More of them and a class has more than one reason to change. Properties are counted too."""
US: Final = re.compile(r"\b(we|us|our|ours|ourselves)\b", re.IGNORECASE)
"""A docstring names its subject: the agent, the peer, the observer, the reader."""


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    yield from ((f"{name}: {found.name}", found) for name, found in source.nodes(ast.ClassDef))


def is_positional_record(found: ast.ClassDef) -> bool:
    decorators = [ast.unparse(each) for each in found.decorator_list]
    return any(each.startswith("dataclass") and "kw_only=True" not in each for each in decorators)


def test_records_of_many_fields_are_made_by_name() -> None:
    wide = {
        name: fields
        for name, found in classes()
        if is_positional_record(found) and (fields := sum(isinstance(each, ast.AnnAssign) for each in found.body)) > FIELDS
    }
    assert wide == {}


def test_no_class_does_too_much() -> None:
    wide = {
        name
        for name, found in classes()
        if sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in found.body) > METHODS
    }
    assert wide == set()


def test_docstrings_name_their_subject() -> None:
    said = {
        f"{path}: {getattr(found, 'name', 'module')}"
        for path, found in source.nodes(ast.AST)
        if isinstance(found, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and US.search(ast.get_docstring(found) or "")
    }
    assert said == set()
