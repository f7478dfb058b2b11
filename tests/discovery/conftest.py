"""What discovery's tests share: a client that is closed again, and a look at what it left open."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from k3.discovery.consul import Consul
from k3.discovery.settings import ConsulSettings, from_flags
from tests.discovery.fleet import Fleet
from tests.lab import Lan
from tests.servers import Server, consul_agent, etcd_server

Connect = Callable[[ConsulSettings], Consul]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`connect(settings)`: a client, closed at the end of the test."""
    async with contextlib.AsyncExitStack() as stack:

        def opened(settings: ConsulSettings) -> Consul:
            client = Consul(settings)
            stack.push_async_callback(client.aclose)
            return client

        yield opened


@pytest.fixture(scope="module")
def agent() -> Iterator[Server]:
    """One Consul server, shared by a module."""
    with consul_agent() as server:
        yield server


@pytest.fixture
def consul(agent: Server, connect: Connect) -> Consul:
    """A client of that server."""
    return connect(from_flags(agent.endpoint, "", {}))


class MakeFleet(Protocol):
    """A Consul on a host of its own, and machines of these names, all Ready and the first one leading."""

    def __call__(self, *names: str, dev: bool = True, etcd: bool = False, config: Mapping[str, Any] | None = None) -> Fleet: ...


@pytest.fixture
def fleet(lan: Lan, tmp_path: Path) -> Iterator[MakeFleet]:
    """Make fleets; they end with the test. `dev`: their Consul keeps nothing on disk. `etcd`: as the store, not SQLite."""
    with contextlib.ExitStack() as stack:

        def make(*names: str, dev: bool = True, etcd: bool = False, config: Mapping[str, Any] | None = None) -> Fleet:
            hub = lan.host("hub")
            consul = stack.enter_context(consul_agent(dev=dev, config=config, lan=lan, host=hub))
            store = f"sqlite://{tmp_path}/shared/k3.db"
            if etcd:
                store = stack.enter_context(etcd_server(lan=lan, host=hub)).endpoint.replace("http", "etcd")
            made = Fleet(lan, hub, consul, store)
            stack.callback(made.close)
            if names:
                made.start(*names)
            return made

        yield make
