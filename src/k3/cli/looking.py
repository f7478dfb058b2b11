"""Who looks after the Nodes of a list: the one place where a reader that looks once finds that out."""

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from k3 import node_table
from k3.cli.asking import ask, clock_remarks
from k3.cli.terminal import remark
from k3.core import freshness
from k3.core.node import NodeView
from k3.core.objects import NODE, Object
from k3.core.store import Page, Store
from k3.node_table import Moment
from k3.safe_text import one_line

PATIENCE_SECONDS: Final = 3.5


async def find_observed(store: Store | None, page: Page) -> Collection[str]:
    """The names of the Nodes that somebody looks after, by all that a single look can know; says whose clock is wrong.

    Where stamps contradict each other and no machine answers, a second look shows whether anybody still writes; that is
    worth the wait only where Nodes are refreshed every few seconds. Raises what the store raises.
    """
    now = datetime.now(UTC)
    nodes = [node_table.view_of(item) for item in page.objects]
    answered = await ask(nodes, now)
    observed = freshness.observed(nodes, now, answered)
    vouched = [seen for seen in freshness.doubtful(nodes, now) if seen.name in observed]
    if store is not None and vouched and not answered and (wait_seconds := _refreshed_within(vouched)) <= PATIENCE_SECONDS:
        await asyncio.sleep(wait_seconds)
        if not await _is_written(store, nodes):
            return {seen.name for seen in nodes if not seen.owner}
    for line in clock_remarks(nodes, now, observed):
        remark(f"k3: {one_line(line)}")
    return observed


def moments(observed: Collection[str]) -> Callable[[Object], Moment]:
    """How each of these Nodes is read now."""
    now = datetime.now(UTC)
    return lambda item: Moment(now, item.key.name in observed)


def _refreshed_within(nodes: Sequence[NodeView]) -> float:
    """Within how many seconds living agents write one of these Nodes again: a third and a sixth of its time to live."""
    return min(seen.peer_ttl_seconds or math.inf for seen in nodes) / 2 + 0.5


async def _is_written(store: Store, nodes: Sequence[NodeView]) -> bool:
    """Whether anybody has refreshed one of these Nodes since they were read."""
    later = {item.key.name: node_table.view_of(item) for item in (await store.list(NODE)).objects}
    return any(freshness.mark(seen) != freshness.mark(later.get(seen.name, seen)) for seen in nodes)
