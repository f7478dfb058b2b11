"""`k3 discovery` as people run it: real processes, a real Consul, one store."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.discovery.consul_lab import special_agent
from tests.lab import Process, until
from tests.servers import Server
from tests.servers.server import Site

pytestmark = [
    pytest.mark.servers("consul"),
    pytest.mark.slow,
    pytest.mark.xdist_group("k3-discovery"),
    pytest.mark.skipif(
        "K3_DISCOVERY_RUN" not in os.environ,
        reason="k3 discovery is not finished: these miss guards beside other tests; K3_DISCOVERY_RUN=1 runs them",
    ),
]

K3 = [sys.executable, "-m", "k3.cli"]


class Fleet:
    """Agents on one store and one Consul."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.store = f"sqlite://{folder}/k3.db"
        self.environ = {**os.environ, "PYTHONPATH": "src", "XDG_STATE_HOME": f"{folder}/state", "HOME": str(folder)}
        self.agents: dict[str, Process] = {}

    def start(self, name: str, *flags: str) -> Process:
        port = flags or ("--service-port", str(Site(None, None).free_port()))
        command = [*K3, "discovery", *self._where(), "--node-name", name, *port]
        self.agents[name] = Process([*command, "--health-check-interval", "1s"], env=self.environ, label=name)
        return self.agents[name]

    def _where(self) -> list[str]:
        return ["--consul-addr", self.server.endpoint, "--store", self.store]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*K3, *arguments], env=self.environ, capture_output=True, text=True, check=False, timeout=60)

    def once(self, *flags: str) -> subprocess.CompletedProcess[str]:
        return self.run("discovery", *self._where(), "--node-name", "looker", "--once", *flags)

    def nodes(self) -> dict[str, tuple[str, str]]:
        """Status and reason of Ready by name."""
        done = self.run("nodes", "--store", self.store, "-o", "json")
        if done.returncode:
            return {}
        document: Any = json.loads(done.stdout)
        items = document["items"] if document["kind"] == "List" else [document]
        return {item["metadata"]["name"]: self._ready(item) for item in items}

    def _ready(self, item: Any) -> tuple[str, str]:
        ready = next(each for each in item["status"]["conditions"] if each["type"] == "Ready")
        return ready["status"], ready["reason"]

    def shows(self, expected: dict[str, tuple[str, str]], guard_seconds: float = 60) -> None:
        def is_so() -> bool:
            return self.nodes() == expected

        until(is_so, guard_seconds=guard_seconds, every_seconds=0.1, what=f"{expected}")


UP, DOWN = ("True", "ConsulPassing"), ("False", "NodeShutdown")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with special_agent() as server:
        made = Fleet(server, tmp_path)
        yield made
        for agent in made.agents.values():
            agent.close()


def test_machines_come_and_go_and_one_leads_after_another(fleet: Fleet) -> None:
    first = fleet.start("a")
    fleet.shows({"a": UP})
    second = fleet.start("b")
    fleet.shows({"a": UP, "b": UP})
    assert "lease.won" in first.text
    assert "lease.won" not in second.text
    assert first.stop() == 0
    fleet.shows({"a": DOWN, "b": UP})
    assert "lease.won" in second.text
    fleet.start("a")
    fleet.shows({"a": UP, "b": UP})


def test_a_killed_leader_is_replaced_and_its_own_death_seen(fleet: Fleet) -> None:
    first = fleet.start("a")
    fleet.shows({"a": UP})
    fleet.start("b")
    fleet.shows({"a": UP, "b": UP})
    first.close()
    fleet.shows({"a": ("False", "ConsulCritical"), "b": UP}, guard_seconds=90)


def test_consul_down_at_start_is_waited_for_and_told_once(fleet: Fleet) -> None:
    fleet.server.close()
    agent = fleet.start("a")
    until(lambda: "consul.unavailable" in agent.text, guard_seconds=30, what="told")
    fleet.server.start()
    fleet.shows({"a": UP})
    assert agent.text.count("consul.unavailable") == 1
    assert agent.text.count("consul.back") == 1


def test_who_does_not_want_to_be_a_node_is_registered_and_not_shown(fleet: Fleet) -> None:
    fleet.start("a", "--service-port", str(Site(None, None).free_port()), "--register-self=false")
    fleet.start("b")
    fleet.shows({"b": UP})
    listed = json.loads(fleet.server.site.get(f"{fleet.server.endpoint}/v1/catalog/service/k3-node"))
    assert sorted(each["ServiceID"] for each in listed) == ["k3-node-a", "k3-node-b"]


def test_once_says_what_and_why_and_dry_writes_nothing(fleet: Fleet) -> None:
    agent = fleet.start("a")
    fleet.shows({"a": UP})
    agent.close()
    until(lambda: fleet.once("--dry-run").stdout.startswith("update  a   NodeNotReady: check"), guard_seconds=60, what="ill")
    assert fleet.nodes() == {"a": UP}
    assert fleet.once().returncode == 0
    assert fleet.nodes() == {"a": ("False", "ConsulCritical")}
    fleet.server.close()
    refused = fleet.once("--dry-run")
    assert refused.returncode == 4
    assert refused.stderr.startswith(f"k3: cannot reach Consul at {fleet.server.endpoint} (")
    assert refused.stderr.count("\n") == 1


def test_a_taken_port_and_a_taken_name_are_one_clear_line(fleet: Fleet) -> None:
    port = str(Site(None, None).free_port())
    fleet.start("a", "--service-port", port)
    fleet.shows({"a": UP})
    where = ["--consul-addr", fleet.server.endpoint, "--store", fleet.store, "--service-port", port]
    other = fleet.run("discovery", *where, "--node-name", "b")
    assert (other.returncode, other.stderr.splitlines()[-1][:27]) == (1, f"k3: cannot listen on :{port}")
    assert "--service-port" in other.stderr
    same = fleet.run("discovery", *where, "--node-name", "a")
    assert same.returncode == 1
    assert same.stderr.startswith('k3: k3 discovery runs here already as "a" (pid ')
