"""Each backend that there is has a test file here that runs the suite and the state machine."""

from pathlib import Path

import pytest

from k3.settings import backends
from k3.settings.backends import Backend
from k3.settings.structs import Storage
from k3.stores import etcd, memory, mysql, sqlite

HERE = Path(__file__).parent

OURS: list[Backend] = [memory, sqlite, mysql, etcd]
"""The type checker holds each to what `Backend` asks for."""

STRUCTS: list[Storage] = [memory.MemoryStorage(), sqlite.SqliteStorage(Path("/x")), mysql.MysqlStorage(), etcd.EtcdStorage()]


def test_there_are_backends() -> None:
    assert set(backends.types()) == {"memory", "sqlite", "mysql", "etcd"}
    assert [backends.load(each.TYPE) for each in OURS] == OURS


@pytest.mark.parametrize("name", backends.types())
def test_it_has_a_test_file(name: str) -> None:
    text = (HERE / f"test_{name}.py").read_text()
    assert "(StoreSuite)" in text
    assert "(StoreMachine)" in text


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda each: each.type)
def test_a_store_has_one_url(struct: Storage) -> None:
    scheme, _, rest = struct.url.partition("://")
    backend = backends.load(scheme)
    assert backend.storage(backend.from_url(rest, "--store"), default_path=Path("/nowhere"), where="--store") == struct
