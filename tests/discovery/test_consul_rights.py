"""The mirror and its token: revoked, blinded, short-sighted, and given back; and the whole of it over TLS."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from random import Random
from uuid import uuid4

import pytest

from k3.core.observation import Facts
from k3.core.store import Store
from k3.discovery import guards
from k3.discovery.consul import Consul
from k3.discovery.mirror import MirrorSettings
from k3.discovery.register import Registrar, Registration, answers_at
from k3.discovery.settings import from_flags
from tests.discovery.answering import reply, speaking
from tests.discovery.conftest import Certificates, Connect
from tests.discovery.consul_lab import LOCKED, ROOT, eventually, special_agent
from tests.discovery.histories import recording
from tests.discovery.machines import plain_service, put, set_check, ttl_service
from tests.discovery.mirroring import GONE, ILL, LOST, UP, mirroring, now
from tests.servers.consul import consul_version
from tests.servers.server import Site

pytestmark = [pytest.mark.servers("consul"), pytest.mark.slow]

SETTINGS = MirrorSettings(service="k3-node", watch_interval_seconds=0.5)
MACHINES = ("web1", "web2", "web3")

TELLS_SINCE = (1, 11)
"""Consul says by X-Consul-Results-Filtered-By-ACLs that a token does not see everything."""

ALL_RIGHTS = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }'
BLIND = 'service_prefix "" { policy = "write" }'
SHORT_SIGHTED = 'service_prefix "" { policy = "write" } node "consul" { policy = "read" }'


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds instead of a minute; were what is missing believed for a moment before, it would be seen."""
    monkeypatch.setattr(guards, "RECHECK_SECONDS", 1.0)
    monkeypatch.setattr(guards, "CONFIRM_SECONDS", 2.0)
    monkeypatch.setattr(guards, "LEAST_GRACE_SECONDS", 3.0)


