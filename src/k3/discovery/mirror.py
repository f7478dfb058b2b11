"""Consul's instances become observations: one watcher per datacenter, and one pass that says what is not so in the store.

Watchers hold a blocking query each and never ask in a hurry. The pass compares everything that is known with the Nodes
as the store shows them, after every change and at every watch interval, without asking Consul; only what `decide` would
write is handed on. Decides nothing itself: `guards`, `snapshot` and `picture` do.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Final

from k3.cache import Cache
from k3.core import node
from k3.core.discovery_policy import GONE_REASONS, Mirrored, RegistryObservation, decide, mirrored_service
from k3.core.errors import Forbidden, K3Error
from k3.core.objects import NODE, Key, Object
from k3.core.policy import Decision, Keep
from k3.discovery import guards, snapshot
from k3.discovery.consul import WAIT_SECONDS, Consul, Reading, next_index
from k3.discovery.guards import Guard, Heard, Own, Trust
from k3.discovery.picture import Known, Sight, observe
from k3.discovery.register import Registrar
from k3.discovery.snapshot import Snapshot

DATACENTERS: Final = 32
DATACENTER_CHARACTERS: Final = 63
FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 5.0
ROUND_SECONDS: Final = 0.1
"""At least so long between two answers taken, and between two passes: changes that come together are handled together."""
DATACENTERS_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 60.0
"""A Node found as it should be is looked at again after that, for its heartbeat."""
WRITING_SECONDS: Final = 5.0
"""What was handed on is given that long to show in the store."""
LEAST_HEARTBEAT_SECONDS: Final = 60.0
CHUNK: Final = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """What to mirror. No datacenters: all that Consul knows."""

    service: str
    datacenters: tuple[str, ...] = ()
    watch_interval_seconds: float = 15.0
    controller_heartbeat: bool = True

    @property
    def heartbeat_seconds(self) -> float:
        """How often a controller's Node hears that its machine is alive."""
        return max(LEAST_HEARTBEAT_SECONDS, 4 * self.watch_interval_seconds)


@dataclass(slots=True)
class _Datacenter:
    guard: Guard
    snapshot: Snapshot
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class _Settled:
    """What was said of a Node, on which revision, and when to look again."""

    seen: RegistryObservation
    revision: int
    due: float


