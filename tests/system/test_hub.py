"""A fleet whose store is a hub, `k3 server` on a host of its own: what befalls the hub costs news, and no machine is blamed.

The agents have neither the store's password nor a route to it; one token is all they share.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from k3.core.node import NodeView
from tests.lab import Host, Lan, Process, until
from tests.servers.etcd import etcd_server
from tests.system.agents import record
from tests.system.hub import Hub

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(300)]

TTL_SECONDS = 3.0
GUARD_SECONDS = 60.0
UNAVAILABLE = 503


class Members:
    """Agents by the name of their host, which have a hub as their store, and what the hub shows of them."""

    def __init__(self, hub: Hub, directory: Path) -> None:
        self.hub = hub
        self.token_file = directory / "token"
        self.give(hub.token())
        self.reader = hub.token("--role", "view")
        self.agents: dict[str, Process] = {}

    def give(self, token: str) -> None:
        """Put a token into the file that the agents read."""
        new = self.token_file.with_suffix(".new")
        new.write_text(f"{token}\n", encoding="utf-8")
        new.rename(self.token_file)

    def join(self, *hosts: Host, url: str = "", options: tuple[str, ...] = ()) -> None:
        """Start an agent on each, and wait until all of the fleet are Ready."""
        argv = ["k3", "network", "--peer-ttl", f"{TTL_SECONDS:g}s", "--store", url or self.hub.url(self.token_file), *options]
        self.agents |= {host.name: host.start(argv) for host in hosts}
        self.until_ready(self.agents)

    def look(self) -> dict[str, NodeView]:
        return self.hub.nodes(self.reader)

    def until_ready(self, names: Iterable[str]) -> None:
        """Wait until these, and no others, are Ready."""
        until(lambda: self.ready() == set(names), guard_seconds=GUARD_SECONDS, every_seconds=0.2, what=self.told)

    def until_fresh(self, names: Iterable[str]) -> None:
        """Wait until each has been written anew, and is Ready then."""
        known = self.look()
        wanted = set(names)

        def are_fresh() -> bool:
            shown = self.look()
            return all(shown[name].is_ready and shown[name].last_seen > known[name].last_seen for name in wanted)

        until(are_fresh, guard_seconds=GUARD_SECONDS, every_seconds=0.2, what=self.told)

    def ready(self) -> set[str]:
        return {name for name, seen in self.look().items() if seen.is_ready}

    def stay(self, names: set[str], seconds: float) -> None:
        """See that these, and no others, are Ready for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.ready() == names, self.told()
            time.sleep(0.2)

    def told(self) -> str:
        shown = [f"{name}: {seen.ready}" for name, seen in self.look().items()]
        return "\n".join([*shown, *(process.text[-1000:] for process in self.agents.values()), self.hub.process.text[-1000:]])

    def do_little(self, seconds: float) -> None:
        """See that no agent uses much of the processor while that time passes: it is the outage itself."""
        before = {name: process.cpu_seconds() for name, process in self.agents.items()}
        time.sleep(seconds)
        for name, process in self.agents.items():
            used = process.cpu_seconds() - before[name]
            assert used < 0.2 * seconds, f"{name} is busy: {used:.1f} s"

    def check(self, *, outages: int | None = None) -> None:
        """See that all agents run, that each told of so many outages, if it is given, and that none met a fault."""
        for name, process in self.agents.items():
            assert process.running, f"{name} has ended: {process.text}"
            lost = [line for line in process.lines if "store.lost" in line]
            assert outages in {None, len(lost)}, process.text
            assert "Traceback" not in process.text
        assert not any("Traceback" in run.text for run in self.hub.runs)


