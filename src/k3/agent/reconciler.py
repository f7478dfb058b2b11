"""Observations in, one conditional write out.

One observation per Node is worked on at a time and one more may wait: a newer one replaces it, since it knows more. A
write lost to somebody else's is decided again on what they wrote. When the store does not answer, the observation is
dropped: whether the write happened is unknown, and the source, which sees what the store shows, will say it again.

Nodes come first: the Events about them are written when no Node waits.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from k3.core import limits, times
from k3.core.decision import Create, Decision, Delete, Keep, Transition, Update
from k3.core.errors import AlreadyExists, Conflict, Forbidden, K3Error, NotFound, Unavailable
from k3.core.objects import EVENT, NODE, Key, Manifest, Object
from k3.core.store import Store, modify

ATTEMPTS: Final = 16
NAMESPACE: Final = "default"

log = logging.getLogger(__name__)


class Seen(Protocol):
    """What any source may say: something about the Node of that name."""

    @property
    def name(self) -> str:
        """The Node's name."""
        ...


class Decide(Protocol):
    """A source's policy: pure, one write or none. It is handed that source's own observations only."""

    def __call__(self, current: Manifest | None, seen: Any, *, now: datetime) -> Decision:  # noqa: ANN401 - see above
        """What becomes of the Node."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """One observation and the wall-clock time it was made at."""

    observation: Seen
    at: datetime


class Told(Protocol):
    """Who wants to hear what became of an observation. At once; None: the store did not let us, or we may not write."""

    def __call__(self, seen: Any, decision: Decision | None, written: Object | None, /) -> None:  # noqa: ANN401 - see Decide
        """That observation has been dealt with, and this is the Node as it was written, if it was."""
        ...


@dataclass(frozen=True, slots=True)
class _Told:
    """A transition that has been written, to be told in an Event."""

    node: Object
    transition: Transition
    at: datetime


@dataclass(frozen=True, slots=True)
class _Done:
    decision: Decision
    written: Object | None = None
    told: _Told | None = None


def _done(decision: Decision, written: Object | None, at: datetime) -> _Done:
    transition = decision.transition if isinstance(decision, Create | Update) else None
    told = _Told(written, transition, at) if written is not None and transition is not None else None
    return _Done(decision, written, told)


def _log(told: _Told) -> None:
    transition = told.transition
    fields = {"node": told.node.key.name, "reason": transition.reason, "message": transition.message}
    log.log(logging.WARNING if transition.warning else logging.INFO, "node.transition", extra={"fields": fields})


def _nobody(_seen: object, _decision: Decision | None, _written: Object | None) -> None:
    """Nobody wants to hear it."""


def _always() -> bool:
    """Nobody forbids it."""
    return True


class Reconciler:
    """Turns observations into writes, several Nodes at once, each Node one at a time."""

    def __init__(
        self,
        store: Store,
        *,
        lookup: Callable[[Key], Object | None],
        reporter: str,
        policy: Decide,
    ) -> None:
        """`lookup` gives the Node as last seen, to spare a read; `reporter` signs the Events (`k3-network`)."""
        self._store = store
        self._decide = policy
        self.told: Told = _nobody
        """Hears what became of each observation submitted."""
        self.may_write: Callable[[], bool] = _always
        """What waits while this says no is dropped."""
        self._lookup = lookup
        self._reporter = reporter
        self._waiting: dict[str, Work] = {}
        self._busy: set[str] = set()
        self._names: asyncio.Queue[str] = asyncio.Queue(limits.QUEUE)
        self._events: asyncio.Queue[_Told] = asyncio.Queue(limits.QUEUE)
        self._rests = asyncio.Event()
        """Set while no Node waits to be written."""
        self._rests.set()
        self._foreign: set[str] = set()
        self._failed: dict[str, str] = {}
        """Why a Node could not be written, as it was said."""
        self._is_full = False
        self.writes = 0
        """Nodes written so far; Events do not count."""

    def submit(self, observation: Seen, at: datetime) -> bool:
        """Have this decided soon. Never blocks; beyond the bound it is dropped (False), and the source will say it again."""
        name = observation.name
        if name not in self._waiting and name not in self._busy:
            if self._names.full():
                log.log(
                    logging.DEBUG if self._is_full else logging.WARNING, "reconciler.full", extra={"fields": {"node": name}}
                )
                self._is_full = True
                return False
            self._names.put_nowait(name)
        self._waiting[name] = Work(observation, at)
        self._rests.clear()
        return True

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(limits.WRITERS):
                tasks.create_task(self._worker())
            for _ in range(limits.EVENT_WRITERS):
                tasks.create_task(self._event_worker())

    async def _worker(self) -> None:
        while True:
            name = await self._names.get()
            self._busy.add(name)
            try:
                while (work := self._waiting.pop(name, None)) is not None:
                    await self._work(work)
            finally:
                self._busy.discard(name)
            if not self._waiting:
                self._is_full = False
                self._rests.set()

    async def _work(self, work: Work) -> None:
        done = await self._settled(work) if self.may_write() else None
        if done is not None and done.told is not None:
            if self._events.full():
                log.debug("event.lost", extra={"fields": {"event": done.told.node.key.name, "error": "too many at once"}})
            else:
                self._events.put_nowait(done.told)
        self.told(work.observation, done.decision if done else None, done.written if done else None)

    async def _event_worker(self) -> None:
        while True:
            told = await self._events.get()
            await self._rests.wait()
            await self._record(told)

    async def settle(self, work: Work) -> None:
        """Decide and write one observation, its Event included; raises nothing. The store tells of its outages itself."""
        done = await self._settled(work)
        if done is not None and done.told is not None:
            await self._record(done.told)

    async def _settled(self, work: Work) -> _Done | None:
        """What was decided and written, with the transition logged; None where the store did not let us."""
        try:
            done = await self._write(work)
        except (Unavailable, Forbidden) as error:
            log.debug("node.not_written", extra={"fields": {"node": work.observation.name, "why": str(error)}})
        except Exception as error:  # noqa: BLE001 - one Node that cannot be written is no reason to let go of the others
            self._tell_failure(work.observation.name, error)
        else:
            self._failed.pop(work.observation.name, None)
            if done.told is not None:
                _log(done.told)
            return done
        return None

    def _tell_failure(self, name: str, error: Exception) -> None:
        """Once for each Node and reason."""
        why = str(error) if isinstance(error, K3Error) else f"unexpected {type(error).__name__}: {error}"
        if self._failed.get(name) == why:
            return
        if len(self._failed) >= limits.QUEUE:
            self._failed.clear()
        self._failed[name] = why
        trace = None if isinstance(error, K3Error) else error
        log.error("node.write_failed", extra={"fields": {"node": name, "error": why}}, exc_info=trace)

    async def _write(self, work: Work) -> _Done:
        key = Key(NODE, work.observation.name)
        current = self._lookup(key)
        for _ in range(ATTEMPTS):
            decision = self._decide(current.manifest() if current else None, work.observation, now=work.at)
            try:
                written = await self._apply(key, current, decision)
            except (AlreadyExists, Conflict, NotFound):
                current = await self._read(key)
            else:
                self._tell(key, decision)
                return _done(decision, written, work.at)
        msg = f"{key}: lost {ATTEMPTS} races in a row against other writers"
        raise Conflict(msg)

    async def _read(self, key: Key) -> Object | None:
        try:
            return await self._store.get(key)
        except NotFound:
            return None

    async def _apply(self, key: Key, current: Object | None, decision: Decision) -> Object | None:
        match decision:
            case Create(manifest):
                written = await self._store.create(key, manifest)
            case Update(manifest) if current is not None:
                written = await self._store.update(current.with_manifest(manifest))
            case Delete() if current is not None:
                written = await self._store.delete(key, revision=current.revision, uid=current.uid)
            case _:
                return None
        self.writes += 1
        return written

    def _tell(self, key: Key, decision: Decision) -> None:
        if not isinstance(decision, Keep):
            self._foreign.discard(key.name)
        elif decision.foreign:
            self.disown(key.name, decision.why)
        else:
            log.debug("node.kept", extra={"fields": {"node": key.name, "why": decision.why}})

    def disown(self, name: str, why: str) -> None:
        """Say that a Node is not ours: once, until we write it again."""
        if name not in self._foreign:
            self._foreign.add(name)
            log.info("node.not_ours", extra={"fields": {"node": name, "why": why}})

    async def _record(self, told: _Told) -> None:
        """Write the transition's Event, best effort: the Node and the log already say it."""
        manifest = event_manifest(told.node, told.transition, told.at, reporter=self._reporter)
        key = Key(EVENT, manifest["metadata"]["name"], NAMESPACE)
        try:
            try:
                await self._store.create(key, manifest)
            except AlreadyExists:
                await modify(
                    self._store, key, lambda old: {**manifest, "metadata": {**old["metadata"], **manifest["metadata"]}}
                )
        except Exception as error:  # noqa: BLE001 - whatever stands under an Event's name, the Node is written
            log.debug("event.lost", extra={"fields": {"event": key.name, "error": str(error)}})


def event_manifest(about: Object, told: Transition, at: datetime, *, reporter: str) -> Manifest:
    """A `v1 Event` about a Node, under one of its few names, which are used in turn."""
    stamp = times.timestamp(at)
    subject: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "name": about.key.name, "uid": about.uid}
    return {
        "metadata": {"name": f"{about.key.name[:240]}.{told.number % limits.EVENTS_PER_NODE}"},
        "involvedObject": subject,
        "reason": told.reason,
        "message": told.message,
        "type": "Warning" if told.warning else "Normal",
        "source": {"component": reporter},
        "reportingComponent": reporter,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
