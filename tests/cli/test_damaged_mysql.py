"""Damaged tables on a MySQL server are one line that says what is damaged and what to do, whatever the command."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3.stores import connect
from k3.stores.mysql import MysqlStorage
from k3.testing.store_steps import node
from tests.cli.conftest import K3, StoreFile
from tests.odd import ODD
from tests.servers import Mariadb, mariadb_server
from tests.stores.mysql_damage import DAMAGED, by_sql, put
from tests.stores.mysql_places import storage_on

pytestmark = [pytest.mark.servers("mariadb"), pytest.mark.xdist_group("mariadb-damaged")]

COMMANDS = (("nodes",), ("nodes", "-w"), ("describe", "node", "n1"), ("events",), ("delete", "node", "n1"), ("store", "check"))


@pytest.fixture(scope="module")
def server() -> Iterator[Mariadb]:
    with mariadb_server() as server:
        yield server


@pytest.fixture
def storage(server: Mariadb, monkeypatch: pytest.MonkeyPatch) -> MysqlStorage:
    """A store with two Nodes."""
    storage = storage_on(server, "damaged")
    monkeypatch.setenv("K3_STORE_PASSWORD", storage.password)

    async def fill() -> None:
        store = await connect(storage)
        for name in ("n1", "n2"):
            await store.create(node(name), {})
        await store.aclose()

    asyncio.run(fill())
    return storage


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_store_is_one_line(k3: K3, server: Mariadb, storage: MysqlStorage, tmp_path: Path, kind: str) -> None:
    statement, words = DAMAGED[kind]
    by_sql(server, storage, statement)
    good = StoreFile(tmp_path / "good.db")
    good.put("good")
    commands = [(*command, "--store", storage.url) for command in COMMANDS]
    for command in (*commands, ("store", "copy", storage.url, good.url), ("store", "copy", good.url, storage.url)):
        done = k3(*command)
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), (command, done)
        assert f"database {storage.database} on mysql {storage.host}:{storage.port} is damaged: " in done.err
        assert words in done.err
        assert "restore a backup, or drop the tables meta, cur and log" in done.err


def test_odd_documents_cost_their_own_line(k3: K3, server: Mariadb, storage: MysqlStorage) -> None:
    odd = {kind: (document, why) for kind, (document, why) in ODD.items() if len(document) < 50_000}
    for kind, (document, _) in odd.items():
        put(server, storage, f"odd-{kind}", document)
    done = k3("nodes", "--store", storage.url)
    rows = {line.split()[0]: line.split()[1] for line in done.out.splitlines()[1:]}
    assert done.code == 0
    assert rows.keys() == {"n1", "n2", *(f"odd-{kind}" for kind in odd)}
    checked = k3("store", "check", "--store", storage.url)
    assert checked.code == 1
    for kind, (_, why) in odd.items():
        assert rows[f"odd-{kind}"] == "Unreadable"
        assert why in checked.out
        assert k3("delete", "node", f"odd-{kind}", "--store", storage.url).code == 0
    assert k3("store", "check", "--store", storage.url).code == 0
