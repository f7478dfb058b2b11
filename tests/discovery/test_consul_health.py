"""Health in a real Consul decides Ready: several checks, checks of the Consul node, and both kinds of maintenance."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from k3.core import node
from k3.core.objects import NODE, Key, Manifest
from k3.core.store import Store, modify
from k3.discovery.consul import Consul
from k3.discovery.mirror import MirrorSettings
from k3.discovery.policy import WARNING
from tests.discovery.consul_lab import eventually
from tests.discovery.machines import plain_service, put, set_check, ttl_service
from tests.discovery.mirroring import ILL, UP, View, mirroring

pytestmark = pytest.mark.servers("consul")

SETTINGS = MirrorSettings(service="k3-node", watch_interval_seconds=0.5)


def ttl_check(check: str) -> dict[str, Any]:
    return {"CheckID": f"check-{check}", "Name": check, "TTL": "10m", "Status": "passing"}


@pytest.fixture
async def pair(consul: Consul) -> AsyncIterator[Consul]:
    """`many` with two checks, `none` without any."""
    await consul.agent.register(plain_service("many", Checks=[ttl_check("disk"), ttl_check("load")]))
    await consul.agent.register(plain_service("none"))
    yield consul
    for name in ("many", "none", "new"):
        await consul.agent.deregister(f"k3-node-{name}")


async def shows_warning(view: View, name: str, status: str, message: str) -> None:
    async def is_so() -> bool:
        found = node.condition(await view.manifest(name), WARNING)
        return found is not None and (found.status, found.message) == (status, message)

    await eventually(is_so)


async def shows_cordon(view: View, *names: str, is_on: bool) -> None:
    async def is_so() -> bool:
        specs = [(await view.manifest(name))["spec"] for name in names]
        return all(spec.get("unschedulable", False) is is_on for spec in specs)

    await eventually(is_so)


async def message(view: View, name: str) -> str:
    return (await view.condition(name)).message


async def test_the_worst_of_several_checks_counts(pair: Consul, store: Store) -> None:
    async with mirroring(pair, store, SETTINGS) as view:
        await view.shows("many", *UP)
        assert node.condition(await view.manifest("many"), WARNING) is None
        await set_check(pair, "load", "warn")
        await shows_warning(view, "many", "True", "check check-load is warning")
        assert await view.ready("many") == UP
        await set_check(pair, "disk", "fail")
        await view.shows("many", *ILL)
        assert await message(view, "many") == "check check-disk is critical"
        await set_check(pair, "load", "pass")
        await set_check(pair, "disk", "warn")
        await view.shows("many", *UP)
        await shows_warning(view, "many", "True", "check check-disk is warning")
        await set_check(pair, "disk", "pass")
        await shows_warning(view, "many", "False", "no warning")
        assert await view.ready("many") == await view.ready("none") == UP


async def test_a_check_of_the_consul_node_counts_for_all_its_machines(pair: Consul, store: Store) -> None:
    async with mirroring(pair, store, SETTINGS) as view:
        for name in ("many", "none"):
            await view.shows(name, *UP)
        await pair._sender.call("PUT", "/v1/agent/check/register", body=b'{"ID": "check-fan", "Name": "fan", "TTL": "10m"}')
        try:
            for name in ("many", "none"):
                await view.shows(name, *ILL)
                assert await message(view, name) == "check check-fan is critical"
            await set_check(pair, "fan", "warn")
            for name in ("many", "none"):
                await view.shows(name, *UP)
                await shows_warning(view, name, "True", "check check-fan is warning")
        finally:
            await put(pair, "/v1/agent/check/deregister/check-fan")
        await shows_warning(view, "none", "False", "no warning")


async def test_maintenance_of_node_and_service_cordons_and_says_nothing_of_health(pair: Consul, store: Store) -> None:
    async with mirroring(pair, store, SETTINGS) as view:
        for name in ("many", "none"):
            await view.shows(name, *UP)
        await put(pair, "/v1/agent/maintenance?enable=true&reason=moving")
        await shows_cordon(view, "many", "none", is_on=True)
        await put(pair, "/v1/agent/service/maintenance/k3-node-many?enable=true")
        await put(pair, "/v1/agent/maintenance?enable=false")
        await shows_cordon(view, "none", is_on=False)
        await shows_cordon(view, "many", is_on=True)
        await set_check(pair, "disk", "fail")
        await view.shows("many", *ILL)
        await shows_cordon(view, "many", is_on=True)
        await set_check(pair, "disk", "pass")
        await view.shows("many", *UP)
        await put(pair, "/v1/agent/service/maintenance/k3-node-many?enable=false")
        await shows_cordon(view, "many", is_on=False)
        assert await view.ready("none") == UP


async def test_a_cordon_that_a_person_put_outlasts_maintenance(pair: Consul, store: Store) -> None:
    def cordoned(manifest: Manifest) -> Manifest:
        return {**manifest, "spec": {**manifest["spec"], "unschedulable": True}}

    async with mirroring(pair, store, SETTINGS) as view:
        for name in ("many", "none"):
            await view.shows(name, *UP)
        await modify(store, Key(NODE, "many"), cordoned)
        for is_on in ("true", "false"):
            await put(pair, f"/v1/agent/maintenance?enable={is_on}")
            await shows_cordon(view, "none", is_on=is_on == "true")
        await pair.agent.register(ttl_service("new"))
        await view.shows("new", *UP)
        await shows_cordon(view, "many", is_on=True)
