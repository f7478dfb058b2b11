"""The MySQL backend, against a real MariaDB."""

import itertools
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import settings

from k3.core import limits
from k3.core.store import Store
from k3.stores.mysql.store import MysqlStore
from k3.testing.clock import FakeClock
from k3.testing.store_machine import StoreMachine
from k3.testing.store_suite import Forget, Opener, StoreSuite
from tests.servers import Mariadb, mariadb_server
from tests.stores.filling import write_many
from tests.stores.mysql_places import storage_on

pytestmark = [pytest.mark.servers("mariadb"), pytest.mark.xdist_group("mariadb")]


@pytest.fixture(scope="module")
def server() -> Iterator[Mariadb]:
    with mariadb_server() as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestMysqlStore(StoreSuite):
    @pytest.fixture
    async def open_store(self, server: Mariadb, clock: FakeClock) -> Opener:
        storage = storage_on(server, "suite")

        async def opened() -> Store:
            store = MysqlStore(storage, clock=clock.time)
            await store.open()
            return store

        return opened

    @pytest.fixture
    async def forget(self, clock: FakeClock) -> Forget:
        async def everything(store: Store) -> None:
            await write_many(store, limits.HISTORY_REVISIONS)
            clock.advance(limits.HISTORY_SECONDS + 1)
            for _ in range(8):
                await write_many(store, 300)

        return everything


class MysqlMachine(StoreMachine):
    server: ClassVar[Mariadb]
    numbers: ClassVar[Iterator[int]] = itertools.count()

    async def open(self) -> Store:
        store = MysqlStore(storage_on(self.server, f"machine{next(self.numbers)}"))
        await store.open()
        self.stack.push_async_callback(store.aclose)
        return store


MysqlMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)


TestMysqlMachine = MysqlMachine.TestCase


@pytest.fixture(scope="module", autouse=True)
def _machines_run_there(server: Mariadb) -> None:
    MysqlMachine.server = server
