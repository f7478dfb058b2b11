"""`dataclass`, which makes a class in less than half the time of `dataclasses.dataclass`. Pure.

To type checkers it is that one. At run time Python's makes the fields and `__init__`. What it would compile for each class
besides, `__eq__`, `__hash__` and `__repr__`, are functions here that all classes share. That a frozen instance is not changed
is left to the type checker (ADR 63).
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any  # noqa: TID251 - to type checkers the two decorators are the same one

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - it is handed on
else:

    def dataclass(
        *, frozen: bool = False, eq: bool = True, slots: bool = False, kw_only: bool = False
    ) -> Callable[[type[Any]], type[Any]]:
        """The decorator. A frozen class is frozen to type checkers, and hashed by its fields.

        As with Python's: what the class defines itself is kept, a class with `eq` that is not frozen has no hash, a field
        counts for equality and hash unless it says `compare=False`, and is shown unless it says `repr=False`.
        """

        def make(of: type[Any]) -> type[Any]:
            own = {"__eq__", "__hash__", "__repr__"} & of.__dict__.keys()
            if "__eq__" in own and of.__hash__ is None:
                own.discard("__hash__")  # Python's own, because the class says what is equal
            made = dataclasses.dataclass(of, repr=False, eq=False, slots=slots, kw_only=kw_only)
            if "__repr__" not in own:
                made.__repr__ = _shown
            if eq:
                made.__compared__ = _values(tuple(each.name for each in dataclasses.fields(made) if each.compare))
                if "__eq__" not in own:
                    made.__eq__ = _equal
                if "__hash__" not in own:
                    made.__hash__ = _hashed if frozen else None
            return made

        return make


def _values(names: tuple[str, ...]) -> Callable[[object], object]:
    return attrgetter(*names) if names else type


def _equal(self: Any, other: Any) -> Any:  # noqa: ANN401 - any record, and anything
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.__compared__(self) == self.__compared__(other)


def _hashed(self: Any) -> int:  # noqa: ANN401 - any record
    return hash(self.__compared__(self))


def _shown(self: Any) -> str:  # noqa: ANN401 - any record
    values = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in dataclasses.fields(self) if each.repr)
    return f"{self.__class__.__qualname__}({values})"
