"""The one who watches is restarted: what it missed it finds out, and who is alive does not notice."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.lab import until
from tests.system.agents import Agent, Sight, is_ready, record
from tests.system.conftest import MakeFleet
from tests.system.test_names import events, rename

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


def test_a_renamed_machine_says_on_its_old_node_who_it_is(fleet: MakeFleet) -> None:
    """Killed as localhost, started as webserver: in its own list and in another one's."""
    machines = fleet("localhost", "peer")
    machine, peer = machines.agents
    machine.kill()
    rename(machine.host, "webserver")
    machine.start()
    for agent in (machine, peer):
        old = agent.watcher.wait_for("localhost", lambda sight: "webserver" in sight.condition("Ready")["message"])
        assert old.ready == ("False", "PeerUnreachable")
        message = old.condition("Ready")["message"]
        assert (
            message == "renamed: the machine goes by the name of webserver now; to remove this Node: k3 delete node localhost"
        )
        assert is_ready(agent.watcher.wait_for("webserver", is_ready))
    assert "firewall" not in said_of(machine, "localhost") + said_of(peer, "localhost")
    until(lambda: ("localhost", "Warning") in events(machine, "NodeNotReady"), what="the Event")


def test_a_machine_that_was_stopped_and_renamed_says_so_too(fleet: MakeFleet) -> None:
    machines = fleet("localhost", "peer")
    machine, peer = machines.agents
    machine.stop()
    rename(machine.host, "webserver")
    machine.start()
    for agent in (machine, peer):
        agent.watcher.wait_for(
            "localhost", lambda sight: "goes by the name of webserver" in sight.condition("Ready")["message"]
        )
        assert not agent.watcher.wait_for("webserver", is_ready).is_deleted


def test_a_machine_installed_anew_under_another_name(fleet: MakeFleet) -> None:
    """Nothing of the old one is left but its Node: who saw it says who answers in its place."""
    machines = fleet("old", "peer")
    machine, peer = machines.agents
    machine.kill()
    machine.host.run(["sh", "-c", "rm -rf /var/lib/k3/*"] if not machines.shared else ["true"])
    machine.host.set_machine_id("d" * 32)
    rename(machine.host, "new")
    machine.start()
    address = machine.lan.address(machine.host)
    wanted = f"{address}:7946 answers as new now"
    old = peer.watcher.wait_for("old", lambda sight: sight.condition("Ready")["message"] == wanted)
    assert old.ready in {("False", "PeerUnreachable"), ("Unknown", "ObserverLost")}
    peer.watcher.wait_for("new", is_ready)
    assert "firewall" not in said_of(peer, "old")


def test_two_machines_swap_their_names(fleet: MakeFleet) -> None:
    machines = fleet("alpha", "beta", "peer")
    alpha, beta, peer = machines.agents
    who = {name: peer.watcher.wait_for(name, is_ready).view.id for name in ("alpha", "beta")}
    for agent, name in ((alpha, "beta"), (beta, "alpha")):
        agent.stop()
        rename(agent.host, name)
    for agent in (alpha, beta):
        agent.start()
    for agent in machines.agents:
        agent.watcher.wait_for("alpha", lambda sight: is_ready(sight) and sight.view.id == who["beta"])
        agent.watcher.wait_for("beta", lambda sight: is_ready(sight) and sight.view.id == who["alpha"])
    until(lambda: all(is_ready(agent.watcher.last(name)) for agent in machines.agents for name in ("alpha", "beta", "peer")))
    assert set(peer.nodes()) == {"alpha", "beta", "peer"}


def said_of(agent: Agent, name: str) -> str:
    """Every message of Ready that this list ever showed of a machine."""
    return "\n".join(sight.condition("Ready")["message"] for sight in agent.watcher.of(name))
