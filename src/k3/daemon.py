"""The composition root, the only module that knows every part: builds them, runs them together, stops them in order."""

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from k3 import facts, health, node_table, settings, stores
from k3.cache import Cache
from k3.config import MemoryStorage, NetworkConfig, Storage
from k3.core import discovery_policy, limits
from k3.core.errors import Invalid, StartFailed
from k3.core.objects import NODE
from k3.core.policy import Keep
from k3.core.store import Store
from k3.discovery.service import DiscoveryAgent, DiscoveryOptions
from k3.network import links
from k3.network.announce import NODE_BYTES
from k3.network.info import info_document
from k3.network.mdns import ServiceType
from k3.network.service import Agent, NameLost, Options
from k3.reconciler import Reconciler, Work
from k3.safe_text import printable

EXIT_CODES: Final = {signal.SIGTERM: 0, signal.SIGINT: 130}
"""The signals that stop us, and what a shell is told when we have stopped in order."""

LOCK_CHARACTERS: Final = 200
"""Of a name in a file's name, which may have 255."""

log = logging.getLogger(__name__)


def run_network(config: NetworkConfig) -> int:
    """`k3 network`: run until told to stop. Raises K3Error for whatever it cannot start or go on with."""
    return asyncio.run(_network(config))


async def _network(config: NetworkConfig) -> int:
    state_dir = _state_directory()
    name = config.node_name or facts.default_node_name()
    if len(name) > NODE_BYTES:
        msg = f"--node-name: {len(name)} characters do not fit into an mDNS announcement, expected at most {NODE_BYTES}"
        raise Invalid(msg)
    options = Options(
        ServiceType.parse(config.service, config.domain),
        name,
        config.is_name_explicit,
        config.peer_ttl_seconds,
        config.register_self,
        config.forget_after_seconds,
        config.interfaces,
    )
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        stack.enter_context(_only_one("network", state_dir, name))
        store = await _open_store(stack, config.storage)
        while True:
            try:
                await _run_agent(options, store, state_dir, listen=config.listen, stop=stop)
            except* NameLost as lost:
                options = replace(options, name=_second_name(lost), explicit=True, conflict_with=name)
                log.warning("name.lost", extra={"fields": {"name": name, "using": options.name}})
            else:
                return stop.result()


async def _open_store(stack: AsyncExitStack, storage: Storage) -> Store:
    """The store, closed when the stack is."""
    store = await stores.connect(storage)
    stack.push_async_callback(store.aclose)
    if isinstance(storage, MemoryStorage):
        advice = "only this process sees these Nodes; any other --store shares them"
        log.warning("store.memory", extra={"fields": {"advice": advice}})
    return store


def _second_name(lost: BaseException) -> str:
    while isinstance(lost, BaseExceptionGroup):
        lost = lost.exceptions[0]
    return lost.second if isinstance(lost, NameLost) else ""


async def _run_agent(options: Options, store: Store, state_dir: Path, *, listen: str, stop: asyncio.Future[int]) -> None:
    cache = Cache(store, NODE, random=Random())  # noqa: S311 - spreads retries, guards nothing
    reconciler = Reconciler(store, lookup=cache.get, reporter="k3-network")
    agent = Agent(
        options,
        store,
        cache,
        submit=lambda report, at: reconciler.submit(report.observation, at),
        disown=reconciler.disown,
    )
    agent.prepare(state_dir)

    def info() -> dict[str, Any]:
        return info_document(agent.facts, agent.uptime_seconds, store.id)

    async with await health.serve(listen, info) as server, asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(server.run()),
            tasks.create_task(reconciler.run()),
            tasks.create_task(agent.run(server.port)),
            tasks.create_task(_greet(cache, store, agent.joined)),
        ]
        await asyncio.shield(stop)
        await _leave(server, agent, reconciler)
        for task in running:
            task.cancel()


