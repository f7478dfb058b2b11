"""Which datacenters are to be mirrored, and which one is the agent's own.

Consul's list of them has no index to wait with: it is asked for now and then.
"""

import logging
from collections.abc import Iterable
from typing import Final

from k3.core.errors import Forbidden, K3Error
from k3.discovery.consul import Consul

DATACENTERS: Final = 32
DATACENTER_CHARACTERS: Final = 63

log = logging.getLogger(__name__)


class Directory:
    """What Consul has said of datacenters so far. `chosen`: those a person wants; none: all."""

    def __init__(self, consul: Consul, chosen: tuple[str, ...]) -> None:
        self._consul = consul
        self._chosen = chosen
        self._listed: list[str] = []
        self.own = ""
        """The agent's own; empty: not known yet."""

    async def find(self) -> None:
        """Ask. Raises K3Error."""
        self.own = self.own or await self._ask_own()
        self._listed = [name for name in await self._consul.datacenters() if _is_name(name)]

    async def has_found(self) -> bool:
        """Ask; returns whether there was an answer."""
        try:
            await self.find()
        except K3Error as error:
            log.debug("consul.no_datacenters", extra={"fields": {"why": str(error)}})
            return False
        return True

    async def _ask_own(self) -> str:
        """A token that may not ask the agent leaves the nearest one."""
        try:
            return (await self._consul.agent()).datacenter
        except Forbidden:
            return next(iter(await self._consul.datacenters()), "")

    def wanted(self, stored: Iterable[str]) -> tuple[str, ...]:
        """Those chosen, else all that Consul lists, and those that Nodes of the store came from (`stored`)."""
        if self._chosen:
            return self._chosen[:DATACENTERS]
        return tuple(dict.fromkeys([*self._listed, *filter(_is_name, stored)]))[:DATACENTERS]


def _is_name(datacenter: str) -> bool:
    return 0 < len(datacenter) <= DATACENTER_CHARACTERS and datacenter.isprintable()
