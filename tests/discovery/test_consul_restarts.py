"""A Consul agent restarts, in each way there is, under a machine that lives: no revision of its Node shows it otherwise.

The mirror asks the server `srv`; the machine `web1` is registered at the agent that is restarted. `ends` is what Consul
says meanwhile: the agent is gone, or it is silent.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from k3.agent import health
from k3.core.observation import Facts
from k3.core.store import Store
from k3.discovery import guards
from k3.discovery.consul import Consul
from k3.discovery.mirror import MirrorSettings
from k3.discovery.register import Registrar, Registration, answers_at
from k3.discovery.settings import from_flags
from k3.settings.listen import Listen
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import entries, eventually
from tests.discovery.histories import History, recording
from tests.discovery.machines import plain_service, set_check, ttl_service
from tests.discovery.mirroring import GONE, ILL, LOST, UP, View, mirroring, now
from tests.servers import Server, consul_agent
from tests.servers.consul import serf

pytestmark = [pytest.mark.servers("consul"), pytest.mark.slow]

SETTINGS = MirrorSettings(service="k3-node", watch_interval_seconds=0.5)
ID = "a" * 32
STOPPED = ("False", "NodeShutdown")


class Machine:
    """One that k3 keeps registered, at the agent of a Consul node."""

    def __init__(self, registrar: Registrar, running: asyncio.Task[None]) -> None:
        self.registrar = registrar
        self.running = running

    async def stop(self) -> None:
        """In order, as by SIGTERM."""
        self.running.cancel()
        await asyncio.wait([self.running])
        assert await self.registrar.leave()


@contextlib.asynccontextmanager
async def machine(consul: Consul, *, id_: str = ID) -> AsyncIterator[Machine]:
    """`web1`, whose health server answers until the end of the block. Consul asks it every ten minutes."""
    facts = Facts(node="web1", addresses=("127.0.0.1",), id=id_, boot="b" * 16)
    info: Callable[[], dict[str, Any]] = lambda: {"node": "web1", "id": ID}  # noqa: E731
    async with await health.serve(Listen.parse("127.0.0.1:0"), info) as server, asyncio.TaskGroup() as tasks:
        port = server.port
        ours = Registration(
            service="k3-node",
            service_id="k3-node-web1",
            address="127.0.0.1",
            port=port,
            facts=facts,
            check_interval_seconds=600,
        )
        made = Registrar(consul, ours, proves=lambda: answers_at("127.0.0.1", port), random=Random(1))
        serving, running = tasks.create_task(server.run()), tasks.create_task(made.run())
        yield Machine(made, running)
        running.cancel()
        serving.cancel()


@contextlib.contextmanager
def client_of(server: Server, **config: Any) -> Any:
    """A client agent, on the Consul node `cli`."""
    with consul_agent(node="cli", join=serf(server), config=config) as agent:
        yield agent


async def is_listed(consul: Consul, service_id: str) -> bool:
    return await consul.catalog.is_listed("k3-node", service_id)


async def end(agent: Server, number: int) -> None:
    """By a signal, and wait for the end."""
    agent.process.kill(number)
    await asyncio.to_thread(agent.process.wait)
    await asyncio.to_thread(agent.close)


async def has_come_back(view: View, here: Consul, since: int) -> None:
    """Until the mirror has read of the machine's new registration: what is written later is written after that."""
    await eventually(lambda: marks_seen(here, since))
    await here.agent.register(plain_service("after"))
    await view.all_show(UP, "after")


MARKS: set[str] = set()


async def marks_seen(here: Consul, count: int) -> bool:
    for entry in await entries(here):
        if entry["Service"]["ID"] == "k3-node-web1":
            MARKS.add(entry["Service"]["Meta"].get("registration", ""))
    return len(MARKS) >= count


@pytest.fixture(autouse=True)
def _no_marks() -> None:
    MARKS.clear()


def held(history: History, name: str = "web1") -> None:
    """At every revision it was Ready."""
    history.check()
    assert history.words(name) == [UP], [(each.reason, each.message) for each in history.ready(name)]


