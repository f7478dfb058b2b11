"""The store goes away while agents run: they wait, say so once, and what it shows is right again when it is back."""

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab import Lan, Process, until
from tests.system.agents import Agent, Fleet, Sight, is_ready, record
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

TTL = timedelta(seconds=5)


def said(agent: Agent, event: str) -> list[str]:
    """The lines of the newest run that log an event."""
    return [line for line in agent.process.lines if f" {event} " in line]


def move(path: Path, there: Path) -> None:
    """A database with what belongs to it, as far as there is any; the database itself last, so that nobody opens half of it."""
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{there}{suffix}")


def wait_lost(machines: Fleet) -> None:
    for agent in machines.agents:
        if agent.process.running:
            agent.process.wait_for("store.lost")


def wait_right(machines: Fleet, since: datetime, *names: str) -> None:
    """Until every agent's store shows these machines Ready, and seen after `since`."""

    def fresh(sight: Sight | None) -> bool:
        return sight is not None and is_ready(sight) and sight.last_seen is not None and sight.last_seen > since

    def right(agent: Agent) -> bool:
        try:
            nodes = agent.nodes()
        except AssertionError:  # looked in the moment in which there was none
            return False
        return all(fresh(nodes.get(name)) for name in names)

    for agent in machines.agents:
        until(lambda agent=agent: right(agent), guard_seconds=40, every_seconds=0.2, what=f"{names} seen by {agent.name}")  # type: ignore[misc]


def is_over(process: Process) -> bool:
    """Whether the last word of the store is that it is there; a refusal that follows silence is told, too."""
    told = [line for line in process.lines if " store.lost " in line or " store.found " in line]
    return not told or " store.found " in told[-1]


def check_calm(machines: Fleet, *names: str, times: int = 1) -> None:
    """All of these run, and none of them has said the same thing over and over, but only as often as it happened."""
    for name in names:
        process = machines[name].process
        assert process.running, process.text[-3000:]
        for event in ("store.lost", "store.found", "store.unavailable", "store.back", "node.write_failed"):
            assert len(said(machines[name], event)) <= times, said(machines[name], event)
        until(lambda process=process: is_over(process), what="the word that it is over")  # type: ignore[misc]
        assert "Traceback" not in process.text


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["one-store"])
def test_its_directory_is_gone_for_longer_than_the_time_to_live(fleet: MakeFleet) -> None:
    """One machine dies meanwhile. Nobody is condemned for the time in which nobody could write."""
    machines = fleet("a", "b", "c")
    a = machines["a"]
    house = a.path.parent
    shelter = house.rename(house.with_name("elsewhere"))
    gone = datetime.now(UTC)
    wait_lost(machines)
    machines["c"].kill()
    died = datetime.now(UTC)
    until(lambda: datetime.now(UTC) - gone > TTL + timedelta(seconds=1), what="the outage has lasted")
    shelter.rename(house)
    returned = datetime.now(UTC)
    verdict = a.watcher.wait_for("c", lambda sight: not sight.view.is_ready, since=returned, guard_seconds=40)
    record("outage_over.to_not_ready", (verdict.at - returned).total_seconds(), beside={"ttl": 5})
    assert verdict.at - returned >= TTL
    assert verdict.ready == ("False", "PeerUnreachable"), "\n".join(each.process.text for each in machines.agents)
    assert verdict.last_seen is not None
    assert verdict.last_seen <= died, "it was not seen after that"
    wait_right(Fleet(machines.others("c"), shared=True), returned, "a", "b")
    assert machines.downs("a", "b") == []
    check_calm(machines, "a", "b")


def test_its_file_is_replaced(fleet: MakeFleet) -> None:
    """Deleted, an empty one is made in its place; then an old copy is put there."""
    machines = fleet("a", "b")
    paths = {agent.path for agent in machines.agents}
    for path in paths:
        move(path, path.with_name("copy.db"))
    deleted = datetime.now(UTC)
    wait_right(machines, deleted, "a", "b")
    for path in paths:
        move(path, path.with_name("newer.db"))
        move(path.with_name("copy.db"), path)
    restored = datetime.now(UTC)
    wait_right(machines, restored, "a", "b")
    for agent in machines.agents:
        assert agent.process.running, agent.process.text[-3000:]
        assert "Traceback" not in agent.process.text


