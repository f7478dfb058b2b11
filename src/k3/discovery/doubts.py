"""Asks Consul, or the machine itself, to settle a doubt (see `patience`), while the mirror goes on."""

import asyncio
import logging
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from typing import Final

from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.errors import K3Error
from k3.discovery import asking
from k3.discovery.catalog import Catalog
from k3.discovery.patience import Doubt, Patience, Why
from k3.discovery.picture import Known, Picture, missing
from k3.discovery.snapshot import Instance

ASK_AGAIN_SECONDS: Final = 5.0
SILENT_MACHINES: Final = 64
"""When more than these fall silent together, that is no restart of an agent, and no machine is asked (ADR 24)."""

log = logging.getLogger(__name__)


class Doubts:
    """The doubts there are now. `changed` is called when an answer has settled one."""

    def __init__(self, catalog: Catalog, *, changed: Callable[[], None]) -> None:
        self._catalog = catalog
        self._changed = changed
        self._patience = Patience()
        self._silent: dict[Doubt, Instance] = {}
        self._missing: set[Doubt] = set()
        """Those of which Consul is to be asked."""
        self._asked: set[Doubt] = set()
        """Those of which Consul has been asked."""
        self._is_missing, self._is_silent = asyncio.Event(), asyncio.Event()
        self._gate = asyncio.Semaphore(limits.CONSUL_QUESTIONS)

    def see(self, fresh: Picture, former: Picture, known: Iterable[Known], *, answering: Container[str], now: float) -> None:
        """Takes in the doubts of now. `known`: the Nodes. `answering`: the datacenters whose answers are fully believed."""
        doubts, new = fresh.doubts, fresh.doubts - self._patience.doubts
        self._patience.see(doubts, now)
        silent = {Doubt(Why.SILENT, *each.instance.identity): each.instance for each in fresh.named.values()}
        self._silent = {doubt: each for doubt, each in silent.items() if doubt in doubts}
        if self._silent.keys() & new:
            self._is_silent.set()
        self._asked &= doubts
        open_ = doubts - self._asked
        gone = {missing(each): each for each in known if not each.is_registered_by_k3 and missing(each) in open_}
        for doubt, node in gone.items():
            # A program had written that machine into the catalog: no Consul agent that restarts can explain its absence.
            if (shown_last := former.named.get(node.identity)) is not None and not shown_last.instance.has_agent:
                self._asked.add(doubt)
                self._patience.settle(doubt, is_over=True)
            elif doubt.datacenter in answering:
                self._asked.add(doubt)
                self._missing.add(doubt)
                self._is_missing.set()

    def over(self, now: float, grace_seconds: float) -> frozenset[Doubt]:
        """Returns the doubts that hold nothing back any more."""
        return self._patience.over(now, grace_seconds)

    def next_end(self, now: float, grace_seconds: float) -> float:
        """Returns when the next doubt is over by itself, by the loop's clock; infinite for none."""
        return self._patience.next_end(now, grace_seconds)

    async def run(self) -> None:
        """Asks for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_of_missing())
            tasks.create_task(self._ask_silent())

    async def ask_once(self) -> None:
        """Asks about every doubt that can be settled, once."""
        async with asyncio.TaskGroup() as tasks:
            for doubt in self._missing:
                tasks.create_task(self._ask_consul(doubt))
            for doubt, instance in self._silent.items():
                tasks.create_task(self._ask_machine(doubt, instance))

    async def _ask_of_missing(self) -> None:
        """Asks once and without delay: a moment later the machine's agent may be back, and its registrations not yet."""
        while True:
            await self._is_missing.wait()
            self._is_missing.clear()
            asked, self._missing = self._missing, set()
            async with asyncio.TaskGroup() as tasks:
                for doubt in asked:
                    tasks.create_task(self._ask_consul(doubt))

    async def _ask_silent(self) -> None:
        """Asks the silent machines again and again, for as long as their agents are silent."""
        while True:
            await self._is_silent.wait()
            self._is_silent.clear()
            is_flood = len(self._silent) > SILENT_MACHINES
            async with asyncio.TaskGroup() as tasks:
                for doubt, instance in list(self._silent.items()):
                    if is_flood:
                        self._settle(doubt, is_over=True)
                    else:
                        tasks.create_task(self._ask_machine(doubt, instance))
            with suppress(TimeoutError):
                async with time_limit(ASK_AGAIN_SECONDS):
                    await self._is_silent.wait()
            if self._silent:
                self._is_silent.set()

    async def _ask_consul(self, doubt: Doubt) -> None:
        async with self._gate:
            try:
                is_there = await self._catalog.has_agent(doubt.consul_node, datacenter=doubt.datacenter)
            except K3Error as error:
                log.debug("consul.no_answer", extra={"fields": {"consul_node": doubt.consul_node, "why": str(error)}})
                return
        self._settle(doubt, is_over=is_there)

    async def _ask_machine(self, doubt: Doubt, instance: Instance) -> None:
        async with self._gate:
            is_alive = await asking.is_alive(instance.facts)
        self._settle(doubt, is_over=not is_alive)

    def _settle(self, doubt: Doubt, *, is_over: bool) -> None:
        if self._patience.settle(doubt, is_over=is_over):
            self._changed()
