"""Consul's instances become observations: one watch per datacenter, and a pass that says what is not so in the store.

A pass comes after every change and at every watch interval, and asks Consul nothing. It speaks of those Nodes only of which
there is something new: from Consul, in the store, or because their time has come. Decides nothing itself: `guards`,
`snapshot` and `picture` do, and `decide` what becomes of a Node.
"""

import asyncio
import heapq
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Final

from k3.agent.backoff import Backoff
from k3.agent.cache import Cache, Listed, Notice
from k3.agent.tasks import time_limit_at
from k3.core import node
from k3.core.decision import Create, Decision, Keep, Update
from k3.core.errors import Forbidden, Unavailable
from k3.core.objects import NODE, Key, Object
from k3.core.store import Change
from k3.discovery import guards, snapshot
from k3.discovery.consul import Consul, Reading
from k3.discovery.datacenters import DATACENTERS, Directory
from k3.discovery.doubts import Doubts
from k3.discovery.guards import Belief, Heard, Own, Trust
from k3.discovery.nodes import CHUNK, StoredNodes
from k3.discovery.patience import Doubt
from k3.discovery.picture import Picture, Sight, doubts_of, observe, say
from k3.discovery.policy import Deregistered, Mirrored, RegistryObservation, decide, refresh_seconds
from k3.discovery.register import Registrar
from k3.discovery.snapshot import Instance, Snapshot
from k3.discovery.watch import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Datacenter, Watch

FIRST_DOUBT_SECONDS: Final = 3.0
"""At the start nothing is told of an answer that is not believed yet, for so long."""
DATACENTERS_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 60.0
"""A Node that belongs to nobody we know is looked at again after that."""
PASS_SECONDS: Final = 0.02
"""Between two passes: what comes together is said together."""
WRITING_SECONDS: Final = 5.0
"""What was handed on and got no answer is said again after that."""
LEAST_HEARTBEAT_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """What to mirror. No datacenters: all that Consul knows."""

    service: str
    datacenters: tuple[str, ...] = ()
    watch_interval_seconds: float = 15.0
    controller_heartbeat: bool = True
    seen_by: str = ""
    """This machine's Node, and the boot id of this run: readers ask whether it still lives."""
    seen_run: str = ""

    @property
    def heartbeat_seconds(self) -> float:
        """How often a controller's Node hears that its machine is alive."""
        return max(LEAST_HEARTBEAT_SECONDS, 4 * self.watch_interval_seconds)


