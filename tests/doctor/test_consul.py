"""What is said of a real Consul: away, or with a token that it does not know or that lacks a right; and of one that is well."""

from collections.abc import AsyncIterator

import pytest

from k3.discovery.consul import Consul
from k3.discovery.options import DiscoveryOptions
from k3.discovery.settings import from_flags
from k3.doctor import consul
from k3.doctor.consul import ConsulSeen
from k3.doctor.finding import Severity, is_healthy
from k3.settings.structs import Reader
from tests.discovery.consul_lab import LOCKED, ROOT, eventually, policy_token, special_agent

pytestmark = [pytest.mark.servers("consul"), pytest.mark.slow]

SECONDS = 10.0
ENOUGH = 'service "k3-node" { policy = "write" } node_prefix "" { policy = "read" }'


async def look(address: str, token: str = "", *, datacenter: str = "") -> ConsulSeen:
    datacenters = (datacenter,) if datacenter else ()
    options = DiscoveryOptions(name="a", consul=from_flags(address, token, {}), datacenters=datacenters)
    return await consul.look(options, Reader(), seconds=SECONDS)


def first(seen: ConsulSeen) -> str:
    wrong = [each for each in seen.findings if each.severity is Severity.PROBLEM]
    assert wrong, seen
    assert wrong[0].why
    assert wrong[0].do or wrong[0].commands
    return wrong[0].what


@pytest.fixture
async def locked() -> AsyncIterator[Consul]:
    """All rights at an agent that gives none by default."""
    with special_agent(LOCKED) as server:
        root = Consul(from_flags(server.endpoint, ROOT, {}))
        await eventually(root.agent.read_self)
        yield root
        await root.aclose()


async def test_the_right_that_a_token_lacks_is_named(locked: Consul) -> None:
    assert "lacks service:read on k3-node, node:read on all nodes, service:write on k3-node" in first(await look(locked.where))
    token = await policy_token(locked, ENOUGH.replace("write", "read"))
    assert first(await look(locked.where, token)) == "The token that k3 uses at Consul lacks service:write on k3-node."
    token = await policy_token(locked, 'service_prefix "" { policy = "write" }')
    assert first(await look(locked.where, token)) == "The token that k3 uses at Consul lacks node:read on all nodes."
    assert "ACL not found" in first(await look(locked.where, "11111111-0000-4000-8000-000000000001"))
    seen = await look(locked.where, await policy_token(locked, ENOUGH))
    assert is_healthy(seen.findings)
    assert seen.ahead_seconds is not None
    assert abs(seen.ahead_seconds) < 5
    assert is_healthy((await look(locked.where, ROOT)).findings)


async def test_a_consul_without_rights_to_keep_and_one_that_is_away() -> None:
    with special_agent({}) as server:
        where = server.endpoint
        seen = await look(where)
        assert is_healthy(seen.findings)
        assert any("is not registered" in each.what for each in seen.findings)
        assert "knows no datacenter dc7; it has dc1" in first(await look(where, datacenter="dc7"))
    assert "cannot reach Consul" in first(await look(where))


async def test_a_consul_elsewhere_is_looked_after_there() -> None:
    here = (await look("http://localhost:1")).findings[0]
    assert here.commands == ("systemctl status consul", "consul members -http-addr=http://localhost:1")
    there = (await look("http://192.0.2.1:1")).findings[0]
    assert there.commands == ("consul members -http-addr=http://192.0.2.1:1",)
    assert there.do.startswith("See that Consul's agent runs on 192.0.2.1 (there: systemctl status consul)")
