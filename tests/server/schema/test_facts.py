"""The facts and the models tell of the same fields: a newer lightkube-models shows here what the table does not know."""

import ast
import importlib.resources
import re
from collections.abc import Iterator
from typing import Final

import pytest

from k3.core.objects import Kind
from k3.server.schema import types
from k3.server.schema.facts import FIELDS, LISTS, facts
from k3.server.schema.kinds import BODIES
from k3.server.schema.models import Field, NoSuchType, model, names

WITHOUT_NUMBERS: Final = {"Pod", "Service"}
"""Kinds that nobody may write, so that no message of them is read."""


def types_of(name: str) -> Iterator[tuple[str, Field]]:
    """Yields the fields of a type and of all that it is made of."""
    waiting, seen = [name], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = model(name)
        except NoSuchType:
            continue
        for field in found.fields:
            yield found.name, field
            waiting.append(field.type.removeprefix("List[").removesuffix("]"))


@pytest.mark.parametrize("kind", [kind for kind in BODIES if kind.name not in WITHOUT_NUMBERS], ids=lambda kind: kind.name)
def test_every_field_has_its_number(kind: Kind) -> None:
    missing = {
        f"{struct}.{field.name}"
        for struct, field in types_of(types.of_kind(kind))
        if field.name not in facts(struct) and field.name not in {"apiVersion", "kind"}
    }
    assert missing == set()


def test_no_fact_is_about_a_field_that_is_not_there() -> None:
    known: dict[str, set[str]] = {}
    for kind in BODIES:
        for struct, field in types_of(types.of_kind(kind)):
            known.setdefault(struct, set()).add(field.name)
    assert {name for struct in FIELDS for name in facts(struct) if name not in known.get(struct, set())} == set()
    assert {where for where in LISTS if where.partition(".")[2] not in known.get(where.partition(".")[0], set())} == set()
    for struct in FIELDS:
        numbers = [fact.number for fact in facts(struct).values()]
        assert len(numbers) == len(set(numbers)), struct


@pytest.mark.parametrize("module", ["core_v1", "meta_v1", "coordination_v1"])
def test_the_text_is_read_as_python_reads_it(module: str) -> None:
    source = importlib.resources.files("lightkube.models").joinpath(f"{module}.py").read_text(encoding="utf-8")
    classes = {found.name: found for found in ast.parse(source).body if isinstance(found, ast.ClassDef)}
    assert names(module) == set(classes)
    for name, found in classes.items():
        fields = [each for each in found.body if isinstance(each, ast.AnnAssign)]
        read = model(f"{module}.{name}")
        assert len(read.fields) == len(fields)
        assert [field.required for field in read.fields] == [each.value is None for each in fields]
        told = sum(bool(field.description) for field in read.fields)
        assert told == len(
            re.findall(r"^ +\* \*\*\w+\*\* ``[^`]*`` - \S", ast.get_docstring(found, clean=False) or "", re.MULTILINE)
        )
