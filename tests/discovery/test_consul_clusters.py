"""The mirror before three Consul servers and before two datacenters, of which some are killed, cut off, and come back."""

import asyncio
from collections.abc import Mapping

import pytest

from k3.core.store import Store
from k3.discovery import guards, watch
from k3.discovery.consul import Consul
from k3.discovery.mirror import MirrorSettings
from k3.discovery.settings import from_flags
from tests.discovery.clusters import Federation, lists_both, three_servers, two_datacenters
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import eventually
from tests.discovery.histories import History, recording
from tests.discovery.machines import plain_service, put, set_check, ttl_service
from tests.discovery.mirroring import GONE, ILL, LOST, UP, View, mirroring, now
from tests.lab import Lan
from tests.servers import Server

pytestmark = [pytest.mark.servers("consul"), pytest.mark.slow]

SETTINGS = MirrorSettings(service="k3-node", watch_interval_seconds=0.5)
GRACE_SECONDS = 3.0


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds instead of a minute, and blocking queries that notice a lost leader when they end: after two, not 55."""
    monkeypatch.setattr(guards, "LEAST_GRACE_SECONDS", GRACE_SECONDS)
    monkeypatch.setattr(watch, "WAIT_SECONDS", 2)


async def one_on_each(connect: Connect, places: Mapping[str, Server]) -> dict[str, Consul]:
    """A client of each server, at which the machine of that name is registered."""
    clients = {name: connect(from_flags(server.endpoint, "", {})) for name, server in places.items()}
    for name, client in clients.items():
        await client.agent.register(plain_service(name))
    return clients


async def test_a_killed_leader_costs_only_the_machine_that_died_with_it(connect: Connect, store: Store) -> None:
    with three_servers() as cluster:
        leader, (near, other) = cluster.leader(), cluster.followers()
        places = {"web1": near, "web2": other, "web3": leader}
        agents = await one_on_each(connect, places)
        async with mirroring(agents["web1"], store, SETTINGS) as view:
            await view.all_show(UP, *places)
            async with recording(store) as history:
                await cluster.kill(leader)
                await agents["web2"].agent.register(plain_service("web4"))
                await view.all_show(UP, "web4")
                await view.all_show(LOST, "web3")
                message = (await view.condition("web3")).message
                await cluster.restart(leader)
                await view.all_show(UP, "web3")
                await agents["web1"].agent.register(ttl_service("web5"))
                await view.all_show(UP, "web5")
    history.check()
    assert message == "the Consul agent of this machine does not answer"
    assert {name: history.words(name) for name in ("web1", "web2")} == {"web1": [UP], "web2": [UP]}
    assert history.words("web3") == [UP, LOST, UP]


async def test_a_killed_leader_that_is_taken_out_of_the_catalog_is_not_false(connect: Connect, store: Store) -> None:
    with three_servers(cleans_up=True) as cluster:
        leader, (near, other) = cluster.leader(), cluster.followers()
        places = {"web1": near, "web2": other, "web3": leader}
        agents = await one_on_each(connect, places)
        async with mirroring(agents["web1"], store, SETTINGS) as view:
            await view.all_show(UP, *places)
            async with recording(store) as history:
                await cluster.kill(leader)
                await view.all_show(LOST, "web3")
                await eventually(lambda: is_unlisted(agents["web1"], "web3"), guard_seconds=100)
                await agents["web1"].agent.register(plain_service("web4"))
                await view.all_show(UP, "web4")
                await agents["web1"].agent.register(plain_service("web5"))
                await view.all_show(UP, "web5")
    history.check()
    assert history.words("web3") == [UP, LOST]


async def is_unlisted(consul: Consul, name: str) -> bool:
    return not await consul.catalog.is_listed("k3-node", f"k3-node-{name}")


@pytest.mark.usefixtures("short_grace")
async def test_a_lost_quorum_is_unknown_after_the_grace_and_heals(connect: Connect, store: Store) -> None:
    with three_servers() as cluster:
        leader, (near, other) = cluster.leader(), cluster.followers()
        places = {"web1": near, "web2": other, "web3": leader}
        agents = await one_on_each(connect, places)
        async with mirroring(agents["web1"], store, SETTINGS) as view:
            await view.all_show(UP, *places)
            async with recording(store) as history:
                cut_at = now()
                await cluster.kill(leader, other)
                await view.all_show(LOST, *places)
                assert now() - cut_at >= GRACE_SECONDS
                assert "no leader" in (await view.condition("web1")).message
                await cluster.restart(leader, other)
                await view.all_show(UP, *places)
                await agents["web2"].agent.register(plain_service("web4"))
                await view.all_show(UP, "web4")
    history.check()
    assert [history.words(name) for name in places] == 3 * [[UP, LOST, UP]]


@pytest.mark.netns
@pytest.mark.usefixtures("short_grace")
async def test_a_server_cut_off_from_the_others_knows_that_it_knows_nothing(connect: Connect, store: Store, lan: Lan) -> None:
    # Once they hold each other for dead, Consul's servers try again only every 30 s.
    with three_servers(lan, patience=600) as cluster:
        near, other = cluster.followers()
        here, there = (connect(from_flags(cluster.address(server), "", {})) for server in (near, other))
        await here.agent.register(plain_service("web1"))
        await there.agent.register(plain_service("web2"))
        async with mirroring(here, store, SETTINGS) as view:
            await view.all_show(UP, "web1", "web2")
            async with recording(store) as history:
                cut_at = now()
                lan.isolate(cluster.host(near))
                await there.agent.register(plain_service("web3"))
                await view.all_show(LOST, "web1", "web2")
                assert now() - cut_at >= GRACE_SECONDS
                lan.rejoin(cluster.host(near))
                await view.all_show(UP, "web1", "web2", "web3")
                await there.agent.deregister("k3-node-web3")
                await view.all_show(GONE, "web3")
    history.check()
    assert history.words("web1") == history.words("web2") == [UP, LOST, UP]
    assert history.words("web3") == [UP, GONE]


async def federated(connect: Connect, federation: Federation) -> tuple[Consul, Consul]:
    """Both agents, once the near one knows of both datacenters."""
    near = connect(from_flags(federation.near_address, "", {}))
    await eventually(lambda: lists_both(near))
    return near, connect(from_flags(federation.far_address, "", {}))


async def lives_on(view: View, near: Consul, history: History) -> None:
    """The near datacenter's machines go on being ill and well, and new ones come."""
    for word, status in ((ILL, "fail"), (UP, "pass")):
        await set_check(near, "web1", status)
        await view.shows("web1", *word)
    await near.agent.register(plain_service("new"))
    await view.all_show(UP, "new")
    await history.complete()
    assert history.words("new") == [UP]


