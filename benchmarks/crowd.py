"""A late joiner among 1,000 announced instances: until all are known, with address and identity; CPU and memory of that.

Real responders announce them from four other hosts. k3's browser beside python-zeroconf's, which asks for each instance it
was told of (`AsyncServiceBrowser`, then `async_request`), in turns. Needs root. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/crowd.py [--quick]
"""

import asyncio
import hashlib
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from benchmarks.figures import Figure, median, tell
from benchmarks.scene import SERVICE, is_quick, role, stage
from k3.network import link_changes
from k3.network.browse import Browser
from k3.network.mdns import Mdns
from k3.network.messages import Announcement
from k3.settings.service_type import ServiceType
from tests.lab import Host

INSTANCES: Final = 1_000
RESPONDERS: Final = 4
PATIENCE_SECONDS: Final = 20.0
REQUEST_MILLISECONDS: Final = 3_000
PAGE_BYTES: Final = 4_096

Found = Callable[[str], None]


def service(number: int) -> ServiceInfo:
    """One machine's records, as `k3 network` announces them."""
    node, id_ = f"n{number:04}", hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
    instance = f"{node}-{id_[:8]}"
    text = {"node": node, "port": "7946", "pid": "4242", "id": id_, "boot": id_[16:]}
    address = socket.inet_aton(f"10.77.{100 + number // 250}.{number % 250 + 1}")
    return ServiceInfo(
        SERVICE, f"{instance}.{SERVICE}", port=7946, properties=text, server=f"{instance}.local.", addresses=[address]
    )


async def respond(first: int, count: int) -> None:
    """Be so many machines: all registered, nothing said unasked."""
    async with AsyncZeroconf() as responder:
        for number in range(first, first + count):
            responder.zeroconf.registry.async_add(service(number))
        print("READY", flush=True)
        await asyncio.Event().wait()


async def browse_k3(found: Found) -> None:
    mdns = await Mdns.open(link_changes.read())
    browser = Browser(mdns, ServiceType(SERVICE))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(browser.run())
        async for heard in browser:
            if isinstance(heard, Announcement):
                found(heard.instance)


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


def measure(rounds: int) -> tuple[list[dict[str, float]], list[dict[str, float] | str]]:
    each = INSTANCES // RESPONDERS
    ours, theirs = [], []
    with stage("10.77.0.0/16") as scene:
        for number in range(RESPONDERS):
            host = scene.lan.host(f"responders-{number}")
            role(host, __file__, "respond", str(number * each), str(each)).wait_for("READY")
        host = scene.lan.host("late")
        for _ in range(rounds):
            ours.append(late(host, "k3"))
            theirs.append(attempt(host, "zeroconf"))
    return ours, theirs


def main() -> None:
    rounds = 2 if is_quick() else 7
    ours, theirs = measure(rounds)
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
    tell(table, k3=ours, zeroconf=theirs)


def play(who: str, *numbers: str) -> None:
    if who == "respond":
        asyncio.run(respond(int(numbers[0]), int(numbers[1])))
    else:
        asyncio.run(join_late(browse_k3 if who == "k3" else browse_zeroconf))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--role"]:
        play(*sys.argv[2:])
    else:
        main()
