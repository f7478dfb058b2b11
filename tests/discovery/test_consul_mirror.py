"""A real Consul mirrored into a store: what becomes of a Node when a machine comes, falls ill, rests or leaves."""

import asyncio
import json
from random import Random
from typing import Any

import pytest

from k3.core import node
from k3.core.objects import NODE, Key, Manifest
from k3.core.observation import Facts
from k3.core.store import Store
from k3.discovery import guards
from k3.discovery.consul import Consul
from k3.discovery.mirror import MirrorSettings
from k3.discovery.register import Registrar, Registration, answers_at
from k3.discovery.settings import from_flags
from tests.discovery.answering import reply, speaking
from tests.discovery.clusters import lists_both
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import LOCKED, ROOT, eventually, policy_token, special_agent
from tests.discovery.machines import put, set_check, ttl_service
from tests.discovery.mirroring import mirroring

pytestmark = pytest.mark.servers("consul")

SETTINGS = MirrorSettings(service="k3-node", watch_interval_seconds=0.5)


async def test_a_machine_s_life(consul: Consul, store: Store) -> None:
    async with mirroring(consul, store, SETTINGS) as view:
        await consul.agent.register(ttl_service("web1"))
        await consul.agent.register(ttl_service("rest"))
        await view.shows("web1", "True", "ConsulPassing")
        made = node.view_manifest("web1", await view.manifest("web1"))
        assert (made.owner, made.addresses, made.port, made.pid) == ("discovery", ("10.0.0.7",), 7946, 42)
        await set_check(consul, "web1", "fail")
        await view.shows("web1", "False", "ConsulCritical")
        await set_check(consul, "web1", "warn")
        await view.shows("web1", "True", "ConsulPassing")
        warned = node.condition(await view.manifest("web1"), "k3.discovery/Warning")
        assert warned is not None
        assert warned.status == "True"
        await set_check(consul, "web1", "pass")
        await put(consul, "/v1/agent/service/maintenance/k3-node-web1?enable=true")
        await eventually(lambda: _is_cordoned(view.manifest("web1")))
        assert await view.ready("web1") == ("True", "ConsulPassing")
        await put(consul, "/v1/agent/service/maintenance/k3-node-web1?enable=false")

        async def is_free() -> bool:
            return "unschedulable" not in (await view.manifest("web1"))["spec"]

        await eventually(is_free)
        await consul.agent.deregister("k3-node-web1")
        await view.shows("web1", "False", "ConsulDeregistered")
        await consul.agent.register(ttl_service("web1"))
        await view.shows("web1", "True", "ConsulPassing")
        await consul.agent.deregister("k3-node-web1")
        await consul.agent.deregister("k3-node-rest")


async def _is_cordoned(manifest: Any) -> bool:
    return (await manifest)["spec"].get("unschedulable") is True


async def test_a_restart_with_nothing_changed_writes_nothing(consul: Consul, store: Store) -> None:
    names = [f"web{number}" for number in range(20)]
    for name in names:
        await consul.agent.register(ttl_service(name))
    async with mirroring(consul, store, SETTINGS) as view:
        for name in names:
            await view.shows(name, "True", "ConsulPassing")
        assert view.reconciler.writes == 20
    revision = (await store.list(NODE)).revision
    async with mirroring(consul, store, SETTINGS) as view:
        await consul.agent.register(ttl_service("web-last"))
        await view.shows("web-last", "True", "ConsulPassing")
        assert view.reconciler.writes == 1
    assert (await store.list(NODE)).revision > revision
    for name in [*names, "web-last"]:
        await consul.agent.deregister(f"k3-node-{name}")


LONG_AGO = "2026-01-01T00:00:00Z"
CONTROLLERS: Manifest = {
    "metadata": {"labels": {"zone": "a"}},
    "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
    "status": {
        "capacity": {"cpu": "8"},
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        ],
        "nodeInfo": {"kubeletVersion": "v1.31.2"},
    },
}