@pytest.mark.netns
@pytest.mark.timeout(240)  # Consul itself takes up to 40 s to notice that a datacenter does not answer
@pytest.mark.usefixtures("short_grace")
async def test_a_datacenter_that_is_cut_off_costs_the_other_nothing(connect: Connect, store: Store, lan: Lan) -> None:
    with two_datacenters(lan) as federation:
        near, far = await federated(connect, federation)
        await near.agent.register(ttl_service("web1"))
        await far.agent.register(plain_service("web2"))
        await far.agent.register(plain_service("web3"))
        async with mirroring(near, store, SETTINGS) as view:
            await view.all_show(UP, "web1", "web2", "web3")
            async with recording(store) as history:
                assert federation.far_host is not None
                cut_at = now()
                lan.isolate(federation.far_host)
                await lives_on(view, near, history)
                await view.all_show(LOST, "web2", "web3")
                assert now() - cut_at >= GRACE_SECONDS
                assert "no word from Consul's datacenter dc2: " in (await view.condition("web2")).message
                await near.agent.deregister("k3-node-new")
                await view.shows("new", *GONE)
                lan.rejoin(federation.far_host)
                await view.all_show(UP, "web2", "web3")
                await far.agent.register(plain_service("web4"))
                await view.all_show(UP, "web4")
    history.check()
    assert history.words("web1") == [UP, ILL, UP]
    assert history.words("web2") == history.words("web3") == [UP, LOST, UP]


@pytest.mark.usefixtures("short_grace")
async def test_a_mirror_that_starts_while_a_datacenter_is_away_knows_its_nodes(connect: Connect, store: Store) -> None:
    with two_datacenters() as federation:
        near, far = await federated(connect, federation)
        await near.agent.register(ttl_service("web1"))
        await far.agent.register(plain_service("web2"))
        async with mirroring(near, store, SETTINGS) as view:
            await view.all_show(UP, "web1", "web2")
        await asyncio.to_thread(federation.far.close)
        async with recording(store) as history:
            started_at = now()
            async with mirroring(near, store, SETTINGS) as view:
                await lives_on(view, near, history)
                assert await view.ready("web2") == UP or now() - started_at >= GRACE_SECONDS
                await view.all_show(LOST, "web2")
                assert now() - started_at >= GRACE_SECONDS
                await asyncio.to_thread(federation.far.start)
                await view.all_show(UP, "web2")
                await far.agent.register(plain_service("web4"))
                await view.all_show(UP, "web4")
                labels = (await view.manifest("web4"))["metadata"]["labels"]
                assert labels["topology.kubernetes.io/region"] == "dc2"
    history.check()
    assert history.words("web2") == [UP, LOST, UP]


@pytest.mark.usefixtures("short_grace")
async def test_a_datacenter_that_consul_has_forgotten_is_known_from_its_nodes(connect: Connect, store: Store) -> None:
    with two_datacenters() as federation:
        near, far = await federated(connect, federation)
        await far.agent.register(plain_service("web2"))
        async with mirroring(near, store, SETTINGS) as view:
            await view.all_show(UP, "web2")
        await put(far, "/v1/agent/leave")
        await asyncio.to_thread(federation.far.close)

        async def lists_one() -> bool:
            return await near.catalog.datacenters() == ("dc1",)

        await eventually(lists_one)
        async with recording(store) as history, mirroring(near, store, SETTINGS) as view:
            await view.all_show(LOST, "web2")
            assert "No path to datacenter" in (await view.condition("web2")).message
            await asyncio.to_thread(federation.far.start)
            await view.all_show(UP, "web2")
    history.check()
    assert history.words("web2") == [UP, LOST, UP]
