"""The one who watches is restarted: what it missed it finds out, and who is alive does not notice."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.lab import until
from tests.system.agents import Sight, record
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

TTL = timedelta(seconds=5)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")], ids=["N=2", "N=3"])
def test_a_peer_that_died_while_nobody_watched_still_turns_not_ready(
    fleet: MakeFleet, shared: bool, names: tuple[str, ...]
) -> None:
    """All the others are down when it dies. What happened meanwhile does not count, so the time to live begins anew."""
    machines = fleet(*names)
    victim, watchers = machines[names[-1]], machines.others(names[-1])
    for agent in watchers:
        until(lambda agent=agent: is_seen_by_another(agent.watcher.last(victim.name), joined=shared))  # type: ignore[misc]
    for agent in watchers:
        agent.kill()
    died = victim.kill()
    began = datetime.now(UTC)
    for agent in watchers:
        agent.start()
    for agent in watchers:
        verdict = agent.watcher.wait_for(victim.name, lambda sight: not sight.view.is_ready, since=died, guard_seconds=40)
        record(f"watcher_restarted.to_not_ready.N={len(names)}", (verdict.at - began).total_seconds(), beside={"ttl": 5})
        # On one store the first to judge may be one that never saw it, and says only that it does not know.
        assert verdict.ready == ("False", "PeerUnreachable") or (
            shared and len(watchers) > 1 and verdict.ready == ("Unknown", "ObserverLost")
        )
        assert verdict.at - began >= TTL
        assert verdict.last_seen is not None
        assert verdict.last_seen < began, "nobody has seen it since"
    assert machines.downs(*(agent.name for agent in watchers)) == [], "they were not away long enough for anybody to say so"


def is_seen_by_another(sight: Sight | None, *, joined: bool) -> bool:
    """Somebody else has looked after it, and, on one store, after its own agent had written its Node."""
    return sight is not None and sight.view.seen_by != sight.name and bool(sight.view.agent) == joined


def test_a_restarted_agent_disturbs_nobody(fleet: MakeFleet) -> None:
    """Killed and started again within the time to live: no Node is ever not Ready, and no transition is counted."""
    machines = fleet("a", "b", "c")
    a = machines["a"]
    former = {name: sight.view.annotations["k3.network/transitions"] for name, sight in a.nodes().items()}
    for _ in range(3):
        a.kill()
        began = datetime.now(UTC)
        a.start()
        for agent in machines.agents:
            pid = a.process.pid
            agent.watcher.wait_for("a", lambda sight, pid=pid: sight.view.pid == pid, since=began)  # type: ignore[misc]
    began = datetime.now(UTC)
    for name in ("b", "c"):
        a.watcher.wait_for(name, lambda sight: sight.last_seen and sight.last_seen > began, since=began)
    assert machines.downs("a", "b", "c") == []
    assert {name: sight.view.annotations["k3.network/transitions"] for name, sight in a.nodes().items()} == former


def test_all_killed_and_started_at_once(fleet: MakeFleet) -> None:
    """A power cut in the whole house: all are back with the same Nodes, and nobody calls anybody dead."""
    machines = fleet("a", "b", "c")
    uids = {name: sight.manifest["metadata"]["uid"] for name, sight in machines["a"].nodes().items()}
    for agent in machines.agents:
        agent.kill()
    began = datetime.now(UTC)
    for agent in machines.agents:
        agent.start()
    for agent in machines.agents:
        for name in ("a", "b", "c"):
            pid = machines[name].process.pid
            agent.watcher.wait_for(name, lambda sight, pid=pid: sight.view.pid == pid and sight.view.is_ready, since=began)  # type: ignore[misc]
    assert {name: sight.manifest["metadata"]["uid"] for name, sight in machines["a"].nodes().items()} == uids
    assert machines.downs("a", "b", "c") == []
