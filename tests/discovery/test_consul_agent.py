"""The client against a real Consul: what it asks is what Consul takes, and what it gives back is what Consul knows."""

import asyncio
from typing import Any

import pytest

from k3.core.errors import Forbidden, Invalid, K3Error, Unavailable
from k3.discovery.consul import Consul
from k3.discovery.settings import from_flags
from tests.discovery.conftest import Certificates, Connect
from tests.discovery.consul_lab import LOCKED, ROOT, eventually, special_agent
from tests.servers.server import Site

pytestmark = pytest.mark.servers("consul")


def service(service_id: str, **more: Any) -> dict[str, Any]:
    return {"Name": "web", "ID": service_id, "Address": "10.0.0.7", "Port": 7946, "Meta": {"node": "web1"}, **more}


async def instances(consul: Consul) -> list[str]:
    reading = await consul.catalog.health("web", datacenter="dc1", index=0)
    return sorted(each.service_id for each in reading.found.instances)


async def test_the_agent_says_who_it_is(consul: Consul) -> None:
    agent = await consul.agent.read_self()
    assert (agent.datacenter, agent.node) == ("dc1", "consul")
    assert agent.version.count(".") == 2
    assert await consul.catalog.datacenters() == ("dc1",)


async def test_a_service_is_registered_listed_read_back_and_taken_away(consul: Consul) -> None:
    odd = "web-a/b c?d"
    await consul.agent.register(service(odd))
    await eventually(lambda: consul.catalog.is_listed("web", odd))
    found = await consul.agent.own_service(odd)
    assert found is not None
    assert (found.port, found.meta) == (7946, {"node": "web1"})
    assert not await consul.catalog.is_listed("web", "web-other")
    await consul.agent.deregister(odd)
    await consul.agent.deregister(odd)
    assert await consul.agent.own_service(odd) is None


async def test_a_blocking_query_ends_with_the_change_and_not_before(consul: Consul) -> None:
    before = await consul.catalog.health("web", datacenter="dc1", index=0)
    assert before.has_leader
    assert not before.is_filtered
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(30):
        waiting = tasks.create_task(consul.catalog.health("web", datacenter="dc1", index=before.index, wait_seconds=20))
        await consul.catalog.datacenters()
        assert not waiting.done()
        await consul.agent.register(service("web-1"))
    after = waiting.result()
    assert after.index > before.index
    await eventually(lambda: instances(consul))
    assert await instances(consul) == ["web-1"]
    await consul.agent.deregister("web-1")


async def test_what_consul_does_not_take_is_one_line(consul: Consul) -> None:
    with pytest.raises(Invalid, match=r"does not take the request: .*Port"):
        await consul.agent.register({"Name": "web", "Port": "many"})
    with pytest.raises(Unavailable, match="No path to datacenter"):
        await consul.catalog.health("web", datacenter="nowhere", index=0)


async def test_tokens(connect: Connect) -> None:
    with special_agent(LOCKED) as server:
        root, wrong = connect(from_flags(server.endpoint, ROOT, {})), connect(from_flags(server.endpoint, "no-such-token", {}))
        anonymous = connect(from_flags(server.endpoint, "", {}))
        await eventually(root.agent.read_self)
        await root.agent.register(service("web-1"))
        await eventually(lambda: instances(root))
        assert await instances(anonymous) == []
        for refused in (
            anonymous.agent.register(service("web-2")),
            wrong.catalog.health("web", datacenter="dc1", index=0),
            wrong.agent.read_self(),
        ):
            with pytest.raises(Forbidden, match="refuses the token") as told:
                await refused
            assert "no-such-token" not in str(told.value)


async def test_tls_with_client_certificates(connect: Connect, certificates: Certificates) -> None:
    environ = certificates.client
    port = Site(None, None).free_port()
    with special_agent(certificates.server, https_port=port) as server:
        address = f"https://127.0.0.1:{port}"
        assert await connect(from_flags(address, "", environ)).catalog.datacenters() == ("dc1",)
        named = {**environ, "CONSUL_TLS_SERVER_NAME": "server.dc1.consul"}
        assert await connect(from_flags(address, "", named)).catalog.datacenters() == ("dc1",)
        unverified = {**environ, "CONSUL_CACERT": "", "CONSUL_HTTP_SSL_VERIFY": "false"}
        assert await connect(from_flags(address, "", unverified)).catalog.datacenters() == ("dc1",)
        await _refused(connect, address, {"CONSUL_CACERT": environ["CONSUL_CACERT"]}, "TLS failed|closed the connection")
        await _refused(connect, address, {**environ, "CONSUL_CACERT": ""}, "is not trusted")
        await _refused(connect, address, {**environ, "CONSUL_TLS_SERVER_NAME": "other"}, "is not trusted")
        await _refused(connect, f"http://127.0.0.1:{port}", {}, "speaks TLS; write https://")
        await _refused(connect, f"https://127.0.0.1:{server.port}", environ, "does not speak TLS; write http://")


async def _refused(connect: Connect, address: str, environ: dict[str, str], why: str) -> None:
    with pytest.raises(K3Error, match=why):
        await connect(from_flags(address, "", environ)).catalog.datacenters()
