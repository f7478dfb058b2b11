"""What discovery's tests share: a client that is closed again, and a look at what it left open."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from k3.discovery.consul import Consul
from k3.discovery.settings import ConsulSettings, from_flags
from tests.servers import Server, consul_agent

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
