"""A firewall in the way of multicast or of TCP: what is said, where, and that nothing is promised meanwhile."""

import time

import pytest

from k3.network.lookout import FIREWALLS_UDP, FIREWALLS_UDP_OUT
from tests.lab import Host, until
from tests.system.agents import is_ready
from tests.system.conftest import MakeFleet
from tests.system.test_links import ON_THE_LIST, SEPARATE_STORES, no_traceback

pytestmark = [pytest.mark.netns, pytest.mark.slow, SEPARATE_STORES]

PROMISE = "shows up here within a second"


def rule(host: Host, hook: str, what: str) -> None:
    host.namespace.nft(f"table inet f {{ chain c {{ type filter hook {hook} priority 0\n {what}\n }}\n }}\n")


def open_again(host: Host) -> None:
    host.namespace.nft("delete table inet f\n")


@pytest.mark.parametrize(
    ("hook", "what", "said"),
    [
        ("output", "udp dport 5353 drop", "multicast (UDP 5353) cannot be sent on eth0 (Operation not permitted)"),
        ("output", "udp dport 5353 reject", "multicast (UDP 5353) cannot be sent on eth0 (Operation not permitted)"),
        ("input", "udp dport 5353 drop", "multicast (UDP 5353) does not come in on eth0"),
        (
            "input",
            "iif lo accept; ct state established,related accept; tcp dport 7946 accept; drop",
            "multicast (UDP 5353) does not come in on eth0",
        ),
    ],
    ids=["out-drop", "out-reject", "in-drop", "in-default-drop"],
)
def test_blocked_multicast_is_said_with_what_to_do_and_nothing_is_promised(
    fleet: MakeFleet, hook: str, what: str, said: str
) -> None:
    machines = fleet("a", "b", start=False)
    a, b = machines.agents
    rule(a.host, hook, what)
    began = time.monotonic()
    a.start().wait_for("Other machines cannot be found from here")
    assert time.monotonic() - began < 25, "five times what it may take"
    a.process.wait_for(ON_THE_LIST)
    text = a.process.text
    assert said in text
    remedies = FIREWALLS_UDP_OUT if hook == "output" else FIREWALLS_UDP
    assert all(command in text for command in remedies.values())
    assert PROMISE not in text
    assert text.count("WARN multicast.blocked") == 1
    b.start().wait_for(PROMISE)
    # Opened while they run, it heals by itself and at once, not at the next question in a minute.
    open_again(a.host)
    a.process.wait_for("multicast.open", guard_seconds=60)
    for agent, other in ((a, "b"), (b, "a")):
        agent.watcher.wait_for(other, is_ready)
    no_traceback(machines.agents)


def test_a_firewall_that_is_loaded_later_is_noticed_on_the_next_change(fleet: MakeFleet) -> None:
    (a,) = fleet("a", start=False).agents
    a.start().wait_for(PROMISE)
    rule(a.host, "input", "udp dport 5353 drop")
    a.host.ip("address add 10.77.9.1/24 dev eth0")
    a.process.wait_for("does not come in on eth0")


def test_others_that_are_not_heard_are_said(fleet: MakeFleet) -> None:
    """B's multicast is dropped on its way, a's is not: b asks a, which has never heard of b."""
    machines = fleet("a", "b", start=False)
    a, b = machines.agents
    port = a.lan.nic(b.host).port
    a.lan._set("one-way", [f"iifname {port} meta pkttype multicast drop"])
    a.start().wait_for(PROMISE)
    b.start().wait_for(PROMISE)
    line = a.process.wait_for("multicast.unheard", guard_seconds=60)
    assert "10.77.1.2 asks this machine" in line
    until(lambda: "multicast.unheard" not in b.process.text)


def test_blocked_tcp_is_said_on_both_sides(fleet: MakeFleet) -> None:
    """A lets nobody in at 7946, and hears of it by nobody coming; b hears a and gets no answer."""
    machines = fleet("a", "b", start=False)
    a, b = machines.agents
    rule(a.host, "input", "iif != lo tcp dport 7946 drop")
    for agent in (a, b):
        agent.start().wait_for(ON_THE_LIST)
    line = b.process.wait_for("tcp.unanswered", guard_seconds=60)
    assert "firewall-cmd --permanent --add-port=7946/tcp" in line
    line = a.process.wait_for("tcp.unvisited", guard_seconds=90)
    assert "none has come to TCP port 7946" in line
    assert "tcp.unvisited" not in b.process.text
    assert "tcp.unanswered" not in a.process.text


def test_healthy_machines_are_told_nothing(fleet: MakeFleet) -> None:
    machines = fleet("a", "b")
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 13, guard_seconds=60, every_seconds=0.2)
    for agent in machines.agents:
        assert PROMISE in agent.process.text
        assert " WARN " not in agent.process.text, agent.process.text


def test_loopback_is_refused_with_what_it_means(fleet: MakeFleet) -> None:
    (a,) = fleet("a", start=False).agents
    done = a.host.run(["k3", "network", "--interface", "lo"])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "alone there" in done.stderr
    assert done.stderr.rstrip().endswith("there are eth0")
