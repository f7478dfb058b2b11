"""What is odd about k3's tables, by what the server says of their columns: another program may have changed them. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from k3.core.records import dataclass
from k3.stores.log.sql import as_text

TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    "meta": {"id": "int", "version": "int", "store_id": "varchar", "rev": "bigint", "compact": "bigint"},
    "cur": {"k": "varbinary", "rev": "bigint"},
    "log": {
        "rev": "bigint",
        "k": "varbinary",
        "prev_rev": "bigint",
        "op": "varchar",
        "at": "double",
        "uid": "varchar",
        "created": "varchar",
        "doc": "mediumblob",
    },
}
"""Every table of k3's, and the types of its columns."""

_KEYS: Final = {"meta": "id", "cur": "k", "log": "rev"}
_ENGINE: Final = "InnoDB"
"""Others have no transactions."""


@dataclass(frozen=True, slots=True)
class _Column:
    type: str
    is_key: bool


class Tables:
    """The tables that have the names of k3's."""

    def __init__(self, rows: Iterable[Any]) -> None:
        """`rows` answer `text.COLUMNS`."""
        self._columns: dict[str, dict[str, _Column]] = {}
        self._engines: dict[str, str] = {}
        for row in rows:
            table, column, type_, key, engine = map(as_text, row)
            self._columns.setdefault(table, {})[column] = _Column(type_.lower(), key == "PRI")
            self._engines[table] = engine

    @property
    def missing(self) -> tuple[str, ...]:
        """The tables that are not there."""
        return tuple(table for table in TYPES if table not in self._columns)

    @property
    def of_another_program(self) -> str:
        """A table that is another program's, where none of them is k3's; empty: at least one is, or none is there."""
        foreign = [table for table, columns in self._columns.items() if not TYPES[table].keys() <= columns.keys()]
        return foreign[0] if len(foreign) == len(self._columns) and foreign else ""

    @property
    def oddity(self) -> str:
        """What is not as k3 made it in the tables that are there; empty: nothing."""
        for table, found in self._columns.items():
            for column, type_ in TYPES[table].items():
                if column not in found:
                    return f"its table {table} has lost its column {column}"
                if found[column].type != type_:
                    return f"column {column} of its table {table} is {found[column].type or 'of no type'}, not {type_}"
            if not found[_KEYS[table]].is_key:
                return f"its table {table} has lost its primary key ({_KEYS[table]})"
            if self._engines[table] != _ENGINE:
                return f"its table {table} is not kept by {_ENGINE} but by {self._engines[table] or 'nothing (a view?)'}"
        return ""
