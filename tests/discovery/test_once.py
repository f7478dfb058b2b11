"""One look at Consul: what is told where there is nothing to be seen, and what a person's odd registrations become."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from k3.agent.cache import Cache
from k3.core.errors import Forbidden, Unavailable
from k3.core.objects import NODE
from k3.core.store import Store
from k3.discovery.consul import Consul
from k3.discovery.mirror import Mirror, MirrorSettings
from k3.discovery.policy import Mirrored
from k3.discovery.settings import from_flags
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import LOCKED, ROOT, eventually, policy_token, special_agent
from tests.discovery.machines import plain_service
from tests.servers import Server

pytestmark = pytest.mark.servers("consul")


async def look(consul: Consul, store: Store) -> dict[str, Any]:
    """What one look says, by Node."""
    mirror = Mirror(consul, MirrorSettings(service="k3-node"), Cache(store, NODE, random=Random(1)), submit=lambda _: True)
    return {seen.name: seen for seen, _ in await mirror.once()}


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    with special_agent(LOCKED) as server:
        yield server


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("", "shows nothing to those without a token: give one that has node:read and service:read in CONSUL_HTTP_TOKEN"),
        ('service_prefix "" { policy = "read" }', "shows nothing to this token; give one that has node:read and service:read"),
    ],
    ids=["no token", "blind"],
)
async def test_who_may_see_nothing_is_told_so(rules: str, told: str, locked: Server, connect: Connect, store: Store) -> None:
    root = connect(from_flags(locked.endpoint, ROOT, {}))
    await eventually(root.agent.read_self)
    token = await policy_token(root, rules) if rules else ""
    with pytest.raises(Forbidden, match=told) as refused:
        await look(connect(from_flags(locked.endpoint, token, {})), store)
    assert not token or token not in str(refused.value)


async def test_a_token_that_is_none_is_refused_and_not_out_of_reach(locked: Server, connect: Connect, store: Store) -> None:
    root = connect(from_flags(locked.endpoint, ROOT, {}))
    await eventually(root.agent.read_self)
    with pytest.raises(Forbidden, match="refuses the token"):
        await look(connect(from_flags(locked.endpoint, "no-such-token", {})), store)
    assert await look(root, store) == {}, "nobody is registered, which is no mistake"


async def test_consul_away_is_unavailable(connect: Connect, store: Store) -> None:
    with pytest.raises(Unavailable, match="cannot reach Consul"):
        await look(connect(from_flags("127.0.0.1:1", "", {})), store)


async def test_a_consul_node_with_capitals_is_on_the_list_and_told_once(
    consul: Consul, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    service = {"Service": "k3-node", "ID": "7", "Address": "web.example"}
    entry = {"Node": "Upper_Case", "Address": "10.0.0.8", "Service": service}
    await consul._sender.call("PUT", "/v1/catalog/register", body=json.dumps(entry).encode())
    await consul.agent.register(plain_service("web1", Address="127.0.0.1"))
    said = await look(consul, store)
    assert set(said) == {"upper-case", "web1"}
    upper = said["upper-case"]
    assert isinstance(upper, Mirrored)
    assert (upper.consul_node, upper.facts.addresses) == ("Upper_Case", ("10.0.0.8",))
    told = [record for record in caplog.records if record.message == "consul.node_renamed"]
    assert [record.fields["node"] for record in told] == ["upper-case"]  # type: ignore[attr-defined]
    await consul._sender.call("PUT", "/v1/catalog/deregister", body=json.dumps({"Node": "Upper_Case"}).encode())
    await consul.agent.deregister("k3-node-web1")
