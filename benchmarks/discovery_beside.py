"""What `k3 discovery` is measured beside: two mirrors as one would write them first. No election, no guards, nothing refused.

poll: the specification's method. Every 15 s the catalog's list of the service, then its health, then one write for each
machine, whose Node carries the time. plain: one blocking query for the health of the service, compared as a whole with
what was written before, and a write where that differs.

PYTHONPATH=src:. python -m benchmarks.discovery_beside poll|plain CONSUL STORE_URL
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from benchmarks.discovery_scene import SERVICE
from k3.agent.http import Answer, Http, Request
from k3.core import node
from k3.core.errors import NotFound
from k3.core.objects import NODE, Key, Manifest, Object
from k3.core.store import Store
from k3.discovery.settings import from_flags
from k3.settings.load import Flags, Place, load
from k3.stores import connect

PERIOD_SECONDS: Final = 15.0
WAIT_SECONDS: Final = 55
WRITERS: Final = 32


@dataclass(frozen=True, slots=True)
class Machine:
    """What becomes of it in a Node."""

    name: str
    address: str
    service_id: str
    is_well: bool


@dataclass(slots=True)
class Kept:
    """A store, and the Nodes as they were written last."""

    store: Store
    written: dict[str, Machine] = field(default_factory=dict)
    objects: dict[str, Object] = field(default_factory=dict)

    async def write_all(self, machines: Iterable[Machine]) -> None:
        """One write each, so many at once."""
        left = iter(machines)

        async def some() -> None:
            for machine in left:
                await self._write(machine)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(some())

    async def _write(self, machine: Machine) -> None:
        key = Key(NODE, machine.name)
        former = self.objects.get(machine.name)
        if former is None:
            with suppress(NotFound):
                former = await self.store.get(key)
        if former is None:
            self.objects[machine.name] = await self.store.create(key, manifest(machine, {}))
        else:
            wanted = former.with_manifest(manifest(machine, former.manifest()))
            self.objects[machine.name] = await self.store.update(wanted)
        self.written[machine.name] = machine


def manifest(machine: Machine, former: Manifest) -> Manifest:
    """Its Node now."""
    made: Manifest = {"metadata": {}, "spec": {}, "status": {}, **former}
    made["metadata"] |= {
        "labels": {"k3.discovery/managed": "true", "discovery": "consul"},
        "annotations": {"k3.discovery/service-id": machine.service_id},
    }
    node.set_addresses(made, machine.name, [machine.address])
    status, reason = ("True", "ConsulPassing") if machine.is_well else ("False", "ConsulCritical")
    node.set_condition(made, node.READY, status=status, reason=reason, message="", now=datetime.now(UTC))
    return made


class Reader:
    """Consul, asked as plainly as can be."""

    def __init__(self, address: str) -> None:
        self._settings = from_flags(address, "", {})
        self._http = Http(self._settings.server())

    async def get(self, target: str) -> Answer:
        request = Request("GET", target, (("Host", self._settings.authority),))
        answer = await self._http.request(request, timeout_seconds=WAIT_SECONDS * 2)
        assert answer.status == 200, answer.body
        return answer

    async def health(self, query: str = "") -> tuple[list[Machine], int]:
        """All machines, and the index."""
        answer = await self.get(f"/v1/health/service/{SERVICE}?stale{query}")
        return [machine(entry) for entry in json.loads(answer.body)], int(answer.headers["x-consul-index"])


def machine(entry: Any) -> Machine:  # noqa: ANN401 - JSON
    service = entry["Service"]
    is_well = all(check["Status"] in {"passing", "warning"} for check in entry["Checks"])
    return Machine(service["Meta"]["node"], service["Address"], service["ID"], is_well)


async def poll(reader: Reader, kept: Kept) -> None:
    while True:
        began = time.monotonic()
        listed = {each["ServiceID"] for each in json.loads((await reader.get(f"/v1/catalog/service/{SERVICE}")).body)}
        machines, _ = await reader.health()
        await kept.write_all(each for each in machines if each.service_id in listed)
        await asyncio.sleep(max(0.0, began + PERIOD_SECONDS - time.monotonic()))


async def plain(reader: Reader, kept: Kept) -> None:
    index = 0
    while True:
        machines, index = await reader.health(f"&index={index}&wait={WAIT_SECONDS}s" if index else "")
        await kept.write_all(each for each in machines if kept.written.get(each.name) != each)


async def main(method: str, consul: str, url: str) -> None:
    place = Place({"K3_STORE_PASSWORD": os.environ.get("K3_STORE_PASSWORD", "")}, is_root=False)
    kept = Kept(await connect(load(Flags(store=url), place, reading=False).storage))
    await (poll if method == "poll" else plain)(Reader(consul), kept)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
