"""The first minute with k3, as the README tells it: one command on each machine, no flags, no configuration."""

import time

import pytest

from tests.lab import Host, Lan, Process, until
from tests.system.agents import record

pytestmark = [pytest.mark.netns, pytest.mark.slow]

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
HOME = {"HOME": "/run/nobody"}


def first_run(host: Host) -> Process:
    """`k3 network` in an empty directory of a machine that k3 never ran on."""
    assert host.run(["sh", "-ec", "mkdir /run/clean; test ! -e /var/lib/k3"]).returncode == 0
    began = time.monotonic()
    process = host.start(["k3", "network"], cwd="/run/clean")
    process.wait_for("Add a second one")
    record("first-run", time.monotonic() - began)
    return process


def table(process: Process) -> dict[str, list[str]]:
    """The rows of the greeting's table by name, after its head has been seen."""
    head = process.wait_for(lambda line: line.startswith("NAME"))
    assert head.split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "SOURCE", "LAST", "SEEN", "INTERNAL-IP"]
    lines = process.lines[process.lines.index(head) + 1 :]
    rows = lines[: lines.index("")]
    return {row.split()[0]: row.split() for row in rows}


def listed(host: Host) -> dict[str, str]:
    """Name and status as `k3 nodes`, without any flag, prints them on this host."""
    done = host.run(["k3", "nodes", "--no-headers"], guard_seconds=60)
    assert done.returncode == 0, done.stderr
    return {row.split()[0]: row.split()[1] for row in done.stdout.splitlines()}


def test_two_machines_one_command_each(lan: Lan) -> None:
    alpha, beta = lan.host("alpha"), lan.host("beta")
    first = first_run(alpha)
    assert table(first)["alpha"][1] == "Ready"
    assert "sqlite:///var/lib/k3/k3.db" in first.wait_for("This machine is on the list")
    assert listed(alpha) == {"alpha": "Ready"}
    assert alpha.run(["ls", "-A", "/run/clean"]).stdout == ""

    second = first_run(beta)
    assert "sqlite:///var/lib/k3/k3.db" in second.wait_for("This machine is on the list")
    both = {"alpha": "Ready", "beta": "Ready"}
    for host in (alpha, beta):
        until(lambda h=host: listed(h) == both, every_seconds=0.2, what=f"both machines in {host.name}'s own file")  # type: ignore[misc]
    files = [host.path("/var/lib/k3/k3.db").stat() for host in (alpha, beta)]
    assert (files[0].st_dev, files[0].st_ino) != (files[1].st_dev, files[1].st_ino)

    assert second.stop() == 0
    until(lambda: listed(alpha)["beta"] == "NotReady", every_seconds=0.2, what="alpha shows that beta left")
    assert listed(alpha)["alpha"] == "Ready"
    assert first.stop() == 0
    for process in (first, second):
        assert "Traceback" not in process.text


def test_the_second_machine_is_on_the_firsts_list_as_the_first_is_on_its_own(lan: Lan) -> None:
    """Addresses, port, labels: the same machine looks the same from both sides."""
    alpha, beta = lan.host("alpha"), lan.host("beta")
    first_run(alpha)
    first_run(beta)
    for host in (alpha, beta):
        until(lambda h=host: len(listed(h)) == 2, every_seconds=0.2)  # type: ignore[misc]
    for name, address in (("alpha", lan.address(alpha)), ("beta", lan.address(beta))):
        rows = [host.run(["k3", "nodes", name, "-o", "wide", "--no-headers"]).stdout.split() for host in (alpha, beta)]
        for row in rows:
            assert (row[0], row[1]) == (name, "Ready")
            assert address in row


def test_a_reader_before_the_first_run_says_what_to_do(lan: Lan) -> None:
    done = lan.bare_host("fresh").run(["k3", "nodes"])
    assert done.returncode == 0
    assert "k3 network" in done.stdout + done.stderr


def test_without_being_root(lan: Lan) -> None:
    """A user's own file, the same network."""
    alpha, beta = lan.host("alpha"), lan.host("beta")
    assert alpha.run(["install", "-d", "-o", "nobody", HOME["HOME"]]).returncode == 0
    mine = alpha.start([*NOBODY, "k3", "network"], env=HOME)
    assert "sqlite:///run/nobody/.local/state/k3/k3.db" in mine.wait_for("This machine is on the list")
    first_run(beta)

    def seen_by_nobody() -> bool:
        shown = alpha.run([*NOBODY, "k3", "nodes", "--no-headers"], env=HOME).stdout
        return {row.split()[0] for row in shown.splitlines()} == {"alpha", "beta"}

    until(seen_by_nobody, every_seconds=0.2)
    until(lambda: listed(beta) == {"alpha": "Ready", "beta": "Ready"}, every_seconds=0.2)
    assert mine.stop() == 0
