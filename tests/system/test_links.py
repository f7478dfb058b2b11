"""Links that change, break and come back, while the machines on them stay what they are."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from k3.core.objects import EVENT
from k3.core.store import Store
from tests.lab import Host, Lan, until
from tests.system.agents import Agent, Fleet, Sight, is_ready, record
from tests.system.conftest import MakeFleet

pytestmark = [pytest.mark.netns, pytest.mark.slow]

ONE_STORE = pytest.mark.parametrize("shared", [True], ids=["one-store"], indirect=True)
SEPARATE_STORES = pytest.mark.parametrize("shared", [False], ids=["separate-stores"], indirect=True)
ON_THE_LIST = "This machine is on the list"


@pytest.fixture
def agents(tmp_path: Path, shared: bool) -> Iterator[list[Agent]]:
    """Agents on hosts that a test made itself; filled by `agent_on`, ended with the test."""
    made: list[Agent] = []
    yield made
    for agent in made:
        agent.close()


def agent_on(lan: Lan, host: Host, tmp_path: Path, agents: list[Agent], *, shared: bool) -> Agent:
    agents.append(Agent(lan, host, tmp_path / host.name, store=f"sqlite://{tmp_path}/k3.db" if shared else ""))
    return agents[-1]


def events(agent: Agent, reason: str) -> list[str]:
    """Messages of every Event with this reason in the agent's store."""

    async def read(store: Store) -> list[str]:
        found = [item.manifest() for item in (await store.list(EVENT)).objects]
        return [f"{each['involvedObject']['name']}: {each['message']}" for each in found if each["reason"] == reason]

    return agent.in_store(read)


def moved(agent: Agent, name: str, address: str, since: datetime) -> Sight:
    return agent.watcher.wait_for(name, lambda s: is_ready(s) and s.view.addresses == (address,), since=since)


def never_down(agent: Agent, name: str, since: datetime | None = None) -> None:
    """Of all that was shown of a Node, nothing was other than Ready."""
    bad = [sight for sight in agent.watcher.of(name, since=since) if not sight.view.is_ready]
    assert not bad, [(each.at, each.ready) for each in bad]


def no_traceback(agents: list[Agent]) -> None:
    for agent in agents:
        assert agent.process.running
        for run in agent.runs:
            assert "Traceback" not in run.text
            assert "our fault" not in run.text


# --- addresses


def test_a_machine_that_changes_its_address(fleet: MakeFleet) -> None:
    machines = fleet("a", "b", "c")
    b = machines["b"]
    since, began = datetime.now(UTC), time.monotonic()
    b.lan.nic(b.host).readdress("10.77.1.200/24")
    for agent in machines.agents:
        moved(agent, "b", "10.77.1.200", since)
        record("address-change", time.monotonic() - began, beside={"view": agent.name})
    for agent in machines.agents:
        never_down(agent, "b")
        until(lambda a=agent: any("10.77.1.2 to 10.77.1.200" in each for each in events(a, "AddressChanged")))  # type: ignore[misc]
    # It has moved for good: found there, it is still looked after there.
    later = datetime.now(UTC)
    machines["a"].watcher.wait_for("b", lambda s: s.view.addresses == ("10.77.1.200",) and s.view.is_ready, since=later)
    no_traceback(machines.agents)


@SEPARATE_STORES
def test_a_machine_that_moves_to_another_network(fleet: MakeFleet) -> None:
    """All of its addresses are new, and the others are on the new network as well."""
    machines = fleet("a", "b")
    a, b = machines.agents
    a.lan.nic(a.host).readdress("10.77.1.1/24", "10.99.0.1/24")
    since = datetime.now(UTC)
    a.watcher.wait_for("a", lambda s: is_ready(s) and "10.99.0.1" in s.view.addresses)
    b.lan.nic(b.host).readdress("10.99.0.2/24")
    moved(a, "b", "10.99.0.2", since)
    no_traceback(machines.agents)


# --- interfaces


def test_an_interface_deleted_and_made_again(fleet: MakeFleet) -> None:
    """Same name, same address: the addresses say that nothing has changed, the multicast membership is gone."""
    machines = fleet("a", "b")
    a, b = machines.agents
    lan = b.lan
    lan.nic(b.host).recreate()
    b.process.wait_for("network.links_changed")
    machines.wait_ready()
    # Heard again: a machine that is new to it is found.
    late = lan.host("late")
    newcomer = Agent(lan, late, b.path.parent / "late-state", store=_store_of(machines))
    try:
        newcomer.start().wait_for(ON_THE_LIST)
        for agent in (a, b):
            agent.watcher.wait_for("late", is_ready)
        # And it speaks again: the newcomer finds it.
        newcomer.watcher.wait_for("b", is_ready)
    finally:
        newcomer.close()
    no_traceback(machines.agents)


