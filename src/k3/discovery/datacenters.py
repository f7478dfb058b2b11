"""Which datacenters are to be mirrored, which one is the agent's own, and what is known of each.

Consul's list of them has no index to wait with: it is asked for now and then.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable
from dataclasses import field
from typing import Final

from k3.core import limits
from k3.core.errors import Forbidden, Invalid, K3Error
from k3.core.records import dataclass
from k3.discovery import snapshot
from k3.discovery.consul import Consul
from k3.discovery.guards import Guard, Trust
from k3.discovery.names import is_datacenter
from k3.discovery.snapshot import Snapshot

FIRST_DOUBT_SECONDS: Final = 3.0
"""For so long after the start, nothing is logged of an answer that is not believed yet."""

UNWANTED_SECONDS: Final = 120.0
"""For so long a datacenter is watched on that shows no machine and is not listed: a list that flickers costs nothing."""

FORGET_SECONDS: Final = 600.0
"""What was refused and comes again within that time is not told again."""

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Datacenter:
    """What is known of one datacenter, and how far that is believed."""

    name: str
    snapshot: Snapshot
    guard: Guard = field(default_factory=Guard)
    unwanted_since: float | None = None
    """Since when it has not been among those that are to be watched; None: it is."""
    is_told: bool = False
    """Whether it was logged that it is not fully believed."""
    has_been_believed: bool = False
    told_names: set[str] = field(default_factory=set)
    told_refused: dict[str, float] = field(default_factory=dict)
    """What was refused and told, and when it was seen last."""

    def is_newly_doubted(self, now: float, patience_seconds: float) -> bool:
        """Notes that it is told now that it is not fully believed; at the start only if that lasts, as Consul may not be ready.

        Returns whether it is to be told.
        """
        patience = 0.0 if self.has_been_believed else patience_seconds
        if self.guard.belief.trust is Trust.FULL or self.is_told or self.guard.bad_seconds(now) < patience:
            return False
        self.is_told = True
        return True

    def is_believed_again(self) -> bool:
        """Notes whether it is fully believed; returns whether that is to be told."""
        if self.guard.belief.trust is not Trust.FULL:
            return False
        self.has_been_believed = True
        was_told, self.is_told = self.is_told, False
        return was_told

    def tell_of_refused(self, found: Snapshot, now: float) -> None:
        """Logs what of an answer was refused, where it was not told lately."""
        refused = {*found.refused, *found.named}
        news = refused - self.told_refused.keys()
        seen = {each: now if each in refused else at for each, at in self.told_refused.items()}
        self.told_refused = {each: at for each, at in seen.items() if now - at < FORGET_SECONDS}
        if not news:
            return
        self.told_refused |= dict.fromkeys(refused, now)
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
        self._is_told = False
        """It was told that there are more than are watched."""
        self.own = ""
        """The agent's own datacenter; empty: not known yet."""
        self.places: dict[str, Datacenter] = {}
        """The datacenters that are watched, by name."""

    def add(self, name: str) -> Datacenter:
        """Adds a datacenter to those that are watched, and returns it."""
        place = self.places[name] = Datacenter(name=name, snapshot=Snapshot(datacenter=name))
        return place

    def drop_unwanted(self, wanted: Collection[str], now: float) -> list[str]:
        """Drops the datacenters that need not be watched any more, and returns their names: so their places are not lost.

        One that shows machines stays. One whose machines are in the store is wanted, listed or not.
        """
        dropped = []
        for name, place in list(self.places.items()):
            if name in wanted or place.snapshot.instances:
                place.unwanted_since = None
                continue
            if place.unwanted_since is None:
                place.unwanted_since = now
            if now - place.unwanted_since >= UNWANTED_SECONDS:
                del self.places[name]
                dropped.append(name)
        return dropped

    def tell(self, patience_seconds: float) -> None:
        """Logs which are not believed, or are again, all of one cause in one line. `patience_seconds`: see there."""
        now, places, where = asyncio.get_running_loop().time(), self.places.values(), self._consul.where
        if again := [place.name for place in places if place.is_believed_again()]:
            log.info("datacenter.believed", extra={"fields": {"consul": where, "datacenter": _few(again)}})
        doubted: dict[str, list[str]] = {}
        for place in places:
            if place.is_newly_doubted(now, patience_seconds):
                doubted.setdefault(place.guard.belief.why, []).append(place.name)
        for why, names in doubted.items():
            log.warning("datacenter.doubted", extra={"fields": {"consul": where, "datacenter": _few(names), "why": why}})

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
        """Asks for the agent's own datacenter; where the agent does not tell that, takes the nearest one."""
        try:
            return (await self._consul.agent.read_self()).datacenter
        except (Forbidden, Invalid):
            return next(iter(await self._consul.catalog.datacenters()), "")

    def wanted(self, stored: Iterable[str]) -> tuple[str, ...]:
        """Returns those chosen, else the agent's own, those that Nodes of the store came from (`stored`), and the others.

        So a long list does not keep those out that are known already.
        """
        if self._chosen:
            return self._chosen[: limits.DATACENTERS]
        own = [self.own] if self.own in self._listed else []
        wanted = list(dict.fromkeys([*own, *filter(is_datacenter, stored), *self._listed]))
        if len(wanted) > limits.DATACENTERS and not self._is_told:
            self._is_told = True
            advice = "choose those to watch by --datacenter"
            fields = {"datacenters": len(wanted), "watched": limits.DATACENTERS, "advice": advice}
            log.warning("consul.many_datacenters", extra={"fields": fields})
        return tuple(wanted[: limits.DATACENTERS])


def _few(names: list[str]) -> str:
    """Returns names for one line of the log."""
    more = len(names) - limits.CONSUL_NAMED
    return ", ".join(names[: limits.CONSUL_NAMED]) + (f" and {more} more" if more > 0 else "")
