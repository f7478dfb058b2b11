"""A fleet that ran the program of the specification moves to k3: stop the old, start the new, machine by machine."""

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lab import Host, Lan, Process, until
from tests.servers.etcd import etcd_server
from tests.system import original
from tests.system.agents import Sight, Watcher, is_ready

pytestmark = [pytest.mark.netns, pytest.mark.servers("etcd"), pytest.mark.slow]

OLD = str(Path(original.__file__))
LIST = "This machine is on the list"
TOLD = "node.overwritten"


class Fleet:
    """Hosts on one etcd, each with the old program, with k3, or with neither."""

    def __init__(self, lan: Lan, etcd: str) -> None:
        self.lan = lan
        self.etcd = etcd
        self.url = f"etcd://{etcd}"

    def old(self, host: Host) -> Process:
        process = host.start([sys.executable, OLD, host.name, self.etcd])
        process.wait_for("ready")
        return process

    def new(self, host: Host, *options: str) -> Process:
        argv = ["k3", "network", "--peer-ttl", "5s", "--log-level", "debug", "--store", self.url, *options]
        return host.start(argv)

    def put(self, host: Host, name: str, address: str, *, status: str, reason: str) -> None:
        """A Node as the old program left it, days ago."""
        node = original.whole_node(name, address, 7946, "4711", status=status, reason=reason)
        node["metadata"]["annotations"]["k3.network/lastSeen"] = "2026-11-17T08:00:00Z"
        host.call(lambda: original.put(self.etcd, node))


@pytest.fixture
def fleet(lan: Lan) -> Iterator[Fleet]:
    with etcd_server(lan=lan, host=lan.host("far")) as server:
        yield Fleet(lan, f"{server.address}:{server.port}")


def owned(sight: Sight) -> bool:
    """Ready, and k3's own words on it."""
    return is_ready(sight) and bool(sight.view.id) and bool(sight.view.agent)


def test_nodes_that_were_left_behind(lan: Lan, fleet: Fleet) -> None:
    """One lives and runs k3 now, one is dead, and one is a kubelet's by now though the old label is still there."""
    old1, reader = lan.host("old1"), lan.host("reader")
    fleet.put(reader, "old1", lan.address(old1), status="False", reason="PeerExpired")
    fleet.put(reader, "old2", "10.77.1.99", status="True", reason="LANDiscovery")
    fleet.put(reader, "real", "10.77.1.98", status="True", reason="KubeletReady")
    process = fleet.new(old1, "--node-name", "old1")
    with Watcher(reader, "--store", fleet.url) as watcher:
        assert watcher.wait_for("old1", owned).ready == ("True", "SelfRegistered")
        dead = watcher.wait_for("old2", lambda sight: not sight.view.is_ready)
        assert dead.ready in {("False", "PeerUnreachable"), ("Unknown", "ObserverLost")}
        assert process.wait_for(LIST)
        assert "node.not_ours node=old" not in process.text
        assert watcher.wait_for("real", lambda sight: True).ready == ("True", "KubeletReady")
        assert len(watcher.of("real")) == 1, "a kubelet's Node was written"


def answered(host: Host) -> int:
    """How many probes of an agent had an answer; only one other machine is there."""
    told = host.fetch("http://127.0.0.1:7946/metrics")
    found = re.search(r'^k3_probes_total\{outcome="answered"\} (\d+)$', told, re.MULTILINE)
    assert found
    return int(found[1])


def test_machine_by_machine(lan: Lan, fleet: Fleet) -> None:
    """While the old program still runs somewhere it overwrites everything: told once, not fought, and nobody is lost."""
    a, b, reader = (lan.host(name) for name in ("a", "b", "reader"))
    before = {host.name: fleet.old(host) for host in (a, b)}
    with Watcher(reader, "--store", fleet.url) as watcher:
        for name in "ab":
            watcher.wait_for(name, lambda sight: sight.ready[1] == "PeerAlive")
        before["a"].kill()
        started = datetime.now(UTC)
        first = fleet.new(a)
        first.wait_for(TOLD)
        watcher.wait_for("a", owned, since=started)
        mixed = datetime.now(UTC)
        until(lambda: len(watcher.of("a", since=mixed)) >= 10, what="ten writes by the old program")
        written = [bool(sight.view.id) for sight in watcher.of("a", since=mixed)]
        assert written.count(True) <= written.count(False), "k3 fights"
        assert not [sight for sight in watcher.of("a", since=mixed) if not sight.view.is_ready]
        before["b"].kill()
        second = fleet.new(b)
        for name in "ab":
            watcher.wait_for(name, owned, since=mixed)
        # Of a machine that it has not reached itself an agent says Unknown.
        before_this = answered(a)
        until(lambda: answered(a) > before_this, what="a's probe of the new b")
        settled = datetime.now(UTC)
        second.kill()
        watcher.wait_for("b", lambda sight: sight.ready == ("False", "PeerUnreachable"), since=settled)
        until(lambda: owned(watcher.of("a")[-1]))
    assert first.text.count(TOLD) == 1
    assert "node.not_ours" not in first.text + second.text
    assert "stop the one that k3 replaces" in first.text
