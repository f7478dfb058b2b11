"""`k3 discovery --once` on a real host: one look at Consul, written or only told, and the end."""

import pytest

from tests.discovery.conftest import MakeFleet
from tests.discovery.fleet import CRITICAL, PASSING, SERVICE
from tests.lab import until

pytestmark = [pytest.mark.netns, pytest.mark.servers("consul"), pytest.mark.slow]


def test_once_says_what_and_why_and_dry_writes_nothing(fleet: MakeFleet) -> None:
    machines = fleet("a")
    looker = machines.lan.host("looker")
    once = ["k3", "discovery", *machines.where, "--once"]
    assert looker.run([*once, "--dry-run"]).stdout == "keep    a   nothing has changed\n"
    machines["a"].kill()
    machines.registry.register("box")
    ill = f"NodeNotReady: check service:{SERVICE}-a is critical"
    until(lambda: ill in looker.run([*once, "--dry-run"]).stdout, guard_seconds=60, every_seconds=0.3, what="it is ill")
    before = machines.revision()
    dry = looker.run([*once, "--dry-run"])
    address = machines.registry.server.address
    assert dry.stdout.splitlines() == [f"update  a     {ill}", f"create  box   Registered: box registered with {address}"]
    assert (dry.returncode, dry.stderr, machines.revision()) == (0, "", before)
    done = looker.run(once)
    assert (done.returncode, done.stdout) == (0, dry.stdout)
    machines.shows("a", CRITICAL)
    machines.shows("box", PASSING)
    assert "looker" not in machines.registry.listed()
    assert "keep    a     nothing has changed" in looker.run(once).stdout


def test_once_without_consul_is_one_line_and_exit_code_4(fleet: MakeFleet) -> None:
    machines = fleet("a")
    machines.registry.server.close()
    done = machines.lan.host("looker").run(["k3", "discovery", *machines.where, "--once", "--dry-run"])
    # On a machine that is overloaded, the store is waited for, and that is said.
    said = [line for line in done.stderr.splitlines() if " store." not in line]
    assert (done.returncode, done.stdout, len(said)) == (4, "", 1), done.stderr
    assert said[0].startswith(f"k3: cannot reach Consul at {machines.registry.server.endpoint} (")