def _store_of(machines: Fleet) -> str:
    return f"sqlite://{machines.agents[0].path}" if machines.shared else ""


@SEPARATE_STORES
def test_twenty_interfaces(lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool) -> None:
    """Linux allows a socket twenty multicast groups (igmp_max_memberships); a peer on the last network is found as well."""
    many = lan.host("many")
    for number in range(1, 20):
        lan.attach(many, f"eth{number}", addresses=[f"10.78.{number}.1/24"], default_route=False)
    peer = lan.host("peer", addresses=["10.78.19.2/24"], default_route=False)
    pair = [agent_on(lan, host, tmp_path, agents, shared=shared) for host in (many, peer)]
    for agent in pair:
        agent.start().wait_for(ON_THE_LIST)
    for agent in pair:
        agent.watcher.wait_for("peer", is_ready)
        seen = agent.watcher.wait_for("many", is_ready)
        assert 0 < len(seen.view.addresses) <= 8
    assert len(pair[0].process.lines) < 60, "a line for every interface is too many"
    no_traceback(pair)


@SEPARATE_STORES
def test_no_interface_at_start(lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool) -> None:
    """It waits, says so once, and joins when there is one."""
    peer = agent_on(lan, lan.host("peer"), tmp_path, agents, shared=shared)
    peer.start().wait_for(ON_THE_LIST)
    late = agent_on(lan, lan.bare_host("late"), tmp_path, agents, shared=shared)
    late.start().wait_for("network.no_interface")
    lan.attach(late.host)
    for agent in (peer, late):
        agent.watcher.wait_for("late", lambda s: is_ready(s) and s.view.addresses)
        agent.watcher.wait_for("peer", is_ready)
    assert late.process.text.count("network.no_interface") == 1
    no_traceback(agents)


@SEPARATE_STORES
def test_an_interface_without_multicast_and_then_with(lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool) -> None:
    peer = agent_on(lan, lan.host("peer"), tmp_path, agents, shared=shared)
    plain = agent_on(lan, lan.host("plain", multicast=False), tmp_path, agents, shared=shared)
    peer.start().wait_for(ON_THE_LIST)
    plain.start().wait_for("network.no_interface")
    plain.host.ip("link set eth0 multicast on")
    for agent in (peer, plain):
        agent.watcher.wait_for("plain", lambda s: is_ready(s) and s.view.addresses)
        agent.watcher.wait_for("peer", is_ready)
    assert plain.process.text.count("network.no_interface") == 1
    no_traceback(agents)


@SEPARATE_STORES
def test_a_switch_without_multicast_and_then_with(fleet: MakeFleet) -> None:
    """Nothing tells a machine that the switch drops multicast: nobody is found, nobody fails, and it heals by itself."""
    machines = fleet("a", "b", start=False)
    a, b = machines.agents
    a.lan.drop_multicast()
    for agent in machines.agents:
        agent.start().wait_for(ON_THE_LIST)
        assert list(agent.nodes()) == [agent.name]
    a.lan.drop_multicast(between=False)
    a.watcher.wait_for("b", is_ready, guard_seconds=90)
    b.watcher.wait_for("a", is_ready, guard_seconds=90)
    no_traceback(machines.agents)


@SEPARATE_STORES
def test_the_interface_one_is_told_to_use(lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool) -> None:
    """Two networks; only the one named is announced on, listened on, and written down."""
    with Lan("10.88.1.0/24") as other:
        middle = lan.host("middle")
        other.attach(middle, "eth1", default_route=False)
        here = agent_on(lan, lan.host("here"), tmp_path, agents, shared=shared)
        there = agent_on(other, other.host("there"), tmp_path, agents, shared=shared)
        both = agent_on(lan, middle, tmp_path, agents, shared=shared)
        try:
            for agent in (here, there):
                agent.start().wait_for(ON_THE_LIST)
            both.start("--interface", "eth1").wait_for(ON_THE_LIST)
            there.watcher.wait_for("middle", is_ready)
            seen = both.watcher.wait_for("there", is_ready)
            assert both.nodes()["middle"].view.addresses == (other.nics(middle)[0].address,)
            assert "here" not in both.nodes()
            assert set(here.nodes()) == {"here"}
            assert seen.view.is_ready
            no_traceback(agents)
        finally:
            for agent in agents:
                agent.close()


