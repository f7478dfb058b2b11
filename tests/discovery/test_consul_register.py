"""A machine in a real Consul: registered, proven, seen in the catalog, registered again when lost, taken out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import pytest

from k3.agent import health
from k3.core.errors import Unavailable
from k3.core.observation import Facts
from k3.discovery.consul import Consul
from k3.discovery.register import Registrar, Registration, answers_at
from k3.discovery.settings import from_flags
from k3.settings.listen import Listen
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import LOCKED, ROOT, entries, eventually, policy_token, special_agent
from tests.servers import Server

pytestmark = pytest.mark.servers("consul")

FACTS = Facts(node="web1", pid=42, id="a" * 32, boot="b" * 16, version="0.1.0", os="linux", arch="amd64")


@pytest.fixture
async def ours() -> AsyncIterator[Registration]:
    """A machine whose health server answers."""
    async with await health.serve(Listen.parse("127.0.0.1:0"), dict) as server:
        yield Registration(
            service="k3-node",
            service_id="k3-node-web1",
            address="127.0.0.1",
            port=server.port,
            facts=FACTS,
            tags=("blue",),
            check_interval_seconds=1,
        )


def registrar(consul: Consul, ours: Registration) -> Registrar:
    return Registrar(consul, ours, proves=lambda: answers_at(ours.address, ours.port), random=Random(1))


@contextlib.asynccontextmanager
async def running(consul: Consul, ours: Registration) -> AsyncIterator[Registrar]:
    made = registrar(consul, ours)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(made.run())
        yield made
        task.cancel()


async def status(consul: Consul) -> str:
    checks = [check for entry in await entries(consul) for check in entry["Checks"] if check["CheckID"] != "serfHealth"]
    return checks[0]["Status"] if checks else ""


def test_an_ipv6_address_goes_into_brackets() -> None:
    ours = Registration(service="k3-node", service_id="x", address="fd00::7", port=7946, facts=FACTS)
    assert ours.health_url == "http://[fd00::7]:7946/healthz"
    assert ours.document(is_proven=False)["Check"] == {
        "Name": "k3 /healthz",
        "HTTP": "http://[fd00::7]:7946/healthz",
        "Interval": "10s",
        "Timeout": "3s",
        "DeregisterCriticalServiceAfter": "30s",
    }


async def test_a_proven_machine_is_passing_the_moment_it_is_listed(consul: Consul, ours: Registration) -> None:
    async with running(consul, replace(ours, check_interval_seconds=600)) as made:
        async with asyncio.timeout(20):
            await made.listed.wait()
        assert await status(consul) == "passing"
        assert made.holds
        held = await consul.agent.own_service("k3-node-web1")
        assert held is not None
        assert {key: text for key, text in held.meta.items() if key != "registration"} == {
            "node": "web1",
            "pid": "42",
            "id": "a" * 32,
            "boot": "b" * 16,
            "version": "0.1.0",
            "os": "linux",
            "arch": "amd64",
        }
        assert (held.service, held.address, held.port, held.tags) == ("k3-node", "127.0.0.1", ours.port, ("blue",))
    assert await made.leave()
    assert await consul.agent.own_service("k3-node-web1") is None


async def test_a_machine_that_does_not_answer_does_not_claim_to(consul: Consul, ours: Registration) -> None:
    silent = replace(ours, port=1, check_interval_seconds=600)
    async with running(consul, silent) as made:
        async with asyncio.timeout(20):
            await made.listed.wait()
        assert await status(consul) == "critical"
    await made.leave()


async def test_what_is_taken_away_or_changed_comes_back(consul: Consul, ours: Registration) -> None:
    async with running(consul, ours) as made:
        async with asyncio.timeout(20):
            await made.listed.wait()
        await consul.agent.deregister("k3-node-web1")
        made.nudge()
        await eventually(lambda: consul.agent.own_service("k3-node-web1"))
        await consul.agent.register({**ours.document(is_proven=True), "Port": 9})
        made.nudge()

        async def is_mended() -> bool:
            held = await consul.agent.own_service("k3-node-web1")
            return held is not None and held.port == ours.port

        await eventually(is_mended)
    await made.leave()


async def test_another_machine_s_registration_is_left_alone(
    consul: Consul, ours: Registration, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = replace(ours, address="127.0.0.2", facts=replace(FACTS, id="c" * 32, boot="d" * 16))
    await consul.agent.register(theirs.document(is_proven=False))
    async with running(consul, ours) as made:
        await eventually(lambda: _is_told(caplog, "consul.id_taken"))
        held = await consul.agent.own_service("k3-node-web1")
        assert held is not None
        assert theirs.is_held_as(held)
        assert made.holds is False
    assert not await made.leave()
    assert await consul.agent.own_service("k3-node-web1") is not None
    await consul.agent.deregister("k3-node-web1")


async def _is_told(caplog: pytest.LogCaptureFixture, event: str) -> bool:
    return event in [record.message for record in caplog.records]


async def test_an_agent_that_comes_late_and_one_that_forgets_everything(
    connect: Connect, ours: Registration, caplog: pytest.LogCaptureFixture
) -> None:
    with special_agent(dev=True) as server:
        server.stop()
        consul = connect(from_flags(server.endpoint, "", {}))
        with caplog.at_level("INFO", logger="k3"):
            async with running(consul, ours) as made:
                await eventually(lambda: _is_told(caplog, "consul.unavailable"))
                for _ in range(2):
                    made.listed.clear()
                    await asyncio.to_thread(server.start)
                    async with asyncio.timeout(30):
                        await made.listed.wait()
                    assert await status(consul) == "passing"
                    await asyncio.to_thread(server.close)
                    made.nudge()
                    await eventually(lambda: _is_unknown(made))
        events = [record.message for record in caplog.records]
        assert events.count("consul.unavailable") == 3, "once per outage"
        assert events.count("consul.deregister_floor") == 1
    assert not await made.leave()


async def _is_unknown(made: Registrar) -> bool:
    return made.holds is None


async def test_who_the_agent_holds_is_not_registered_again_while_the_catalog_cannot_be_asked(
    consul: Consul, ours: Registration, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def no_server(*_: object) -> bool:
        nonlocal asked
        asked += 1
        msg = "rpc error getting client: failed to get conn"
        raise Unavailable(msg)

    async def thrice() -> bool:
        return asked >= 3

    monkeypatch.setattr(consul.catalog, "is_listed", no_server)
    with caplog.at_level("INFO", logger="k3.discovery.register"):
        async with running(consul, ours):
            await eventually(thrice)
    said = [record.getMessage() for record in caplog.records]
    assert (said.count("consul.registered"), said.count("consul.unavailable")) == (1, 1)


async def test_without_rights_it_says_so_and_goes_on(
    connect: Connect, ours: Registration, caplog: pytest.LogCaptureFixture
) -> None:
    with special_agent(LOCKED) as server:
        root = connect(from_flags(server.endpoint, ROOT, {}))
        await eventually(root.agent.read_self)
        token = await policy_token(root, 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }')
        async with running(connect(from_flags(server.endpoint, "", {})), ours) as refused:
            await eventually(lambda: _is_told(caplog, "consul.unavailable"))
            assert refused.holds is None
        async with running(connect(from_flags(server.endpoint, token, {})), ours) as made:
            async with asyncio.timeout(20):
                await made.listed.wait()
    assert token not in caplog.text


async def test_a_server_that_is_not_ours_is_no_proof(agent: Server) -> None:
    assert not await answers_at("127.0.0.1", agent.port)
    assert not await answers_at("127.0.0.1", 1)
