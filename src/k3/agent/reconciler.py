"""Observations in, one conditional write out: the one writer of Nodes in a process, for all its sources.

Each source writes through a `Writer` of its own, which knows the source's policy. One observation per source and Node is worked
on at a time and one more may wait: a newer one replaces it, since it knows more. A write that loses to another writer's is
decided again on what that one wrote; so two sources of one process meet as two processes do (docs/adr/0040). When the store
does not answer, the observation is dropped: whether the write happened is unknown, and the source, which sees what the store
shows, says it again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol

from k3.agent.faults import Faults
from k3.agent.metrics import REFUSALS, WRITES, Counters
from k3.agent.permits import Permits
from k3.agent.recorder import Happened, Recorder
from k3.core import limits
from k3.core.decision import Create, Decision, Delete, Keep, Update
from k3.core.errors import AlreadyExists, Conflict, Forbidden, K3Error, NotFound, NotPermitted, Unavailable
from k3.core.objects import NODE, Key, Manifest, Object
from k3.core.records import dataclass
from k3.core.store import Store

ATTEMPTS: Final = 16

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


class OnOutcome(Protocol):
    """Hears what became of an observation, and returns at once.

    `written` is the Node as it was written, if it was. No decision: the store took no write, or the source may not write.
    """

    def __call__(self, seen: Any, decision: Decision | None, written: Object | None, /) -> None:  # noqa: ANN401 - see Decide
        """That observation has been dealt with."""
        ...


def _always() -> bool:
    return True


def _unheard(_seen: object, _decision: Decision | None, _written: Object | None, /) -> None:
    """The source does not ask what becomes of its observations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """A source, as the reconciler needs to know it."""

    name: str
    """As in the table of sources; Events are signed `k3-<name>`."""
    decide: Decide
    may_write: Callable[[], bool] = _always
    """What waits while this says no is dropped."""
    on_outcome: OnOutcome = _unheard


@dataclass(frozen=True, slots=True)
class _Work:
    seen: Seen
    at: datetime
    reads: bool = False
    """The Node is read first: it was written a moment ago, which the cache may not show yet."""


@dataclass(frozen=True, slots=True)
class _Done:
    decision: Decision
    written: Object | None


class Writer:
    """Writes what one source has seen. Made by `Reconciler.writer`."""

    def __init__(self, reconciler: "Reconciler", author: Author) -> None:
        self._reconciler = reconciler
        self._author = author
        self._waiting: dict[str, _Work] = {}
        self._busy: dict[str, asyncio.Event] = {}
        """Nodes that are worked on; each is set once that is over."""
        self._foreign: set[str] = set()
        self._failed: dict[str, str] = {}
        """Why a Node could not be written, as it was said."""
        self._is_full = False

    @property
    def has_work(self) -> bool:
        """Whether any observation waits."""
        return bool(self._waiting)

    def submit(self, seen: Seen, at: datetime) -> bool:
        """Has this decided soon. Never blocks; beyond `limits.QUEUE` it is dropped (False), and the source says it again.

        `at`: the wall-clock time of the observation.
        """
        name = seen.name
        if name not in self._waiting and name not in self._busy:
            if len(self._waiting) >= limits.QUEUE:
                self._reconciler.counters.add(REFUSALS, "writes")
                log.log(
                    logging.DEBUG if self._is_full else logging.WARNING, "reconciler.full", extra={"fields": {"node": name}}
                )
                self._is_full = True
                return False
            self._reconciler.turns.append(self, name)
        self._waiting[name] = _Work(seen, at)
        self._reconciler.recorder.may_write.clear()
        return True

    async def settle(self, seen: Seen, at: datetime) -> None:
        """Decides and writes one observation now, its Event included; raises nothing. The store tells of its outages itself.

        It is the last word about that Node: what waits is dropped, and what is under way is waited for, and decided upon as
        written.
        """
        self._waiting.pop(seen.name, None)
        is_after_another = False
        while (busy := self._busy.get(seen.name)) is not None:
            is_after_another = True
            await busy.wait()
            self._waiting.pop(seen.name, None)
        work = _Work(seen, at, is_after_another)
        happened = self._happened(await self._settled(work), work)
        if happened is not None:
            await self._reconciler.recorder.record(happened)

    async def work_on(self, name: str) -> None:
        """Works off what waits for a Node, and what comes to wait meanwhile."""
        self._busy[name] = over = asyncio.Event()
        try:
            while (work := self._waiting.pop(name, None)) is not None:
                await self._work(work)
        finally:
            del self._busy[name]
            over.set()
            if name in self._waiting:  # a fault came between: it has its turn again, or no later one would ever have
                self._reconciler.turns.append(self, name)
            self._is_full = self._is_full and self.has_work

    async def _work(self, work: _Work) -> None:
        done = await self._settled(work) if self._author.may_write() else None
        if (happened := self._happened(done, work)) is not None:
            self._reconciler.recorder.submit(happened)
        self._author.on_outcome(work.seen, done.decision if done else None, done.written if done else None)

    def _happened(self, done: _Done | None, work: _Work) -> Happened | None:
        transition = done.decision.transition if done and isinstance(done.decision, Create | Update) else None
        if done is None or done.written is None or transition is None:
            return None
        return Happened(done.written, transition, work.at, f"k3-{self._author.name}")

    async def _settled(self, work: _Work) -> _Done | None:
        """What was decided and written, with the transition logged; None where the store did not take it."""
        name = work.seen.name
        try:
            done = await self._write(work)
        except NotPermitted:
            self._reconciler.counters.add(WRITES, "not_permitted")
        except (Unavailable, Forbidden) as error:
            self._reconciler.counters.add(WRITES, "unavailable")
            log.debug("node.not_written", extra={"fields": {"node": name, "why": str(error)}})
        except Exception as error:  # noqa: BLE001 - one Node that cannot be written is no reason to let go of the others
            self._reconciler.counters.add(WRITES, "failed")
            self._tell_failure(name, error)
        else:
            self._failed.pop(name, None)
            if (happened := self._happened(done, work)) is not None:
                _log(happened)
            return done
        return None

    def _tell_failure(self, name: str, error: Exception) -> None:
        """Says it once for each Node and reason."""
        why = str(error) if isinstance(error, K3Error) else f"unexpected {type(error).__name__}: {error}"
        if self._failed.get(name) == why:
            return
        if len(self._failed) >= limits.QUEUE:
            self._failed.clear()
        self._failed[name] = why
        trace = None if isinstance(error, K3Error) else error
        log.error("node.write_failed", extra={"fields": {"node": name, "error": why}}, exc_info=trace)

    async def _write(self, work: _Work) -> _Done:
        key = Key(NODE, work.seen.name)
        current = await self._reconciler.read(key) if work.reads else self._reconciler.lookup(key)
        for _ in range(ATTEMPTS):
            decision = self._author.decide(current.manifest() if current else None, work.seen, now=work.at)
            try:
                written = await self._reconciler.apply(key, current, decision)
            except (AlreadyExists, Conflict, NotFound):
                self._reconciler.counters.add(WRITES, "raced")
                current = await self._reconciler.read(key)
            else:
                self._note(key.name, decision)
                return _Done(decision, written)
        msg = f"{key}: lost {ATTEMPTS} races in a row against other writers"
        raise Conflict(msg)

    def _note(self, name: str, decision: Decision) -> None:
        if not isinstance(decision, Keep):
            self._foreign.discard(name)
        elif decision.foreign:
            self.disown(name, decision.why)
        else:
            log.debug("node.kept", extra={"fields": {"node": name, "why": decision.why}})

    def disown(self, name: str, why: str) -> None:
        """Says that a Node is not this source's: once, until the source writes it again."""
        if name not in self._foreign:
            self._foreign.add(name)
            log.info("node.not_ours", extra={"fields": {"node": name, "why": why}})


