"""`k3 network` and `k3 discovery` on one host, in two processes: they share /healthz, whoever comes first and goes first."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.discovery.conftest import MakeFleet
from tests.discovery.fleet import PASSING, PORT, SERVICE, STOPPED, Fleet, Member
from tests.lab import Host, Process, until
from tests.system.agents import Sight, record

pytestmark = [pytest.mark.netns, pytest.mark.servers("consul"), pytest.mark.slow]

GAP_SECONDS = 2.0
"""How long nobody may answer while the port changes hands."""
CHECK_SECONDS = 1.0
"""Consul's interval here."""
HANG = 5
"""A guard is so many times its target."""
JOINED = "This machine is on the list"


class Pair:
    """A host and its two agents."""

    def __init__(self, machines: Fleet, name: str) -> None:
        self.machines = machines
        self.member: Member = machines.host(name)
        self.networks: list[Process] = []

    @property
    def host(self) -> Host:
        return self.member.host

    @property
    def network(self) -> Process:
        """The newest run of `k3 network`."""
        return self.networks[-1]

    @property
    def discovery(self) -> Process:
        return self.member.process

    def start(self, which: str) -> Process:
        """`n`: k3 network; `d`: k3 discovery."""
        if which == "d":
            return self.member.start()
        self.networks.append(self.host.start(["k3", "network", "--peer-ttl", "5s", "--store", self.machines.store]))
        return self.network

    def stop(self, which: str) -> datetime:
        """SIGTERM, and wait for the end, which has to be clean. Returns when (UTC, taken before)."""
        at = datetime.now(UTC)
        process = self.network if which == "n" else self.discovery
        assert process.stop() == 0, process.text[-3000:]
        assert "Traceback" not in process.text
        return at


@dataclass(frozen=True)
class Look:
    """What one look at a machine has shown."""

    at: float
    answers: bool
    status: str
    """Of its check in Consul."""


