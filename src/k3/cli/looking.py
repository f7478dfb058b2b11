"""Who looks after the Nodes of a list: the one place where a reader that looks once finds that out."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from k3 import node_table
from k3.core import node
from k3.core.objects import Object
from k3.core.store import Page, Store
from k3.node_table import Moment


async def find_observed(store: Store | None, page: Page) -> Collection[str]:  # noqa: ARG001 - who asks further needs it
    """The names of the Nodes that somebody looks after."""
    now = datetime.now(UTC)
    return {item.key.name for item in page.objects if not node.unobserved(node_table.view_of(item), now)}


def moments(observed: Collection[str]) -> Callable[[Object], Moment]:
    """How each of these Nodes is read now."""
    now = datetime.now(UTC)
    return lambda item: Moment(now, item.key.name in observed)
