"""Consul's instances become observations: one watch per datacenter, and a pass that says what is not so in the store.

A pass comes after every change and at every watch interval, and asks Consul nothing. It speaks of those Nodes only of which
there is something new: from Consul, in the store, or because their time has come.

    Finder ─► DatacenterWatch ─► Judge ─► Drawing ─► Agenda ─► Mirror ─► reconciler
              asks                believes  `picture`  when      says
                                               ▲
    cache ─► StoredNodes ──────────────────────┘

Decides nothing itself: `guards`, `snapshot` and `picture` do, and `decide` what becomes of a Node.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Final

from k3.agent.cache import Cache, Listed, Notice
from k3.core.decision import Create, Decision, Keep, Update
from k3.core.objects import NODE, Key, Object
from k3.core.records import dataclass
from k3.core.sources import labelled
from k3.core.store import Change
from k3.discovery import guards
from k3.discovery.agenda import Agenda
from k3.discovery.consul import Consul
from k3.discovery.datacenters import FIRST_DOUBT_SECONDS, Directory
from k3.discovery.doubts import Doubts
from k3.discovery.drawing import Drawing
from k3.discovery.finding import Finder
from k3.discovery.judge import Judge
from k3.discovery.nodes import AGAIN_SECONDS, CHUNK, StoredNodes
from k3.discovery.policy import Deregistered, Mirrored, RegistryObservation, decide, refresh_seconds
from k3.discovery.register import Registrar

PASS_SECONDS: Final = 0.02
"""The pause between two passes: what comes together is said together."""
WRITING_SECONDS: Final = 5.0
"""After this time, an observation that was handed on and got no answer is said again."""
LEAST_HEARTBEAT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSettings:
    """What to mirror. No datacenters: all that Consul knows."""

    service: str
    datacenters: tuple[str, ...] = ()
    watch_interval_seconds: float = 15.0
    controller_heartbeat: bool = True
    seen_by: str = ""
    """This machine's Node, and the boot id of this run: readers ask whether it still lives (ADR 33)."""
    seen_run: str = ""

    @property
    def heartbeat_seconds(self) -> float:
        """How often the heartbeat of a controller's Node is renewed, while its machine is alive."""
        return max(LEAST_HEARTBEAT_SECONDS, 4 * self.watch_interval_seconds)


class Mirror:
    """One run of mirroring, for as long as this process leads."""

    def __init__(
        self,
        consul: Consul,
        settings: MirrorSettings,
        cache: Cache,
        *,
        submit: Callable[[RegistryObservation], bool],
        registrar: Registrar | None = None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`submit` hands an observation on, at once; it returns False where there is no room. Its result comes by `told`.

        `cache` is kept current by the caller, who hands its notices to `notice`.
        """
        self._settings = settings
        self._cache = cache
        self._submit = submit
        self._may_write = may_write
        self._agenda = Agenda()
        self._nodes = StoredNodes(cache, settings.service)
        self._directory = Directory(consul, settings.datacenters)
        self._doubts = Doubts(consul.catalog, changed=self._agenda.wake)
        self._drawing = Drawing(
            settings.service,
            self._directory,
            self._nodes,
            self._doubts,
            self._agenda,
            grace_seconds=guards.grace_seconds(settings.watch_interval_seconds),
        )
        judge = Judge(settings.service, self._directory, self._nodes, self._drawing, self._agenda, registrar)
        random = Random()  # noqa: S311 - spreads retries, guards nothing
        self._finder = Finder(consul.catalog, settings.service, self._directory, self._nodes, judge, random=random)

    def notice(self, notice: Notice) -> None:
        """Takes in what is new in the store."""
        if isinstance(notice, Change):
            self._nodes.touch(notice.object.key.name)
            if notice.type != "DELETED":
                return  # seen at the next pass; most are the mirror's own writes
        elif isinstance(notice, Listed):
            self._nodes.restart(asyncio.get_running_loop().time())
            self._nodes.touch_all()
        self._agenda.wake()

    async def run(self) -> None:
        """Mirrors for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._finder.run())
            tasks.create_task(self._pass_on())
            tasks.create_task(self._doubts.run())

    async def once(self) -> list[tuple[RegistryObservation, Decision]]:
        """Asks every datacenter once; returns what would be said and what would come of it. Raises K3Error if Consul is away.

        Nothing is handed on, and no absence that wants confirmation is believed.
        """
        await self._finder.once()
        self._directory.tell(0.0)
        self._drawing.draw()
        await self._doubts.ask_once()
        self._drawing.draw()
        said = [self._addressed(seen) for seen in self._drawing.picture.said.values()]
        return [(seen, self._decide(seen, datetime.now(UTC))) for seen in said]

    async def _pass_on(self) -> None:
        """Says what is not so in the store: after every change, at every interval, and when it is time."""
        while True:
            await self._agenda.rest(self._settings.watch_interval_seconds)
            self._drawing.compare(await self._nodes.catch_up())
            self._drawing.draw()
            self._directory.tell(FIRST_DOUBT_SECONDS)
            self._agenda.take_due()
            await self._say_pending()
            await asyncio.sleep(PASS_SECONDS)

    async def _say_pending(self) -> None:
        """Hands on what is pending, as long as this process may write and the reconciler takes it; the rest waits."""
        for number, name in enumerate(self._agenda.pending):
            if number % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
            if not self._may_write():
                return
            if (seen := self._drawing.picture.said.get(name)) is not None:
                self._agenda.plan(name, WRITING_SECONDS)
                if not self._submit(self._addressed(seen)):
                    return
            self._agenda.done(name)

    def told(self, seen: RegistryObservation, decision: Decision | None, written: Object | None) -> None:
        """Takes in what became of an observation. No decision: the store took no write, and it is said again."""
        if written is not None and isinstance(decision, Create) and isinstance(seen, Mirrored):
            self._nodes.made(written, seen)
        elif written is not None:
            self._nodes.wrote(written)
        if decision is not None and seen.name in self._drawing.picture.said:
            self._agenda.plan(seen.name, self._next_seconds(seen.name, decision))

    def _next_seconds(self, name: str, decision: Decision) -> float:
        """Returns after how many seconds to speak again of a Node that stays as this decision left it."""
        now = asyncio.get_running_loop().time()
        if isinstance(decision, Keep):
            wait = self._nodes.next_look_seconds(name, now)
            return wait if wait > 0 else AGAIN_SECONDS
        if not isinstance(decision, Update) or labelled(decision.manifest) is not None:
            return float(refresh_seconds(name))
        self._nodes.heartbeat_after(name, now + self._settings.heartbeat_seconds)
        return self._settings.heartbeat_seconds

    def _addressed(self, seen: RegistryObservation) -> RegistryObservation:
        """Returns the observation with what it may do to a Node that is not discovery's."""
        now = asyncio.get_running_loop().time()
        inherits = self._nodes.may_inherit(seen.name, now)
        if isinstance(seen, Deregistered):
            return replace(seen, inherits=inherits)
        if not isinstance(seen, Mirrored):
            return seen
        return replace(
            seen,
            heartbeat_due=self._settings.controller_heartbeat and self._nodes.is_heartbeat_due(seen.name, now),
            refresh_due=self._nodes.is_refresh_due(seen.name, now),
            inherits=inherits,
            seen_by=self._settings.seen_by,
            seen_run=self._settings.seen_run,
            adopts=self._nodes.to_adopt(seen.name, now),
        )

    def _decide(self, seen: RegistryObservation, at: datetime) -> Decision:
        item = self._cache.get(Key(NODE, seen.name))
        return decide(item.manifest() if item else None, seen, now=at)
