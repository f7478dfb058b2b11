"""A machine is switched off in order: everyone knows at once, and it is back at once."""

from datetime import UTC, datetime

import pytest

from tests.system.agents import is_ready, record
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")], ids=["N=2", "N=3"])
def test_terminated_and_started_again(fleet: MakeFleet, shared: bool, names: tuple[str, ...]) -> None:
    machines = fleet(*names)
    leaver, others = machines[names[-1]], machines.others(names[-1])
    left = leaver.stop()
    for agent in others:
        gone = agent.watcher.wait_for(leaver.name, lambda sight: not sight.view.is_ready, since=left, guard_seconds=5)
        record(f"goodbye.to_not_ready.N={len(names)}", (gone.at - left).total_seconds(), beside={"ttl": 5})
        assert gone.ready in ({("False", "NodeShutdown"), ("False", "PeerLeft")} if shared else {("False", "PeerLeft")})
        since = datetime.fromisoformat(gone.condition("Ready")["lastTransitionTime"])
        assert left.replace(microsecond=0) <= since <= gone.at
    own = leaver.watcher.wait_for(leaver.name, lambda sight: not sight.view.is_ready, since=left, guard_seconds=5)
    assert shared or own.ready == ("False", "NodeShutdown")
    began = datetime.now(UTC)
    leaver.start()
    leaver.process.wait_for("mdns.interfaces")
    up = datetime.now(UTC)
    for agent in machines.agents:
        back = agent.watcher.wait_for(leaver.name, is_ready, since=began, guard_seconds=15)
        took = (back.at - began).total_seconds()
        record(f"goodbye.start_to_ready.N={len(names)}", took, beside={"started": (up - began).total_seconds()})
        ups = [sight.view.is_ready for sight in agent.watcher.of(leaver.name) if left < sight.at < back.at]
        assert ups == sorted(ups, reverse=True), "nothing of the old run brings it back"
    assert machines.downs(*(agent.name for agent in others)) == []
