"""The store's Nodes, as far as the mirror needs them: each is read once per change, and little of it is kept."""

import asyncio
import math
from typing import Final

from k3.agent.cache import Cache
from k3.core import node
from k3.core.node import NodeView
from k3.core.objects import NODE, Key, Object
from k3.core.observation import Evidence
from k3.core.ownership import Abandoned, foreign_reason
from k3.core.phrases import AGENT_LOST
from k3.core.sources import DISCOVERY
from k3.discovery.originals import Originals
from k3.discovery.picture import Known
from k3.discovery.policy import (
    ALIVE,
    GONE_REASONS,
    Mirrored,
    is_agent_lost,
    is_original,
    mirrored_service,
    refresh_seconds,
)

AGAIN_SECONDS: Final = 60.0
"""A Node of an unknown owner is looked at again after that time."""
CHUNK: Final = 100
"""How many Nodes are read, or spoken of, before other tasks get their turn."""


class StoredNodes:
    """What the store shows, brought up to date by `catch_up` after `touch`."""

    def __init__(self, cache: Cache, service: str) -> None:
        self._cache = cache
        self._service = service
        self._touched: set[str] = set()
        self._abandoned = Abandoned()
        self._evidence: dict[str, Evidence] = {}
        """What another source's Nodes show that name their machine."""
        self._refreshed: dict[str, tuple[str, float]] = {}
        """Of each Node of discovery's, its `lastSeen`, and since when it shows that by the event loop's clock."""
        self._originals = Originals()
        self._written: dict[str, int] = {}
        """The revision that this mirror wrote last, by name."""
        self._made: set[str] = set()
        """The names of Nodes that are as this mirror created them."""
        self._heartbeat_at: dict[str, float] = {}
        """When a controller's Node may get its next heartbeat, by the loop's clock."""
        self.known: dict[str, Known] = {}
        """The Nodes that stand for instances of this service, by name."""
        self.touch_all()

    def touch(self, name: str) -> None:
        """Notes that this Node has changed."""
        self._touched.add(name)

    def touch_all(self) -> None:
        """Notes that every Node may have changed."""
        self._touched |= {key.name for key in self._cache.objects} | self.known.keys() | self._evidence.keys()

    def restart(self, now: float) -> None:
        """Begins anew after the store could not be seen: that time counts against no Node."""
        self._abandoned.restart(now)

    async def catch_up(self) -> set[str]:
        """Reads the Nodes that have changed; returns their names."""
        touched, self._touched = self._touched, set()
        for number, name in enumerate(touched):
            if name not in self._made or not self.is_as_written(name):
                self._read(name)
            if number % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
        return touched

    def _read(self, name: str) -> None:
        former = self.known.pop(name, None)
        self._evidence.pop(name, None)
        item = self._cache.get(Key(NODE, name))
        manifest = item.manifest() if item else {}
        seen = node.view_manifest(name, manifest)
        another = seen.owner if seen.owner != DISCOVERY.name else None
        if another is not None and seen.id and not foreign_reason(manifest, seen, another):
            self._evidence[name] = seen.evidence
            self._abandoned.show(seen, asyncio.get_running_loop().time())
        else:
            self._abandoned.drop(name)
        now = asyncio.get_running_loop().time()
        if item is not None and is_original(manifest, seen):
            self._originals.show(name, item.revision, now, was_own=former is not None and not former.is_original)
            self.known[name] = Known(
                name=name, datacenter="", service_id="", is_gone=False, is_ready=seen.is_ready, is_original=True
            )
        elif (source := mirrored_service(seen)) is not None and source[0] == self._service:
            self.known[name] = _known(seen, source[1])
            self._note_refresh(name, seen.last_seen, now)
        else:
            self._refreshed.pop(name, None)

    def _note_refresh(self, name: str, last_seen: str, now: float) -> None:
        """Notes when a Node was refreshed: when the mirror saw its time change, since another host's times count for nothing.

        A Node that is seen for the first time may have been refreshed at any time before: it is refreshed early.
        """
        said, _ = self._refreshed.get(name, (None, 0.0))
        if said is None:
            self._refreshed[name] = last_seen, now - refresh_seconds(name) / 2
        elif said != last_seen:
            self._refreshed[name] = last_seen, now

    def wrote(self, item: Object) -> None:
        """Notes that the mirror wrote this Node."""
        self._written[item.key.name] = item.revision
        self._made.discard(item.key.name)

    def made(self, item: Object, seen: Mirrored) -> None:
        """Notes that the mirror created this Node from that observation, so that it need not be read."""
        name = item.key.name
        self.wrote(item)
        self._made.add(name)
        self._refreshed[name] = "", asyncio.get_running_loop().time()
        self.known[name] = Known(
            name=name,
            datacenter=seen.datacenter,
            service_id=seen.service_id,
            is_gone=False,
            consul_node=seen.consul_node,
            is_silent=seen.message == AGENT_LOST,
            is_ready=seen.health in ALIVE,
            is_registered_by_k3=bool(seen.facts.boot),
        )

    def forget(self, name: str) -> None:
        """Forgets a Node that the mirror does not write any more."""
        self._written.pop(name, None)
        self._made.discard(name)
        self._heartbeat_at.pop(name, None)

    def heartbeat_after(self, name: str, at: float) -> None:
        """Notes that a controller's Node got a heartbeat, and when it gets the next one."""
        self._heartbeat_at[name] = at

    def is_heartbeat_due(self, name: str, now: float) -> bool:
        """Whether a controller's Node may get a heartbeat."""
        return now >= self._heartbeat_at.get(name, now)

    def is_as_written(self, name: str) -> bool:
        """Whether this Node is as the mirror wrote it, so that there is nothing to compare."""
        item = self._cache.get(Key(NODE, name))
        return item is not None and item.revision == self._written.get(name)

    def to_adopt(self, name: str, now: float) -> Evidence | None:
        """Returns what a Node of another source shows that may be adopted by now (ADR 15); None: it may not be."""
        return self._evidence.get(name) if now >= self._abandoned.at(name) else None

    def is_refresh_due(self, name: str, now: float) -> bool:
        """Whether a Node of discovery's that stays as it is is due to be written again."""
        return name in self._refreshed and now - self._refreshed[name][1] >= refresh_seconds(name)

    def may_inherit(self, name: str, now: float) -> bool:
        """Whether a Node of the original may be taken over."""
        return now >= self._originals.at(name)

    def next_look_seconds(self, name: str, now: float) -> float:
        """Returns after how many seconds there may be something to say of a Node that is as it should be."""
        if (found := self.known.get(name)) is not None and found.is_original:
            return self._originals.at(name) - now
        if name in self._refreshed:
            return refresh_seconds(name) - (now - self._refreshed[name][1])
        if (abandoned_at := self._abandoned.at(name)) < math.inf:
            return abandoned_at - now
        return self._heartbeat_at.get(name, now + AGAIN_SECONDS) - now


def _known(seen: NodeView, datacenter: str) -> Known:
    is_gone = seen.ready is not None and seen.ready.reason in GONE_REASONS
    service_id, consul_node = (seen.annotations.get(f"k3.discovery/{key}", "") for key in ("service-id", "consul-node"))
    return Known(
        name=seen.name,
        datacenter=datacenter,
        service_id=service_id,
        is_gone=is_gone,
        consul_node=consul_node,
        is_silent=is_agent_lost(seen),
        is_ready=seen.is_ready,
        is_registered_by_k3=bool(seen.boot),
    )
