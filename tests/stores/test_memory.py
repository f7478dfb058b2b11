"""The memory backend."""

import pytest
from hypothesis import settings

from k3.core import limits
from k3.core.store import Store
from k3.stores.memory import MemoryStore
from k3.testing.clock import FakeClock
from k3.testing.store_machine import StoreMachine
from k3.testing.store_suite import Forget, Opener, StoreSuite
from tests.stores.filling import write_many


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class TestMemoryStore(StoreSuite):
    opens_twice = False

    @pytest.fixture
    async def open_store(self, clock: FakeClock) -> Opener:
        async def opened() -> Store:
            return MemoryStore(clock=clock.time)

        return opened

    @pytest.fixture
    async def forget(self, clock: FakeClock) -> Forget:
        async def everything(store: Store) -> None:
            await write_many(store, limits.HISTORY_REVISIONS)
            clock.advance(limits.HISTORY_SECONDS + 1)
            await write_many(store, 2)

        return everything


class MemoryMachine(StoreMachine):
    async def open(self) -> Store:
        return MemoryStore()


MemoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMemoryMachine = MemoryMachine.TestCase
