"""The etcd backend against a real etcd: the laws, and random histories."""

import asyncio
import gc
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from k3.core import limits
from k3.core.store import Store
from k3.stores.etcd import EtcdStorage, open_store
from k3.stores.etcd.store import EtcdStore
from k3.testing.store_machine import StoreMachine
from k3.testing.store_steps import HANG_SECONDS
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
    return EtcdStorage(endpoints=(server.endpoint,), prefix=f"/test{next(_NUMBERS)}")


class Settling(EtcdStore):
    """Waits, after closing, for what grpc does in a thread of its own a moment later and tells nobody: closing the socket."""

    async def aclose(self) -> None:
        was_open, before = not self._watches._is_closed, sockets()
        await super().aclose()
        async with asyncio.timeout(HANG_SECONDS):
            while was_open and before and len(sockets()) >= len(before):
                gc.collect()  # grpc's stream calls refer to themselves
                await asyncio.sleep(0.001)


def sockets() -> list[str]:
    """TCP connections of the process."""
    tables = Path("/proc/self/net/tcp").read_text() + Path("/proc/self/net/tcp6").read_text()
    tcp = {line.split()[9] for line in tables.splitlines()}
    return [fd for fd in map(target, Path("/proc/self/fd").iterdir()) if fd.removeprefix("socket:[").removesuffix("]") in tcp]


def target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


class TestEtcdStore(StoreSuite):
    @pytest.fixture
    async def open_store(self, storage: EtcdStorage) -> Opener:
        async def opened() -> Store:
            store = Settling(storage)
            await store.open()
            return store

        # grpc opens descriptors and a thread of its own with the first channel, for the life of the process.
        await (await opened()).aclose()
        return opened

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
        return await open_store(EtcdStorage(endpoints=(self.server.endpoint,), prefix=f"/machine{next(_NUMBERS)}"))


EtcdMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)


@pytest.mark.usefixtures("server")
def test_random_histories(server: Server) -> None:
    EtcdMachine.server = server
    run_state_machine_as_test(EtcdMachine, settings=EtcdMachine.TestCase.settings)
