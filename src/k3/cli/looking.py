"""Who looks after the Nodes of a list: the one place where a reader that looks once finds that out."""

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from k3.cli.asking import Answers, ask, clock_remarks
from k3.cli.terminal import remark
from k3.core import freshness
from k3.core.node import NodeView
from k3.core.objects import NODE, Object
from k3.core.records import dataclass
from k3.core.safe_text import one_line
from k3.core.store import Page, Store
from k3.view import node_table
from k3.view.cells import Moment

PATIENCE_SECONDS: Final = 3.5


async def find_observed(store: Store | None, page: Page, seen_already: Sequence[NodeView] = ()) -> frozenset[str]:
    """Returns the names of the Nodes that an agent looks after, as far as one look can tell; says whose clock is wrong.

    Where stamps contradict the reader's clock or each other and no machine answers, a second look shows whether any agent
    still writes; that is worth the wait only where Nodes are refreshed every few seconds. Raises what the store raises.
    `seen_already`: the Nodes of the list as they were read, where they were.
    """
    look = await look_once(store, seen_already or [node_table.view_of(item) for item in page.objects])
    for seen in look.nodes:
        if seen.is_unreadable and seen.ready is not None:
            _tell_of_unreadable(seen.name, seen.ready.message)
    if look.is_silent:
        return look.observed
    doubtful = freshness.doubtful(look.nodes, look.now)
    if not look.is_second and any(freshness.is_ahead(seen, look.now) for seen in doubtful if seen.name not in look.observed):
        remark("k3: Nodes were last seen at a time that is still to come, and nobody answers: is this machine's clock right?")
    for line in clock_remarks(look.nodes, look.now, look.observed, look.answers.ahead_seconds):
        remark(f"k3: {one_line(line)}")
    return look.observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at a store, and at the machines that it is worth to ask, has shown."""

    now: datetime
    nodes: Sequence[NodeView]
    answers: Answers
    observed: frozenset[str]
    """The names of the Nodes that an agent looks after."""
    is_second: bool = False
    """A second look was worth the wait."""
    is_silent: bool = False
    """And no agent had written meanwhile."""


async def look_once(store: Store | None, nodes: Sequence[NodeView]) -> Look:
    """Finds out who looks after the Nodes of a list, and says nothing. Raises what the store raises."""
    now = datetime.now(UTC)
    answers = await ask(nodes, now)
    observed = freshness.observed(nodes, now, answers.boots)
    waits = [wait for seen in freshness.doubtful(nodes, now) if (wait := _refreshed_within(seen)) <= PATIENCE_SECONDS]
    if store is None or not waits or answers.boots:
        return Look(now=now, nodes=nodes, answers=answers, observed=observed)
    await asyncio.sleep(max(waits))
    writing = await _writing(store, nodes)
    if writing:
        observed = freshness.observed(nodes, now, writing=writing)
    else:
        observed -= {seen.name for seen in nodes if _refreshed_within(seen) <= max(waits)}
    return Look(now=now, nodes=nodes, answers=answers, observed=observed, is_second=True, is_silent=not writing)


def tell_of_unreadable(items: Sequence[Object]) -> None:
    """Says which Nodes are there and cannot be read. `find_observed` does so too: this is for who does not ask it."""
    for item in items:
        if item.unreadable and (ready := node_table.view_of(item).ready) is not None:
            _tell_of_unreadable(item.key.name, ready.message)


def _tell_of_unreadable(name: str, why: str) -> None:
    remark(f"k3: Node {one_line(name)}: {one_line(why)} (k3 store check lists all such objects)")


def moments(observed: Collection[str]) -> Callable[[Object], Moment]:
    """Returns how each of these Nodes is to be read now."""
    now = datetime.now(UTC)
    return lambda item: Moment(now, item.key.name in observed)


def _refreshed_within(seen: NodeView) -> float:
    """Returns the seconds within which a living agent writes such a Node again: T/3 + T/6 (design: W + P; ADR 1)."""
    return (seen.peer_ttl_seconds or math.inf) / 2 + 0.5 if seen.owner else math.inf


async def _writing(store: Store, nodes: Sequence[NodeView]) -> set[str]:
    """Returns the runs that have refreshed one of these Nodes since they were read."""
    marks = {seen.name: freshness.mark(seen) for seen in nodes}
    later = [node_table.view_of(item) for item in (await store.list(NODE)).objects]
    return {seen.seen_run for seen in later if freshness.mark(seen) != marks.get(seen.name)} - {""}