@contextmanager
def measured(name: str, target: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    record(f"hub.{name}", time.monotonic() - began, beside={"target": target})


def test_ten_machines_whose_hub_is_killed_and_whose_token_is_revoked(lan: Lan, tmp_path: Path) -> None:
    place = lan.host("hub")
    hub = Hub(place, tmp_path, lan.address(place))
    hub.start()
    fleet = Members(hub, tmp_path)
    with measured("ten-join", 10):
        fleet.join(*(lan.host(f"m{number}") for number in range(10)))
    everyone = set(fleet.agents)

    fleet.agents.pop("m0").kill()
    with measured("death", TTL_SECONDS):
        until(lambda: fleet.ready() == everyone - {"m0"}, guard_seconds=GUARD_SECONDS, what=fleet.told)
    assert (seen := fleet.look()["m0"].ready) is not None
    assert (seen.status, seen.reason) == ("False", "PeerUnreachable")
    alive = everyone - {"m0", "m1"}

    hub.kill()
    fleet.agents.pop("m1").kill()  # nothing can be told of it now
    fleet.do_little(3 * TTL_SECONDS)
    hub.start()
    with measured("found-dead-once-the-hub-is-back", TTL_SECONDS):
        until(lambda: fleet.ready() <= alive, guard_seconds=GUARD_SECONDS, what=fleet.told)
    fleet.stay(alive, TTL_SECONDS)
    fleet.check(outages=1)

    hub.revoke_all("agent")
    fleet.stay(alive, 1.5 * TTL_SECONDS)  # no verdict can be written, and none is due afterwards
    fleet.give(hub.token())
    with measured("a-new-token-is-found", TTL_SECONDS):
        fleet.until_fresh(alive)
    fleet.check()


@pytest.mark.servers("etcd")
def test_two_hubs_on_a_store_that_is_cut(lan: Lan, tmp_path: Path) -> None:
    """While it is, the hubs say so: no list is empty. Then one hub is taken away for good, which the others make up for."""
    far, *places = (lan.host(name) for name in ("far", "hub1", "hub2"))
    with etcd_server(lan=lan, host=far) as etcd:
        hubs = [Hub(place, tmp_path, lan.address(place), store=f"etcd://{etcd.address}:{etcd.port}") for place in places]
        for hub in hubs:
            hub.start()
        fleet = Members(hubs[0], tmp_path)
        fleet.join(lan.host("m0"), lan.host("m1"))
        fleet.join(lan.host("m2"), url=hubs[1].url(fleet.token_file))
        everyone = set(fleet.agents)
        assert hubs[1].nodes(fleet.reader).keys() == everyone

        far.freeze()
        end = time.monotonic() + 1.5 * TTL_SECONDS
        while time.monotonic() < end:
            answer = hubs[0].get("/api/v1/nodes", fleet.reader)
            assert (answer.code, answer.document["kind"]) == (UNAVAILABLE, "Status"), answer
        far.thaw()
        until(lambda: hubs[0].get("/api/v1/nodes", fleet.reader).code != UNAVAILABLE, guard_seconds=GUARD_SECONDS)
        fleet.stay(everyone, TTL_SECONDS)
        fleet.check(outages=1)

        hubs[1].kill()
        fleet.stay(everyone, 1.5 * TTL_SECONDS)


def test_machines_of_two_networks_are_judged_by_their_own_alone(tmp_path: Path) -> None:
    """Both reach the hub, and neither the other; and both have the same addresses, as private networks do (RFC 1918)."""
    with Lan("10.77.9.0/24") as far, Lan("10.77.1.0/24") as one, Lan("10.77.1.0/24") as two:
        place = far.host("hub")
        hub = Hub(place, tmp_path, far.address(place))
        hub.start()
        fleet = Members(hub, tmp_path)
        for lan, names in ((one, ("a0", "a1")), (two, ("b0", "b1"))):
            hosts = [lan.host(name, default_route=False) for name in names]
            for host in hosts:
                far.attach(host, "wan0", multicast=False)
            fleet.join(*hosts, options=("--interface", "eth0"))
        fleet.stay(set(fleet.agents), 1.5 * TTL_SECONDS)
        fleet.agents.pop("a1").kill()
        fleet.until_ready({"a0", "b0", "b1"})
        shown = fleet.look()
        assert shown["a1"].seen_by == "a0"
        assert shown["b1"].addresses == shown["a1"].addresses
        for name in ("b0", "b1"):
            fleet.agents.pop(name).kill()
        fleet.until_ready({"a0"})
        gone = [seen.ready for name, seen in fleet.look().items() if name.startswith("b")]
        assert [(each.status, each.reason) for each in gone if each] == [("Unknown", "ObserverLost")] * 2
        fleet.check(outages=0)


def test_an_agent_that_may_write_its_own_node_alone(lan: Lan, tmp_path: Path) -> None:
    """It keeps that one fresh, and takes no refusal for an outage."""
    place = lan.host("hub")
    hub = Hub(place, tmp_path, lan.address(place))
    hub.start()
    fleet = Members(hub, tmp_path)
    files = {name: tmp_path / name for name in ("w0", "w1")}
    for name, file in files.items():
        file.write_text(hub.token("--node", name), encoding="utf-8")
        fleet.join(lan.host(name), url=hub.url(file))
    fleet.until_fresh(files)
    fleet.agents.pop("w1").kill()
    fleet.agents["w0"].wait_for("node.not_permitted", guard_seconds=GUARD_SECONDS)
    fleet.until_fresh(["w0"])
    fleet.check(outages=0)
    assert sum("node.not_permitted" in line for line in fleet.agents["w0"].lines) == 1
    assert "store.found" not in fleet.agents["w0"].text
