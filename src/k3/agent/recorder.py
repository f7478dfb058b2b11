"""Events about Nodes, as `kubectl get events` shows them. Best effort: the Node and the log already say it.

Nodes come first: an Event is written when no Node waits to be.
"""

import asyncio
import logging
from datetime import datetime
from typing import Any, Final

from k3.core import limits, times
from k3.core.decision import Transition
from k3.core.errors import AlreadyExists
from k3.core.objects import EVENT, Key, Manifest, Object
from k3.core.records import dataclass
from k3.core.store import Store, modify

NAMESPACE: Final = "default"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Happened:
    """A transition that has been written: of which Node, when, and who reports it (`k3-network`)."""

    node: Object
    transition: Transition
    at: datetime
    reporter: str


class Recorder:
    """Writes Events to one store. Keep `run` going."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: asyncio.Queue[Happened] = asyncio.Queue(limits.QUEUE)
        self.may_write = asyncio.Event()
        """Set while no Node waits to be written."""
        self.may_write.set()

    def submit(self, happened: Happened) -> None:
        """Has this written when there is time. Beyond the bound it is dropped."""
        try:
            self._waiting.put_nowait(happened)
        except asyncio.QueueFull:
            _lost(happened.node.key.name, "too many at once")

    async def run(self) -> None:
        """Writes for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(limits.EVENT_WRITERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            happened = await self._waiting.get()
            await self.may_write.wait()
            await self.record(happened)

    async def record(self, happened: Happened) -> None:
        """Writes it now; raises nothing."""
        manifest = event_manifest(happened)
        key = Key(EVENT, manifest["metadata"]["name"], NAMESPACE)
        try:
            try:
                await self._store.create(key, manifest)
            except AlreadyExists:
                await modify(
                    self._store, key, lambda old: {**manifest, "metadata": {**old["metadata"], **manifest["metadata"]}}
                )
        except Exception as error:  # noqa: BLE001 - whatever stands under an Event's name, the Node is written
            _lost(key.name, str(error))


def _lost(name: str, why: str) -> None:
    log.debug("event.lost", extra={"fields": {"event": name, "error": why}})


def event_manifest(happened: Happened) -> Manifest:
    """A `v1 Event` about a Node, under one of its few names, which are used in turn."""
    about, transition, stamp = happened.node, happened.transition, times.timestamp(happened.at)
    subject: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "name": about.key.name, "uid": about.uid}
    return {
        "metadata": {"name": f"{about.key.name[:240]}.{transition.number % limits.EVENTS_PER_NODE}"},
        "involvedObject": subject,
        "reason": transition.reason,
        "message": transition.message,
        "type": "Warning" if transition.warning else "Normal",
        "source": {"component": happened.reporter},
        "reportingComponent": happened.reporter,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
