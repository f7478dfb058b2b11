"""What discovery's tests share: a client that is closed again, and a look at what it left open."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from k3.core.store import Store
from k3.discovery.consul import Consul
from k3.discovery.settings import ConsulSettings, from_flags
from k3.stores.memory import MemoryStore
from tests.discovery.fleet import Fleet
from tests.lab import Lan
from tests.needs import find
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


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """An empty one in memory."""
    memory = MemoryStore()
    yield memory
    await memory.aclose()


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


@dataclass(frozen=True, slots=True)
class Certificates:
    """The configuration of an agent that wants to see certificates, and the environment of a client that has one."""

    server: dict[str, Any]
    client: dict[str, str]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server's certificate for server.dc1.consul, localhost and 127.0.0.1, and a client's."""
    folder = tmp_path_factory.mktemp("tls")
    consul = find("consul") or "consul"
    for command in (["ca", "create"], ["cert", "create", "-server"], ["cert", "create", "-client"]):
        subprocess.run([consul, "tls", *command], cwd=folder, check=True, capture_output=True)
    server = {
        "ca_file": f"{folder}/consul-agent-ca.pem",
        "cert_file": f"{folder}/dc1-server-consul-0.pem",
        "key_file": f"{folder}/dc1-server-consul-0-key.pem",
        "verify_incoming_https": True,
    }
    client = {
        "CONSUL_CACERT": f"{folder}/consul-agent-ca.pem",
        "CONSUL_CLIENT_CERT": f"{folder}/dc1-client-consul-0.pem",
        "CONSUL_CLIENT_KEY": f"{folder}/dc1-client-consul-0-key.pem",
    }
    return Certificates(server, client)
