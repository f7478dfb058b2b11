"""A late joiner among 1,000 announced machines: until all are known, with address and identity; CPU and memory of that.

Real responders announce them from four other hosts, and answer at their addresses. k3's browser beside python-zeroconf's, which
asks for each instance it was told of (`AsyncServiceBrowser`, then `async_request`), in turns; then `k3 network`, until all are
Ready in its list. Needs root. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/crowd.py [--quick]
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from zeroconf import ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from benchmarks.figures import Figure, median, tell
from benchmarks.scene import SERVICE, is_quick, role, stage
from k3.network import link_changes
from k3.network.browse import Browser
from k3.network.mdns import Mdns
from k3.network.messages import Announcement
from k3.settings.service_type import ServiceType
from tests.lab import Host, until
from tests.network import machines
from tests.system.agents import Agent

INSTANCES: Final = 1_000
RESPONDERS: Final = 4
PATIENCE_SECONDS: Final = 20.0
REQUEST_MILLISECONDS: Final = 3_000
PAGE_BYTES: Final = 4_096

Found = Callable[[str], None]


async def browse_k3(found: Found) -> None:
    mdns = await Mdns.open(link_changes.read())
    browser = Browser(mdns, ServiceType(SERVICE))
    answered: set[str] = set()
    browser.trust(answered.__contains__)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(browser.run())
        async for heard in browser:
            if isinstance(heard, Announcement):
                found(heard.instance)
                answered.add(heard.instance)


async def browse_zeroconf(found: Found) -> None:
    async with AsyncZeroconf() as responder, asyncio.TaskGroup() as tasks:

        async def resolve(name: str) -> None:
            info = AsyncServiceInfo(SERVICE, name)
            while not await info.async_request(responder.zeroconf, REQUEST_MILLISECONDS):
                pass
            found(name)

        def on_change(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
            assert zeroconf is responder.zeroconf
            assert service_type == SERVICE
            if state_change is ServiceStateChange.Added:
                tasks.create_task(resolve(name))

        browser = AsyncServiceBrowser(responder.zeroconf, SERVICE, handlers=[on_change])
        await asyncio.Event().wait()
        await browser.async_cancel()


async def join_late(browse: Callable[[Found], Awaitable[None]]) -> None:
    """Browse until all are found; print how many were, and what it took."""
    names: set[str] = set()
    complete = asyncio.Event()

    def found(name: str) -> None:
        names.add(name)
        if len(names) == INSTANCES:
            complete.set()

    before, cpu, began = memory(), time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        browsing = tasks.create_task(_run(browse, found))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await complete.wait()
        except TimeoutError:
            pass
        result = {
            "found": len(names),
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
            "rss_mb": memory(),
            "grown_mb": memory() - before,
        }
        print("RESULT", json.dumps(result), flush=True)
        browsing.cancel()


async def _run(browse: Callable[[Found], Awaitable[None]], found: Found) -> None:
    await browse(found)


def memory() -> float:
    """Resident, in MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES / 2**20


def late(host: Host, who: str) -> dict[str, float]:
    process = role(host, __file__, who)
    line = process.wait_for("RESULT ", guard_seconds=PATIENCE_SECONDS * 3)
    process.close()
    result: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    assert result["found"] == INSTANCES, f"{who} found only {result['found']} of {INSTANCES} in {result['seconds']:.1f} s"
    return result


def attempt(host: Host, who: str) -> dict[str, float] | str:
    try:
        return late(host, who)
    except AssertionError as error:
        return str(error).splitlines()[0]


def newcomer(agent: Agent) -> dict[str, float]:
    """`k3 network` on a new store, from its start until it lists all of them as Ready."""
    ready, began = agent.watch().ready, time.perf_counter()
    agent.start()
    until(lambda: len(ready()) > INSTANCES, guard_seconds=60, every_seconds=0.05, what=lambda: f"{len(ready())} are Ready")
    seconds, process = time.perf_counter() - began, agent.process
    took = {"seconds": seconds, "cpu_seconds": process.cpu_seconds(), "rss_mb": process.rss_bytes() / 2**20}
    agent.stop()
    return took


def measure(rounds: int) -> tuple[list[dict[str, float]], list[dict[str, float] | str], dict[str, float]]:
    each = INSTANCES // RESPONDERS
    ours, theirs = [], []
    with stage("10.77.0.0/16") as scene:
        for number in range(RESPONDERS):
            machines.start(scene.lan, scene.lan.host(f"responders-{number}"), first=number * each, count=each)
        host = scene.lan.host("late")
        for _ in range(rounds):
            ours.append(late(host, "k3"))
            theirs.append(attempt(host, "zeroconf"))
        # Once: the kernel keeps 1,024 neighbours of all hosts of the laboratory together (`gc_thresh3`, arp(7)).
        agent = newcomer(scene.agent("newcomer", shared=False))
    return ours, theirs, agent


def main() -> None:
    rounds = 2 if is_quick() else 7
    ours, theirs, agent = measure(rounds)
    plain = [each for each in theirs if not isinstance(each, str)]
    failed = f"{len(theirs) - len(plain)} of {len(theirs)} plain rounds did not find all" if len(plain) < len(theirs) else ""
    limits = {"seconds": ("all delivered", "s", 0.5), "cpu_seconds": ("CPU", "s", 0.5), "rss_mb": ("RSS", "MB", None)}
    table = []
    for field, (name, unit, high) in limits.items():
        values = [each[field] for each in ours]
        beside = median([each[field] for each in plain]) if plain else None
        worst = f"worst of {rounds}: {max(values):.3f} {unit}" + (f"; {failed}" if failed else "")
        table.append(
            Figure(
                f"late joiner among {INSTANCES:,} instances: {name}, median",
                *(median(values), unit, None, high),
                *("AsyncServiceBrowser + async_request", beside, worst),
            )
        )
    among = f"new agent among {INSTANCES:,} machines"
    beside = median([each["seconds"] for each in plain]) if plain else None
    table += [
        Figure(
            f"{among}: its start → all Ready in its list",
            *(agent["seconds"], "s", None, None),
            *("AsyncServiceBrowser + async_request, which ask nobody whether it is there", beside),
        ),
        Figure(f"{among}: CPU until then", agent["cpu_seconds"], "s"),
        Figure(f"{among}: RSS", agent["rss_mb"], "MB"),
    ]
    tell(table, k3=ours, zeroconf=theirs, agent=agent)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--role"]:
        asyncio.run(join_late(browse_k3 if sys.argv[2] == "k3" else browse_zeroconf))
    else:
        main()
