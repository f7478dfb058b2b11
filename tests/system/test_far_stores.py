"""Agents on several machines share a server: etcd or MariaDB on a host of its own, and a reader on yet another one."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab import Host, Lan, Process
from tests.servers.etcd import etcd_server
from tests.servers.mariadb import Mariadb, mariadb_server
from tests.servers.server import Server
from tests.system.agents import Sight, Watcher, is_ready, record

TTL = timedelta(seconds=5)


@contextlib.contextmanager
def on_etcd(lan: Lan, host: Host) -> Iterator[tuple[Server, str]]:
    with etcd_server(lan=lan, host=host) as server:
        yield server, f"etcd://{server.address}:{server.port}"


@contextlib.contextmanager
def on_mariadb(lan: Lan, host: Host) -> Iterator[tuple[Server, str]]:
    with mariadb_server(lan=lan, host=host) as server:
        assert isinstance(server, Mariadb)
        yield server, f"mysql://{server.user}@{server.address}:{server.port}/{server.database}"


Place = Callable[[Lan, Host], AbstractContextManager[tuple[Server, str]]]
PLACES = [
    pytest.param(on_etcd, marks=pytest.mark.servers("etcd"), id="etcd"),
    pytest.param(on_mariadb, marks=pytest.mark.servers("mariadb"), id="mariadb"),
]


def password_of(url: str) -> str:
    """That of the user in the URL; empty: there is none."""
    if url.startswith("mysql"):
        return Mariadb.password
    return "k3-secret" if "@" in url else ""  # as `add_users` sets it


def environment(url: str) -> dict[str, str]:
    """Of a process that opens the store."""
    return {"K3_STORE_PASSWORD": password} if (password := password_of(url)) else {}


def start(host: Host, url: str) -> Process:
    return host.start(["k3", "network", "--peer-ttl", "5s", "--store", url], env=environment(url))


def file_of(reader: Host, url: str) -> list[str]:
    """How the reader opens the store: the password stands in a file, as it should."""
    if not (password := password_of(url)):
        return ["--store", url]
    path = reader.path("/run/k3.yaml")
    kind = url.partition(":")[0]
    path.write_text(f"storage:\n  type: {kind}\n  {kind}: {{password: {password}}}\n", encoding="utf-8")
    return ["--config", "/run/k3.yaml", "--store", url]


def refreshed(since: datetime) -> Callable[[Sight], bool]:
    return lambda sight: is_ready(sight) and sight.last_seen is not None and sight.last_seen > since


@pytest.mark.netns
@pytest.mark.parametrize("place", PLACES)
def test_machines_on_a_server(lan: Lan, place: Place) -> None:
    """Join, death, return; then the server itself dies for longer than the time to live, and nobody is blamed for it."""
    far, a, b, reader = (lan.host(name) for name in ("far", "a", "b", "reader"))
    with place(lan, far) as (server, url):
        agents = {host.name: start(host, url) for host in (a, b)}
        for process in agents.values():
            process.wait_for("This machine is on the list", guard_seconds=30)
        with Watcher(reader, *file_of(reader, url)) as watcher:
            for name in agents:
                shown = watcher.wait_for(name, is_ready)
                assert shown.view.addresses == (lan.address(a if name == "a" else b),)
            died = datetime.now(UTC)
            agents["b"].kill()
            watcher.wait_for("b", lambda sight: sight.reachable == "False", since=died, guard_seconds=20)
            verdict = watcher.wait_for("b", lambda sight: not sight.view.is_ready, since=died, guard_seconds=35)
            assert verdict.last_seen is not None
            assert verdict.at - verdict.last_seen >= TTL
            agents["b"] = start(b, url)
            back = watcher.wait_for("b", is_ready, since=verdict.at)

            server.close()
            time.sleep(TTL.total_seconds() + 3)
            server.start()
            returned = datetime.now(UTC)
            for name in agents:
                sight = watcher.wait_for(name, refreshed(returned), since=returned, guard_seconds=25)
                record(f"server-returned.{server.name}", (sight.at - returned).total_seconds(), beside={"target": 5})
            assert all(is_ready(sight) for name in agents for sight in watcher.of(name, since=back.at))
        for process in agents.values():
            assert process.text.count("store.lost") == 1, process.text
            assert "Traceback" not in process.text
            assert Mariadb.password not in process.text
            assert process.stop() == 0
