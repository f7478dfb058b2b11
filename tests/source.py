"""The source of k3 as syntax trees, read once by each process: tests that read it are `READERS`, so one worker has them all."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import pytest

SOURCE: Final = Path(__file__).parent.parent / "src" / "k3"
N = TypeVar("N", bound=ast.AST)

READERS: Final = pytest.mark.xdist_group("source")


@cache
def trees() -> Mapping[str, ast.Module]:
    """Returns the tree of each module, by its path within k3, sorted."""
    paths = sorted(SOURCE.rglob("*.py"))
    return {str(path.relative_to(SOURCE)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


@cache
def _nodes() -> tuple[tuple[str, ast.AST], ...]:
    return tuple((name, found) for name, tree in trees().items() for found in ast.walk(tree))


def nodes(*kinds: type[N]) -> Iterator[tuple[str, N]]:
    """Yields what is of one of these kinds in any module, with the path of that."""
    yield from ((name, found) for name, found in _nodes() if isinstance(found, kinds))