class Reconciler:
    """Turns observations into writes, several Nodes at once. Keep `run` going."""

    def __init__(
        self,
        store: Store,
        *,
        lookup: Callable[[Key], Object | None],
        faults: Faults | None = None,
        counters: Counters | None = None,
    ) -> None:
        """`lookup` gives the Node as last seen, to spare a read. `faults` and `counters`: the agent's."""
        self._store = store
        self._faults = faults or Faults()
        self.counters = counters or Counters()
        self.lookup = lookup
        self.recorder = Recorder(store)
        self.turns = Turns()
        self._permits = Permits()
        self._writers: set[Writer] = set()
        self.writes = 0
        """Nodes written so far; Events do not count."""
        self.newest = 0
        """The highest revision among them."""

    def writer(self, author: Author) -> Writer:
        """Through which a source writes from now on."""
        writer = Writer(self, author)
        self._writers.add(writer)
        return writer

    def dismiss(self, writer: Writer) -> None:
        """The source has ended: what it still wanted written is dropped."""
        self.turns.drop(writer)
        self._writers.discard(writer)
        self._rest()

    async def run(self) -> None:
        """Works for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.recorder.run())
            for _ in range(limits.WRITERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            writer, name = await self.turns.next()
            with self._faults.survived("reconciler", node=name):
                await writer.work_on(name)
            self._rest()

    def _rest(self) -> None:
        if not any(writer.has_work for writer in self._writers):
            self.recorder.may_write.set()

    async def read(self, key: Key) -> Object | None:
        """The Node as the store has it now; None: it has none. Raises K3Error."""
        try:
            return await self._store.get(key)
        except NotFound:
            return None

    async def apply(self, key: Key, current: Object | None, decision: Decision) -> Object | None:
        """Makes the write that was decided on `current`; returns the Node as written. Raises K3Error."""
        if isinstance(decision, Keep):
            return None
        with self._permits.asked(key.name):
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
        self.newest = max(self.newest, written.revision)
        self.counters.add(WRITES, f"{type(decision).__name__.lower()}d")
        return written


class Turns:
    """Which Node is worked on next: each source in its turn, and for each its Nodes in the order they came.

    So a source that has ten thousand to write does not keep another one's first from being written.
    """

    def __init__(self) -> None:
        self._names: dict[Writer, deque[str]] = {}
        self._count = asyncio.Semaphore(0)
        """At least as many as there are names: those of a source that was dropped are counted still."""

    def append(self, writer: Writer, name: str) -> None:
        """A Node has come, and is the last of its source."""
        self._names.setdefault(writer, deque()).append(name)
        self._count.release()

    def drop(self, writer: Writer) -> None:
        """Nothing of this source's is to be worked on."""
        self._names.pop(writer, None)

    async def next(self) -> tuple[Writer, str]:
        """Whose turn it is; that source is the last to have another."""
        await self._count.acquire()
        while not self._names:
            await self._count.acquire()
        writer = next(iter(self._names))
        names = self._names.pop(writer)
        name = names.popleft()
        if names:
            self._names[writer] = names
        return writer, name


def _log(happened: Happened) -> None:
    transition = happened.transition
    fields = {"node": happened.node.key.name, "reason": transition.reason, "message": transition.message}
    log.log(logging.WARNING if transition.warning else logging.INFO, "node.transition", extra={"fields": fields})
