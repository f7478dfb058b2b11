"""The SQLite backend."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from k3.core import limits
from k3.core.store import Store
from k3.stores.sqlite.store import SqliteStore
from k3.testing.clock import FakeClock
from k3.testing.store_machine import StoreMachine
from k3.testing.store_suite import Forget, Opener, StoreSuite
from tests.stores.filling import write_many


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    async def open_store(self, tmp_path: Path, clock: FakeClock) -> Opener:
        async def opened() -> Store:
            store = SqliteStore(tmp_path / "k3.db", clock=clock.time)
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


class SqliteMachine(StoreMachine):
    async def open(self) -> Store:
        directory = self.stack.enter_context(TemporaryDirectory())
        store = SqliteStore(Path(directory) / "k3.db")
        await store.open()
        self.stack.push_async_callback(store.aclose)
        return store


SqliteMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestSqliteMachine = SqliteMachine.TestCase