@pytest.mark.parametrize(
    ("number", "config", "ends"),
    [
        (signal.SIGTERM, {"leave_on_terminate": True}, ""),
        (signal.SIGTERM, {"leave_on_terminate": False}, "critical"),
        (signal.SIGKILL, {}, "critical"),
    ],
    ids=["leaves", "stops", "killed"],
)
async def test_a_client_agent_that_restarts_costs_a_living_machine_nothing(
    number: int, config: dict[str, Any], ends: str, connect: Connect, store: Store
) -> None:
    with consul_agent(node="srv") as server, client_of(server, **config) as agent:
        here, there = (connect(from_flags(each.endpoint, "", {})) for each in (server, agent))
        async with machine(there), mirroring(here, store, SETTINGS) as view:
            await view.all_show(UP, "web1")
            await marks_seen(here, 1)
            async with recording(store) as history:
                await end(agent, number)
                await eventually(lambda: consul_says(here, ends))
                await asyncio.sleep(1.0)  # for longer than the mirror takes to write what it reads
                await asyncio.to_thread(agent.start)
                await has_come_back(view, here, 2)
                mine = next(each for each in await entries(here) if each["Service"]["ID"] == "k3-node-web1")
                ours = [check for check in mine["Checks"] if check["ServiceID"]]  # of its agent, Serf tells when it likes
                assert [check["Status"] for check in ours] == ["passing"], "passing at once: it answers"
    held(history)


async def consul_says(here: Consul, ends: str) -> bool:
    """Whether its agent is known to be silent, or (`ends` is empty) not known any more."""
    found = await entries(here)
    told = [check["Status"] for each in found for check in each["Checks"] if check["CheckID"] == "serfHealth"]
    return ends in told if ends else not told


@pytest.mark.parametrize("is_fresh", [False, True], ids=["renamed", "reinstalled"])
async def test_an_agent_that_comes_back_under_another_name(
    is_fresh: bool, connect: Connect, store: Store, tmp_path: Path
) -> None:
    """With new data Consul shows the machine twice, once with an agent that is silent for good. It is one Node."""
    with consul_agent(node="srv") as server, client_of(server, leave_on_terminate=True) as agent:
        here, there = (connect(from_flags(each.endpoint, "", {})) for each in (server, agent))
        async with machine(there), mirroring(here, store, SETTINGS) as view:
            await view.all_show(UP, "web1")
            await marks_seen(here, 1)
            async with recording(store) as history:
                await end(agent, signal.SIGKILL if is_fresh else signal.SIGTERM)
                agent._argv = [*agent._argv, "-node=renamed", *([f"-data-dir={tmp_path}"] if is_fresh else [])]
                agent._ready = lambda: "renamed" in server.site.get(f"{server.endpoint}/v1/catalog/nodes")
                await asyncio.to_thread(agent.start)
                await has_come_back(view, here, 2)
                if is_fresh:
                    await eventually(lambda: consul_says(here, "critical"))
                await here.agent.register(plain_service("later"))
                await view.all_show(UP, "later")
    held(history)
    assert set(history.last) == {"web1", "after", "later"}


async def test_a_machine_that_dies_with_its_agent_is_unknown_without_a_grace(connect: Connect, store: Store) -> None:
    with consul_agent(node="srv") as server, client_of(server) as agent:
        here, there = (connect(from_flags(each.endpoint, "", {})) for each in (server, agent))
        async with mirroring(here, store, SETTINGS) as view:
            async with machine(there) as web1:
                await view.all_show(UP, "web1")
                web1.running.cancel()
                await asyncio.wait([web1.running])
            died = now()
            await end(agent, signal.SIGKILL)
            await view.all_show(LOST, "web1")
            assert now() - died < guards.LEAST_GRACE_SECONDS / 2


async def test_a_silent_agent_s_address_with_another_machine_is_no_sign_of_life(connect: Connect, store: Store) -> None:
    with consul_agent(node="srv") as server, client_of(server) as agent:
        here, there = (connect(from_flags(each.endpoint, "", {})) for each in (server, agent))
        async with machine(there, id_="c" * 32), mirroring(here, store, SETTINGS) as view:
            await view.all_show(UP, "web1")
            await end(agent, signal.SIGKILL)
            await view.all_show(LOST, "web1")


async def test_what_is_missing_for_longer_than_the_grace_is_gone(
    connect: Connect, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "LEAST_GRACE_SECONDS", 3.0)
    monkeypatch.setattr(guards, "CONFIRM_SECONDS", 1.0)
    monkeypatch.setattr(guards, "RECHECK_SECONDS", 1.0)
    with consul_agent(node="srv") as server, client_of(server, leave_on_terminate=True) as agent:
        here, there = (connect(from_flags(each.endpoint, "", {})) for each in (server, agent))
        async with mirroring(here, store, SETTINGS) as view, machine(there) as web1:
            await there.agent.register(plain_service("box"))
            await view.all_show(UP, "web1", "box")
            async with recording(store) as history:
                left_at = now()
                web1.running.cancel()
                await end(agent, signal.SIGTERM)
                await view.all_show(GONE, "web1", "box")
                assert now() - left_at >= 3.0
                await asyncio.to_thread(agent.start)
                await view.all_show(UP, "box")
    history.check()
    assert history.words("web1")[:2] == history.words("box")[:2] == [UP, GONE]


