"""`k3.core.records.dataclass` does what the library's does, but for a frozen instance, which type checkers guard."""

import ast
import copy
import dataclasses
import pickle
import time
from collections.abc import Callable
from dataclasses import field
from types import SimpleNamespace
from typing import Any

import pytest

from k3.core import records
from tests import source

Decorator = Callable[..., Any]


def classes(dataclass: Decorator) -> SimpleNamespace:
    """One class of each kind that k3 has, made by this decorator."""

    @dataclass(frozen=True, slots=True)
    class Point:
        """Two fields."""

        x: int
        y: int = 0

    @dataclass(frozen=True, slots=True)
    class Alone:
        """One field."""

        x: object

    @dataclass(frozen=True, slots=True)
    class Nothing:
        """No field."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Secret:
        """Fields that are not shown, or do not count."""

        user: str
        password: str = field(default="", repr=False)
        seen: list[int] = field(default_factory=list, compare=False)

    @dataclass(slots=True)
    class Counter:
        """Not frozen."""

        count: int

    @dataclass(slots=True, eq=False)
    class Task:
        """Itself alone."""

        name: str

    @dataclass(frozen=True, slots=True)
    class Odd:
        """Says itself what is equal, and what it is called."""

        x: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Odd) and self.x % 2 == other.x % 2

        def __hash__(self) -> int:
            return self.x % 2

        def __repr__(self) -> str:
            return "odd"

    @dataclass(frozen=True, slots=True)
    class Deep(Point):
        """Inherits fields, and has more."""

        z: int = 0

    return SimpleNamespace(**{each.__name__: each for each in (Point, Alone, Nothing, Secret, Counter, Task, Odd, Deep)})


BOTH = pytest.mark.parametrize("kinds", [classes(dataclasses.dataclass), classes(records.dataclass)], ids=["library", "k3"])


@BOTH
def test_equal_by_class_and_fields(kinds: SimpleNamespace) -> None:
    assert kinds.Point(1, 2) == kinds.Point(x=1, y=2) != kinds.Point(1)
    assert kinds.Point(1, 2) != kinds.Deep(1, 2)
    assert kinds.Point(1, 2) != (1, 2)
    assert kinds.Alone("a") == kinds.Alone("a") != kinds.Alone("b")
    assert kinds.Nothing() == kinds.Nothing() != kinds.Alone("a")
    assert kinds.Secret(user="a", seen=[1]) == kinds.Secret(user="a") != kinds.Secret(user="a", password="b")
    assert kinds.Counter(1) == kinds.Counter(1)
    assert kinds.Task("a") != kinds.Task("a")
    assert kinds.Odd(1) == kinds.Odd(3) != kinds.Odd(2)
    assert kinds.Deep(1, 2, 3) == kinds.Deep(1, 2, 3) != kinds.Deep(1, 2, 4)


@BOTH
def test_hashed_by_what_makes_it_equal(kinds: SimpleNamespace) -> None:
    assert len({kinds.Point(1), kinds.Point(1, 0), kinds.Point(2)}) == 2
    assert len({kinds.Alone("a"), kinds.Alone("a"), kinds.Nothing(), kinds.Nothing()}) == 2
    assert hash(kinds.Secret(user="a", seen=[1])) == hash(kinds.Secret(user="a"))
    assert len({kinds.Odd(1), kinds.Odd(3)}) == 1
    assert len({kinds.Task("a"), kinds.Task("a")}) == 2
    for unhashable in (kinds.Counter(1), kinds.Alone([])):
        with pytest.raises(TypeError, match="unhashable"):
            hash(unhashable)


@BOTH
def test_shown_by_name_and_fields(kinds: SimpleNamespace) -> None:
    assert repr(kinds.Point(1)).endswith("Point(x=1, y=0)")
    assert repr(kinds.Nothing()).endswith("Nothing()")
    assert repr(kinds.Secret(user="a", password="b", seen=[1])).endswith("Secret(user='a', seen=[1])")
    assert repr(kinds.Odd(1)) == "odd"


@BOTH
def test_made_changed_and_copied_as_any_dataclass(kinds: SimpleNamespace) -> None:
    point = kinds.Point(1)
    assert dataclasses.replace(point, y=5) == kinds.Point(1, 5)
    assert dataclasses.asdict(kinds.Deep(1)) == {"x": 1, "y": 0, "z": 0}
    assert copy.copy(point) == copy.deepcopy(point) == point
    assert kinds.Secret(user="a").seen is not kinds.Secret(user="a").seen
    for wrong in ([], [1, 2, 3]):
        with pytest.raises(TypeError, match="argument"):
            kinds.Point(*wrong)
    with pytest.raises(TypeError, match="argument"):
        kinds.Secret("a")
    with pytest.raises(AttributeError):
        kinds.Counter(1).other = 2
    match point:
        case kinds.Point(x, y):
            assert (x, y) == (1, 0)


@records.dataclass(frozen=True, slots=True)
class Sent:
    """At the top of its module, as pickle wants it."""

    x: int


def test_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(Sent(1))) == Sent(1)  # noqa: S301 - made above


def test_made_in_less_than_half_the_time() -> None:
    def seconds(decorate: Decorator) -> float:
        began = time.process_time()
        for _ in range(10):
            classes(decorate)
        return time.process_time() - began

    measured = [seconds(records.dataclass) / seconds(dataclasses.dataclass) for _ in range(5)]
    assert min(measured) < 0.5, measured


@source.READERS
def test_no_module_of_k3_uses_the_librarys() -> None:
    imports = source.nodes(ast.ImportFrom)
    users = {
        name for name, found in imports if found.module == "dataclasses" and "dataclass" in {each.name for each in found.names}
    }
    assert users == {"core/records.py"}
