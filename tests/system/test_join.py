"""A machine joins: what its Node says, and that nobody calls it Ready before it has answered."""

import json
import re
from datetime import UTC, datetime

import pytest

from tests.lab import Lan, until
from tests.system.agents import Agent, is_ready, record
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

INFO = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")], ids=["N=2", "N=3"])
def test_its_node_tells_the_truth_in_every_view(fleet: MakeFleet, lan: Lan, names: tuple[str, ...]) -> None:
    """The newcomer listens on a port of its own choosing, so that a port taken for granted would show."""
    machines = fleet(*names, start=False)
    newcomer, others = machines[names[-1]], machines.others(names[-1])
    for agent in others:
        agent.watch()
        agent.start()
    for agent in others:
        until(lambda agent=agent: all(is_ready(agent.watcher.last(each.name)) for each in others))  # type: ignore[misc]
    began = datetime.now(UTC)
    newcomer.start("--listen", ":0")
    newcomer.process.wait_for("mdns.interfaces")
    up = datetime.now(UTC)
    for agent in others:
        sight = agent.watcher.wait_for(newcomer.name, is_ready)
        beside = {"started": (up - began).total_seconds()}
        record(f"join.start_to_ready.N={len(names)}", (sight.at - began).total_seconds(), beside=beside)
    machines.wait_ready()
    assert machines.downs(*names) == []
    for agent in others:
        check_node(agent, newcomer, lan, began)


def check_node(reader: Agent, subject: Agent, lan: Lan, began: datetime) -> None:
    sight = reader.nodes()[subject.name]
    address = lan.address(subject.host)
    metadata, status = sight.manifest["metadata"], sight.manifest["status"]
    notes = {key.removeprefix("k3.network/"): text for key, text in metadata["annotations"].items()}
    info = json.loads(reader.host.python(INFO, f"http://{address}:{notes['port']}/info"))
    assert (info["node"], info["pid"], str(info["port"])) == (subject.name, subject.process.pid, notes["port"])
    assert info["port"] != 7946
    assert info["addrs"] == [address]
    assert status["addresses"] == [
        {"type": "Hostname", "address": subject.name},
        {"type": "InternalIP", "address": address},
    ]
    assert metadata["labels"] == {
        "k3.network/managed": "true",
        "k3.network/discovered": "true",
        "kubernetes.io/hostname": subject.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": info["arch"],
    }
    assert (notes["pid"], notes["id"], notes["peer-ttl"]) == (str(subject.process.pid), info["id"], "5s")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", notes["lastSeen"])
    assert sight.last_seen is not None
    assert began < sight.last_seen <= sight.at
    assert sight.ready in {("True", "PeerAlive"), ("True", "SelfRegistered")}
    since = datetime.fromisoformat(sight.condition("Ready")["lastTransitionTime"])
    assert began.replace(microsecond=0) <= since <= sight.at
    assert not status.get("nodeInfo", {}).get("kubeletVersion")


def test_a_machine_that_never_answers_is_shown_and_never_ready(fleet: MakeFleet, lan: Lan, shared: bool) -> None:
    """On one store it would otherwise register itself, which only proves that it reaches itself."""
    machines = fleet("a", "b", "c", start=False)
    c, others = machines["c"], machines.others("c")
    for agent in others:
        agent.watch()
        agent.start()
    lan.firewall(c.host, 7946)
    c.start(*(["--register-self=false"] if shared else []))
    uids = {}
    for agent in others:
        first = agent.watcher.wait_for("c", lambda _: True)
        uids[agent.name] = first.manifest["metadata"]["uid"]
        assert first.ready == ("False", "PeerUnreachable")
        where = f"{lan.address(c.host)}:7946"
        assert first.condition("Ready")["message"] == f"announced, but {where} never answered: firewall?"
        assert first.last_seen is None
        assert first.manifest["metadata"]["labels"]["k3.network/managed"] == "true"
    for agent in others:  # for longer than a time to live, with probes in between
        aged = max(sight.at for sight in agent.watcher.of("c")).timestamp() + 6
        agent.watcher.wait_for("a", lambda sight, aged=aged: sight.last_seen and sight.last_seen.timestamp() > aged)  # type: ignore[misc]
        assert not [sight for sight in agent.watcher.of("c") if sight.view.is_ready]
    opened = datetime.now(UTC)
    lan.firewall(c.host)
    for agent in others:
        proven = agent.watcher.wait_for("c", is_ready, since=opened)
        record("firewall_opened.to_ready", (proven.at - opened).total_seconds(), beside={"ttl": 5})
        assert proven.last_seen is not None
        assert proven.last_seen > opened
        assert proven.manifest["metadata"]["uid"] == uids[agent.name]
    assert machines.downs("a", "b") == []


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["one-store"])
def test_who_reaches_only_itself_does_not_overrule_the_others(fleet: MakeFleet, lan: Lan) -> None:
    machines = fleet("a", "b", "c", start=False)
    c, a = machines["c"], machines["a"]
    lan.firewall(c.host, 7946)
    machines["a"].watch()
    for agent in machines.agents:
        agent.start()
    verdict = a.watcher.wait_for("c", lambda sight: not sight.view.is_ready)
    assert verdict.reachable == "False"
    later = verdict.at.timestamp() + 6
    a.watcher.wait_for("b", lambda sight: sight.last_seen and sight.last_seen.timestamp() > later)
    assert not [sight for sight in a.watcher.of("c", since=verdict.at) if sight.view.is_ready]
    opened = datetime.now(UTC)
    lan.firewall(c.host)
    proven = a.watcher.wait_for("c", is_ready, since=opened)
    assert proven.view.seen_by in {"a", "b"}