class Lookout:
    """Asks each machine's /healthz from the hub, as Consul does, and Consul how it finds them; again and again."""

    def __init__(self, machines: Fleet, addresses: Mapping[str, str]) -> None:
        self._machines = machines
        self._addresses = addresses
        self._end = threading.Event()
        self.looks: dict[str, list[Look]] = {name: [] for name in addresses}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look until the end of the block, and at least once before and after what is in it."""
        thread = threading.Thread(target=lambda: self._machines.hub.call(self._watch))
        thread.start()
        try:
            self._wait_for_look()
            yield
            self._wait_for_look()
        finally:
            self._end.set()
            thread.join()

    def longest(self, name: str, is_bad: Callable[[Look], bool]) -> float:
        """The longest time, in seconds, from a bad look to the next one that was not bad, or to the last."""
        longest, since = 0.0, None
        for look in self.looks[name]:
            if since is None and is_bad(look):
                since = look.at
            if since is not None:
                longest = max(longest, look.at - since)
            if not is_bad(look):
                since = None
        return longest

    def _wait_for_look(self) -> None:
        before = {name: len(looks) for name, looks in self.looks.items()}
        until(lambda: all(len(looks) > before[name] + 1 for name, looks in self.looks.items()), what="a look at everybody")

    def _watch(self) -> None:
        server = self._machines.registry.server
        while not self._end.wait(0.05):
            checks = json.loads(_get(server.address, server.port, f"/v1/health/checks/{SERVICE}") or "[]")
            found = {each["ServiceID"]: str(each["Status"]) for each in checks}
            for name, address in self._addresses.items():
                answers = _get(address, PORT, "/healthz") == "ok"
                self.looks[name].append(Look(time.monotonic(), answers, found.get(f"{SERVICE}-{name}", "")))


def _get(address: str, port: int, path: str) -> str:
    """The body of an HTTP 200, or nothing."""
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == http.HTTPStatus.OK else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def owner(sight: Sight | None) -> str:
    """Who made the Node and manages it."""
    return (sight.view.owner or "nobody") if sight else "none"


def test_healthz_is_shared_in_any_order_of_start_and_of_stop(fleet: MakeFleet) -> None:
    """Four hosts at once. The first letter of a name says who comes first, the second who goes first."""
    machines = fleet()
    pairs = {name: Pair(machines, name) for name in ("nn", "nd", "dn", "dd")}
    for name, pair in pairs.items():
        pair.start(name[0])
    for name, pair in pairs.items():
        (pair.network if name[0] == "n" else pair.discovery).wait_for(JOINED)
        second = pair.start("d" if name[0] == "n" else "n")
        second.wait_for(" health.shared ")
    until(lambda: machines.registry.listed() == {*pairs}, what="Consul lists all")
    for name in pairs:
        machines.watcher.wait_for(name, lambda sight: sight.view.is_ready)
    expected = {name: "network" if name[0] == "n" else "discovery" for name in pairs}
    assert {name: owner(machines.watcher.last(name)) for name in pairs} == expected, "whoever made a Node keeps it"
    check_stop(machines, pairs)


def check_stop(machines: Fleet, pairs: dict[str, Pair]) -> None:
    addresses = {name: pair.member.address for name, pair in pairs.items()}
    lookout, began = Lookout(machines, addresses), datetime.now(UTC)
    with lookout.watching():
        for name, pair in pairs.items():
            pair.stop(name[1])
        pairs["nn"].discovery.wait_for(" health.took_over ")
        pairs["dd"].network.wait_for(" health.took_over ")
        until(lambda: machines.registry.listed() == {"nn", "dn"}, what="Consul lists those that stay")
        back = machines.watcher.wait_for("nn", lambda sight: sight.view.is_ready, since=began, guard_seconds=60)
        until(lambda: lookout.looks["nn"][-1].status == "passing", what="Consul finds it well")
    for name in pairs:
        gap = lookout.longest(name, lambda look: not look.answers)
        ill = lookout.longest(name, lambda look: look.status == "critical")
        record(f"discovery.beside_network.{name}.healthz_gap", gap, beside={"critical": ill, "check_interval": CHECK_SECONDS})
        assert gap == 0 or name[0] == name[1], "only a change of hands may be noticed"
        assert gap < HANG * GAP_SECONDS
        assert ill < HANG * (CHECK_SECONDS + GAP_SECONDS)
        assert lookout.looks[name][-1].answers
    check_nodes(machines, began, back)


def check_nodes(machines: Fleet, began: datetime, back: Sight) -> None:
    """What went in order is down, what nobody's Node depended on is nobody's news."""
    for name in ("nd", "dn"):
        assert machines.downs(name, since=began) == [], "who left had not made this Node"
    down = machines.watcher.last("dd")
    assert down is not None
    assert down.ready == STOPPED, "its Node was discovery's"
    assert owner(back) == "network"
    assert back.ready == ("True", "PeerAlive"), "the machine answers on, and its peers say so"
    assert STOPPED in [sight.ready for sight in machines.watcher.of("nn", since=began)]


def beside(fleet: MakeFleet) -> tuple[Fleet, Pair, Pair]:
    """Two hosts with `k3 network`, and on the first `k3 discovery` beside it, which came second."""
    machines = fleet()
    x, y = Pair(machines, "x"), Pair(machines, "y")
    for pair in (x, y):
        pair.start("n").wait_for(JOINED)
    x.start("d").wait_for(" health.shared ")
    for name in ("x", "y"):
        machines.watcher.wait_for(name, lambda sight: sight.ready == ("True", "PeerAlive"))
    return machines, x, y


@pytest.mark.parametrize("restarts", [True, False], ids=["restarted", "stopped"])
def test_discovery_that_holds_the_port_costs_no_more_writes(fleet: MakeFleet, restarts: bool) -> None:
    """`k3 network` is restarted, say for an upgrade, and finds the port taken over; or it stays away. y is for comparison."""
    machines, x, _y = beside(fleet)
    x.stop("n")
    x.discovery.wait_for(" health.took_over ")
    if restarts:
        x.start("n").wait_for(" health.shared ")
    began = datetime.now(UTC)
    machines.watcher.wait_for("x", lambda sight: sight.view.is_ready, since=began)
    since = datetime.now(UTC)
    until(lambda: len(machines.watcher.of("y", since=since)) >= 2, what="y is refreshed twice")
    assert len(machines.watcher.of("x", since=since)) <= 4


def test_a_machine_whose_network_agent_has_ended_is_no_observer(fleet: MakeFleet) -> None:
    """Ready it is, since `k3 discovery` answers there; but nobody on it looks after others."""
    machines, x, _y = beside(fleet)
    stopped = x.stop("n")
    seen = machines.watcher.wait_for("x", lambda sight: sight.view.is_ready, since=stopped)
    assert "k3.network/agent" not in seen.manifest["metadata"]["annotations"]
    assert machines.watcher.of("x", since=stopped)[0].ready != PASSING