@SEPARATE_STORES
def test_an_interface_that_is_not_there_is_refused(fleet: MakeFleet) -> None:
    (agent,) = fleet("a", start=False).agents
    done = agent.host.run(["k3", "network", "--interface", "eth9"])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "there are lo, eth0" in done.stderr


# --- IPv6


@pytest.mark.parametrize("prefix6", ["fd00:77::/64", None], ids=["ula", "link-local"])
def test_ipv6_only(tmp_path: Path, agents: list[Agent], shared: bool, prefix6: str | None) -> None:
    """A link-local address means something else on every machine: it is announced and probed, and never written."""
    with Lan(None, prefix6=prefix6) as lan:
        pair = [agent_on(lan, lan.host(name), tmp_path, agents, shared=shared) for name in ("a", "b")]
        try:
            for agent in pair:
                agent.start()
            machines = Fleet(pair, shared=shared)
            machines.wait_ready()
            if not shared:
                killed = pair[1].kill()
                pair[0].watcher.wait_for("b", lambda s: s.ready == ("False", "PeerUnreachable"), since=killed)
                pair[1].start()
                machines.wait_ready()
            for agent in pair:
                for sight in agent.watcher.sights:
                    assert not [a for a in sight.view.addresses if a.startswith("fe80") or "%" in a]
                    assert "fe80:" not in str(sight.manifest)
                wanted = (lan.address(agent.host),) if prefix6 else ()
                assert pair[0].nodes()[agent.name].view.addresses == wanted
            no_traceback(pair)
        finally:
            for agent in pair:
                agent.close()


# --- cuts


@SEPARATE_STORES
@pytest.mark.parametrize("carrier", [True, False], ids=["cable-in", "cable-out"])
def test_a_cut_between_machines_with_stores_of_their_own(fleet: MakeFleet, carrier: bool) -> None:
    """Each side says so at T, and both are right again by themselves."""
    machines = fleet("a", "b")
    a, b = machines.agents
    lan = a.lan
    since = datetime.now(UTC)
    if carrier:
        lan.isolate(b.host)
    else:
        lan.cut(b.host)
    gone = a.watcher.wait_for("b", lambda s: not s.view.is_ready, since=since)
    lost = b.watcher.wait_for("a", lambda s: not s.view.is_ready, since=since)
    assert gone.ready == ("False", "PeerUnreachable")
    # Without a carrier b knows that it is the one who cannot see.
    assert lost.ready == (("False", "PeerUnreachable") if carrier else ("Unknown", "ObserverLost"))
    for sight in (gone, lost):
        assert sight.last_seen is not None
        assert (sight.at - sight.last_seen).total_seconds() >= 5.0
    never_down(a, "a")
    never_down(b, "b")
    healed = time.monotonic()
    if carrier:
        lan.rejoin(b.host)
    else:
        lan.heal(b.host)
    machines.wait_ready()
    record("cut-heal", time.monotonic() - healed, beside={"carrier": str(carrier)})
    no_traceback(machines.agents)


@ONE_STORE
def test_a_cut_between_machines_on_one_store(fleet: MakeFleet) -> None:
    """N = 2: neither sees the other, both write; whatever they conclude, it is taken back once they see each other.

    Where the other has just refreshed its own Node, what one concludes is not written: so it is looked for in the log.
    """
    machines = fleet("a", "b")
    a, b = machines.agents
    a.lan.isolate(b.host)
    until(lambda: any("peer.suspected" in each.process.text for each in (a, b)))
    a.lan.rejoin(b.host)
    machines.wait_ready()
    no_traceback(machines.agents)


@ONE_STORE
def test_in_a_partition_with_one_store_the_side_that_reaches_it_refutes(fleet: MakeFleet) -> None:
    """Only c is cut off from b: it suspects b, and a, who reaches b, takes that back. Nobody is ever NotReady."""
    machines = fleet("a", "b", "c")
    lan, since = machines.agents[0].lan, datetime.now(UTC)
    ports = [lan.nic(machines[name].host).port for name in ("b", "c")]
    lan._set("pair", [f"iifname {one} oifname {two} drop" for one, two in (ports, ports[::-1])])
    watcher = machines["a"].watcher
    # Nothing is to happen, so there is nothing to wait for but the time in which it would have: T = 5 s and what comes on top.
    until(lambda: (datetime.now(UTC) - since).total_seconds() > 8, guard_seconds=60, every_seconds=0.2)
    for name in ("a", "b", "c"):
        never_down(machines["a"], name, since)
        assert watcher.of(name, since=since), f"nobody wrote {name}"
    lan._set("pair", [])
    machines.wait_ready()
    no_traceback(machines.agents)


