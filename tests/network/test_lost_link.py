"""When an agent that has no link to a peer says that it does not know."""

import pytest

from k3.core import node
from k3.network.peer import NEVER, Peer, verdict_at
from k3.network.ranks import Member, Timing

READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


@pytest.mark.parametrize(("answered_at", "after"), [(90.0, 0.0), (-NEVER, 30.0)], ids=["had-a-link", "never-had-one"])
def test_at_the_time_to_live_where_there_was_a_link_and_a_write_period_later_where_there_never_was(
    answered_at: float, after: float
) -> None:
    timing = Timing.of(90.0)
    peer = Peer(
        "web2",
        Member("web2", 1, frozenset()),
        timing,
        100.0,
        stored=node.view_manifest("web2", READY),
        answered_at=answered_at,
        far_rank=0,
    )
    assert verdict_at(peer, standing=True) == 100.0 + 90.0 + timing.order(0, standing=True) + after
