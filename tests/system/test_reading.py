"""A person at a real fleet: what the commands show of a machine that dies, and how they say why."""

from datetime import datetime

import pytest

from tests.lab import until
from tests.system.agents import Agent
from tests.system.conftest import MakeFleet
from tests.system.test_names import SEPARATE_STORES

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.mark.parametrize("shared", [True], ids=["one-store"], indirect=True)
def test_a_death_is_followed_described_and_cleared_away(fleet: MakeFleet) -> None:
    machines = fleet("alpha", "beta")
    alpha, beta = machines["alpha"], machines["beta"]
    following = alpha.host.start(["k3", "nodes", "-w", "--store", f"sqlite://{alpha.path}"])
    following.wait_for("beta")
    first = {stamp(beta, name) for name in ("alpha", "beta")}
    until(lambda: not first & {stamp(beta, name) for name in ("alpha", "beta")}, what="both were refreshed")
    assert [row.split()[:2] for row in following.lines[1:]] == [["alpha", "Ready"], ["beta", "Ready"]], "nothing happened"
    beta.kill()
    following.wait_for("NotReady")
    words = [row.split() for row in following.lines[3:]]
    assert [row[0] for row in words] == ["beta", "beta"]
    assert words[0][1:4] == ["Ready", "(not", "answering)"]
    [row] = alpha.run("nodes", "node/beta", "-o", "wide", "--no-headers").stdout.splitlines()
    assert f"{alpha.lan.address(beta.host)} " in row
    assert " PeerUnreachable " in row
    told = alpha.run("describe", "node", "beta").stdout
    assert "\nReason:      PeerUnreachable\n" in told
    assert f"curl -m 3 http://{alpha.lan.address(beta.host)}:7946/info" in told
    events = alpha.run("events", "--for", "node/beta", "--no-headers").stdout.splitlines()
    assert [line.split()[2:4] for line in events] == [["Registered", "Node/beta"], ["NodeNotReady", "Node/beta"]]
    done = alpha.run("delete", *alpha.run("nodes", "-o", "name").stdout.split())
    assert done.stdout.count(" deleted from ") == 2
    following.wait_for(lambda line: line.startswith("beta ") and " Deleted " in line)


def stamp(agent: Agent, name: str) -> datetime | None:
    """When a machine was last seen."""
    return agent.nodes()[name].last_seen


@SEPARATE_STORES
def test_what_a_stopped_agent_wrote_last_accuses_no_clock(fleet: MakeFleet) -> None:
    """The other machine lives and answers, and its stamp grows old: nobody on this machine writes any more."""
    a, b = fleet("a", "b").agents
    a.stop()
    said: list[str] = []

    def is_told() -> bool:
        said.append(a.run("nodes").stderr)
        return "no Node was refreshed for" in said[-1]

    until(is_told, guard_seconds=60, every_seconds=0.5, what=lambda: said[-1])
    assert not [each for each in said if "clock" in each]
    assert "b " in a.run("nodes").stdout
    assert not [line for line in b.process.lines if "multicast.unheard" in line], "a reader announces nothing"
