"""A mirror whose clock is wrong: what it shows of other machines is as true as with a right one."""

import pytest

from tests.discovery.conftest import MakeFleet
from tests.discovery.fleet import PASSING
from tests.lab.clock import clock

pytestmark = [pytest.mark.netns, pytest.mark.servers("consul", "etcd", "faketime"), pytest.mark.slow]


@pytest.mark.parametrize(("offset", "said"), [("-1h", "about 60m behind"), ("+1h", "about 60m ahead of")])
def test_no_machine_is_absent_because_the_mirrors_clock_is_wrong(fleet: MakeFleet, offset: str, said: str) -> None:
    machines = fleet(etcd=True)
    mirror, other = machines.host("a"), machines.host("b")
    mirror.start(env=clock(offset))
    mirror.process.wait_for(" lease.won ")
    other.start()
    for name in ("a", "b"):
        machines.shows(name, PASSING)
    done = machines.run("nodes", "--no-headers")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["a", "Ready"], ["b", "Ready"]], done
    assert f"the clock of a is {said} this machine's" in done.stderr
