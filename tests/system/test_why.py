"""`k3 why` at real machines: the cause comes first, with the command that mends it, and the healthy are left alone."""

import json
from typing import Any

import pytest

from tests.lab import until
from tests.system.agents import Agent
from tests.system.conftest import MakeFleet
from tests.system.test_names import ONE_STORE, SEPARATE_STORES

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def why(agent: Agent, name: str) -> tuple[int, dict[str, Any]]:
    """The exit code and what is said of one machine."""
    done = agent.run("why", name, "-o", "json")
    (found,) = json.loads(done.stdout)["nodes"]
    return done.returncode, found


def not_ready(agent: Agent, *names: str) -> None:
    """Wait until the list says so of these and no others."""

    def shown() -> bool:
        return {name for name, sight in agent.nodes().items() if not sight.view.is_ready} == set(names)

    until(shown, guard_seconds=60, every_seconds=0.5)


@SEPARATE_STORES
def test_a_firewall_a_frozen_process_and_a_stopped_agent_are_told_apart(fleet: MakeFleet) -> None:
    machines = fleet("alpha", "beta", "gamma", "delta", start=False)
    alpha, beta, gamma, delta = machines.agents
    alpha.lan.firewall(beta.host, 7946)
    for agent in machines.agents:
        agent.start()
    until(lambda: len(alpha.nodes()) == 4, guard_seconds=60)
    not_ready(alpha, "beta")
    code, found = why(alpha, "alpha")
    assert (code, found["status"], found["do"], found["besides"], found["unknown"]) == (0, "Ready", "", [], [])
    address = alpha.lan.address(beta.host)
    code, found = why(alpha, "beta")
    assert (code, found["cause"]["rule"]) == (6, "NeverAnswered")
    assert f"alpha heard it announce itself, asked http://{address}:7946/info" in found["cause"]["text"]
    assert (found["command"], found["on"]) == ("ufw allow 7946/tcp", "beta")
    gamma.host.freeze()
    delta.kill()
    not_ready(alpha, "beta", "gamma", "delta")
    code, found = why(alpha, "gamma")
    assert (code, found["cause"]["rule"], found["command"]) == (6, "PeerUnreachable", "ps -o pid,stat,args -C k3")
    assert "alpha, the only other agent that writes to this store, asked" in found["cause"]["text"]
    code, found = why(alpha, "delta")
    assert (code, found["cause"]["rule"]) == (6, "PeerUnreachable")
    assert found["do"].startswith("Start k3 on that machine again; if it runs there,")
    assert (found["command"], found["on"]) == ("k3 network", "delta")
    gamma.host.thaw()
    told = alpha.run("why").stdout
    assert "beta is NotReady" in told
    assert "alpha is" not in told


@ONE_STORE
def test_a_goodbye_and_the_end_of_all_agents(fleet: MakeFleet) -> None:
    alpha, beta = fleet("alpha", "beta").agents
    assert alpha.run("why").stdout == "All 2 Nodes are Ready.\n"
    beta.stop()
    not_ready(alpha, "beta")
    code, found = why(alpha, "beta")
    assert (code, found["cause"]["rule"]) == (6, "NodeShutdown")
    assert (found["command"], found["on"]) == ("k3 network", "beta")
    alpha.kill()
    until(lambda: why(alpha, "alpha")[1]["cause"]["rule"] == "NoObserver", guard_seconds=60, every_seconds=1)
    _, found = why(alpha, "alpha")
    assert (found["status"], found["on"]) == ("Unknown (no observer)", "")
    assert found["command"] == f"k3 network --store sqlite://{alpha.path}"
    assert "by alpha" in found["cause"]["text"]
