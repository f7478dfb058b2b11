"""Stores into which another program writes: each kind of store, with a way to put any bytes under any object's key."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from k3.settings.structs import Storage
from k3.stores import connect
from k3.stores.etcd import EtcdStorage
from k3.stores.sqlite import SqliteStorage
from tests import odd
from tests.servers import etcd_server, mariadb_server
from tests.stores import etcd_lab
from tests.stores.mysql_places import storage_on

CORPUS: Final = Path(__file__).parent / "corpus"
FOLDERS: Final = {"Node": "node", "Event": "event", "Lease": "lease"}
_NUMBERS: Final = count()


def unreadable() -> dict[str, bytes]:
    """Returns, by name, what is no document at all."""
    return {name: document for name, (document, _) in odd.ODD.items()}


def strange(kind: str) -> dict[str, bytes]:
    """Returns, by name, what the corpus has under a kind: most of it can be read, and says odd things."""
    return {file.stem: file.read_bytes() for file in sorted((CORPUS / FOLDERS[kind]).iterdir())}


@dataclass(frozen=True, slots=True)
class Place:
    """One store, made. `put` writes as another program does: kind, name and the bytes."""

    storage: Storage
    put: Callable[[str, str, bytes], None]
    environ: Mapping[str, str] = field(default_factory=dict)

    def fill(self) -> None:
        """Puts all that is odd under every kind of object: `odd-` and what is odd about it."""
        for kind in odd.PATHS:
            for name, document in {**strange(kind), **unreadable()}.items():
                self.put(kind, f"odd-{name}", document)


Make = Callable[[], Place]


@contextmanager
def places(kind: str, folder: Path) -> Iterator[Make]:
    """Gives what makes empty stores of a kind, all on one server."""
    if kind == "sqlite":
        yield lambda: _sqlite(folder / f"{next(_NUMBERS)}.db")
    elif kind == "etcd":
        with etcd_server() as server:

            def make() -> Place:
                storage = EtcdStorage(endpoints=(server.endpoint,), prefix=f"/odd{next(_NUMBERS)}")

                def put(kind: str, name: str, document: bytes) -> None:
                    etcd_lab.put(server, storage.prefix + odd.PATHS[kind].format(name), document)

                return _made(storage, put)

            yield make
    else:
        with mariadb_server() as database_server:

            def make_database() -> Place:
                storage = storage_on(database_server, f"odd{next(_NUMBERS)}")

                def put(kind: str, name: str, document: bytes) -> None:
                    database_server.sql(
                        f"USE `{storage.database}`; {_INSERT}".format(odd.PATHS[kind].format(name), document.hex())
                    )

                return _made(storage, put, {"K3_STORE_PASSWORD": storage.password})

            yield make_database


_INSERT: Final = (
    "START TRANSACTION; UPDATE meta SET rev = rev + 1; SELECT rev INTO @rev FROM meta; REPLACE INTO cur VALUES ('{0}', @rev);"
    "INSERT INTO log VALUES (@rev, '{0}', 0, 'ADDED', UNIX_TIMESTAMP(), 'u', '2026-11-27T00:00:00Z', x'{1}'); COMMIT;"
)


def _sqlite(path: Path) -> Place:
    return _made(SqliteStorage(path), lambda kind, name, document: odd.insert(path, document, name, kind=kind))


def _made(storage: Storage, put: Callable[[str, str, bytes], None], environ: Mapping[str, str] | None = None) -> Place:
    async def make() -> None:
        await (await connect(storage)).aclose()

    asyncio.run(make())
    return Place(storage, put, environ or {})