async def test_a_controller_s_node_gets_one_heartbeat_and_nothing_else(consul: Consul, store: Store) -> None:
    before = (await store.create(Key(NODE, "web1"), CONTROLLERS)).manifest()
    await consul.agent.register(ttl_service("web1"))
    async with mirroring(consul, store, SETTINGS) as view:

        async def is_beaten() -> bool:
            found = node.condition(await view.manifest("web1"), "Ready")
            return found is not None and found.heartbeat != LONG_AGO

        await eventually(is_beaten)
        await set_check(consul, "web1", "fail")
        await consul.agent.register(ttl_service("rest"))
        await consul.agent.register(ttl_service("last"))
        await view.shows("last", "True", "ConsulPassing")
        await consul.agent.deregister("k3-node-web1")
        await consul.agent.deregister("k3-node-last")
        await view.shows("last", "False", "ConsulDeregistered")
    await consul.agent.deregister("k3-node-rest")
    after = (await store.get(Key(NODE, "web1"))).manifest()
    after["metadata"].pop("resourceVersion")
    before["metadata"].pop("resourceVersion")
    after["status"]["conditions"][0]["lastHeartbeatTime"] = LONG_AGO
    assert after == before


async def test_register_fall_silent_and_answer_again(consul: Consul, store: Store) -> None:
    answers = [reply(b"ok")]
    async with speaking(answers) as speaker:
        port = int(speaker.address.rpartition(":")[2])
        facts = Facts(node="self", pid=1, id="a" * 32, boot="b" * 16)
        ours = Registration(
            service="k3-node", service_id="k3-node-self", address="127.0.0.1", port=port, facts=facts, check_interval_seconds=1
        )
        registrar = Registrar(consul, ours, proves=lambda: answers_at("127.0.0.1", port), random=Random(1))
        await consul.agent.register(ttl_service("neighbour"))
        async with mirroring(consul, store, SETTINGS, registrar) as view, asyncio.TaskGroup() as tasks:
            running = tasks.create_task(registrar.run())
            await view.shows("self", "True", "ConsulPassing")
            answers[0] = reply(b"ill", status="503 Service Unavailable")
            await view.shows("self", "False", "ConsulCritical")
            answers[0] = reply(b"ok")
            await view.shows("self", "True", "ConsulPassing")
            await put(consul, "/v1/agent/service/deregister/k3-node-self")
            await eventually(lambda: consul.agent.own_service("k3-node-self"))
            await view.shows("self", "True", "ConsulPassing")
            running.cancel()
            await asyncio.wait([running])
            await registrar.leave()
            await view.shows("self", "False", "NodeShutdown")
            assert await consul.agent.own_service("k3-node-self") is None
    await consul.agent.deregister("k3-node-neighbour")


async def test_an_agent_that_dies_and_forgets_changes_no_node_within_the_grace(connect: Connect, store: Store) -> None:
    async with speaking([reply(b"ok")]) as speaker:
        port = int(speaker.address.rpartition(":")[2])
        with special_agent(dev=True) as server:
            consul = connect(from_flags(server.endpoint, "", {}))
            registrar = Registrar(
                consul,
                Registration(
                    service="k3-node",
                    service_id="k3-node-self",
                    address="127.0.0.1",
                    port=port,
                    facts=Facts(node="self", boot="b" * 16),
                ),
                proves=lambda: answers_at("127.0.0.1", port),
                random=Random(1),
            )
            async with mirroring(consul, store, SETTINGS, registrar) as view, asyncio.TaskGroup() as tasks:
                running = tasks.create_task(registrar.run())
                await view.shows("self", "True", "ConsulPassing")
                before = (await store.get(Key(NODE, "self"))).revision
                await asyncio.to_thread(server.close)
                registrar.nudge()
                await eventually(lambda: _is(registrar.holds is None))
                await asyncio.to_thread(server.start)
                await eventually(lambda: _is(registrar.holds is True))
                await consul.agent.register(ttl_service("last"))
                await view.shows("last", "True", "ConsulPassing")
                assert (await store.get(Key(NODE, "self"))).revision == before
                running.cancel()


