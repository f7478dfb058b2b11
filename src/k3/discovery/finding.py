"""Finds the datacenters that are to be mirrored, and starts a watch for each."""

import asyncio
import logging
from random import Random
from typing import Final

from k3.agent.backoff import Backoff
from k3.core import limits
from k3.core.errors import Forbidden, Unavailable
from k3.discovery import guards
from k3.discovery.catalog import Catalog
from k3.discovery.datacenters import Directory
from k3.discovery.guards import Trust
from k3.discovery.nodes import StoredNodes
from k3.discovery.pace import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from k3.discovery.watch import AnswerSink, DatacenterWatch

DATACENTERS_SECONDS: Final = 30.0

log = logging.getLogger(__name__)


class Finder:
    """Starts a watch for each datacenter that is found; `judge` takes the answers in."""

    def __init__(
        self, catalog: Catalog, service: str, directory: Directory, nodes: StoredNodes, judge: AnswerSink, *, random: Random
    ) -> None:
        """`random` spreads retries."""
        self._catalog = catalog
        self._service = service
        self._directory = directory
        self._nodes = nodes
        self._judge = judge
        self._random = random

    async def run(self) -> None:
        """Looks for datacenters, and has all of them watched, for ever."""
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=self._random.random)
        await self._nodes.catch_up()
        clock = asyncio.get_running_loop().time
        watches: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                is_found = await self._directory.has_found()
                wanted = self._wanted()
                for name in self._directory.drop_unwanted(wanted, clock()) if is_found else ():
                    watches.pop(name).cancel()
                    log.info("datacenter.left", extra={"fields": {"datacenter": name}})
                for name in wanted:
                    if name not in self._directory.places and len(self._directory.places) < limits.DATACENTERS:
                        watches[name] = tasks.create_task(self.watch(name).run())
                if is_found:
                    backoff.reset()
                await asyncio.sleep(DATACENTERS_SECONDS if is_found else backoff.next_seconds())

    async def once(self) -> None:
        """Asks every datacenter once. Raises K3Error where Consul is away, or shows nothing to this token."""
        await self._directory.find()
        await self._nodes.catch_up()
        async with asyncio.TaskGroup() as tasks:
            for name in self._wanted():
                tasks.create_task(self.watch(name).once())
        await self._look_behind_nothing()

    def watch(self, name: str) -> DatacenterWatch:
        """Returns a watch of this datacenter, which is known from now on."""
        return DatacenterWatch(self._catalog, self._service, self._directory.add(name), self._judge, random=self._random)

    def _wanted(self) -> tuple[str, ...]:
        return self._directory.wanted(each.datacenter for each in self._nodes.known.values())

    async def _look_behind_nothing(self) -> None:
        """Where no machine is shown, finds out whether there is none. Raises K3Error if they cannot be seen.

        Consul shows a token without rights empty lists, not an error.
        """
        places = list(self._directory.places.values())
        if any(place.snapshot.instances for place in places):
            return
        beliefs = [place.guard.belief for place in places]
        is_blind = not await self._catalog.sees_nodes()
        if beliefs and all(belief.trust is Trust.NONE for belief in beliefs):
            raise Unavailable(beliefs[0].why)
        if is_blind or any(guards.INCOMPLETE in belief.why for belief in beliefs):
            raise Forbidden(self._catalog.nothing_to_see)