@pytest.mark.parametrize("shared", [True], indirect=True, ids=["one-store"])
def test_another_program_holds_its_lock(fleet: MakeFleet) -> None:
    """For longer than agents wait for it, and than the time to live; who only looks still sees the list."""
    machines = fleet("a", "b")
    a = machines["a"]
    holder = sqlite3.connect(a.path, isolation_level=None)
    with contextlib.closing(holder):
        holder.execute("BEGIN EXCLUSIVE")
        wait_lost(machines)
        began = datetime.now(UTC)
        until(lambda: datetime.now(UTC) - began > TTL, what="the outage has lasted")
        assert set(a.nodes()) == {"a", "b"}
        told = [said(agent, "store.lost")[0] for agent in machines.agents]
        assert all("another process" in line for line in told), told
        holder.execute("ROLLBACK")
    wait_right(machines, datetime.now(UTC), "a", "b")
    assert machines.downs("a", "b") == []
    check_calm(machines, "a", "b")


@pytest.mark.parametrize("shared", [False], indirect=True, ids=["separate-stores"])
def test_its_file_system_becomes_read_only(fleet: MakeFleet) -> None:
    """As after a disk error. Only a is hit; what b knows goes on being right."""
    machines = fleet("a", "b")
    a = machines["a"]
    cover = (
        "mount -t tmpfs cover /run/home && cp /var/lib/k3/k3.db* /run/home/ && mount -o remount,ro /run/home"
        " && mount --bind /run/home /var/lib/k3"
    )
    done = a.host.run(["sh", "-c", cover])
    assert done.returncode == 0, done.stderr
    began = datetime.now(UTC)
    a.process.wait_for("store.")
    until(lambda: datetime.now(UTC) - began > TTL, what="the outage has lasted")
    assert a.process.running, a.process.text[-3000:]
    done = a.host.run(["umount", "--lazy", "/var/lib/k3"])
    assert done.returncode == 0, done.stderr
    wait_right(machines, datetime.now(UTC), "a", "b")
    assert machines.downs("a", "b") == []
    check_calm(machines, "a", times=3)  # another file is there, it cannot be written, another file is there again


def test_its_disk_is_full(lan: Lan) -> None:
    """The agent waits and says so once; who only looks still sees the list, and a command that writes says why it cannot."""
    host, url = lan.host("a"), "sqlite:///run/small/k3.db"
    done = host.run(["sh", "-c", "mkdir /run/small && mount -t tmpfs -o size=2m small /run/small"])
    assert done.returncode == 0, done.stderr
    agent = host.start(["k3", "network", "--peer-ttl", "5s", "--store", url])
    agent.wait_for("reason=Registered")
    host.run(["sh", "-c", "cat /dev/zero > /run/small/ballast"])
    agent.wait_for("store.lost")
    began = datetime.now(UTC)
    until(lambda: datetime.now(UTC) - began > TTL, what="the outage has lasted")
    shown = host.run(["k3", "nodes", "--no-headers", "--store", url])
    assert (shown.returncode, shown.stdout.split()[0]) == (0, "a"), shown.stderr
    refused = host.run(["k3", "delete", "node", "a", "--store", url])
    assert refused.returncode == 4, refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "full" in refused.stderr
    assert agent.running, agent.text[-3000:]
    assert agent.text.count(" store.lost ") == 1
    assert host.run(["rm", "/run/small/ballast"]).returncode == 0
    agent.wait_for("store.found")
    until(lambda: host.run(["k3", "nodes", "--no-headers", "--store", url]).stdout.split()[1:2] == ["Ready"], what="Ready")
    assert "Traceback" not in agent.text
    assert agent.stop() == 0
