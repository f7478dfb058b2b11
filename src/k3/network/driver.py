"""Drives the `PeerTable`: hands it what happens and the time, and does at once what it asks for. Decides nothing."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from k3.agent.faults import MEANT, Faults
from k3.core.observation import Observation
from k3.core.records import dataclass
from k3.network.events import Action, BoundMet, Contested, Event, Probed, Reannounce, Report, StartProbe, Suspecting, Tick
from k3.network.messages import LocalFault, Outcome, Target
from k3.network.namesakes import Asks
from k3.network.peers import PeerTable
from k3.network.peers.peer import NEVER
from k3.network.pulse import Pulse

AFTER_A_FAULT_SECONDS: Final = 1.0
"""What is due meets the same fault again, and must not do so at once."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What the table may ask for beside probes. All return at once, but for `contest`."""

    submit: Callable[[Observation], object]
    announce_again: Callable[[], None]
    contest: Callable[[Target], Coroutine[Any, Any, None]]
    """Finds out whose the name is where the store's Node stands for another machine. May end the run."""
    on_outcome: Callable[[Target, Outcome], None]
    """Hears how every probe went, before the table does."""


class Driver:
    """One run of a table. Nothing happens before `begin`, and nothing after `close`."""

    def __init__(self, prober: Asks, faults: Faults) -> None:
        self._prober = prober
        self._hands: Hands | None = None
        self._faults = faults
        self._tasks: asyncio.TaskGroup | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pulse = Pulse(self.handle)
        self._loop = asyncio.get_running_loop()
        self.table: PeerTable | None = None
        self.is_closed = False

    def use(self, tasks: asyncio.TaskGroup) -> None:
        """The tasks of this run are in this group."""
        self._tasks = tasks

    def begin(self, table: PeerTable, hands: Hands) -> None:
        """From now on events are handed to this table, and what it asks for to these hands."""
        self._pulse.begin()
        self.table, self._hands = table, hands
        self.keep("pulse", self._pulse.run)

    def close(self) -> None:
        """Handles nothing any more."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def handle(self, event: Event) -> None:
        """Hands the event to the table, and does what it asks for."""
        table, hands = self.table, self._hands
        if table is None or hands is None or self.is_closed:
            return
        self._pulse.look()
        earliest = self._loop.time() + AFTER_A_FAULT_SECONDS
        with self._faults.survived("network.table", event=type(event).__name__):
            for action in table.handle(event, self._loop.time()):
                self._perform(action, hands)
            earliest = 0.0
        if self._timer is not None:
            self._timer.cancel()
        at = max(earliest, table.deadline)
        self._timer = self._loop.call_at(at, self.handle, Tick()) if at < NEVER else None

    def _perform(self, action: Action, hands: Hands) -> None:
        match action:
            case StartProbe():
                self.start(self._probe(action, hands))
            case Report(observation):
                hands.submit(observation)
            case Suspecting(name, where):
                log.info("peer.suspected", extra={"fields": {"node": name, "where": where}})
            case BoundMet(what, where, advice):
                log.warning("peers.bound_met", extra={"fields": {"what": what, "where": where, "advice": advice}})
            case Reannounce():
                hands.announce_again()
            case Contested(target):
                self.start(hands.contest(target))

    async def _probe(self, wanted: StartProbe, hands: Hands) -> None:
        outcome: Outcome = LocalFault("unexpected", passes=False)  # the table waits for an outcome, whatever happens here
        with self._faults.survived("network.probe", node=wanted.target.name):
            outcome = await self._prober.ask(wanted.target, timeout_seconds=wanted.timeout_seconds)
            hands.on_outcome(wanted.target, outcome)
        self.handle(Probed(wanted.key, outcome))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work beside everything else; what fails in it is noted. A run that ends leaves it no time to begin."""
        if self._tasks is None or self.is_closed:
            work.close()
            return
        guarded = self._guarded(work)
        try:
            task = self._tasks.create_task(guarded)
        except RuntimeError:  # the group has ended
            guarded.close()
            work.close()
        else:
            task.add_done_callback(lambda _: work.close())  # a task that is cancelled first never comes to await it

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        with self._faults.survived("network.task", task=getattr(work, "__qualname__", "")):
            try:
                await work
            except MEANT:
                self.close()  # what arrives while the run ends finds nothing that could begin anything
                raise

    def keep(self, part: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a part that works for ever, and begins it again where it fails."""
        if self._tasks is not None:
            self._tasks.create_task(self._faults.keep(f"network.{part}", work))