async def test_a_client_agent_knows_its_leader_whatever_answers(
    connect: Connect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Since 1.10 a client answers blocking queries from a stream, if it is let: of which nobody knows how old it is."""
    with consul_agent(node="srv") as server, client_of(server) as agent:
        there = connect(from_flags(agent.endpoint, "", {}))
        async with mirroring(there, store, SETTINGS) as view:
            await there.agent.register(ttl_service("box"))
            await there.agent.register(plain_service("rest"))
            await view.all_show(UP, "box", "rest")
            for status, word in (("fail", ILL), ("pass", UP), ("fail", ILL), ("pass", UP)):
                await set_check(there, "box", status)
                await view.shows("box", *word)
            began = now()
            await there.agent.deregister("k3-node-box")
            await view.all_show(GONE, "box")
            assert now() - began < guards.LEAST_GRACE_SECONDS / 2
    assert not await _is_told(caplog, "datacenter.doubted")


async def test_a_goodbye_and_a_deregistration_are_no_doubt(connect: Connect, store: Store) -> None:
    """The machine's own word, and that of the person who takes another one out while its agent is there."""
    with consul_agent(node="srv") as server, client_of(server) as agent:
        here, there = (connect(from_flags(each.endpoint, "", {})) for each in (server, agent))
        async with machine(there) as web1, mirroring(here, store, SETTINGS) as view:
            await there.agent.register(plain_service("box"))
            await view.all_show(UP, "web1", "box")
            async with recording(store) as history:
                began = now()
                await there.agent.deregister("k3-node-box")
                await view.all_show(GONE, "box")
                await web1.stop()
                await view.all_show(STOPPED, "web1")
                assert now() - began < guards.LEAST_GRACE_SECONDS / 2
                await eventually(lambda: is_unlisted(here))
    history.check()
    assert history.words("web1") == [UP, STOPPED]


async def is_unlisted(here: Consul) -> bool:
    return not await is_listed(here, "k3-node-web1")


async def test_one_that_runs_and_is_taken_out_stays_what_it_is(connect: Connect, store: Store) -> None:
    """Whoever takes it out, it is back in a moment: there is nothing to tell."""
    with consul_agent(node="srv") as server, client_of(server) as agent:
        here, there = (connect(from_flags(each.endpoint, "", {})) for each in (server, agent))
        async with machine(there), mirroring(here, store, SETTINGS) as view:
            await view.all_show(UP, "web1")
            await marks_seen(here, 1)
            async with recording(store) as history:
                await there.agent.deregister("k3-node-web1")
                await has_come_back(view, here, 2)
    held(history)


async def test_servers_that_refuse_a_reinstalled_agent_are_noticed(
    connect: Connect, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go on showing what the former installation registered, though its agent takes every registration."""
    monkeypatch.setattr("k3.discovery.register.UNLISTED_SECONDS", 1.0)
    with consul_agent(node="srv") as server:
        with client_of(server, node_id="11111111-0000-4000-8000-000000000001") as agent:
            there = connect(from_flags(agent.endpoint, "", {}))
            async with machine(there) as web1, asyncio.timeout(30):
                await web1.registrar.listed.wait()
                web1.running.cancel()
                await asyncio.wait([web1.running])
        settings = {"node_name": "cli", "node_id": "22222222-0000-4000-8000-000000000002", "retry_join": [serf(server)]}
        with consul_agent(node="", dev=False, join=serf(server), config=settings) as agent:
            there = connect(from_flags(agent.endpoint, "", {}))
            async with machine(there) as web1:
                await eventually(lambda: _is_told(caplog, "consul.not_listed"))
                assert not web1.registrar.listed.is_set()
            told = next(record for record in caplog.records if record.message == "consul.not_listed")
            assert "node name is reserved" in told.fields["why"]  # type: ignore[attr-defined]


async def _is_told(caplog: pytest.LogCaptureFixture, event: str) -> bool:
    return event in [record.message for record in caplog.records]