class Mirror:
    """One run of mirroring, for as long as this process leads."""

    def __init__(
        self,
        consul: Consul,
        settings: MirrorSettings,
        cache: Cache,
        *,
        submit: Callable[[RegistryObservation, datetime], None],
        registrar: Registrar | None = None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`submit` hands on to the reconciler, at once. `cache` is kept current by the caller, who says `changed`."""
        self._consul = consul
        self._settings = settings
        self._cache = cache
        self._submit = submit
        self._registrar = registrar
        self._may_write = may_write
        self._random = Random()  # noqa: S311 - spreads retries, guards nothing
        self._datacenters: dict[str, _Datacenter] = {}
        self._own_datacenter = ""
        self._listed: list[str] = []
        self._changed = asyncio.Event()
        self._read: dict[str, tuple[int, Known | None]] = {}
        self._settled: dict[str, _Settled] = {}
        self._beaten: dict[str, float] = {}
        self._disowned: dict[str, float] = {}

    def changed(self) -> None:
        """The store shows something new."""
        self._changed.set()

    async def run(self) -> None:
        """Mirror for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_datacenters(tasks))
            tasks.create_task(self._pass_on())

    async def once(self) -> list[tuple[RegistryObservation, Decision]]:
        """Ask every datacenter once; returns what would be said and what would come of it. Raises K3Error if Consul is away.

        Nothing is handed on, and no absence that wants confirmation is believed.
        """
        self._own_datacenter = await self._ask_own_datacenter()
        self._listed = [name for name in await self._consul.datacenters() if _is_name(name)]
        for name in self._wanted()[:DATACENTERS]:
            self._datacenters[name] = _Datacenter(Guard(), Snapshot(name))
        async with asyncio.TaskGroup() as tasks:
            for each in self._datacenters.values():
                tasks.create_task(self._ask(each, 0))
        said = [self._due(seen) for seen in self.picture()]
        return [(seen, self._decide(seen, datetime.now(UTC))) for seen in said]

    # ── datacenters ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_datacenters(self, tasks: asyncio.TaskGroup) -> None:
        """Find them; their list has no index, so it is asked for now and then."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            is_found = await self._find_datacenters()
            for name in self._wanted():
                if name not in self._datacenters and len(self._datacenters) < DATACENTERS:
                    self._datacenters[name] = _Datacenter(Guard(), Snapshot(name))
                    tasks.create_task(self._watch(name))
            pause = FIRST_PAUSE_SECONDS if is_found else min(2 * pause, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(DATACENTERS_SECONDS if is_found else pause * self._random.uniform(0.5, 1.0))

    async def _find_datacenters(self) -> bool:
        try:
            if not self._own_datacenter:
                self._own_datacenter = await self._ask_own_datacenter()
            self._listed = [name for name in await self._consul.datacenters() if _is_name(name)]
        except K3Error as error:
            log.debug("consul.no_datacenters", extra={"fields": {"why": str(error)}})
            return False
        return True

    async def _ask_own_datacenter(self) -> str:
        """The agent's; a token that may not ask it leaves the nearest one."""
        try:
            return (await self._consul.agent()).datacenter
        except Forbidden:
            return next(iter(await self._consul.datacenters()), "")

    def _wanted(self) -> tuple[str, ...]:
        """Those told, else all that Consul lists, and those that Nodes of the store came from."""
        if self._settings.datacenters:
            return self._settings.datacenters
        stored = [each.datacenter for each in self._known() if _is_name(each.datacenter)]
        return tuple(dict.fromkeys([*self._listed, *stored]))

    async def _watch(self, name: str) -> None:
        index, pause = 0, FIRST_PAUSE_SECONDS
        datacenter = self._datacenters[name]
        while True:
            index = await self._ask(datacenter, index)
            if datacenter.guard.belief.trust is Trust.NONE:
                index = 0
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                pause = FIRST_PAUSE_SECONDS
                await asyncio.sleep(ROUND_SECONDS)

    async def _ask(self, datacenter: _Datacenter, index: int) -> int:
        """Wait for one answer and take it in; returns the index to ask with next."""
        name, is_believed = datacenter.snapshot.datacenter, datacenter.guard.belief.trust is Trust.FULL
        wait = WAIT_SECONDS if is_believed else int(guards.RECHECK_SECONDS)
        try:
            reading = await self._consul.health(self._settings.service, datacenter=name, index=index, wait_seconds=wait)
        except K3Error as error:
            self._fail(datacenter, str(error))
            return 0
        self._hear(datacenter, reading, went_back=reading.index < index)
        return next_index(index, reading.index)

    def _fail(self, datacenter: _Datacenter, why: str) -> None:
        datacenter.guard.fail(why, asyncio.get_running_loop().time())
        self._tell(datacenter)

    def _hear(self, datacenter: _Datacenter, reading: Reading, *, went_back: bool) -> None:
        name = datacenter.snapshot.datacenter
        found = snapshot.read(reading.document, service=self._settings.service, datacenter=name)
        if snapshot.NO_LIST in found.refused:
            self._fail(datacenter, "the answer is not a list")
            return
        if found.refused != datacenter.snapshot.refused:
            log.warning("consul.refused", extra={"fields": {"datacenter": name, **found.refused}})
        ids = {each.service_id for each in found.instances}
        known = [each for each in self._known() if each.datacenter == name and not each.is_gone]
        heard = Heard(
            len(ids),
            len(known),
            sum(each.service_id not in ids for each in known),
            self._own(name, ids),
            reading.has_leader,
            reading.last_contact_seconds,
            reading.is_filtered or snapshot.TOO_MANY in found.refused or self._is_blind(name),
            went_back,
        )
        belief = datacenter.guard.hear(heard, asyncio.get_running_loop().time())
        if belief.trust is not Trust.NONE:
            datacenter.snapshot = found
        self._tell(datacenter)

    def _own(self, name: str, ids: set[str]) -> Own:
        if self._registrar is None or name != self._own_datacenter:
            return Own.NOT_EXPECTED
        if self._registrar.service_id in ids:
            return Own.SHOWN
        self._registrar.nudge()
        return Own.UNREGISTERED if self._registrar.holds is False else Own.MISSING

    def _is_blind(self, name: str) -> bool:
        """Whether another datacenter's answer stands in doubt because our own lacks what must be there."""
        own = self._datacenters.get(self._own_datacenter)
        return own is not None and name != self._own_datacenter and own.guard.belief.trust is Trust.SHOWN

    def _tell(self, datacenter: _Datacenter) -> None:
        """Wake the pass, and say that an answer is not believed, or is again: once each time."""
        self._changed.set()
        fields = {"consul": self._consul.where, "datacenter": datacenter.snapshot.datacenter}
        is_bad = datacenter.guard.belief.trust is not Trust.FULL
        if is_bad and not datacenter.is_told:
            log.warning("datacenter.doubted", extra={"fields": {**fields, "why": datacenter.guard.belief.why}})
        elif datacenter.is_told and not is_bad:
            log.info("datacenter.believed", extra={"fields": fields})
        datacenter.is_told = is_bad

    # ── the store ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _known(self) -> list[Known]:
        """The Nodes of the store that stand for this service; each is parsed once per revision."""
        fresh: dict[str, tuple[int, Known | None]] = {}
        for key, item in self._cache.objects.items():
            former = self._read.get(key.name)
            fresh[key.name] = former if former and former[0] == item.revision else (item.revision, self._known_as(item))
        self._read = fresh
        return [known for _, known in fresh.values() if known is not None]

    def _known_as(self, item: Object) -> Known | None:
        seen = node.view(item)
        source = mirrored_service(seen)
        if source is None or source[0] != self._settings.service:
            return None
        is_gone = seen.ready is not None and seen.ready.reason in GONE_REASONS
        return Known(seen.name, source[1], seen.annotations.get("k3.discovery/service-id", ""), is_gone)

    def picture(self) -> list[RegistryObservation]:
        """What is to be said of each Node now."""
        now = asyncio.get_running_loop().time()
        grace = guards.grace_seconds(self._settings.watch_interval_seconds)
        sights = {
            name: Sight(each.snapshot, each.guard.belief, each.guard.bad_seconds(now) >= grace)
            for name, each in self._datacenters.items()
        }
        return observe(self._settings.service, sights, self._known(), self._own_datacenter)

    async def _pass_on(self) -> None:
        """Say what is not so in the store: after every change, and at every interval."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.watch_interval_seconds):
                    await self._changed.wait()
            self._changed.clear()
            said = self.picture()
            for start in range(0, len(said), CHUNK):
                for seen in said[start : start + CHUNK]:
                    if self._may_write():
                        self._say(seen)
                await asyncio.sleep(0)
            self._forget(said)
            await asyncio.sleep(ROUND_SECONDS)

    def _say(self, seen: RegistryObservation) -> None:
        now = asyncio.get_running_loop().time()
        item = self._cache.get(Key(NODE, seen.name))
        revision = item.revision if item else 0
        former = self._settled.get(seen.name)
        if former and (former.seen, former.revision) == (seen, revision) and now < former.due:
            return
        now_seen, at = self._due(seen), datetime.now(UTC)
        decision = self._decide(now_seen, at)
        pause = WRITING_SECONDS
        if not isinstance(decision, Keep) or (decision.foreign and seen.name not in self._disowned):
            self._submit(now_seen, at)
        if isinstance(decision, Keep):
            pause = AGAIN_SECONDS
            if decision.foreign:
                self._disowned[seen.name] = now
        elif item is not None and node.view(item).owner is None:
            self._beaten[seen.name] = now + self._settings.heartbeat_seconds
        self._settled[seen.name] = _Settled(seen, revision, now + pause * self._random.uniform(0.9, 1.0))

    def _due(self, seen: RegistryObservation) -> RegistryObservation:
        """The observation, with word of whether a controller's Node should hear a heartbeat."""
        now = asyncio.get_running_loop().time()
        is_due = self._settings.controller_heartbeat and now >= self._beaten.get(seen.name, now)
        return replace(seen, heartbeat_due=True) if is_due and isinstance(seen, Mirrored) else seen

    def _decide(self, seen: RegistryObservation, at: datetime) -> Decision:
        item = self._cache.get(Key(NODE, seen.name))
        return decide(item.manifest() if item else None, seen, now=at)

    def _forget(self, said: list[RegistryObservation]) -> None:
        """Keep no memory of names that nobody speaks of any more."""
        names: Mapping[str, None] = dict.fromkeys(each.name for each in said)
        for memory in (self._settled, self._beaten, self._disowned):
            for name in [name for name in memory if name not in names]:
                del memory[name]


def _is_name(datacenter: str) -> bool:
    return 0 < len(datacenter) <= DATACENTER_CHARACTERS and datacenter.isprintable()