async def _is(holds: bool) -> bool:
    return holds


async def test_consul_gone_for_longer_than_the_grace_is_unknown_and_heals(
    connect: Connect, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "LEAST_GRACE_SECONDS", 1.0)
    with special_agent() as server:
        consul = connect(from_flags(server.endpoint, "", {}))
        await consul.agent.register(ttl_service("web1"))
        async with mirroring(consul, store, SETTINGS) as view:
            await view.shows("web1", "True", "ConsulPassing")
            await asyncio.to_thread(server.close)
            await view.shows("web1", "Unknown", "SourceUnreachable")
            await asyncio.to_thread(server.start)
            await eventually(lambda: _passes(consul, "web1"))
            await view.shows("web1", "True", "ConsulPassing")
        await asyncio.to_thread(server.close)
        async with mirroring(consul, store, SETTINGS) as view:
            await view.shows("web1", "Unknown", "SourceUnreachable")


async def test_a_token_that_sees_nothing_marks_nothing(
    connect: Connect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with special_agent(LOCKED) as server:
        root = connect(from_flags(server.endpoint, ROOT, {}))
        await eventually(root.agent.read_self)
        await root.agent.register(ttl_service("web1"))
        async with mirroring(root, store, SETTINGS) as view:
            await view.shows("web1", "True", "ConsulPassing")
        before = (await store.get(Key(NODE, "web1"))).revision
        blind = await policy_token(root, 'service_prefix "" { policy = "read" }')
        for token in (blind, "", "no-such-token"):
            caplog.clear()
            async with mirroring(connect(from_flags(server.endpoint, token, {})), store, SETTINGS):
                await eventually(lambda: _is("datacenter.doubted" in [record.message for record in caplog.records]))
                await asyncio.sleep(3 * SETTINGS.watch_interval_seconds)
            assert (await store.get(Key(NODE, "web1"))).revision == before
            assert not token or token not in caplog.text


async def test_two_datacenters_and_the_loss_of_one(connect: Connect, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "LEAST_GRACE_SECONDS", 1.0)
    with special_agent({"datacenter": "dc1"}) as near:
        site = near.site
        wan = json.loads(site.get(f"{near.endpoint}/v1/agent/self"))["DebugConfig"]["SerfPortWAN"]
        join = {"datacenter": "dc2", "node_name": "far", "retry_join_wan": [f"127.0.0.1:{wan}"], "retry_interval_wan": "1s"}
        with special_agent(join) as far:
            here, there = connect(from_flags(near.endpoint, "", {})), connect(from_flags(far.endpoint, "", {}))
            await eventually(lambda: lists_both(here))
            for consul, names in ((here, ["web1", "both"]), (there, ["web2", "both"])):
                for name in names:
                    await consul.agent.register(ttl_service(name))
            async with mirroring(here, store, SETTINGS) as view:
                for name in ("web1", "web2", "both", "both-dc2"):
                    await view.shows(name, "True", "ConsulPassing")
                labels = (await view.manifest("web2"))["metadata"]["labels"]
                assert labels["topology.kubernetes.io/region"] == "dc2"
                await asyncio.to_thread(far.close)
                await view.shows("web2", "Unknown", "SourceUnreachable", guard_seconds=60)
                await view.shows("both-dc2", "Unknown", "SourceUnreachable")
                assert await view.ready("web1") == await view.ready("both") == ("True", "ConsulPassing")
                await asyncio.to_thread(far.start)
                await eventually(lambda: _passes(there, "web2"))
                await view.shows("web2", "True", "ConsulPassing", guard_seconds=60)


async def _passes(consul: Consul, name: str) -> bool:
    """Set a check that its agent, restarted, holds for critical until told."""
    await set_check(consul, name, "pass")
    return True
