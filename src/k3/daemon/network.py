"""`k3 network`, alone or with another source in the same process, which goes by the name that network settles."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from k3.agent import facts, logs
from k3.agent.agent import Agent, node_cache
from k3.agent.cache import Cache
from k3.agent.faults import Faults
from k3.agent.source import Source
from k3.agent.tasks import gather
from k3.core import limits
from k3.core.errors import Invalid, first_of
from k3.core.sources import NETWORK, SourceRow
from k3.core.store import Store
from k3.daemon.running import begin, leave, run_until_stopped
from k3.network import naming
from k3.network.naming import NameLost
from k3.network.service import NetworkSource, Options
from k3.settings.structs import NetworkConfig, Reader

log = logging.getLogger(__name__)


Beside = Callable[[NetworkSource, Path], Source]
"""Makes the other source. The path is the state directory."""


Serve = Callable[[Store, Path, Cache, Faults], AbstractAsyncContextManager[str]]
"""Serves a store while it runs, from the state directory and the cache of its Nodes; gives where, as a URL.

What the server does not expect is counted in the process's faults."""


def run_network(
    config: NetworkConfig, reader: Reader, *, beside: tuple[SourceRow, Beside] | None = None, serve: Serve | None = None
) -> int:
    """Runs until told to stop; returns the exit code. Raises K3Error for whatever it cannot start or go on with.

    `beside`: the other source's row and how it is made, anew for each name. `serve`: how the store is served meanwhile.
    """
    with logs.in_background():
        return asyncio.run(_network(config, reader, beside, serve))


async def _network(config: NetworkConfig, reader: Reader, beside: tuple[SourceRow, Beside] | None, serve: Serve | None) -> int:
    options = _options(config)
    rows = [NETWORK, *([beside[0]] if beside else [])]
    async with AsyncExitStack() as stack:
        begun = await begin(stack, rows, options.name, config.storage, config.store_wait_seconds)
        if begun.store is None:
            return begun.stop.result()
        nodes, faults = node_cache(begun.store), Faults()
        if serve is not None:
            url = await stack.enter_async_context(serve(begun.store, begun.state_dir, nodes, faults))
            reader = replace(reader, served_at=url)
        while True:
            agent = Agent(begun.store, nodes, faults)
            network = NetworkSource(options, agent.shared)
            network.prepare(begun.state_dir)
            others = [beside[1](network, begun.state_dir)] if beside else []
            for other in others:
                stack.push_async_callback(other.aclose)
            try:
                await gather(partial(run_until_stopped, agent, [network, *others], config.listen, begun.stop, reader))
            except* NameLost as lost:
                await leave(agent, others)
                options = _starting_again(options, lost, has_joined=network.joined.is_set())
            else:
                return begun.stop.result()


def _options(config: NetworkConfig) -> Options:
    name = config.node_name or facts.default_node_name()
    if len(name) > (most := limits.ANNOUNCED_NAME_BYTES):
        msg = f"--node-name: {len(name)} characters do not fit into an mDNS announcement, expected at most {most}"
        raise Invalid(msg)
    return Options(config=config, name=name, is_chosen=config.is_name_explicit)


def _starting_again(options: Options, lost: BaseException, *, has_joined: bool) -> Options:
    """Returns how to go on after another machine turned out to have this one's name, its identity, or both."""
    lost = first_of(lost)
    if not isinstance(lost, NameLost):
        return options
    # An agent that writes no Node of its own is never on its list, and runs all the same.
    options = replace(options, has_joined=options.has_joined or has_joined or not options.config.register_self)
    if lost.second == options.name:
        return replace(options, former=lost.former)
    # The name it would have had, however often it has lost one since.
    first = options.conflict_with or options.name
    fields = {"name": first, "using": lost.second, "held": lost.held_at, "advice": naming.ADVICE}
    log.warning("name.lost", extra={"fields": fields})
    return replace(options, name=lost.second, conflict_with=first, former=lost.former or options.former)
