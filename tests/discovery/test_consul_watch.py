"""A large service, watched in two tiers: flips come by hints, and what a hint says is believed only where it is shown."""

import asyncio
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from k3.agent.cache import Cache
from k3.core import node
from k3.core.objects import NODE
from k3.core.store import Store
from k3.discovery import watch
from k3.discovery.catalog import Catalog
from k3.discovery.consul import Consul
from k3.discovery.mirror import Mirror, MirrorSettings
from k3.discovery.sender import Sender
from k3.discovery.settings import ConsulSettings, from_flags
from tests.discovery.conftest import Connect
from tests.discovery.consul_lab import LOCKED, ROOT, eventually, policy_token, special_agent
from tests.discovery.mirroring import GONE, ILL, LOST, UP, View, mirroring

pytestmark = pytest.mark.servers("consul")

SETTINGS = MirrorSettings(service="k3-node", watch_interval_seconds=0.5)
NAMES = [f"m{number}" for number in range(12)]


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large begins at ten."""
    monkeypatch.setattr(watch, "LARGE", 10)


class CountingCatalog(Catalog):
    """Counts what it is asked."""

    def __init__(self, sender: Sender) -> None:
        super().__init__(sender)
        self.whole = 0
        self.looks: list[str] = []

    async def health(self, *args: Any, **kwargs: Any) -> Any:
        reading = await super().health(*args, **kwargs)
        self.whole += 1
        return reading

    async def node_checks(self, consul_node: str, **kwargs: Any) -> Any:
        self.looks.append(consul_node)
        return await super().node_checks(consul_node, **kwargs)


class Counting(Consul):
    """A client that counts what it asks of the catalog."""

    catalog: CountingCatalog

    def __init__(self, settings: ConsulSettings) -> None:
        super().__init__(settings)
        self.catalog = CountingCatalog(self._sender)


def check(name: str, status: str, *, service: bool = True, check_id: str = "") -> dict[str, str]:
    found = {"Node": f"host-{name}", "CheckID": check_id or f"alive-{name}", "Name": "alive", "Status": status}
    return {**found, "ServiceID": f"k3-node-{name}"} if service else found


async def put(consul: Consul, name: str, *checks: dict[str, str], **service: Any) -> None:
    """Register a machine in the catalog, as an agent of its own would."""
    its = {"Service": "k3-node", "ID": f"k3-node-{name}", "Port": 7946, "Meta": {"node": name}, **service}
    entry = {"Node": f"host-{name}", "Address": "10.0.0.8", "Service": its, "Checks": list(checks)}
    await consul._sender.call("PUT", "/v1/catalog/register", body=json.dumps(entry).encode())


async def remove(consul: Consul, name: str, **only: str) -> None:
    await consul._sender.call("PUT", "/v1/catalog/deregister", body=json.dumps({"Node": f"host-{name}", **only}).encode())


@pytest.fixture
async def counting(consul: Consul) -> AsyncIterator[Counting]:
    client = Counting(consul._sender._settings)
    for name in NAMES:
        await put(consul, name, check(name, "passing"))
    yield client
    for name in NAMES:
        await remove(consul, name)
    await client.aclose()


async def settled(view: View, counting: Counting) -> None:
    """All shown, and the second tier at work: a flip costs no whole answer any more."""
    await view.all_show(UP, *NAMES)
    await asyncio.sleep(3 * watch.ROUND_SECONDS)  # the hints of the start are asked for; nothing tells when they have come
    counting.catalog.whole, counting.catalog.looks = 0, []


async def test_a_flip_and_its_end_move_one_node_s_checks_and_nothing_more(counting: Counting, store: Store) -> None:
    async with mirroring(counting, store, SETTINGS) as view:
        await settled(view, counting)
        for status, word in (("critical", ILL), ("passing", UP), ("warning", UP), ("critical", ILL), ("passing", UP)):
            await put(counting, "m3", check("m3", status))
            await view.shows("m3", *word)
            if status == "warning":
                await eventually(lambda: is_warned(view, "m3", "True"))
        await eventually(lambda: is_warned(view, "m3", "False"))
        assert counting.catalog.whole == 0
        assert set(counting.catalog.looks) == {"host-m3"}


class Slow(CountingCatalog):
    """Asks for those with one status only while it may."""

    def __init__(self, sender: Sender, status: str) -> None:
        super().__init__(sender)
        self.status = status
        self.may_ask = asyncio.Event()
        self.may_ask.set()
        self.waiting = asyncio.Event()

    async def ailing(self, status: str, *args: Any, **kwargs: Any) -> Any:
        if status == self.status:
            self.waiting.set()
            await self.may_ask.wait()
        return await super().ailing(status, *args, **kwargs)


@pytest.mark.parametrize(("slow", "led_by"), [("critical", "warning"), ("warning", "critical")])
async def test_a_status_that_came_and_went_between_two_answers_of_its_list_does_not_stay(
    counting: Counting, store: Store, slow: str, led_by: str
) -> None:
    """The other list led to the look that showed it; its own list was read before and after, and is the same."""
    counting.catalog = catalog = Slow(counting._sender, slow)

    async def shows(view: View, status: str) -> None:
        await view.shows("m3", *(ILL if status == "critical" else UP))
        if status == "warning":
            await eventually(lambda: is_warned(view, "m3", "True"))

    async with mirroring(counting, store, SETTINGS) as view:
        await settled(view, counting)
        catalog.may_ask.clear()
        await put(counting, "m4", check("m4", slow))  # its list is answered, and not asked for again
        await eventually(lambda: is_warned(view, "m4", "True") if slow == "warning" else is_ill(view, "m4"))
        catalog.waiting.clear()
        await catalog.waiting.wait()
        for status in (led_by, slow):
            await put(counting, "m3", check("m3", status))
            await shows(view, status)
        await put(counting, "m3", check("m3", "passing"))
        catalog.may_ask.set()
        await shows(view, "passing")
        await eventually(lambda: is_warned(view, "m3", "False"))


async def is_ill(view: View, name: str) -> bool:
    return await view.ready(name) == ILL


async def is_warned(view: View, name: str, status: str) -> bool:
    found = node.condition(await view.manifest(name), "k3.discovery/Warning")
    return found is not None and found.status == status


async def test_checks_of_the_consul_node_and_maintenance_count_as_well(counting: Counting, store: Store) -> None:
    async with mirroring(counting, store, SETTINGS) as view:
        await settled(view, counting)
        disk = {"check_id": "disk", "service": False}
        await put(counting, "m4", check("m4", "passing"), check("m4", "critical", **disk))  # type: ignore[arg-type]
        await view.shows("m4", *ILL)
        await put(counting, "m4", check("m4", "passing"), check("m4", "passing", **disk))  # type: ignore[arg-type]
        await view.shows("m4", *UP)
        resting = check("m4", "critical", check_id="_service_maintenance:k3-node-m4")
        await put(counting, "m4", check("m4", "passing"), resting)
        await eventually(lambda: is_cordoned(view, "m4"))
        assert await view.ready("m4") == UP
        await remove(counting, "m4", CheckID=resting["CheckID"])
        await eventually(lambda: is_uncordoned(view, "m4"))
        serf = check("m4", "critical", check_id="serfHealth", service=False)
        await put(counting, "m4", check("m4", "passing"), serf)
        await view.shows("m4", *LOST)


async def is_cordoned(view: View, name: str) -> bool:
    return ((await view.manifest(name)).get("spec") or {}).get("unschedulable") is True


async def is_uncordoned(view: View, name: str) -> bool:
    return not await is_cordoned(view, name)


async def test_who_comes_leaves_or_moves_is_seen_by_the_whole_answer(counting: Counting, store: Store) -> None:
    async with mirroring(counting, store, SETTINGS) as view:
        await settled(view, counting)
        await put(counting, "new", check("new", "critical"))
        await view.shows("new", *ILL)
        await put(counting, "m5", check("m5", "passing"), Address="10.9.9.9")
        await eventually(lambda: is_at(view, "m5", "10.9.9.9"))
        await remove(counting, "new")
        await view.shows("new", *GONE)
        assert counting.catalog.whole >= 3
        assert (await view.condition("new")).status == "False"


async def is_at(view: View, name: str, address: str) -> bool:
    return node.view_manifest(name, await view.manifest(name)).addresses == (address,)


async def test_a_storm_reads_the_whole_service_instead_of_each_machine(
    counting: Counting, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOKS", 3)
    async with mirroring(counting, store, SETTINGS) as view:
        await settled(view, counting)
        async with asyncio.TaskGroup() as tasks:
            for name in NAMES:
                tasks.create_task(put(counting, name, check(name, "critical")))
        await view.all_show(ILL, *NAMES)
        assert counting.catalog.whole
        async with asyncio.TaskGroup() as tasks:
            for name in NAMES:
                tasks.create_task(put(counting, name, check(name, "passing")))
        await view.all_show(UP, *NAMES)


async def test_a_service_that_becomes_small_is_watched_as_one_again(counting: Counting, store: Store) -> None:
    async with mirroring(counting, store, SETTINGS) as view:
        await settled(view, counting)
        for name in NAMES[:2]:
            await remove(counting, name)
            await view.shows(name, *GONE)
        await remove(counting, NAMES[2])
        await view.shows(NAMES[2], *GONE)
        counting.catalog.looks = []
        await put(counting, "m9", check("m9", "critical"))
        await view.shows("m9", *ILL)
        assert counting.catalog.looks == []
        for name in NAMES[:3]:
            await put(counting, name, check(name, "passing"))
        await view.all_show(UP, *NAMES[:3])
        await put(counting, "m9", check("m9", "passing"))
        await view.shows("m9", *UP)


ALL = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "write" } agent_prefix "" { policy = "read" }'


async def restrict(root: Consul, rules: str) -> None:
    """Give the one policy of `policy_token` other rules."""
    policies = json.loads((await root._sender.call("GET", "/v1/acl/policies")).body)
    mine = next(each for each in policies if each["Name"].startswith("policy-"))
    body = json.dumps({"ID": mine["ID"], "Name": mine["Name"], "Rules": rules}).encode()
    await root._sender.call("PUT", f"/v1/acl/policy/{mine['ID']}", body=body)


BLIND = {
    "all": 'service_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }',
    "services only": 'node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }',
}


@pytest.mark.parametrize("rules", BLIND.values(), ids=BLIND)
async def test_a_check_that_may_not_be_seen_any_more_is_not_taken_for_passing(
    connect: Connect, store: Store, rules: str
) -> None:
    """The machine is gone from the list of the ailing because the token lost its rights; it is as ill as before."""
    with special_agent(LOCKED) as server:
        root = connect(from_flags(server.endpoint, ROOT, {}))
        await eventually(root.agent.read_self)
        reader = connect(from_flags(server.endpoint, await policy_token(root, ALL), {}))
        for name in NAMES:
            await put(root, name, check(name, "critical" if name == "m1" else "passing"))
        mirror = Mirror(reader, SETTINGS, Cache(store, NODE, random=Random(1)), submit=lambda _: True)
        watching = mirror._finder.watch("dc1")
        await watching.once()
        place = mirror._directory.places["dc1"]
        assert [each.wanted_name for each in place.snapshot.instances if each.health == "critical"] == ["m1"]
        await restrict(root, rules)
        await eventually(lambda: sees_nobody(reader))
        hint = await reader.catalog.ailing("critical", "k3-node", datacenter="dc1", index=0)
        assert hint.found == []
        await watching._follow_hints("critical", hint)
        assert [each.health for each in place.snapshot.instances if each.wanted_name == "m1"] != ["passing"]
        assert place.snapshot.instances == (), "the whole service was read instead, and is for the guard to judge"


async def sees_nobody(reader: Consul) -> bool:
    return not (await reader.catalog.health("k3-node", datacenter="dc1", index=0)).found.instances
