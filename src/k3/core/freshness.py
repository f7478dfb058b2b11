"""Whether an agent looks after a Node: what a reader can know of that without comparing the clocks of two machines. Pure.

k3 writes a Node again at least every third of its time to live. If no agent runs any more, nothing is written: the Node
stays Ready in the store, and its reader has to notice. `lastSeen` alone does not tell, since it was written by the clock of
the agent that saw the machine (`seen-by`), and that clock may be an hour wrong.

Theory of operation
-------------------
A *run* is one start of an agent, known by its boot id. Each Node names the run that last saw its machine alive
(`seen-run`), and the machine's own run (`agent`, `boot`). A Node is *observed* while the run that saw it lives: a living
agent refreshes it, or says in the store that the machine is gone. A run is known to live when

* its machine answers the reader with that boot id, or
* the machine's own Node is observed, Ready and not suspected.

What starts the chain, where no machine was asked, is a `lastSeen` that agrees with the reader's clock: neither older than a
Node can become while it is refreshed, nor in the future. That is the only place where two clocks meet, and it decides alone
only where nothing contradicts it: `doubtful` lists the Ready Nodes whose stamp disagrees, for the reader to ask the machines
themselves (`k3.cli.asking`).

A reader that stays needs no clock but its own: it counts from the moment at which it saw a Node refreshed (`Sightings`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from k3.core import node, times
from k3.core.node import NodeView
from k3.core.records import dataclass

SKEW_SECONDS: Final = 5.0
"""Two clocks kept by NTP differ by less."""

NO_ANSWERS: Final[Mapping[str, str]] = {}
NO_CLOCKS: Final[Mapping[str, float]] = {}


@dataclass(frozen=True, slots=True)
class WrongClock:
    """A clock that the order of events proves wrong: `ahead_seconds` of the reader's, negative where it is behind."""

    name: str
    """The Node whose machine has it."""
    ahead_seconds: float


def agrees(seen: NodeView, now: datetime) -> bool:
    """Whether `lastSeen`, taken by the reader's clock, is neither too old nor in the future; true of a controller's Node.

    A Node that is called Ready and names no time was written by another program: no agent is known to look after it.
    """
    last = times.parse_timestamp(seen.last_seen)
    if last is None or seen.owner is None:
        return seen.owner is None or not seen.is_ready
    age_seconds = (now - last).total_seconds()
    return -SKEW_SECONDS <= age_seconds <= node.unobserved_seconds(seen)


def is_ahead(seen: NodeView, now: datetime) -> bool:
    """Whether `lastSeen` lies in the reader's future: one of the two clocks is wrong."""
    last = times.parse_timestamp(seen.last_seen)
    return last is not None and (last - now).total_seconds() > SKEW_SECONDS


def doubtful(nodes: Iterable[NodeView], now: datetime) -> list[NodeView]:
    """The Ready Nodes of k3's whose `lastSeen` does not agree with the reader's clock."""
    return [seen for seen in nodes if seen.owner and seen.is_ready and not agrees(seen, now)]


def observed(
    nodes: Sequence[NodeView], now: datetime, answered: Mapping[str, str] = NO_ANSWERS, writing: Collection[str] = ()
) -> frozenset[str]:
    """The names of the Nodes that an agent looks after. What is not k3's is its controller's business, and among them.

    `answered`: the boot ids that machines have just answered the reader with, by the names of their Nodes. `writing`: those of
    runs that the reader has seen write.
    """
    by_run: dict[str, list[NodeView]] = {}
    for seen in nodes:
        by_run.setdefault(seen.seen_run, []).append(seen)
    found: set[str] = set()
    waiting = [seen for seen in nodes if seen.name in answered or agrees(seen, now)]
    waiting += [seen for run in writing for seen in by_run.get(run, ())]
    while waiting:
        seen = waiting.pop()
        if seen.name in found:
            continue
        found.add(seen.name)
        for run in _living(seen, answered):
            waiting += by_run.pop(run, ())  # once: what a run vouches for does not change
    return frozenset(found)


def _living(seen: NodeView, answered: Mapping[str, str]) -> set[str]:
    """The runs that live on the machine of an observed Node."""
    if seen.name in answered:
        return {answered[seen.name]} - {""}
    return {seen.agent, seen.boot} - {""} if seen.owner and seen.is_ready and seen.is_reachable else set()


