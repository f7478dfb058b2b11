"""A machine dies without a word, or stands still: suspected within seconds, NotReady after its time to live, never before.

Upper times are recorded, not asserted; every wait has a guard of five times the target.
"""

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.system.agents import Agent, Fleet, Sight, is_ready, record
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

TTL = timedelta(seconds=5)
SIZES = pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")], ids=["N=2", "N=3"])


@SIZES
def test_killed(fleet: MakeFleet, names: tuple[str, ...]) -> None:
    machines = fleet(*names)
    victim, witnesses = machines[names[-1]], machines.others(names[-1])
    died = victim.kill()
    verdicts = [check_death(agent, victim.name, died, what=f"kill.N={len(names)}") for agent in witnesses]
    assert machines.downs(*(agent.name for agent in witnesses)) == []
    began = datetime.now(UTC)
    victim.start()
    victim.process.wait_for("mdns.interfaces")
    up = datetime.now(UTC)
    for agent, verdict in zip(witnesses, verdicts, strict=True):
        back = agent.watcher.wait_for(victim.name, is_ready, since=began)
        took = (back.at - began).total_seconds()
        record(f"restart.start_to_ready.N={len(names)}", took, beside={"started": (up - began).total_seconds()})
        assert back.manifest["metadata"]["uid"] == verdict.manifest["metadata"]["uid"], "the same Node comes back"
        assert back.view.pid == victim.process.pid
        assert transition(back) >= began.replace(microsecond=0)


@SIZES
def test_stopped_is_dead_and_thawed_is_alive(fleet: MakeFleet, names: tuple[str, ...]) -> None:
    """The kernel goes on accepting connections for a process that is stopped."""
    machines = fleet(*names)
    victim, witnesses = machines[names[-1]], machines.others(names[-1])
    stopped = freeze_between_commits(victim)
    for agent in witnesses:
        check_death(agent, victim.name, stopped, what=f"freeze.N={len(names)}")
    thawed = datetime.now(UTC)
    victim.process.thaw()
    for agent in witnesses:
        back = agent.watcher.wait_for(victim.name, is_ready, since=thawed)
        record(f"thaw.to_ready.N={len(names)}", (back.at - thawed).total_seconds(), beside={"ttl": 5})
    machines.wait_ready()
    # To whoever slept, the others have been silent for as long: it must not say so, not in its own store either.
    assert no_one_doubts(machines, witnesses)


def freeze_between_commits(victim: Agent) -> datetime:
    """Stop it; returns when. One that is stopped in the middle of a commit holds the file's write lock: not that one."""
    while True:
        stopped = datetime.now(UTC)
        victim.process.freeze()
        with closing(sqlite3.connect(victim.path, timeout=1.0, isolation_level=None)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                victim.process.thaw()
                time.sleep(0.3)  # to finish its commit: frozen again at once it would be silent all the while
            else:
                database.execute("ROLLBACK")
                return stopped


def check_death(witness: Agent, name: str, died: datetime, *, what: str) -> Sight:
    """Follow one death in one view, from the last Ready to the verdict."""
    watcher = witness.watcher
    suspect = watcher.wait_for(name, lambda sight: sight.reachable == "False", since=died, guard_seconds=20)
    record(f"{what}.to_suspect", (suspect.at - died).total_seconds(), beside={"ttl": 5})
    verdict = watcher.wait_for(name, lambda sight: not sight.view.is_ready, since=died, guard_seconds=35)
    record(f"{what}.to_not_ready", (verdict.at - died).total_seconds(), beside={"ttl": 5})
    sights = watcher.of(name)
    before = sights[sights.index(verdict) - 1]
    assert suspect.view.is_ready, "a suspicion disturbs nobody"
    assert suspect.condition("k3.network/Reachable")["reason"] == "ProbeFailed"
    assert before.last_seen is not None
    record(f"{what}.last_seen_to_not_ready", (verdict.at - before.last_seen).total_seconds(), beside={"ttl": 5})
    assert before.last_seen < suspect.at
    assert verdict.at - before.last_seen >= TTL
    assert verdict.ready == ("False", "PeerUnreachable")
    assert verdict.last_seen == before.last_seen, "a verdict is no sign of life"
    # Transition times have whole seconds.
    assert before.last_seen + TTL - timedelta(seconds=1) < transition(verdict) <= verdict.at
    assert transition(before) < died
    assert transition(suspect, "k3.network/Reachable") <= suspect.at
    assert transition(suspect, "k3.network/Reachable") > died - timedelta(seconds=1)
    return verdict


def no_one_doubts(machines: Fleet, agents: list[Agent]) -> bool:
    sights = [sight for each in machines.agents for agent in agents for sight in each.watcher.of(agent.name)]
    return all(is_ready(sight) for sight in sights)


def transition(sight: Sight, kind: str = "Ready") -> datetime:
    return datetime.fromisoformat(sight.condition(kind)["lastTransitionTime"])
