"""A machine joins: from its first announcement on the wire until another host's `k3 nodes -w` shows it Ready.

Beside python-zeroconf with its defaults, from registering to a browser's `Added`, and avahi where it is installed.
Needs root. Prints one JSON object.

PYTHONPATH=src:. python benchmarks/join.py [--quick]
"""

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from shutil import which

from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from benchmarks.figures import Figure, median, percentile, tell
from benchmarks.scene import Ear, Stage, is_quick, role, settle, stage
from tests.lab import Host
from tests.system.agents import is_ready

KIND = "_bench._tcp"
TYPE = f"{KIND}.local."
TARGET_SECONDS = 0.15


def k3(scene: Stage, rounds: int, *, shared: bool) -> tuple[list[float], list[float]]:
    """Seconds from the announcement, and from the start of the process, to Ready in another host's list."""
    word = "s" if shared else "o"
    here, there = (scene.agent(f"{word}{n}", shared=shared) for n in (1, 2))
    here.watch()
    there.watch()
    here.start()
    there.start()
    settle(here, there)
    announced, started = [], []
    with Ear(here.host) as ear:
        for number in range(rounds):
            joiner = scene.agent(f"{word}j{number}", shared=shared)
            began = time.time()
            joiner.start()
            shown = here.watch().wait_for(joiner.name, is_ready).at.timestamp()
            announced.append(shown - ear.first_of(joiner.name, since=began))
            started.append(shown - began)
            joiner.stop()
            joiner.host.close()
    here.stop()
    there.stop()
    return announced, started


def zeroconf(scene: Stage, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds from registering, and from the start of the process, to `Added` in a browser on another host."""
    here = scene.lan.host("browser")
    browser = role(here, __file__, "browse")
    browser.wait_for("BROWSING")
    registered, started = [], []
    for number in range(rounds):
        there = scene.lan.host(f"z{number}")
        began = time.time()
        publisher = role(there, __file__, "register", f"z{number}", scene.lan.address(there))
        added = float(browser.wait_for(f"ADDED z{number}.").split()[2])
        registered.append(added - float(publisher.wait_for("REGISTER").split()[1]))
        started.append(added - began)
        there.close()
    browser.close()
    return registered, started


def avahi(scene: Stage, rounds: int) -> list[float]:
    """Seconds from the start of avahi-publish to its line in avahi-browse on another host."""
    here, there = scene.lan.host("avahi-a"), scene.lan.host("avahi-b")
    for host in (here, there):
        start_avahi(host)
    browser = here.start(["stdbuf", "-oL", "avahi-browse", "-p", KIND])
    taken = []
    for number in range(rounds):
        began = time.time()
        publisher = there.start(["avahi-publish", "-s", f"round-{number}", KIND, "4242"])
        browser.wait_for(lambda line, wanted=f"round-{number};": line.startswith("+;") and wanted in line.replace("\\045", "-"))  # type: ignore[misc]
        taken.append(time.time() - began)
        publisher.stop()
    return taken


def start_avahi(host: Host) -> None:
    """A system bus and the daemon, both of this host alone: /run is its own."""
    host.run(["mkdir", "-p", "/run/dbus"])
    host.start(["dbus-daemon", "--system", "--nofork", "--nopidfile"])
    host.run(["sh", "-c", "until [ -S /run/dbus/system_bus_socket ]; do sleep 0.05; done"])
    daemon = host.start(["avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits"])
    daemon.wait_for("Server startup complete")


async def browse() -> None:
    async with AsyncZeroconf() as responder:

        def on_change(name: str, state_change: ServiceStateChange, **_: object) -> None:
            if state_change is ServiceStateChange.Added:
                print("ADDED", name, time.time(), flush=True)

        browser = AsyncServiceBrowser(responder.zeroconf, TYPE, handlers=[on_change])
        # A browser that has just started is still asking; one that has been there for a while only listens.
        await asyncio.sleep(2)
        print("BROWSING", flush=True)
        await asyncio.Event().wait()
        await browser.async_cancel()


async def register(name: str, address: str) -> None:
    async with AsyncZeroconf() as responder:
        info = AsyncServiceInfo(
            TYPE, f"{name}.{TYPE}", port=4242, properties={"node": name}, addresses=[socket.inet_aton(address)]
        )
        print("REGISTER", time.time(), flush=True)
        await (await responder.async_register_service(info))
        await asyncio.Event().wait()


def attempt(work: Callable[[], list[float]]) -> list[float] | str:
    """What only stands beside may fail by itself: then its place says so."""
    try:
        return work()
    except AssertionError as error:
        return str(error).splitlines()[0]


def figures(scene: Stage, rounds: int) -> None:
    default, default_started = zeroconf(scene, rounds)
    other = attempt(lambda: avahi(scene, rounds)) if which("avahi-daemon") and which("dbus-daemon") else "not installed"
    other_text = f"avahi publish → browse {median(other):.3f} s" if isinstance(other, list) else f"avahi: {other}"
    table, rounds_of = [], {}
    for shared in (False, True):
        name = "one store" if shared else "separate stores"
        announced, started = k3(scene, rounds, shared=shared)
        rounds_of[name] = {"from_announcement": announced, "from_start": started}
        beside = "python-zeroconf's default, register → Added"
        table += [
            Figure(f"join → Ready in another host's list, median, {name}", median(announced), "s", high=TARGET_SECONDS,
                   beside=beside, beside_measured=median(default), remark=other_text),
            Figure(f"join → Ready in another host's list, p95, {name}", percentile(announced, 95), "s",
                   beside=beside, beside_measured=percentile(default, 95)),
            Figure(f"process start → Ready in another host's list, median, {name}", median(started), "s",
                   beside="python-zeroconf's default, process start → Added", beside_measured=median(default_started)),
        ]  # fmt: skip
    tell(table, rounds=rounds_of, zeroconf={"register": default, "start": default_started}, avahi=other)


def main() -> None:
    if sys.argv[1:2] == ["--role"]:
        asyncio.run(browse() if sys.argv[2] == "browse" else register(sys.argv[3], sys.argv[4]))
        return
    rounds = 4 if is_quick() else 12
    with stage() as scene:
        figures(scene, rounds)


if __name__ == "__main__":
    main()
