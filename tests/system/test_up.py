"""`k3 up`: both modules in one process, on real hosts with a real Consul."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from k3.core.ownership import ADOPTION_SECONDS
from tests.lab import Lan, Process, until
from tests.servers import Server, consul_agent
from tests.system.agents import Sight, Watcher, record
from tests.system.test_names import freeze_between_writes

pytestmark = [pytest.mark.netns, pytest.mark.servers("consul"), pytest.mark.slow, pytest.mark.timeout(600)]

GUARD_SECONDS = 60.0


@pytest.fixture
def consul(lan: Lan) -> Iterator[Server]:
    with consul_agent(lan=lan, host=lan.host("consul")) as server:
        yield server


class Up:
    """`k3 up` on a host of its own."""

    def __init__(self, lan: Lan, consul: Server, name: str, *, store: str = "") -> None:
        self.host = lan.host(name)
        self.consul = consul
        self.flags = ["--store", store] if store else []
        self.where = ["--consul-addr", consul.endpoint, *self.flags]
        self.start()
        until(self._has_store, guard_seconds=GUARD_SECONDS)
        self.watcher = Watcher(self.host, *self.flags)

    def _has_store(self) -> bool:
        return self.host.run(["k3", "nodes", *self.flags]).returncode == 0

    def start(self) -> None:
        argv = ["k3", "up", "--log-level", "debug", "--health-check-interval", "1s", *self.where]
        self.process = self.host.start(argv)

    def shows(self, name: str, status: str, reason: str, source: str) -> Sight:
        """Wait until a Node is shown so, as a Node of that module's."""
        return self.watcher.wait_for(
            name,
            lambda seen: (*seen.ready, seen.view.owner) == (status, reason, source),
            guard_seconds=GUARD_SECONDS,
        )

    def close(self) -> None:
        self.watcher.close()
        self.process.close()


def registered(consul: Server) -> dict[str, Any]:
    """What Consul lists, by Node name: the entry of /v1/health/service."""
    found = json.loads(consul.site.get(f"{consul.endpoint}/v1/health/service/k3-node") or "[]")
    return {each["Service"]["Meta"]["node"]: each for each in found}


def healths(consul: Server) -> dict[str, set[str]]:
    return {name: {check["Status"] for check in each["Checks"]} for name, each in registered(consul).items()}


def test_one_process_is_one_node_one_port_and_one_registration(lan: Lan, consul: Server) -> None:
    up = Up(lan, consul, "alpha")
    try:
        up.shows("alpha", "True", "SelfRegistered", "network")
        until(lambda: healths(consul) == {"alpha": {"passing"}}, guard_seconds=GUARD_SECONDS)
        assert registered(consul)["alpha"]["Service"]["Port"] == 7946
        up.process.wait_for("lease.won")
        info = json.loads(consul.site.get(f"http://{lan.address(up.host)}:7946/info"))
        assert (info["node"], info["id"]) == ("alpha", registered(consul)["alpha"]["Service"]["Meta"]["id"])
        assert up.process.stop() == 0
        up.shows("alpha", "False", "NodeShutdown", "network")
        assert registered(consul) == {}
        assert {"network.stopped", "discovery.stopped"} <= set(up.process.text.split())
    finally:
        up.close()


def test_machines_that_multicast_does_not_reach_are_found_through_consul(lan: Lan, consul: Server) -> None:
    lan.drop_multicast()
    alpha, beta = Up(lan, consul, "alpha"), Up(lan, consul, "beta")
    try:
        for here, there in ((alpha, "beta"), (beta, "alpha")):
            here.shows(here.host.name, "True", "SelfRegistered", "network")
            here.shows(there, "True", "ConsulPassing", "discovery")
        assert beta.process.stop() == 0
        alpha.shows("beta", "False", "NodeShutdown", "discovery")
    finally:
        alpha.close()
        beta.close()


def test_who_loses_its_name_is_registered_under_its_second_one(lan: Lan, consul: Server, tmp_path: Path) -> None:
    """It slept while another machine got the name on their common store."""
    flags = ["--consul-addr", consul.endpoint, "--peer-ttl", "5s", "--store", f"sqlite://{tmp_path}/k3.db"]
    running: list[Process] = []
    try:
        for _ in range(2):
            running.append(lan.host("web").start(["k3", "up", *flags]))
            running[-1].wait_for("This machine is on the list", guard_seconds=GUARD_SECONDS)
            if len(running) == 1:
                freeze_between_writes(running[0], tmp_path / "k3.db")
        running[0].thaw()
        running[0].wait_for("name.lost", guard_seconds=GUARD_SECONDS)
        until(lambda: len(registered(consul)) == 2, guard_seconds=GUARD_SECONDS, what=lambda: f"{registered(consul)}")
        (first, one), (second, other) = sorted(registered(consul).items())
        assert first == "web"
        assert second == f"web-{other['Service']['Meta']['id'][:6]}"
        assert one["Service"]["Address"] != other["Service"]["Address"]
        until(lambda: healths(consul) == {first: {"passing"}, second: {"passing"}}, guard_seconds=GUARD_SECONDS)
    finally:
        for process in running:
            process.close()


@pytest.mark.parametrize(
    ("maker", "adopter", "reason"), [("network", "discovery", "ConsulPassing"), ("discovery", "network", "SelfRegistered")]
)
def test_a_node_goes_to_the_module_that_still_sees_its_machine(
    lan: Lan, consul: Server, tmp_path: Path, maker: str, adopter: str, reason: str
) -> None:
    alpha = lan.host("alpha")
    flags = {"network": [], "discovery": ["--consul-addr", consul.endpoint, "--health-check-interval", "1s"]}
    store = ["--store", f"sqlite://{tmp_path}/k3.db"]
    with contextlib.ExitStack() as stack:

        def start(module: str) -> Process:
            process = alpha.start(["k3", module, *flags[module], *store])
            stack.callback(process.close)
            process.wait_for("This machine is on the list", guard_seconds=GUARD_SECONDS)
            return process

        def owned_by(module: str) -> Callable[[Sight], bool]:
            return lambda seen: seen.view.is_ready and seen.view.owner == module

        made = start(maker)
        start(adopter)
        watcher = stack.enter_context(Watcher(alpha, *store))
        watcher.wait_for("alpha", owned_by(maker))
        assert made.stop() == 0
        down = watcher.wait_for("alpha", lambda seen: seen.ready == ("False", "NodeShutdown"))
        adopted = watcher.wait_for("alpha", owned_by(adopter), guard_seconds=3 * ADOPTION_SECONDS)
        assert adopted.ready == ("True", reason)
        waited = (adopted.at - down.at).total_seconds()
        assert waited >= ADOPTION_SECONDS - 1
        record(f"adoption by {adopter}", waited)


def test_consul_away_does_not_keep_the_lan_from_working(lan: Lan, consul: Server) -> None:
    consul.close()
    alpha, beta = Up(lan, consul, "alpha"), Up(lan, consul, "beta")
    try:
        alpha.shows("beta", "True", "PeerAlive", "network")
        beta.shows("alpha", "True", "PeerAlive", "network")
        assert alpha.process.text.count("consul.unavailable") == 1
        consul.start()
        until(lambda: set(healths(consul)) == {"alpha", "beta"}, guard_seconds=GUARD_SECONDS)
    finally:
        alpha.close()
        beta.close()
