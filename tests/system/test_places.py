"""Two sites behind the same model of router, on one store: same prefix, same addresses, and no way from one to the other."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab import Host, Lan, Process
from tests.servers.etcd import etcd_server
from tests.system.agents import Sight, Watcher, is_ready

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.servers("etcd")]

TTL = timedelta(seconds=5)


def refreshed(since: datetime) -> Callable[[Sight], bool]:
    return lambda sight: is_ready(sight) and sight.last_seen is not None and sight.last_seen > since


def test_two_sites_with_one_prefix_on_one_etcd(lan: Lan) -> None:
    """Nobody is blamed for being elsewhere; who dies is seen by its own site, and the last one of a site is Unknown."""
    with Lan() as site, Lan("10.90.0.0/24") as way, way.host("far") as far, etcd_server(lan=way, host=far) as server:
        hosts = {"a": lan.host("a"), "b": site.host("b"), "c": site.host("c")}
        assert lan.address(hosts["a"]) == site.address(hosts["b"])
        for host in hosts.values():
            way.attach(host, "eth1", multicast=False, default_route=False)
        url = f"etcd://{server.address}:{server.port}"
        agents = {name: _start(host, url) for name, host in hosts.items()}
        for process in agents.values():
            process.wait_for("This machine is on the list", guard_seconds=30)
        with Watcher(far, "--store", url) as watcher:
            for name in hosts:
                watcher.wait_for(name, is_ready)
            calm = datetime.now(UTC) + TTL + TTL / 3
            for name in hosts:
                watcher.wait_for(name, refreshed(calm), guard_seconds=60)
            bad = [(s.at, s.name, s.ready, s.reachable) for s in watcher.sights if not is_ready(s)]
            assert not bad

            died = datetime.now(UTC)
            agents["c"].kill()
            seen = watcher.wait_for("c", lambda sight: not sight.view.is_ready, since=died, guard_seconds=35)
            assert seen.ready == ("False", "PeerUnreachable")
            died = datetime.now(UTC)
            agents["b"].kill()
            lost = watcher.wait_for("b", lambda sight: not sight.view.is_ready, since=died, guard_seconds=45)
            assert lost.ready == ("Unknown", "ObserverLost")
            assert lost.last_seen is not None
            assert lost.at - lost.last_seen >= TTL + TTL / 3
            assert "firewall" not in lost.condition("Ready")["message"]
            assert all(is_ready(sight) for sight in watcher.of("a"))
        assert "peer.suspected" not in agents["a"].text
        assert agents["a"].stop() == 0


def _start(host: Host, url: str) -> Process:
    return host.start(["k3", "network", "--peer-ttl", "5s", "--store", url])