@pytest.fixture
def short_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is believed after three seconds, three times asked, instead of a minute."""
    monkeypatch.setattr(guards, "RECHECK_SECONDS", 1.0)
    monkeypatch.setattr(guards, "CONFIRM_SECONDS", 3.0)


class Token:
    """A token whose rights change while it is in use."""

    def __init__(self, root: Consul) -> None:
        self._root = root
        self._policy = ""
        self.secret = str(uuid4())
        self._accessor = str(uuid4())

    async def may(self, rules: str) -> None:
        """These are its rights from now on."""
        body = json.dumps({"Name": "k3", "Rules": rules}).encode()
        answer = await self._root._sender.call("PUT", f"/v1/acl/policy{self._policy}", body=body)
        self._policy = f"/{json.loads(answer.body)['ID']}"

    async def issue(self) -> None:
        """Make it, or make it again with the same secret."""
        token = {"SecretID": self.secret, "AccessorID": self._accessor, "Policies": [{"Name": "k3"}]}
        await self._root._sender.call("PUT", "/v1/acl/token", body=json.dumps(token).encode())

    async def revoke(self) -> None:
        await self._root._sender.call("DELETE", f"/v1/acl/token/{self._accessor}")


@contextlib.asynccontextmanager
async def registered(consul: Consul) -> AsyncIterator[Registrar]:
    """A machine of our own, kept in Consul, and healthy."""
    async with speaking([reply(b"ok")]) as speaker, asyncio.TaskGroup() as tasks:
        port = int(speaker.address.rpartition(":")[2])
        facts = Facts(node="self", pid=1, id="a" * 32, boot="b" * 16)
        ours = Registration(
            service="k3-node", service_id="k3-node-self", address="127.0.0.1", port=port, facts=facts, check_interval_seconds=1
        )
        made = Registrar(consul, ours, proves=lambda: answers_at("127.0.0.1", port), random=Random(1))
        running = tasks.create_task(made.run())
        yield made
        running.cancel()


@pytest.fixture
async def root(connect: Connect) -> AsyncIterator[Consul]:
    """All rights at an agent that gives none by default, where three machines are registered."""
    with special_agent(LOCKED) as server:
        consul = connect(from_flags(server.endpoint, ROOT, {}))
        await eventually(consul.agent.read_self)
        for name in MACHINES:
            await consul.agent.register(plain_service(name))
        yield consul


@pytest.fixture
async def token(root: Consul) -> Token:
    """One with all the rights that k3 needs."""
    made = Token(root)
    await made.may(ALL_RIGHTS)
    await made.issue()
    return made


def with_token(connect: Connect, root: Consul, token: Token) -> Consul:
    return connect(from_flags(root.where, token.secret, {}))


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("trouble", ["revoked", "blind"])
async def test_rights_taken_away_are_unknown_after_the_grace_and_heal(
    trouble: str, root: Consul, token: Token, connect: Connect, store: Store
) -> None:
    consul = with_token(connect, root, token)
    async with registered(consul) as registrar, mirroring(consul, store, SETTINGS, registrar) as view:
        await view.all_show(UP, "self", *MACHINES)
        async with recording(store) as history:
            taken_at = now()
            await (token.revoke() if trouble == "revoked" else token.may(BLIND))
            await root.agent.register(plain_service("unseen"))
            await view.all_show(LOST, "self", *MACHINES)
            assert now() - taken_at >= guards.LEAST_GRACE_SECONDS
            blind = "the answer is not complete" if consul_version() >= TELLS_SINCE else "our own registration is missing"
            why = "refuses the token" if trouble == "revoked" else blind
            assert why in (await view.condition("web1")).message
            await (token.issue() if trouble == "revoked" else token.may(ALL_RIGHTS))
            await view.all_show(UP, "self", "unseen", *MACHINES)
            await root.agent.register(ttl_service("late"))
            await view.all_show(UP, "late")
        history.check()
        assert [history.words(name) for name in MACHINES] == 3 * [[UP, LOST, UP]]
        assert history.words("self") == [UP, LOST, UP]


@pytest.mark.usefixtures("short_grace")
async def test_a_mirror_that_starts_blind_on_a_store_with_nodes(
    root: Consul, token: Token, connect: Connect, store: Store
) -> None:
    consul = with_token(connect, root, token)
    async with registered(consul) as registrar:
        async with mirroring(consul, store, SETTINGS, registrar) as view:
            await view.all_show(UP, "self", *MACHINES)
        await token.may(BLIND)
        async with recording(store) as history, mirroring(consul, store, SETTINGS, registrar) as view:
            await view.all_show(LOST, "self", *MACHINES)
            await token.may(ALL_RIGHTS)
            await view.all_show(UP, "self", *MACHINES)
        history.check()
        assert [history.words(name) for name in MACHINES] == 3 * [[UP, LOST, UP]]


@pytest.mark.usefixtures("short_doubt")
@pytest.mark.parametrize(
    "service_id",
    ["k3-node-{}", "k3-node"],
)
async def test_several_that_vanish_at_once_are_gone_only_when_that_is_confirmed(
    service_id: str, root: Consul, token: Token, connect: Connect, store: Store
) -> None:
    consul, far = with_token(connect, root, token), ("far1", "far2", "far3", "far4", "far5")
    await root.agent.register(plain_service("here", ID=service_id.format("here")))
    for name in far:
        service = {"Service": "k3-node", "ID": service_id.format(name), "Port": 7946, "Meta": {"node": name}}
        entry = {"Node": f"host-{name}", "Address": "10.0.0.8", "Service": service}
        await root._sender.call("PUT", "/v1/catalog/register", body=json.dumps(entry).encode())
    async with registered(consul) as registrar, mirroring(consul, store, SETTINGS, registrar) as view:
        await view.all_show(UP, "self", "here", *MACHINES, *far)
        async with recording(store) as history:
            taken_at = now()
            await token.may(SHORT_SIGHTED)
            await root.agent.register(plain_service("new"))
            await view.all_show(UP, "new")
            expected = [UP, GONE, UP]
            if consul_version() >= TELLS_SINCE:
                expected = [UP]  # Consul says that something is left out: nothing that is missing is believed, ever
                await asyncio.sleep(guards.CONFIRM_SECONDS + 2 * guards.RECHECK_SECONDS)
            else:
                await view.all_show(GONE, *far)
                assert now() - taken_at >= guards.CONFIRM_SECONDS
            await token.may(ALL_RIGHTS)
            await root.agent.register(plain_service("newer"))
            await view.all_show(UP, "newer", *far)
        history.check()
        assert [history.words(name) for name in far] == 5 * [expected]
        assert [history.words(name) for name in ("self", "here", *MACHINES)] == 5 * [[UP]]


@pytest.mark.usefixtures("short_doubt")
async def test_an_agent_that_forgets_everybody_marks_them_only_when_that_is_confirmed(connect: Connect, store: Store) -> None:
    with special_agent(dev=True) as server:
        consul = connect(from_flags(server.endpoint, "", {}))
        for name in MACHINES:
            await consul.agent.register(plain_service(name))
        async with mirroring(consul, store, SETTINGS) as view:
            await view.all_show(UP, *MACHINES)
            async with recording(store) as history:
                await asyncio.to_thread(server.close)
                await asyncio.to_thread(server.start)
                lost_at = now()
                await view.all_show(GONE, *MACHINES)
                assert now() - lost_at >= guards.CONFIRM_SECONDS
                await consul.agent.register(plain_service("web1"))
                await view.all_show(UP, "web1")
    history.check()
    assert history.words("web1") == [UP, GONE, UP]
    assert [history.words(name) for name in MACHINES[1:]] == 2 * [[UP, GONE]]


@pytest.mark.usefixtures("short_doubt")
async def test_an_agent_that_forgets_a_few_machines_marks_them_only_when_that_is_confirmed(
    connect: Connect, store: Store
) -> None:
    with special_agent(dev=True) as server:
        consul = connect(from_flags(server.endpoint, "", {}))
        await consul.agent.register(plain_service("web1"))
        async with registered(consul) as registrar, mirroring(consul, store, SETTINGS, registrar) as view:
            await view.all_show(UP, "self", "web1")
            async with recording(store) as history:
                await asyncio.to_thread(server.close)
                await asyncio.to_thread(server.start)
                registrar.nudge()
                lost_at = now()
                await view.all_show(GONE, "web1")
                assert now() - lost_at >= guards.CONFIRM_SECONDS
    history.check()
    assert history.words("self") == [UP]


async def test_the_whole_mirror_over_tls_with_client_certificates(
    certificates: Certificates, connect: Connect, store: Store
) -> None:
    port = Site(None, None).free_port()
    with special_agent(certificates.server, https_port=port):
        consul = connect(from_flags(f"https://127.0.0.1:{port}", "", certificates.client))
        async with registered(consul) as registrar, mirroring(consul, store, SETTINGS, registrar) as view:
            await view.all_show(UP, "self")
            await consul.agent.register(ttl_service("web1"))
            await view.all_show(UP, "web1")
            await set_check(consul, "web1", "fail")
            await view.all_show(ILL, "web1")
            await put(consul, "/v1/agent/check/pass/check-web1")
            await view.all_show(UP, "web1")
            await consul.agent.deregister("k3-node-web1")
            await view.all_show(GONE, "web1")
