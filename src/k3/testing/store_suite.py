"""The laws of a Store as tests, the same for every backend.

A test class inherits `StoreSuite` and says how the store is opened:

    class TestMine(StoreSuite):
        @pytest.fixture
        async def open_store(self, tmp_path: Path) -> Opener:
            return lambda: connect(SqliteStorage(tmp_path / "k3.db"))

Runs under pytest-asyncio in auto mode. Each call of the opener gives one more handle on the same, at first empty, data.
After every test no task, thread or file descriptor may be left. What a backend cannot do is a named capability; the
tests that need it are skipped with that name.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from k3.core.store import Store
from k3.testing._store_handles import HandleLaws
from k3.testing._store_reads import ReadLaws
from k3.testing._store_writes import WriteLaws
from k3.testing.leaks import LeakCheck
from k3.testing.store_steps import HANG_SECONDS, Forget, Opener

__all__ = ["Forget", "Opener", "StoreSuite"]


class StoreSuite(WriteLaws, ReadLaws, HandleLaws):
    """To be inherited by a class whose name begins with `Test`, with the fixture `open_store`."""

    @pytest.fixture
    async def open_store(self) -> Opener:
        """Returns what opens one more handle on this test's data. To be overridden."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self, open_store: Opener) -> AsyncIterator[Store]:
        """The store under test."""
        leaks = LeakCheck()
        store = await open_store()
        yield store
        async with asyncio.timeout(HANG_SECONDS):
            await store.aclose()
            await store.aclose()
        leaks.finish()

    @pytest.fixture
    async def other(self, store: Store, open_store: Opener) -> AsyncIterator[Store]:
        """A second handle on the same data."""
        if not self.opens_twice:
            pytest.skip(f"{store.url} lacks the capability opens_twice")
        other = await open_store()
        yield other
        await other.aclose()

    @pytest.fixture
    async def forget(self) -> Forget:
        """Returns what makes the store compact everything that is now in its log. To be overridden."""
        pytest.skip("lacks the capability forget (making the store compact its history at will)")