def wrong_clocks(
    nodes: Sequence[NodeView], now: datetime, observed_: Collection[str], ahead_by_name: Mapping[str, float] = NO_CLOCKS
) -> list[WrongClock]:
    """Whose clocks disagree with the reader's: of those agents whose stamps are off although the Nodes are observed.

    `ahead_by_name`: how far the clock of a machine is ahead of the reader's, in seconds, where it has just answered and said
    the time. That decides. Of a machine that has not said it, a stamp in the future is proof, while an old one proves a clock
    only where an agent is known to write: an agent that lives and cannot write leaves old stamps as well. So does one that has
    just ended: some of its stamps grow too old before the others.

    Where all of several agents are off by the same, it is the reader's own clock: see `is_readers`.
    """
    right = {seen.seen_by for seen in nodes if seen.owner and seen.is_ready and agrees(seen, now)}
    ahead: dict[str, float] = {}
    for seen in nodes:
        last = times.parse_timestamp(seen.last_seen)
        if last is None or not seen.seen_by or not seen.is_ready or seen.name not in observed_ or agrees(seen, now):
            continue
        off_seconds = (last - now).total_seconds()
        if (said := ahead_by_name.get(seen.seen_by)) is not None:
            if abs(said) > SKEW_SECONDS:
                ahead[seen.seen_by] = said
            continue
        if off_seconds < 0 and (not right or seen.seen_by in right):
            continue
        former = ahead.get(seen.seen_by)
        if former is None or abs(off_seconds) < abs(former):
            ahead[seen.seen_by] = off_seconds
    return [WrongClock(name, off_seconds) for name, off_seconds in sorted(ahead.items())]


def is_readers(clocks: Sequence[WrongClock], nodes: Sequence[NodeView], now: datetime) -> bool:
    """Whether these wrong clocks are right and the reader's own is wrong: no stamp agrees with it."""
    return len(clocks) > 1 and not _is_written(nodes, now)


def unwritten_seconds(nodes: Sequence[NodeView], now: datetime, clocks: Collection[WrongClock]) -> float:
    """For how long no agent has refreshed any Node of k3's that is Ready, where no clock explains that; 0: one has.

    The machines may all be there: their agents have ended, or cannot write to this store.
    """
    wrong = {clock.name for clock in clocks}
    ready = [seen for seen in nodes if seen.owner and seen.is_ready]
    if _is_written(nodes, now) or any(seen.seen_by in wrong for seen in ready):
        return 0.0
    stamps = [last for seen in ready if (last := times.parse_timestamp(seen.last_seen)) is not None]
    return max(0.0, (now - max(stamps)).total_seconds()) if stamps else 0.0


def _is_written(nodes: Iterable[NodeView], now: datetime) -> bool:
    """Whether an agent is known to write, by the reader's clock: the stamp of a Ready Node of k3's agrees with that."""
    return any(seen.owner and seen.is_ready and agrees(seen, now) for seen in nodes)


class Sightings:
    """When a reader that stays last saw each Node refreshed, on its own monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[object, ...]] = {}
        self._due: dict[str, tuple[float, float]] = {}
        """From when on no agent looks after a Node, and how long it may stay without a refresh; absent: it is lost already."""
        self._lost: set[str] = set()

    def begin(self, nodes: Iterable[NodeView], observed_: Collection[str], now: float) -> None:
        """The first list, and which of its Nodes an agent looks after."""
        for seen in nodes:
            self._marks[seen.name] = mark(seen)
            if seen.name in observed_:
                self._expect(seen, now)
            else:
                self._lost.add(seen.name)

    def show(self, seen: NodeView, now: float) -> None:
        """A Node as the store shows it now."""
        if self._marks.get(seen.name) != mark(seen):
            self._marks[seen.name] = mark(seen)
            self._lost.discard(seen.name)
            self._expect(seen, now)

    def drop(self, name: str) -> None:
        """There is no such Node any more."""
        self._marks.pop(name, None)
        self._due.pop(name, None)
        self._lost.discard(name)

    def restart(self, now: float) -> None:
        """The store was out of reach: what could not be seen counts against no Node."""
        self._due = {name: (now + span, span) for name, (_, span) in self._due.items()}

    def is_observed(self, name: str) -> bool:
        """Whether an agent looks after the Node."""
        return name not in self._lost

    def is_due(self, now: float) -> bool:
        """Whether `take_lost` would have something to say."""
        return any(due < now for due, _ in self._due.values())

    def take_lost(self, now: float) -> list[str]:
        """The names of the Nodes that no agent looks after from now on."""
        lost = [name for name, (due, _) in self._due.items() if due < now]
        for name in lost:
            del self._due[name]
        self._lost.update(lost)
        return lost

    def _expect(self, seen: NodeView, now: float) -> None:
        span = node.unobserved_seconds(seen)
        self._due[seen.name] = now + span, span


def mark(seen: NodeView) -> tuple[object, ...]:
    """What changes whenever a Node is refreshed, or gets another owner."""
    return seen.last_seen, seen.seen_run, seen.agent, seen.owner
