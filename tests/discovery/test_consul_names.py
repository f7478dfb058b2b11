"""Machines in a real Consul that want one name: who gets it, who is told, and that nobody's Node becomes another's."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from k3.core.objects import EVENT
from k3.core.store import Store
from k3.discovery.consul import Consul
from k3.discovery.mirror import MirrorSettings
from k3.discovery.settings import from_flags
from tests.discovery.clusters import lists_both, two_datacenters
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import eventually
from tests.discovery.histories import History, recording
from tests.discovery.machines import plain_service, set_check, ttl_service
from tests.discovery.mirroring import GONE, ILL, UP, View, mirroring

pytestmark = pytest.mark.servers("consul")

SETTINGS = MirrorSettings(service="k3-node", watch_interval_seconds=0.5)
SECOND = "web1-f9637b"
"""`web1` and the first digits of the hash of (dc1, consul, k3-node-b)."""


def namesake(service: str, digit: str, **more: Any) -> dict[str, Any]:
    """A machine with an ID, an address and an identity of its own that wants to be called web1."""
    own = {"Address": f"10.0.0.{digit}", "Meta": {"node": "web1", "id": digit * 32}}
    return ttl_service(service, **own, **more)


async def told(store: Store, reason: str) -> dict[str, str]:
    """Which Nodes Warning Events of that reason are about, and what they say."""
    events = [item.manifest() for item in (await store.list(EVENT)).objects]
    found = [event for event in events if (event["reason"], event["type"]) == (reason, "Warning")]
    return {event["involvedObject"]["name"]: event["message"] for event in found}


async def services(view: View, *names: str) -> list[str]:
    """Which instances these Nodes stand for."""
    return [(await view.manifest(name))["metadata"]["annotations"]["k3.discovery/service-id"] for name in names]


@pytest.fixture
async def both(consul: Consul) -> AsyncIterator[Consul]:
    """Two such machines at one agent, and others that come to no harm."""
    await consul.agent.register(namesake("a", "1"))
    await consul.agent.register(namesake("b", "2"))
    for name in ("rest", "more"):
        await consul.agent.register(plain_service(name))
    yield consul
    for name in ("a", "b", "rest", "more", "last"):
        await consul.agent.deregister(f"k3-node-{name}")


async def test_two_of_one_datacenter_keep_their_names_whatever_their_health(both: Consul, store: Store) -> None:
    async with mirroring(both, store, SETTINGS) as view:
        for name in ("web1", SECOND):
            await view.shows(name, *UP)
        assert await services(view, "web1", SECOND) == ["k3-node-a", "k3-node-b"]
        said = {SECOND: f"another machine in the registry is called web1; this one goes by {SECOND}"}
        await eventually(lambda: told(store, "NameConflict"))
        assert await told(store, "NameConflict") == said
        await set_check(both, "a", "fail")
        await view.shows("web1", *ILL)
        await set_check(both, "b", "warn")
        await set_check(both, "a", "pass")
        await view.shows("web1", *UP)
    async with mirroring(both, store, SETTINGS) as view:
        await set_check(both, "b", "fail")
        await view.shows(SECOND, *ILL)
        await both.agent.deregister("k3-node-b")
        await view.shows(SECOND, *GONE)
        assert await services(view, "web1", SECOND) == ["k3-node-a", "k3-node-b"]
        assert await view.ready("web1") == UP
    assert await told(store, "NameConflict") == said
    assert await told(store, "IdentityChanged") == {}


async def test_the_second_keeps_its_name_when_the_first_leaves(both: Consul, store: Store) -> None:
    async with mirroring(both, store, SETTINGS) as view:
        for name in ("web1", SECOND):
            await view.shows(name, *UP)
        async with recording(store) as history:
            await both.agent.deregister("k3-node-a")
            await eventually(lambda: has_changed(history, "web1"))
            await both.agent.register(plain_service("last"))
            await view.shows("last", *UP)
            await both.agent.register(namesake("a", "1"))
            await view.shows("web1", *UP)
        assert await services(view, "web1", SECOND) == ["k3-node-a", "k3-node-b"]
    history.check()
    assert history.words("web1") == [UP, GONE, UP]
    assert history.words(SECOND) == [UP]
    assert await told(store, "IdentityChanged") == {}


async def has_changed(history: History, name: str) -> bool:
    return any(change.object.key.name == name for change in history.changes)


@pytest.mark.slow
async def test_two_of_two_datacenters_and_the_far_one_goes_by_its_datacenter(connect: Connect, store: Store) -> None:
    with two_datacenters() as federation:
        near, far = (connect(from_flags(address, "", {})) for address in (federation.near_address, federation.far_address))
        await eventually(lambda: lists_both(near))
        await near.agent.register(namesake("a", "1"))
        await far.agent.register(namesake("b", "2"))
        for name in ("rest", "more"):
            await far.agent.register(plain_service(name))
        async with mirroring(near, store, SETTINGS) as view:
            for name in ("web1", "web1-dc2", "more"):
                await view.shows(name, *UP)
            assert await services(view, "web1", "web1-dc2") == ["k3-node-a", "k3-node-b"]
            await eventually(lambda: told(store, "NameConflict"))
            assert list(await told(store, "NameConflict")) == ["web1-dc2"]
            async with recording(store) as history:
                await far.agent.deregister("k3-node-b")
                await view.shows("web1-dc2", *GONE)
                await far.agent.register(namesake("b", "2"))
                await view.shows("web1-dc2", *UP)
        history.check()
        assert history.words("web1") == [UP]
        assert history.words("web1-dc2") == [UP, GONE, UP]
