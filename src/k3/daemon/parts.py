"""k3's two modules, each put together for one run: agent, cache and reconciler around one store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

from k3.agent import facts
from k3.agent.cache import Cache
from k3.agent.health import HealthServer
from k3.agent.info import info_document
from k3.agent.reconciler import Reconciler, Work
from k3.core.decision import Decision
from k3.core.objects import NODE
from k3.core.store import Store
from k3.discovery import policy as discovery_policy
from k3.discovery.consul import Consul
from k3.discovery.service import DiscoveryAgent, DiscoveryOptions
from k3.network import policy as network_policy
from k3.network.service import Agent, Options

STORE_FIRST_SECONDS: Final = 0.5
"""A store that does not answer does not keep us registered in Consul."""

log = logging.getLogger(__name__)


class Part(Protocol):
    """One module, running."""

    def attend(self, server: HealthServer) -> None:
        """See who comes to this machine's health server."""
        ...

    async def run(self, port: int) -> None:
        """Work for ever. `port` is where this machine's health server answers."""
        ...

    async def leave(self) -> None:
        """Tell everybody that this machine goes: the network or the registry, and the store."""
        ...


class NetworkPart:
    """`k3 network`, for one run under one name."""

    def __init__(self, options: Options, store: Store, state_dir: Path) -> None:
        """Raises Invalid, StartFailed."""
        self.store = store
        self.cache = Cache(store, NODE, random=Random())  # noqa: S311 - spreads retries, guards nothing
        self._reconciler = Reconciler(store, lookup=self.cache.get, reporter="k3-network", policy=network_policy.decide)
        self.agent = Agent(
            options,
            store,
            self.cache,
            submit=lambda report, at: self._reconciler.submit(report.observation, at),
            disown=self._reconciler.disown,
        )
        self.agent.prepare(state_dir)

    def info(self) -> dict[str, Any]:
        """What `/info` answers now."""
        return info_document(self.agent.facts, self.agent.uptime_seconds, self.store.id, now=datetime.now(UTC))

    async def hindrance(self) -> str:
        """What keeps other machines from being found, as lines for a person; empty: nothing that is known."""
        return await self.agent.lookout.hindrance()

    async def named(self) -> str:
        """The name it goes by, once that is settled."""
        await self.agent.named.wait()
        return self.agent.facts.node

    def attend(self, server: HealthServer) -> None:
        """The addresses at which others arrive come first in what this machine says of itself."""
        server.met = self.agent.met
        server.asked_by = self.agent.lookout.asked_by
        self.agent.where.cover = server.cover

    async def run(self, port: int) -> None:
        """Raises NameTaken, NameLost, StartFailed, in a group."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reconciler.run())
            tasks.create_task(self.agent.run(port))

    async def leave(self) -> None:
        """While `run` goes on: saying goodbye needs its sockets."""
        left = self.agent.leave()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.agent.say_goodbye())
            if left is not None:
                tasks.create_task(self._reconciler.settle(Work(left, datetime.now(UTC))))
        log.info("network.stopped")


class DiscoveryPart:
    """`k3 discovery`, for one run. Close it with `aclose`."""

    def __init__(
        self,
        options: DiscoveryOptions,
        store: Store,
        state_dir: Path,
        *,
        interfaces: Sequence[str],
        named: Callable[[], Awaitable[str]] | None = None,
        boot: str = "",
    ) -> None:
        """`named` gives the name to go by and `boot` is the run's, where k3 network settles them.

        Raises ConfigInvalid for unusable TLS files.
        """
        self._options = options
        self.store = store
        self._state_dir = state_dir
        self._interfaces = interfaces
        self._named = named
        self._boot = boot
        self._running: asyncio.Task[None] | None = None
        self.cache = Cache(store, NODE, random=Random())  # noqa: S311 - spreads retries, guards nothing
        self._reconciler = Reconciler(store, lookup=self.cache.get, reporter="k3-discovery", policy=discovery_policy.decide)
        self._consul = Consul(options.consul)
        self.agent = self._agent(options)

    def _agent(self, options: DiscoveryOptions) -> DiscoveryAgent:
        agent = DiscoveryAgent(options, self.store, self.cache, self._consul, submit=self._reconciler.submit, boot=self._boot)
        self._reconciler.told, self._reconciler.may_write = agent.told, lambda: agent.may_write
        return agent

    async def prepare(self) -> None:
        """Learn who and where this machine is, before `info` is asked for. Raises StartFailed."""
        await self.agent.prepare(self._state_dir, self._interfaces)

    def info(self) -> dict[str, Any]:
        """What `/info` answers now: for k3 network too, where that shares the port, and may have found a clone meanwhile."""
        known = self.agent.facts
        who = facts.set_apart(self._state_dir, facts.Identity(known.id, known.clone_of))
        known = replace(known, id=who.id, clone_of=who.clone_of)
        return info_document(known, self.agent.uptime_seconds, self.store.id, now=datetime.now(UTC))

    def attend(self, server: HealthServer) -> None:
        """Nothing: Consul says where this machine is."""

    async def hindrance(self) -> str:
        """Nothing: machines are found through Consul."""
        return ""

    async def run(self, port: int) -> None:
        """Raises StartFailed."""
        if self._named is not None:
            self.agent = self._agent(replace(self._options, name=await self._named()))
            await self.prepare()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reconciler.run())
            self._running = tasks.create_task(self.agent.run(port))

    async def leave(self) -> None:
        """Ends the agent first, which would register this machine again. The store hears of it before Consul does.

        Whoever mirrors would else find this machine gone, and say so, a moment before it says itself that it was stopped.
        """
        if self._running is None:
            return
        self._running.cancel()
        await asyncio.wait([self._running])
        async with asyncio.TaskGroup() as tasks:
            told = tasks.create_task(self._tell_store())
            await asyncio.wait([told], timeout=STORE_FIRST_SECONDS)
            tasks.create_task(self.agent.leave())
        log.info("discovery.stopped")

    async def _tell_store(self) -> None:
        if (stopped := self.agent.stopped) is not None:
            await self._reconciler.settle(Work(stopped, datetime.now(UTC)))

    async def once(self, *, is_dry: bool) -> list[tuple[discovery_policy.RegistryObservation, Decision]]:
        """Mirror what Consul shows now; dry, nothing is written. Returns what was seen, and what came of it."""
        done = await self.agent.once()
        for seen, _ in [] if is_dry else done:
            await self._reconciler.settle(Work(seen, datetime.now(UTC)))
        return done

    async def aclose(self) -> None:
        """Let go of the connections to Consul."""
        await self._consul.aclose()
