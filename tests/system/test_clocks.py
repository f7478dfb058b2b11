"""Clocks that are wrong: an agent's, all agents', the reader's; and one that is set while it runs."""

import re
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.lab import Host, Lan, Process, until
from tests.lab.clock import clock
from tests.servers.etcd import etcd_server

pytestmark = [pytest.mark.netns, pytest.mark.servers("faketime")]

TTL_SECONDS = 5.0
REFRESHED_SECONDS = 4.0
"""Time for every Node to be written again: a third of the time to live, and some."""


def column(table: str) -> dict[str, str]:
    """The second cell of each row, by the first."""
    rows = (re.split(" {3,}", line) for line in table.splitlines())
    return {row[0]: row[1] for row in rows}


class Site:
    """Two machines, a and b, and a reader on one etcd."""

    def __init__(self, lan: Lan, url: str) -> None:
        self.a, self.b, self.reader = (lan.host(name) for name in ("a", "b", "reader"))
        self._url = url

    def start(self, host: Host, env: Mapping[str, str] | None = None) -> Process:
        argv = ["k3", "network", "--peer-ttl", f"{TTL_SECONDS:g}s", "--store", self._url]
        return host.start(argv, env=env)

    def states(self, host: Host | None = None, env: Mapping[str, str] | None = None) -> tuple[dict[str, str], str]:
        """What `k3 nodes` says of each machine, and what it says besides."""
        done = (host or self.reader).run(["k3", "nodes", "--no-headers", "--store", self._url], env=env)
        assert done.returncode == 0, done.stderr
        return column(done.stdout), done.stderr


@pytest.fixture
def site(lan: Lan) -> Iterator[Site]:
    far = lan.host("far")
    with etcd_server(lan=lan, host=far) as server:
        yield Site(lan, f"etcd://{server.address}:{server.port}")


READY = {"a": "Ready", "b": "Ready"}
ABSENT = {"a": "Unknown (no observer)", "b": "Unknown (no observer)"}


@pytest.mark.servers("etcd")
@pytest.mark.parametrize(("offset", "word"), [("-1h", "60m behind"), ("+1h", "60m ahead of"), ("+20s", "(20|19|18)s ahead of")])
def test_a_machine_beside_a_wrong_clock_stays_what_it_is(site: Site, offset: str, word: str) -> None:
    runs = [site.start(site.a), site.start(site.b, env=clock(offset))]
    until(lambda: site.states()[0] == READY, guard_seconds=30)
    time.sleep(REFRESHED_SECONDS)
    deadline = time.monotonic() + TTL_SECONDS
    while time.monotonic() < deadline:
        shown, remarks = site.states()
        assert shown == READY
        assert re.search(f"the clock of b is about {word} this machine's", remarks), remarks
        assert site.states(site.b, clock(offset))[0] == READY
    for run in runs:
        run.kill()
    # No clock may keep the dead Ready: neither at once, nor when the time comes round that the fast clock wrote.
    time.sleep(2 * TTL_SECONDS + 1)
    deadline = time.monotonic() + (16 if offset == "+20s" else 1)
    while time.monotonic() < deadline:
        assert site.states()[0] == ABSENT
        time.sleep(0.5)


def test_the_step_that_sets_a_clock_changes_nobodys_state(lan: Lan) -> None:
    """A machine that boots without a clock, a month behind, is set right while two machines keep a list each."""
    pi, other = lan.host("pi"), lan.host("other")
    stepping = clock("+0") | {"FAKETIME_TIMESTAMP_FILE": "/run/clock", "FAKETIME_NO_CACHE": "1"}
    del stepping["FAKETIME"]
    setting = pi.path("/run/clock")
    setting.write_text("-30d\n", encoding="utf-8")
    argv = ["k3", "network", "--peer-ttl", "30s", "--store", "sqlite:///run/k3.db"]
    runs = [pi.start(argv, env=stepping), other.start(argv)]

    def states(host: Host, env: Mapping[str, str] | None = None) -> dict[str, str]:
        done = host.run(["k3", "nodes", "--no-headers", "--store", "sqlite:///run/k3.db"], env=env)
        return column(done.stdout)

    ready = {"pi": "Ready", "other": "Ready"}
    until(lambda: states(pi, stepping) == states(other) == ready, guard_seconds=30)
    for moment in ("+0", "+2h", "-1d", "+0"):
        setting.write_text(f"{moment}\n", encoding="utf-8")
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert states(pi, stepping) == ready, moment
            assert states(other) == ready, (moment, *(run.text[-2000:] for run in runs))
