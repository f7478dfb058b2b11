"""The composition root, the only package that knows every part: builds them, runs them together, stops them in order."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from k3.agent import facts, health, logs, refusals
from k3.agent.tasks import gather, time_limit
from k3.core import limits
from k3.core.decision import Keep
from k3.core.errors import Invalid, StartFailed
from k3.core.safe_text import printable
from k3.core.store import Store
from k3.daemon.lock import only_one
from k3.daemon.opening import open_store, open_unless_stopped
from k3.daemon.parts import DiscoveryPart, NetworkPart, Part
from k3.daemon.process import collect_rarely, greet, state_directory, stop_on_signals
from k3.discovery import policy as discovery_policy
from k3.discovery.service import DiscoveryOptions
from k3.network import link_changes, naming
from k3.network.announce import NODE_BYTES
from k3.network.naming import NameLost
from k3.network.service import Options
from k3.settings.listen import Listen
from k3.settings.structs import NetworkConfig, Reader, Storage

_VERB_WIDTH: Final = 8

log = logging.getLogger(__name__)


def run_network(config: NetworkConfig, reader: Reader) -> int:
    """`k3 network`: run until told to stop. Raises K3Error for whatever it cannot start or go on with."""
    with logs.in_background():
        return asyncio.run(_network(config, None, reader))


def run_up(config: NetworkConfig, options: DiscoveryOptions, reader: Reader) -> int:
    """`k3 up`: both modules in one process, on one store, with one health server and one name. Raises K3Error."""
    with logs.in_background():
        return asyncio.run(_network(config, options, reader))


def run_discovery(options: DiscoveryOptions, storage: Storage, reader: Reader, *, store_wait_seconds: float) -> int:
    """`k3 discovery`: run until told to stop. Raises K3Error for whatever it cannot start with."""
    with logs.in_background():
        return asyncio.run(_discovery(options, storage, reader, store_wait_seconds))


def run_discovery_once(options: DiscoveryOptions, storage: Storage, *, store_wait_seconds: float, is_dry: bool) -> str:
    """`k3 discovery --once`: mirror what Consul shows now, and return what was done and why; dry, nothing is written."""
    return asyncio.run(_discovery_once(options, storage, store_wait_seconds, is_dry=is_dry))


async def _network(config: NetworkConfig, beside: DiscoveryOptions | None, reader: Reader) -> int:
    """`beside`: discovery, to run in the same process."""
    refusals.take_all_descriptors()
    state_dir = state_directory()
    options = _network_options(config)
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        for module in ("network", *(["discovery"] if beside else [])):
            stack.enter_context(only_one(module, state_dir, options.name))
        store = await _open_store(stack, config.storage, config.store_wait_seconds, stop)
        if store is None:
            return stop.result()
        while True:
            network = NetworkPart(options, store, state_dir)
            discovery = await _beside(stack, beside, network, store, state_dir) if beside else None
            try:
                await gather(partial(_run, [network, *([discovery] if discovery else [])], config.listen, stop, reader))
            except* NameLost as lost:
                if discovery is not None:
                    await discovery.leave()
                options = _starting_again(options, lost)
            else:
                return stop.result()


async def _beside(
    stack: AsyncExitStack, options: DiscoveryOptions, network: NetworkPart, store: Store, state_dir: Path
) -> DiscoveryPart:
    """Discovery under the name that network settles."""
    interfaces = [each.name for each in network.agent.links.interfaces]
    boot = network.agent.facts.boot
    part = DiscoveryPart(options, store, state_dir, interfaces=interfaces, named=network.named, boot=boot)
    stack.push_async_callback(part.aclose)
    return part


def _network_options(config: NetworkConfig) -> Options:
    name = config.node_name or facts.default_node_name()
    if len(name) > NODE_BYTES:
        msg = f"--node-name: {len(name)} characters do not fit into an mDNS announcement, expected at most {NODE_BYTES}"
        raise Invalid(msg)
    return Options(
        service=config.service,
        name=name,
        explicit=config.is_name_explicit,
        peer_ttl_seconds=config.peer_ttl_seconds,
        register_self=config.register_self,
        forget_after_seconds=config.forget_after_seconds,
        interfaces=config.interfaces,
    )


def _starting_again(options: Options, lost: BaseException) -> Options:
    """How to go on after another machine turned out to have our name, our identity, or both."""
    while isinstance(lost, BaseExceptionGroup):
        lost = lost.exceptions[0]
    if not isinstance(lost, NameLost):
        return options
    if lost.second == options.name:
        return replace(options, explicit=True, former=lost.former)
    # The name it would have had, however often it has lost one since.
    first = options.conflict_with or options.name
    fields = {"name": first, "using": lost.second, "held": lost.held_at, "advice": naming.ADVICE}
    log.warning("name.lost", extra={"fields": fields})
    return replace(options, name=lost.second, explicit=True, conflict_with=first, former=lost.former or options.former)


async def _discovery(options: DiscoveryOptions, storage: Storage, reader: Reader, store_wait_seconds: float) -> int:
    refusals.take_all_descriptors()
    state_dir = state_directory()
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one("discovery", state_dir, options.name))
        store = await _open_store(stack, storage, store_wait_seconds, stop)
        if store is None:
            return stop.result()
        part = DiscoveryPart(options, store, state_dir, interfaces=[each.name for each in link_changes.read(()).interfaces])
        stack.push_async_callback(part.aclose)
        await part.prepare()
        try:
            await _run([part], Listen("", options.service_port), stop, reader)
        except StartFailed as error:
            raise StartFailed(str(error).replace("--listen", "--service-port")) from error
        return stop.result()


async def _discovery_once(options: DiscoveryOptions, storage: Storage, store_wait_seconds: float, *, is_dry: bool) -> str:
    async with AsyncExitStack() as stack:
        store = await open_store(storage, wait_seconds=store_wait_seconds)
        stack.push_async_callback(store.aclose)
        part = DiscoveryPart(options, store, Path(), interfaces=())
        stack.push_async_callback(part.aclose)
        done = await part.once(is_dry=is_dry)
        width = max((len(printable(seen.name)) for seen, _ in done), default=0)
        lines = []
        for seen, decision in done:
            what = type(decision).__name__.lower().ljust(_VERB_WIDTH)
            why = decision.why if isinstance(decision, Keep) else discovery_policy.explain(decision, seen)
            lines.append(f"{what}{printable(seen.name).ljust(width)}   {printable(why)}\n")
    return "".join(lines)


async def _open_store(stack: AsyncExitStack, storage: Storage, wait_seconds: float, stop: asyncio.Future[int]) -> Store | None:
    """The store, closed when the stack is. None: told to stop while it was waited for."""
    store = await open_unless_stopped(stop, storage, wait_seconds=wait_seconds)
    if store is not None:
        stack.push_async_callback(store.aclose)
    return store


async def _run(parts: Sequence[NetworkPart | DiscoveryPart], listen: Listen, stop: asyncio.Future[int], reader: Reader) -> None:
    """Run parts behind one health server, which speaks for the first of them, until told to stop; then stop them in order."""
    collect_rarely()
    first = parts[0]
    async with await health.serve(listen, first.info) as server, asyncio.TaskGroup() as tasks:
        for part in parts:
            part.attend(server)
        running = [
            tasks.create_task(server.run()),
            *[tasks.create_task(part.run(server.port)) for part in parts],
            tasks.create_task(greet(first.cache, first.store, first.agent.joined, first.hindrance, reader=reader)),
        ]
        await asyncio.shield(stop)
        await _leave(server, parts)
        for task in running:
            task.cancel()


async def _leave(server: health.HealthServer, parts: Sequence[Part]) -> None:
    """Stop in the order that lets others see it: no longer answer, then say goodbye everywhere at once."""
    try:
        async with time_limit(limits.SHUTDOWN_SECONDS):
            await server.aclose()
            async with asyncio.TaskGroup() as tasks:
                for part in parts:
                    tasks.create_task(part.leave())
    except TimeoutError:
        advice = "others find out by themselves that this machine is gone"
        log.warning("stop.cut_short", extra={"fields": {"why": "the store took no goodbye in time", "advice": advice}})
