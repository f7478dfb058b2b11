"""How often a Node is written while its machine stays as it is: the policy alone in an hour of a fake clock, and real time.

The full run lets `k3 discovery` keep 1,000 machines on etcd until each was refreshed, and counts what a watcher of the
store is shown from the creation on; Leases and Events are not counted. A short run has the policy alone: a Node is not
refreshed for five minutes. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/discovery_steady.py [--quick]
"""

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.discovery_first import fresh
from benchmarks.discovery_scene import MIRROR, SERVICE, Counted, Registry, Shelf, count_writes, ending, name_of, revision
from benchmarks.figures import Figure, tell
from benchmarks.scene import is_quick
from k3.core.decision import Create, Update
from k3.core.observation import Facts
from k3.discovery.policy import REFRESH_SECONDS, SPREAD_SECONDS, Mirrored, decide
from tests.servers import consul_agent

MACHINES: Final = 1_000
SIMULATED: Final = 200
HOUR_SECONDS: Final = 3_600.0
LOOK_SECONDS: Final = 15.0
SLACK_SECONDS: Final = 90.0
"""For the mirror to look again once a refresh is due, and for the machines to appear at first."""
WRITES_PER_MINUTE: Final = 0.2


def simulated() -> float:
    """Writes per Node and minute of the policy, asked at every watch interval."""
    written = sum(_writes(name_of(number)) for number in range(SIMULATED))
    return written / SIMULATED / (HOUR_SECONDS / 60)


def _writes(name: str) -> int:
    """In an hour, the creation apart."""
    facts = Facts(node=name, addresses=("10.80.0.1",), port=7946, pid=4242, id="0" * 32, boot="0" * 16)
    seen = Mirrored(
        name=name,
        facts=facts,
        service=SERVICE,
        service_id=f"{SERVICE}-{name}",
        consul_node="host",
        datacenter="dc1",
        health="passing",
        message="all its checks in Consul pass",
    )
    began, written, stored = datetime(2026, 1, 1, tzinfo=UTC), -1, None
    for look in range(int(HOUR_SECONDS / LOOK_SECONDS) + 1):
        decision = decide(stored, seen, now=began + timedelta(seconds=look * LOOK_SECONDS))
        if isinstance(decision, Create | Update):
            stored, written = decision.manifest, written + 1
    return written


async def real(folder: Path) -> Counted:
    """What a watcher is shown until every Node was refreshed."""
    with consul_agent() as server, fresh("etcd", folder) as make:
        registry = Registry(server)
        registry.fill(MACHINES)
        shelf = make()
        async with shelf.open() as store:
            since = await revision(store)
            with ending(Shelf.mirror(shelf, server.endpoint)):
                return await count_writes(store, since, REFRESH_SECONDS + SPREAD_SECONDS + SLACK_SECONDS)


def rate(times: Sequence[float]) -> float:
    """Writes per minute of one Node, from its creation to the last of them."""
    assert len(times) > 1, "a Node was not refreshed"
    return (len(times) - 1) / (times[-1] - times[0]) * 60


def figures(model: float, found: Counted | None) -> list[Figure]:
    modelled = f"the policy alone, asked every {LOOK_SECONDS:.0f} s of a fake clock"
    unit, aim = "per Node and minute", WRITES_PER_MINUTE
    if found is None:
        return [Figure(f"k3 discovery, steady: Nodes written ({modelled})", model, unit, None, aim)]
    rates = [rate(times) for name, times in found.at.items() if name != MIRROR]
    assert len(rates) == MACHINES
    mean = sum(rates) / len(rates)
    name = f"k3 discovery, {MACHINES:,} steady machines on etcd: Nodes written"
    return [Figure(name, mean, unit, None, aim, modelled, model, f"each from its creation; most: {max(rates):.3f}")]


def main() -> None:
    found = None
    if not is_quick():
        with tempfile.TemporaryDirectory(prefix="k3-bench-", dir="/tmp") as place:
            found = asyncio.run(real(Path(place)))
    tell(figures(simulated(), found), writes=found.machines if found else None, own=found.own if found else None)


if __name__ == "__main__":
    main()
