"""The source that finds machines through Consul: registers this machine there, and mirrors everybody's health while it leads.

Puts the parts together, and decides nothing itself.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from k3 import __version__
from k3.agent import facts
from k3.agent.cache import Notice
from k3.agent.lease import Leadership, lease_key
from k3.agent.source import Shared, Source
from k3.agent.tasks import time_limit
from k3.core.decision import Decision
from k3.core.errors import Forbidden
from k3.core.objects import Manifest, Object
from k3.core.observation import Facts
from k3.core.sources import DISCOVERY
from k3.discovery import policy
from k3.discovery.consul import Consul
from k3.discovery.mirror import Mirror, MirrorSettings
from k3.discovery.options import DiscoveryOptions
from k3.discovery.own_address import address_towards, is_own, is_usable
from k3.discovery.policy import RegistryObservation, Stopped
from k3.discovery.register import Registrar, Registration, answers_at

REGISTER_SECONDS: Final = 1.0
LOOPBACK: Final = "127.0.0.1"


log = logging.getLogger(__name__)


class DiscoverySource(Source):
    """Finds machines through Consul, for one run under one name."""

    row = DISCOVERY

    def __init__(
        self,
        options: DiscoveryOptions,
        shared: Shared,
        state_dir: Path,
        *,
        interfaces: Sequence[str] = (),
        named: Callable[[], Awaitable[str]] | None = None,
        boot: str = "",
    ) -> None:
        """`interfaces`: those by whose addresses this machine might be known. Raises ConfigInvalid for unusable TLS files.

        Where another source of the process settles these, `named` gives the name to go by, and `boot` is the run's.
        """
        super().__init__(shared, Facts(node=options.name, boot=boot or facts.boot_id(), pid=os.getpid(), version=__version__))
        self._options = options
        self._consul = Consul(options.consul)
        self._state_dir = state_dir
        self._interfaces = tuple(interfaces)
        self._named = named
        self._mirror: Mirror | None = None
        self._registrar: Registrar | None = None
        self._leadership: Leadership | None = None
        self._working: list[asyncio.Task[None]] = []
        self._is_told = False
        self._is_lost = False
        """No route says which address this machine has: Consul's agent is asked."""

    def decide(self, current: Manifest | None, seen: RegistryObservation, *, now: datetime) -> Decision:
        """Decides by `k3.discovery.policy`."""
        return policy.decide(current, seen, now=now)

    def introduction(self) -> Facts:
        """Answers for k3 network too, where that shares the port, and may have found a clone of this machine meanwhile."""
        who = facts.set_apart(self._state_dir, facts.Identity(self.facts.id, self.facts.clone_of))
        return replace(self.facts, id=who.id, clone_of=who.clone_of)

    async def prepare(self) -> None:
        """Learns who and where this machine is, before `info` is asked for. Raises StartFailed."""
        address = self._options.service_address or await address_towards(self._options.consul)
        self._is_lost = not address
        who = facts.identity(self._state_dir, self._interfaces)
        self.facts = replace(
            self.facts,
            addresses=(address or LOOPBACK,),
            id=who.id,
            clone_of=who.clone_of,
            os=facts.OS,
            arch=facts.architecture(),
        )

    async def run(self, port: int) -> None:
        """Registers, competes, mirrors, for ever. Raises StartFailed."""
        if self._named is not None:
            self._options = replace(self._options, name=await self._named())
            self.facts = replace(self.facts, node=self._options.name)
            await self.prepare()
        options = self._options
        self.facts = replace(self.facts, port=port)
        registration = Registration(
            service=options.service,
            service_id=options.full_service_id,
            address=self.facts.addresses[0],
            port=port,
            facts=self.facts,
            tags=options.tags,
            register_self=options.register_self,
            check_interval_seconds=options.check_interval_seconds,
            check_timeout_seconds=options.check_timeout_seconds,
            deregister_after_seconds=options.deregister_after_seconds,
        )
        self._registrar = Registrar(
            self._consul,
            registration,
            proves=lambda: answers_at(self.facts.addresses[0], port),
            random=Random(),  # noqa: S311 - spreads retries, guards nothing
            locate=self._ask_consul_where if self._is_lost else None,
        )
        self._leadership = Leadership(
            self.shared.store,
            lease_key(options.service),
            f"{options.name}_{self.facts.boot}",
            random=Random(),  # noqa: S311 - spreads retries, guards nothing
        )
        keep = self.shared.faults.keep
        async with asyncio.TaskGroup() as tasks:
            self._working = [
                tasks.create_task(keep("discovery.registrar", self._registrar.run)),
                tasks.create_task(keep("discovery.mirror", partial(self._leadership.run, self._lead))),
            ]

    async def _ask_consul_where(self) -> str:
        """Returns the address that Consul has of its agent if it is this machine's, else the one so far. Raises Unavailable."""
        address = ""
        with suppress(Forbidden):
            address = (await self._consul.agent.read_self()).address
        if is_usable(address) and is_own(address):
            self.facts = replace(self.facts, addresses=(address,))
        elif self.facts.addresses == (LOOPBACK,) and not self._is_told:
            self._is_told = True
            log.warning("service.no_address", extra={"fields": {"using": LOOPBACK, "advice": "give --service-address"}})
        return self.facts.addresses[0]

    async def _lead(self) -> None:
        await self.listed.wait()
        if self._registrar is not None:
            # An answer that lacks this machine's registration would not be believed, but read again in a moment (ADR 24).
            with suppress(TimeoutError):
                async with time_limit(REGISTER_SECONDS):
                    await self._registrar.listed.wait()
        self._mirror = Mirror(
            self._consul,
            self._mirroring,
            self.shared.cache,
            submit=self.submit,
            registrar=self._registrar,
            may_write=lambda: self.shared.cache.is_current and self.may_write,
        )
        try:
            await self._mirror.run()
        finally:
            self._mirror = None

    @property
    def _mirroring(self) -> MirrorSettings:
        return replace(self._options.mirror, seen_by=self.facts.node, seen_run=self.facts.boot)

    async def once(self) -> list[tuple[RegistryObservation, Decision]]:
        """Returns what the mirror would say now, and what would come of it; nothing is registered and nothing written.

        Raises K3Error where the store or Consul is away.
        """
        await self.shared.cache.load()
        return await Mirror(self._consul, self._mirroring, self.shared.cache, submit=self.submit).once()

    def on_notice(self, notice: Notice) -> None:
        """Has what the store shows compared with what Consul says."""
        if self._mirror is not None:
            self._mirror.notice(notice)

    def on_outcome(self, seen: RegistryObservation, decision: Decision | None, written: Object | None) -> None:
        """Tells the mirror what became of its observation."""
        if self._mirror is not None:
            self._mirror.told(seen, decision, written)

    @property
    def may_write(self) -> bool:
        """Whether it leads, and can prove it now."""
        return self._leadership is not None and self._leadership.may_write

    async def stop(self) -> Stopped | None:
        """Ends what would register this machine again. Returns what the store is to be told."""
        if not self._working:
            return None
        for task in self._working:
            task.cancel()
        await asyncio.wait(self._working)
        is_shown = self._options.register_self
        return Stopped(self.facts.node, self._options.service, self.facts.boot) if is_shown else None

    async def leave(self) -> None:
        """Takes this machine out of Consul and lets another one lead."""
        async with asyncio.TaskGroup() as tasks:
            if self._leadership is not None:
                tasks.create_task(self._leadership.release())
            if self._registrar is not None:
                tasks.create_task(self._registrar.leave())
        log.info("discovery.stopped")

    async def aclose(self) -> None:
        """Lets go of the connections to Consul."""
        await self._consul.aclose()
