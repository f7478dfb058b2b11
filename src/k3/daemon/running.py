"""Runs sources on one store behind one health server, until a signal; then stops them in order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import field
from pathlib import Path

from k3.agent import health, logs, refusals
from k3.agent.agent import Agent
from k3.agent.figures import Figures
from k3.agent.source import Shared, Source
from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.records import dataclass
from k3.core.sources import SOURCES, SourceRow
from k3.core.store import Store
from k3.daemon.lock import only_one
from k3.daemon.opening import open_unless_stopped
from k3.daemon.process import greet, state_directory, stop_on_signals
from k3.settings.listen import Listen
from k3.settings.structs import Reader, Storage

log = logging.getLogger(__name__)

Make = Callable[[Shared, Path], Awaitable[Source]]
"""Makes a source, ready to run. The path is the state directory: what must survive a restart is kept there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a source is to run, as the command line and the file say."""

    row: SourceRow
    node_name: str
    """Of this machine; one agent of a source runs under it."""
    storage: Storage
    store_wait_seconds: float = 60.0
    listen: Listen = field(default_factory=Listen)
    reader: Reader = field(default_factory=Reader)


def run_source(make: Make, run: Run) -> int:
    """Runs one source of any package until told to stop; returns the exit code. Raises K3Error where it cannot start."""
    SOURCES.setdefault(run.row.name, run.row)
    with logs.in_background():
        return asyncio.run(_run_source(make, run))


async def _run_source(make: Make, run: Run) -> int:
    async with AsyncExitStack() as stack:
        begun = await begin(stack, [run.row], run.node_name, run.storage, run.store_wait_seconds)
        if begun.store is not None:
            agent = Agent(begun.store)
            source = await make(agent.shared, begun.state_dir)
            stack.push_async_callback(source.aclose)
            await run_until_stopped(agent, [source], run.listen, begun.stop, run.reader)
        return begun.stop.result()


@dataclass(frozen=True, slots=True)
class Begun:
    """A process that may run sources now: it has its lock and its store."""

    store: Store | None
    """None: it was told to stop while it waited for the store."""
    state_dir: Path
    stop: asyncio.Future[int]
    """Given the exit code when the process is told to stop."""


async def begin(
    stack: AsyncExitStack, rows: Iterable[SourceRow], node_name: str, storage: Storage, wait_seconds: float
) -> Begun:
    """Begins to run these sources under a name; everything is let go with the stack. Raises K3Error where they cannot start."""
    refusals.take_all_descriptors()
    state_dir = state_directory()
    stop = stop_on_signals()
    for row in rows:
        stack.enter_context(only_one(row.name, state_dir, node_name))
    store = await open_unless_stopped(stop, storage, wait_seconds=wait_seconds)
    if store is not None:
        stack.push_async_callback(store.aclose)
    return Begun(store, state_dir, stop)


async def run_until_stopped(
    agent: Agent, sources: Sequence[Source], listen: Listen, stop: asyncio.Future[int], reader: Reader
) -> None:
    """Runs sources behind one health server, which speaks for the first of them. Raises what they do."""
    asyncio.get_running_loop().set_exception_handler(agent.shared.faults.in_callback)
    first = sources[0]
    metrics, counters = Figures(agent.shared, sources).text, agent.shared.counters
    served = await health.serve(listen, first.info, metrics=metrics, counters=counters)
    async with served as server, asyncio.TaskGroup() as tasks:
        for source in sources:
            source.attend(server)
        running = [
            tasks.create_task(agent.shared.faults.keep("health", server.run)),
            tasks.create_task(agent.shared.faults.keep("log", logs.tell_repeats)),
            tasks.create_task(agent.run()),
            tasks.create_task(agent.find(sources, server.port)),
            tasks.create_task(_greet(first, reader)),
        ]
        await asyncio.shield(stop)
        await server.aclose()
        await leave(agent, sources)
        for task in running:
            task.cancel()


async def _greet(source: Source, reader: Reader) -> None:
    with source.shared.faults.survived("greet"):
        await greet(source, reader=reader)


async def leave(agent: Agent, sources: Sequence[Source]) -> None:
    """Says goodbye everywhere at once. The machine answers no more by then, so that others see that it is true."""
    try:
        async with time_limit(limits.SHUTDOWN_SECONDS):
            await agent.leave(sources)
    except TimeoutError:
        advice = "others find out by themselves that this machine is gone"
        log.warning("stop.cut_short", extra={"fields": {"why": "the store took no goodbye in time", "advice": advice}})
