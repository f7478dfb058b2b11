"""The etcd backend against a real etcd: the laws, and random histories."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import count
from typing import Final

import pytest
from hypothesis import settings

from k3.config import EtcdStorage
from k3.core import limits
from k3.core.store import Store
from k3.stores.etcd import EtcdStore, open_store
from k3.testing.store_machine import StoreMachine
from k3.testing.store_suite import Forget, Opener, StoreSuite
from tests.servers import Server, etcd_server

pytestmark = pytest.mark.servers("etcd")

_NUMBERS: Final = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with etcd_server() as server:
        yield server


@pytest.fixture
def storage(server: Server) -> EtcdStorage:
    """Empty data of its own: a prefix nobody has used."""
    return EtcdStorage((server.endpoint,), prefix=f"/test{next(_NUMBERS)}")


class TestEtcdStore(StoreSuite):
    @pytest.fixture
    async def open_store(self, storage: EtcdStorage) -> Opener:
        # grpc opens descriptors and a thread of its own with the first channel, for the life of the process.
        await (await open_store(storage)).aclose()
        return lambda: open_store(storage)

    @pytest.fixture
    async def forget(self, monkeypatch: pytest.MonkeyPatch) -> Forget:
        async def everything(store: Store) -> None:
            assert isinstance(store, EtcdStore)
            monkeypatch.setattr(limits, "HISTORY_REVISIONS", 0)
            await store._compactor.round()
            assert await store._compactor.round()

        return everything


class EtcdMachine(StoreMachine):
    server: Server

    async def open(self) -> Store:
        return await open_store(EtcdStorage((self.server.endpoint,), prefix=f"/machine{next(_NUMBERS)}"))


EtcdMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)


@pytest.mark.usefixtures("server")
class TestEtcdMachine(EtcdMachine.TestCase):
    @pytest.fixture(autouse=True)
    def _server(self, server: Server) -> None:
        EtcdMachine.server = server