class Mirror:
    """One run of mirroring, for as long as this process leads."""

    def __init__(
        self,
        consul: Consul,
        settings: MirrorSettings,
        cache: Cache,
        *,
        submit: Callable[[RegistryObservation, datetime], object],
        registrar: Registrar | None = None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`submit` hands on to the reconciler, at once, and says False where that has no room; its word comes by `told`.

        `cache` is kept current by the caller, who hands its notices to `notice`.
        """
        self._consul = consul
        self._settings = settings
        self._cache = cache
        self._submit = submit
        self._registrar = registrar
        self._may_write = may_write
        self._random = Random()  # noqa: S311 - spreads retries, guards nothing
        self._datacenters: dict[str, Datacenter] = {}
        self._directory = Directory(consul, settings.datacenters)
        self._nodes = StoredNodes(cache, settings.service)
        self._changed = asyncio.Event()
        self._doubts = Doubts(consul, changed=self._changed.set)
        self._picture = Picture()
        self._drawn_from: tuple[object, ...] = ()
        """What the picture depends on, as it was when it was drawn."""
        self._generation = 0
        """Counts what makes the picture out of date."""
        self._pending: dict[str, None] = {}
        """Names of which there is something to say."""
        self._due: dict[str, float] = {}
        self._agenda: list[tuple[float, str]] = []
        self._beaten: dict[str, float] = {}
        """When a controller's Node may hear its next heartbeat."""

    def notice(self, notice: Notice) -> None:
        """The store shows something new."""
        if isinstance(notice, Change):
            self._nodes.touch(notice.object.key.name)
            if notice.type != "DELETED":
                return  # seen at the next pass; most are our own writes
        elif isinstance(notice, Listed):
            self._nodes.restart(asyncio.get_running_loop().time())
            self._nodes.touch_all()
        self._changed.set()

    async def run(self) -> None:
        """Mirror for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_datacenters(tasks))
            tasks.create_task(self._pass_on())
            tasks.create_task(self._doubts.run())

    async def once(self) -> list[tuple[RegistryObservation, Decision]]:
        """Ask every datacenter once; returns what would be said and what would come of it. Raises K3Error if Consul is away.

        Nothing is handed on, and no absence that wants confirmation is believed.
        """
        await self._directory.find()
        await self._nodes.catch_up()
        async with asyncio.TaskGroup() as tasks:
            for name in self._wanted():
                tasks.create_task(self._add(name).once())
        await self._look_behind_nothing()
        self._tell(0.0)
        self._draw()
        await self._doubts.ask_once()
        self._draw()
        said = [self._addressed(seen) for seen in self._picture.said.values()]
        return [(seen, self._decide(seen, datetime.now(UTC))) for seen in said]

    async def _look_behind_nothing(self) -> None:
        """Where nothing is shown: tell nobody there from nothing to be seen. Raises K3Error for the latter."""
        places = list(self._datacenters.values())
        if any(place.snapshot.instances for place in places):
            return
        beliefs = [place.guard.belief for place in places]
        is_blind = not await self._consul.sees_nodes()
        if beliefs and all(belief.trust is Trust.NONE for belief in beliefs):
            raise Unavailable(beliefs[0].why)
        if is_blind or any(guards.INCOMPLETE in belief.why for belief in beliefs):
            raise Forbidden(self._consul.nothing_to_see)

    # ── datacenters ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_datacenters(self, tasks: asyncio.TaskGroup) -> None:
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=self._random.random)
        await self._nodes.catch_up()
        while True:
            is_found = await self._directory.has_found()
            for name in self._wanted():
                if name not in self._datacenters and len(self._datacenters) < DATACENTERS:
                    tasks.create_task(self._add(name).run())
            if is_found:
                backoff.reset()
            await asyncio.sleep(DATACENTERS_SECONDS if is_found else backoff.next_seconds())

    def _add(self, name: str) -> Watch:
        place = self._datacenters[name] = Datacenter(name, Snapshot(name))
        return Watch(self._consul, self._settings.service, place, self, random=self._random)

    def _wanted(self) -> tuple[str, ...]:
        return self._directory.wanted(each.datacenter for each in self._nodes.known.values())

    # ── what the watches bring ──────────────────────────────────────────────────────────────────────────────────────

    def fail(self, datacenter: Datacenter, why: str) -> None:
        """No answer has come."""
        former = datacenter.guard.belief
        self._believe(datacenter, former, datacenter.guard.fail(why, asyncio.get_running_loop().time()))

    def hear(self, datacenter: Datacenter, reading: Reading, *, went_back: bool) -> None:
        """The whole service, as answered: taken in as far as it is believed."""
        name = datacenter.name
        found = snapshot.read(reading.document, service=self._settings.service, datacenter=name)
        if snapshot.NO_LIST in found.refused:
            self.fail(datacenter, "the answer is not a list")
            return
        if found.refused != datacenter.snapshot.refused:
            log.warning("consul.refused", extra={"fields": {"datacenter": name, **found.refused}})
        datacenter.tell_of_names(found)
        shown = {each.identity for each in found.instances}
        names = {each.wanted_name for each in found.instances}
        known = [
            each for each in self._nodes.known.values() if each.datacenter == name and not (each.is_gone or each.is_silent)
        ]
        heard = Heard(
            len(shown),
            len(known),
            sum(each.identity not in shown and each.name not in names for each in known),
            self._own(datacenter, {each.service_id for each in found.instances}),
            reading.has_leader,
            reading.last_contact_seconds,
            reading.is_filtered or snapshot.TOO_MANY in found.refused or self._is_blind(name),
            went_back,
        )
        former = datacenter.guard.belief
        belief = datacenter.guard.hear(heard, asyncio.get_running_loop().time())
        if belief.trust is not Trust.NONE and found != datacenter.snapshot:
            datacenter.snapshot = found
            self._outdate()
        self._believe(datacenter, former, belief)

    def learn(self, datacenter: Datacenter, instances: list[Instance]) -> None:
        """How some instances are now. Neither names nor who is there can change by that."""
        datacenter.snapshot = datacenter.snapshot.replaced(instances)
        for each in instances:
            if (named := self._picture.named.get(each.identity)) is None:
                continue
            renamed = replace(each, facts=named.instance.facts)
            self._picture.named[each.identity] = named = replace(named, instance=renamed)
            if doubts_of(each):
                self._outdate()
            else:
                self._note(say(self._settings.service, named, self._over()))
        self._changed.set()

    def own_service_id(self, datacenter: Datacenter) -> str:
        """Of the registration that its answers have to show; empty: none."""
        is_own = self._registrar is not None and datacenter.name == self._directory.own
        return self._registrar.service_id if self._registrar is not None and is_own else ""

    def _own(self, datacenter: Datacenter, ids: set[str]) -> Own:
        own = self.own_service_id(datacenter)
        if self._registrar is None or not own:
            return Own.NOT_EXPECTED
        if own in ids:
            return Own.SHOWN
        self._registrar.nudge()
        return Own.UNREGISTERED if self._registrar.holds is False else Own.MISSING

    def _is_blind(self, name: str) -> bool:
        """Whether another datacenter's answer stands in doubt because our own lacks what must be there."""
        own = self._datacenters.get(self._directory.own)
        return own is not None and name != self._directory.own and own.guard.belief.trust is Trust.SHOWN

    def _believe(self, datacenter: Datacenter, former: Belief, belief: Belief) -> None:
        """Wake the pass, and say that an answer is not believed, or is again: once each time."""
        if belief != former:
            self._outdate()
        self._tell(FIRST_DOUBT_SECONDS)
        if not datacenter.has_been_believed and not datacenter.is_told:
            self._wake_after(FIRST_DOUBT_SECONDS)

    def _tell(self, patience_seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        for place in self._datacenters.values():
            place.tell(self._consul.where, now, patience_seconds)

    # ── the picture ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _outdate(self) -> None:
        self._generation += 1
        self._changed.set()

    def _draw(self) -> None:
        """Draw the picture anew, if anything it depends on has changed."""
        now = asyncio.get_running_loop().time()
        lost = {name for name, each in self._datacenters.items() if each.guard.bad_seconds(now) >= self._grace_seconds}
        drawn_from = (self._generation, frozenset(lost), self._directory.own, self._over())
        if drawn_from == self._drawn_from:
            return
        self._drawn_from = drawn_from
        sights = {
            name: Sight(each.snapshot, each.guard.belief, is_lost=name in lost) for name, each in self._datacenters.items()
        }
        former = self._picture
        fresh = observe(self._settings.service, sights, self._nodes.known.values(), self._directory.own, self._over())
        if self._doubt(fresh, former, now):
            fresh = observe(self._settings.service, sights, self._nodes.known.values(), self._directory.own, self._over())
        self._picture = Picture(dict(former.said), fresh.named, fresh.doubts)
        for seen in fresh.said.values():
            self._note(seen)
        for name in former.said.keys() - fresh.said.keys():
            self._forget(name)

    @property
    def _grace_seconds(self) -> float:
        return guards.grace_seconds(self._settings.watch_interval_seconds)

    def _over(self) -> frozenset[Doubt]:
        """The doubts that keep nothing from being said any more."""
        return self._doubts.over(asyncio.get_running_loop().time(), self._grace_seconds)

    def _doubt(self, fresh: Picture, former: Picture, now: float) -> bool:
        """Take in what is in doubt, and have it asked; returns whether some of that is over already."""
        if not fresh.doubts and not self._picture.doubts:
            return False
        before = self._over()
        full = {name for name, each in self._datacenters.items() if each.guard.belief.trust is Trust.FULL}
        self._doubts.see(fresh, former, self._nodes.known.values(), answering=full, now=now)
        if (end := self._doubts.next_end(now, self._grace_seconds)) < math.inf:
            self._wake_after(end - now)
        return self._over() != before

    def _wake_after(self, seconds: float) -> None:
        """Have a pass then, at the latest."""
        heapq.heappush(self._agenda, (asyncio.get_running_loop().time() + seconds, ""))

    def _note(self, seen: RegistryObservation) -> None:
        """Have something said, if it is new."""
        if self._picture.said.get(seen.name) != seen:
            self._picture.said[seen.name] = seen
            self._pending[seen.name] = None

    def _forget(self, name: str) -> None:
        """Keep no memory of a name that nobody speaks of any more."""
        for memory in (self._picture.said, self._pending, self._due, self._beaten):
            memory.pop(name, None)
        self._nodes.forget(name)

    # ── passing on ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _pass_on(self) -> None:
        """Say what is not so in the store: after every change, at every interval, and when it is time."""
        while True:
            await self._rest()
            self._changed.clear()
            self._take_note(await self._nodes.catch_up())
            self._draw()
            self._tell(FIRST_DOUBT_SECONDS)
            self._take_due()
            await self._say_pending()
            await asyncio.sleep(PASS_SECONDS)

    async def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.watch_interval_seconds
        if self._agenda:
            until = min(until, self._agenda[0][0])
        with suppress(TimeoutError):
            async with time_limit_at(until):
                await self._changed.wait()

    def _take_note(self, touched: set[str]) -> None:
        """Nodes that are not as they were want to be spoken of; some change the picture."""
        for name in touched:
            if not self._picture.covers(name, self._nodes.known.get(name)):
                self._generation += 1
            if name in self._picture.said and not self._nodes.is_as_written(name):
                self._pending[name] = None

    def _take_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._agenda and self._agenda[0][0] <= now:
            at, name = heapq.heappop(self._agenda)
            if self._due.get(name) == at:
                self._pending[name] = None

    async def _say_pending(self) -> None:
        """As long as we may, and the reconciler takes it; the rest waits."""
        at = datetime.now(UTC)
        for number, name in enumerate(list(self._pending)):
            if number % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
            if not self._may_write():
                return
            if (seen := self._picture.said.get(name)) is not None:
                self._plan(name, WRITING_SECONDS)
                if self._submit(self._addressed(seen), at) is False:
                    return
            self._pending.pop(name, None)

    def told(self, seen: RegistryObservation, decision: Decision | None, written: Object | None) -> None:
        """What became of it; None: the store did not let us write, and it is said again."""
        if written is not None and isinstance(decision, Create) and isinstance(seen, Mirrored):
            self._nodes.made(written, seen)
        elif written is not None:
            self._nodes.wrote(written)
        name, now = seen.name, asyncio.get_running_loop().time()
        if decision is None or name not in self._picture.said:
            return
        if not isinstance(decision, Keep):
            is_ours = not isinstance(decision, Update) or node.owner_of(decision.manifest) is not None
            wait = float(refresh_seconds(name)) if is_ours else self._settings.heartbeat_seconds
            if not is_ours:
                self._beaten[name] = now + wait
        elif (wait := self._nodes.next_look_seconds(name, now)) == math.inf:
            wait = self._beaten.get(name, now + AGAIN_SECONDS) - now
        self._plan(name, wait if wait > 0 else AGAIN_SECONDS)

    def _plan(self, name: str, seconds: float) -> None:
        """Speak of it again after that."""
        at = self._due[name] = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._agenda, (at, name))

    def _addressed(self, seen: RegistryObservation) -> RegistryObservation:
        """The observation, with word of what it may do to a Node that is not ours."""
        now = asyncio.get_running_loop().time()
        inherits = self._nodes.may_inherit(seen.name, now)
        if isinstance(seen, Deregistered):
            return replace(seen, inherits=inherits)
        if not isinstance(seen, Mirrored):
            return seen
        return replace(
            seen,
            heartbeat_due=self._settings.controller_heartbeat and now >= self._beaten.get(seen.name, now),
            refresh_due=self._nodes.is_refresh_due(seen.name, now),
            inherits=inherits,
            seen_by=self._settings.seen_by,
            seen_run=self._settings.seen_run,
            adopts=self._nodes.to_adopt(seen.name, now),
        )

    def _decide(self, seen: RegistryObservation, at: datetime) -> Decision:
        item = self._cache.get(Key(NODE, seen.name))
        return decide(item.manifest() if item else None, seen, now=at)
