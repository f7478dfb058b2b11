"""`k3 discovery`, for good or once."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from k3.agent.agent import Agent
from k3.agent.source import Shared
from k3.core.decision import Keep
from k3.core.errors import StartFailed, first_of
from k3.core.safe_text import printable
from k3.core.sources import DISCOVERY
from k3.daemon.opening import open_store
from k3.daemon.running import Run, run_source
from k3.discovery import policy
from k3.discovery.options import DiscoveryOptions
from k3.discovery.service import DiscoverySource
from k3.network import link_changes
from k3.settings.listen import Listen
from k3.settings.structs import Reader, Storage

_VERB_WIDTH: Final = 8


def run_discovery(options: DiscoveryOptions, storage: Storage, reader: Reader, *, store_wait_seconds: float) -> int:
    """Runs until told to stop; returns the exit code. Raises K3Error for whatever it cannot start with."""

    async def make(shared: Shared, state_dir: Path) -> DiscoverySource:
        interfaces = [each.name for each in link_changes.read(()).interfaces]
        source = DiscoverySource(options, shared, state_dir, interfaces=interfaces)
        await source.prepare()
        return source

    run = Run(
        row=DISCOVERY,
        node_name=options.name,
        storage=storage,
        store_wait_seconds=store_wait_seconds,
        listen=Listen("", options.service_port),
        reader=reader,
    )
    try:
        return run_source(make, run)
    except* StartFailed as errors:
        raise _in_words_of_discovery(errors) from errors


def _in_words_of_discovery(error: BaseException) -> StartFailed:
    """The port of the health server has another flag here."""
    return StartFailed(str(first_of(error)).replace("--listen", "--service-port"))


def run_discovery_once(options: DiscoveryOptions, storage: Storage, *, store_wait_seconds: float, is_dry: bool) -> str:
    """Mirrors what Consul shows now, and returns what was done and why, as lines; dry, nothing is written. Raises K3Error."""
    return asyncio.run(_discovery_once(options, storage, store_wait_seconds, is_dry=is_dry))


async def _discovery_once(options: DiscoveryOptions, storage: Storage, store_wait_seconds: float, *, is_dry: bool) -> str:
    async with AsyncExitStack() as stack:
        store = await open_store(storage, wait_seconds=store_wait_seconds)
        stack.push_async_callback(store.aclose)
        source = DiscoverySource(options, Agent(store).shared, Path())
        stack.push_async_callback(source.aclose)
        done = await source.once()
        for seen, _ in [] if is_dry else done:
            await source.writer.settle(seen, datetime.now(UTC))
        width = max((len(printable(seen.name)) for seen, _ in done), default=0)
        lines = []
        for seen, decision in done:
            what = type(decision).__name__.lower().ljust(_VERB_WIDTH)
            why = decision.why if isinstance(decision, Keep) else policy.explain(decision, seen)
            lines.append(f"{what}{printable(seen.name).ljust(width)}   {printable(why)}\n")
    return "".join(lines)