async def _leave(server: health.HealthServer, agent: Agent, reconciler: Reconciler) -> None:
    """Stop in the order that lets others see it: no longer answer, say goodbye, tell the store."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limits.SHUTDOWN_SECONDS), asyncio.TaskGroup() as tasks:
            await server.aclose()
            left = agent.leave()
            tasks.create_task(agent.say_goodbye())
            if left is not None:
                tasks.create_task(reconciler.settle(Work(left, datetime.now(UTC))))
    log.info("network.stopped")


def run_discovery(options: DiscoveryOptions, storage: Storage) -> int:
    """`k3 discovery`: run until told to stop. Raises K3Error for whatever it cannot start or go on with."""
    return asyncio.run(_discovery(options, storage))


def run_discovery_once(options: DiscoveryOptions, storage: Storage, *, is_dry: bool) -> int:
    """`k3 discovery --once`: mirror what Consul shows now, say what and why, and end; dry, nothing is written."""
    return asyncio.run(_discovery_once(options, storage, is_dry=is_dry))


async def _discovery(options: DiscoveryOptions, storage: Storage) -> int:
    state_dir = _state_directory()
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        stack.enter_context(_only_one("discovery", state_dir, options.name))
        store = await _open_store(stack, storage)
        cache, reconciler = _discovery_parts(store)
        agent = DiscoveryAgent(options, store, cache, submit=reconciler.submit)
        stack.push_async_callback(agent.aclose)
        await agent.prepare(state_dir, [each.name for each in links.read(()).interfaces])

        def info() -> dict[str, Any]:
            return info_document(agent.facts, agent.uptime_seconds, store.id)

        server = await stack.enter_async_context(await _serve(options.service_port, info))
        async with asyncio.TaskGroup() as tasks:
            around = [
                tasks.create_task(server.run()),
                tasks.create_task(reconciler.run()),
                tasks.create_task(_greet(cache, store, agent.joined)),
            ]
            running = tasks.create_task(agent.run(server.port))
            await asyncio.shield(stop)
            running.cancel()
            await asyncio.wait([running])
            await _leave_consul(server, agent, reconciler)
            for task in around:
                task.cancel()
        return stop.result()


def _discovery_parts(store: Store) -> tuple[Cache, Reconciler]:
    cache = Cache(store, NODE, random=Random())  # noqa: S311 - spreads retries, guards nothing
    return cache, Reconciler(store, lookup=cache.get, reporter="k3-discovery", policy=discovery_policy.decide)


async def _serve(port: int, info: health.Info) -> health.HealthServer:
    try:
        return await health.serve(f":{port}", info)
    except StartFailed as error:
        raise StartFailed(str(error).replace("--listen", "--service-port")) from error


async def _leave_consul(server: health.HealthServer, agent: DiscoveryAgent, reconciler: Reconciler) -> None:
    """Stop in the order that lets others see it: no longer answer, leave Consul and the lead, tell the store."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limits.SHUTDOWN_SECONDS):
            await server.aclose()
            stopped = await agent.leave()
            if stopped is not None:
                await reconciler.settle(Work(stopped, datetime.now(UTC)))
    log.info("discovery.stopped")


async def _discovery_once(options: DiscoveryOptions, storage: Storage, *, is_dry: bool) -> int:
    async with AsyncExitStack() as stack:
        store = await _open_store(stack, storage)
        cache, reconciler = _discovery_parts(store)
        agent = DiscoveryAgent(options, store, cache, submit=reconciler.submit)
        stack.push_async_callback(agent.aclose)
        for seen, decision in await agent.once():
            what = type(decision).__name__.lower()
            why = decision.why if isinstance(decision, Keep) else discovery_policy.explain(decision, seen)
            sys.stdout.write(f"{what:8}{printable(seen.name)}   {printable(why)}\n")
            if not is_dry:
                await reconciler.settle(Work(seen, datetime.now(UTC)))
    return 0


async def _greet(cache: Cache, store: Store, joined: asyncio.Event) -> None:
    """Once this machine is a Node, show a person what they have and what to do next."""
    await joined.wait()
    now = datetime.now(UTC)
    rows = [node_table.row(item.manifest(), now, wide=False) for item in cache.objects.values()]
    lines = [node_table.titles(wide=False), *sorted(rows)]
    widths = [max(len(printable(line[n])) for line in lines) for n in range(len(lines[0]))]
    table = "\n".join(
        "   ".join(printable(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    sys.stdout.write(
        f"{table}\n\nThis machine is on the list, kept in {store.url}.\n"
        "Add a second one: run the same command on it; it shows up here within a second.\n"
        f"Watch the list from another terminal: {_command()} nodes -w\n"
    )
    sys.stdout.flush()


def _command() -> str:
    """How a person calls k3 here."""
    return "k3" if shutil.which("k3") else sys.argv[0]


def _stop_on_signals() -> asyncio.Future[int]:
    """Given the exit code by the first SIGTERM or SIGINT; the second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def on_signal(number: signal.Signals) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(EXIT_CODES[number])

    for number in EXIT_CODES:
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _state_directory() -> Path:
    path = settings.here().state_directory
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the state directory {path}: {error.strerror}; set XDG_STATE_HOME to a directory you can write"
        raise StartFailed(msg) from error
    return path


@contextmanager
def _only_one(module: str, state_dir: Path, name: str) -> Iterator[None]:
    """Two agents of one name on one machine would overwrite each other: the second one is told so. Raises StartFailed."""
    path = state_dir / f"{module}-{name[-LOCK_CHARACTERS:]}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise StartFailed(msg) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    except BlockingIOError as error:
        holder = os.read(descriptor, 16).decode(errors="replace").strip() or "?"
        msg = _runs_already(module, name, holder)
        raise StartFailed(msg) from error
    finally:
        os.close(descriptor)


def _runs_already(module: str, name: str, holder: str) -> str:
    if module == "discovery":
        return f'k3 discovery runs here already as "{name}" (pid {holder}); stop it first, or choose another --node-name'
    return f'k3 network runs here already as "{name}" (pid {holder}); stop it first, or choose another --node-name'
