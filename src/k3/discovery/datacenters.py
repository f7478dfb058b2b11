"""Which datacenters are to be mirrored, which one is the agent's own, and what is known of each.

Consul's list of them has no index to wait with: it is asked for now and then.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from k3.core import limits
from k3.core.errors import Forbidden, K3Error
from k3.discovery import snapshot
from k3.discovery.consul import Consul
from k3.discovery.guards import Guard, Trust
from k3.discovery.names import is_datacenter
from k3.discovery.snapshot import Snapshot

FIRST_DOUBT_SECONDS: Final = 3.0
"""For so long after the start, nothing is logged of an answer that is not believed yet."""

QUIET_SECONDS: Final = 60.0
FORGET_SECONDS: Final = 600.0
"""What was refused and comes again within that time is not told again."""

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Datacenter:
    """What is known of one datacenter, and how far that is believed."""

    name: str
    snapshot: Snapshot
    guard: Guard = field(default_factory=Guard)
    is_told: bool = False
    """Whether it was logged that it is not fully believed."""
    has_been_believed: bool = False
    told_names: set[str] = field(default_factory=set)
    told_refused: dict[str, float] = field(default_factory=dict)
    """What was refused and told, and when it was seen last."""
    quiet_until: float = 0.0
    """Before that time nothing more that is refused is told."""

    def tell(self, where: str, now: float, patience_seconds: float) -> None:
        """Logs that it is not believed, or is again; at the start only if that lasts, as Consul may not be ready yet."""
        fields = {"consul": where, "datacenter": self.name}
        belief, patience = self.guard.belief, 0.0 if self.has_been_believed else patience_seconds
        if belief.trust is Trust.FULL:
            self.has_been_believed = True
            if self.is_told:
                log.info("datacenter.believed", extra={"fields": fields})
            self.is_told = False
        elif not self.is_told and self.guard.bad_seconds(now) >= patience:
            log.warning("datacenter.doubted", extra={"fields": {**fields, "why": belief.why}})
            self.is_told = True

    def tell_of_refused(self, found: Snapshot, now: float) -> None:
        """Logs what of an answer was refused, at most once a minute, and only where it was not told lately."""
        refused = {*found.refused, *found.named}
        news = refused - self.told_refused.keys()
        seen = {each: now if each in refused else at for each, at in self.told_refused.items()}
        self.told_refused = {each: at for each, at in seen.items() if now - at < FORGET_SECONDS}
        if not news or now < self.quiet_until:
            return
        self.told_refused |= dict.fromkeys(refused, now)
        self.quiet_until = now + QUIET_SECONDS
        fields = {"datacenter": self.name, **found.refused, "which": "; ".join(found.named)}
        log.warning("consul.refused", extra={"fields": fields})

    def tell_of_names(self, found: Snapshot) -> None:
        """Logs, once while it is shown, each Consul node whose Node has another name, since its own cannot be a Node's."""
        hosts = {each.consul_node: each.wanted_name for each in found.instances}
        renamed = {host: name for host, name in hosts.items() if snapshot.as_name(host) == name != host}
        for host in renamed.keys() - self.told_names:
            fields = {"datacenter": self.name, "consul_node": host, "node": renamed[host]}
            log.warning("consul.node_renamed", extra={"fields": fields})
        self.told_names = set(renamed)


class Directory:
    """The datacenters that Consul has listed so far. `chosen`: those a person wants; none: all."""

    def __init__(self, consul: Consul, chosen: tuple[str, ...]) -> None:
        self._consul = consul
        self._chosen = chosen
        self._listed: list[str] = []
        self.own = ""
        """The agent's own datacenter; empty: not known yet."""
        self.places: dict[str, Datacenter] = {}
        """The datacenters that are watched, by name."""

    def add(self, name: str) -> Datacenter:
        """Adds a datacenter to those that are watched, and returns it."""
        place = self.places[name] = Datacenter(name=name, snapshot=Snapshot(datacenter=name))
        return place

    def tell(self, patience_seconds: float) -> None:
        """Logs of each that it is not believed, or is again. `patience_seconds`: see `Datacenter.tell`."""
        now = asyncio.get_running_loop().time()
        for place in self.places.values():
            place.tell(self._consul.where, now, patience_seconds)

    async def find(self) -> None:
        """Asks Consul for its datacenters. Raises K3Error."""
        self.own = self.own or await self._ask_own()
        self._listed = list(await self._consul.catalog.datacenters())

    async def has_found(self) -> bool:
        """Asks Consul for its datacenters; returns whether there was an answer."""
        try:
            await self.find()
        except K3Error as error:
            log.debug("consul.no_datacenters", extra={"fields": {"why": str(error)}})
            return False
        return True

    async def _ask_own(self) -> str:
        """Asks for the agent's own datacenter; with a token that may not ask that, takes the nearest one."""
        try:
            return (await self._consul.agent.read_self()).datacenter
        except Forbidden:
            return next(iter(await self._consul.catalog.datacenters()), "")

    def wanted(self, stored: Iterable[str]) -> tuple[str, ...]:
        """Returns those chosen, else all that Consul lists and those that Nodes of the store came from (`stored`)."""
        if self._chosen:
            return self._chosen[: limits.DATACENTERS]
        return tuple(dict.fromkeys([*self._listed, *filter(is_datacenter, stored)]))[: limits.DATACENTERS]