@SEPARATE_STORES
def test_a_machine_on_two_networks_loses_one(lan: Lan, tmp_path: Path, agents: list[Agent], shared: bool) -> None:
    """Its other address is tried before anybody suspects it: a peer with two links and one of them cut stays Ready."""
    pair = [agent_on(lan, lan.host(name), tmp_path, agents, shared=shared) for name in ("a", "b")]
    for number, agent in enumerate(pair, 1):
        lan.attach(agent.host, "eth1", addresses=[f"10.78.1.{number}/24"], default_route=False)
        agent.start()
    machines = Fleet(pair, shared=shared)
    machines.wait_ready()
    pair[0].watcher.wait_for("b", lambda s: len(s.view.addresses) == 2)
    since = datetime.now(UTC)
    lan.nics(pair[1].host)[0].down()
    pair[0].watcher.wait_for("b", lambda s: s.view.addresses == ("10.78.1.2",) and is_ready(s), since=since)
    never_down(pair[0], "b", since)
    lan.nics(pair[1].host)[0].up()
    pair[0].watcher.wait_for("b", lambda s: len(s.view.addresses) == 2 and is_ready(s))
    never_down(pair[0], "b", since)
    no_traceback(pair)


# --- whose fault


def lost_links(agent: Agent) -> list[str]:
    return [line for line in agent.process.lines if " network.link_lost " in line]


def blames_nobody(agent: Agent, name: str, since: datetime) -> None:
    """Of all that this agent's own list showed of another machine, nothing was said against that machine."""
    sights = agent.watcher.of(name, since=since)
    assert not [each for each in sights if each.ready[0] == "False" or each.reachable == "False"]
    assert "NodeNotReady" not in agent.process.text


@SEPARATE_STORES
def test_its_own_cable_is_out_while_an_interface_of_another_network_is_up(fleet: MakeFleet) -> None:
    """It cannot ask, so it says Unknown, and in its log what is really wrong, once."""
    machines = fleet("a", "b", start=False)
    a = machines["a"]
    a.lan.attach(a.host, "eth1", addresses=["10.88.1.1/24"], default_route=False)
    machines.start()
    since = datetime.now(UTC)
    cable = a.lan.nics(a.host)[0].port
    a.lan.switch.ip(f"link set {cable} down")
    lost = a.watcher.wait_for("b", lambda s: not s.view.is_ready, since=since)
    assert lost.ready == ("Unknown", "ObserverLost")
    assert lost.last_seen is not None
    assert (lost.at - lost.last_seen).total_seconds() >= 5.0
    blames_nobody(a, "b", since)
    [line] = lost_links(a)
    assert "eth0" in line
    assert "no carrier" in line
    assert a.process.text.count("network.links_changed") == 0, "nothing that it prints has changed"
    a.lan.switch.ip(f"link set {cable} up")
    machines.wait_ready()
    no_traceback(machines.agents)


def test_its_only_interface_is_set_down(fleet: MakeFleet) -> None:
    """Nothing is left to ask with: at the time to live it says so of whoever gives no sign of life."""
    machines = fleet("a", "b")
    a, b = machines.agents
    since = datetime.now(UTC)
    a.lan.nic(a.host).down()
    if machines.shared:  # b goes on writing there, and is known to live
        a.watcher.wait_for("b", lambda s: s.last_seen and (s.last_seen - since).total_seconds() > 6)
        never_down(a, "b", since)
        b.kill()
    lost = a.watcher.wait_for("b", lambda s: not s.view.is_ready, since=since)
    assert lost.ready == ("Unknown", "ObserverLost")
    assert lost.last_seen is not None
    assert (lost.at - lost.last_seen).total_seconds() >= 5.0
    [line] = lost_links(a)
    assert "eth0" in line
    if not machines.shared:
        blames_nobody(a, "b", since)
        b.watcher.wait_for("a", lambda s: s.ready == ("False", "PeerUnreachable"), since=since)
        assert len([each for each in b.process.lines if " peer.suspected " in each]) == 1
    else:
        b.start()
    a.lan.nic(a.host).up()
    machines.wait_ready()
    no_traceback(machines.agents)
