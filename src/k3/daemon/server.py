"""`k3 server`: the API over a store, without any source."""

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from k3.agent import logs, refusals
from k3.agent.faults import Faults
from k3.daemon.opening import open_unless_stopped
from k3.daemon.process import how_to_ask, state_directory, stop_on_signals
from k3.daemon.served import recorded
from k3.network import netlink
from k3.server.access.settings import AccessSettings
from k3.server.serving import Serving
from k3.settings.structs import Reader, Storage

log = logging.getLogger(__name__)


def run_server(storage: Storage, settings: AccessSettings, store_wait_seconds: float, reader: Reader) -> int:
    """Runs until told to stop; returns the exit code. Raises K3Error where it cannot start."""
    with logs.in_background():
        return asyncio.run(_serve(storage, settings, store_wait_seconds, reader))


async def _serve(storage: Storage, settings: AccessSettings, store_wait_seconds: float, reader: Reader) -> int:
    async with AsyncExitStack() as stack:
        refusals.take_all_descriptors()
        state_dir = state_directory()
        stop = stop_on_signals()
        store = await open_unless_stopped(stop, storage, wait_seconds=store_wait_seconds)
        if store is None:
            return stop.result()
        stack.push_async_callback(store.aclose)
        faults = Faults()
        asyncio.get_running_loop().set_exception_handler(faults.in_callback)
        serving = Serving(store, settings, state_dir, faults, own_addresses)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(serving.run()),
                tasks.create_task(faults.keep("log", logs.tell_repeats)),
                tasks.create_task(_greet(serving, state_dir, reader)),
            ]
            await asyncio.shield(stop)
            for task in running:
                task.cancel()
        log.info("server.stopped")
        return stop.result()


def own_addresses() -> frozenset[str]:
    """Returns all addresses of this machine, as text; none where the kernel does not tell them now."""
    with suppress(OSError):
        return frozenset(str(entry.address) for entry in netlink.tables()[1])
    return frozenset()


async def _greet(serving: Serving, state_dir: Path, reader: Reader) -> None:
    """Tells a person and, while it goes on, other commands of this machine where the store is served."""
    await serving.started.wait()
    served = replace(reader, served_at=serving.url)
    logs.say(f"The machines in {serving.store_url} are served at {serving.url}.\n{how_to_ask(served)}")
    with recorded(state_dir, serving.url):
        await asyncio.Event().wait()
