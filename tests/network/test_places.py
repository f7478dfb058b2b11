"""Sites with one prefix and the same addresses, on one store: who lives stays Ready, who dies does not, wherever it is.

A host `n` is at place `n % places`. Times are exact, clocks are not: every host's is off by up to an hour.
"""

import pytest

from k3.network.ranks import Timing
from k3.testing.fleet import LINK, NAT_LINK, Fleet, Host

TTL = pytest.mark.parametrize("ttl", [5.0, 90.0])
SITES = pytest.mark.parametrize(
    ("count", "places"), [(2, 2), (3, 2), (6, 2), (14, 2), (12, 6)], ids=["1+1", "2+1", "3+3", "7+7", "6x2"]
)
NAT = pytest.mark.parametrize("nat", [False, True], ids=["one-address", "host-only-too"])
SLACK_SECONDS = 2.5


def sites(count: int, places: int, *, ttl: float = 5.0, nat: bool = False, seed: int = 1) -> Fleet:
    """A fleet at several places that has come to rest."""
    fleet = Fleet(count, ttl=ttl, shared=True, places=places, nat=nat, seed=seed)
    fleet.start()
    fleet.run(max(3 * ttl, 20))
    return fleet


def at(fleet: Fleet, place: int) -> list[Host]:
    return [host for host in fleet.hosts if host.place == place]


def alarms(fleet: Fleet, *innocent: Host, since: float = 0.0) -> list[tuple[float, str, str]]:
    """Whatever was said against machines that lived."""
    names = {host.name for host in innocent or fleet.hosts}
    return [
        e for e in fleet.hosts[0].store.history if e[0] >= since and e[1] in names and e[2].endswith(("=False", "=Unknown"))
    ]


def down_at(fleet: Fleet, host: Host, since: float) -> float:
    """When it turned from Ready, which it did once."""
    [when] = [t for what in ("Ready=False", "Ready=Unknown") for t in host.store.times(host.name, what, since=since)]
    return when


def check_deaths(fleet: Fleet, *dead: Host) -> None:
    """Kill these, and see them not Ready in time, and nobody else."""
    ttl, died = dead[0].ttl, fleet.now
    timing = Timing.of(ttl)
    fleet.kill(*dead, power=False)
    fleet.run(ttl + timing.write + 3 * ttl)
    for host in dead:
        assert down_at(fleet, host, died) - died <= ttl + timing.write + SLACK_SECONDS
        assert host.store.age_at(host.name, f"Ready={host.store.seen(host.name).split()[0]}") >= ttl
    assert not alarms(fleet, *(host for host in fleet.hosts if host.running), since=died)


@SITES
@TTL
@NAT
def test_everybody_stays_ready_and_the_dead_do_not(count: int, places: int, ttl: float, nat: bool) -> None:
    fleet = sites(count, places, ttl=ttl, nat=nat)
    fleet.run(10 * ttl)
    assert not alarms(fleet)
    assert {seen.is_ready for seen in fleet.hosts[0].store.views.values()} == {True}
    victim = at(fleet, 1)[0]
    has_company = len(at(fleet, 1)) > 1
    check_deaths(fleet, victim)
    assert victim.store.seen(victim.name) == ("False PeerUnreachable" if has_company else "Unknown ObserverLost")


@TTL
def test_a_machine_that_nobody_reaches_is_ready_until_its_own_agent_stops_writing(ttl: float) -> None:
    fleet = sites(4, 4, ttl=ttl)
    fleet.run(20 * ttl)
    assert not alarms(fleet)
    timing = Timing.of(ttl)
    for host in fleet.hosts[:3]:
        died = fleet.now
        fleet.kill(host)
        fleet.run(ttl + timing.write + SLACK_SECONDS)
        assert host.store.seen(host.name) == "Unknown ObserverLost"
        assert down_at(fleet, host, died) - died >= ttl - timing.takeover(9)
        fleet.run(1.3 * ttl)
    assert fleet.hosts[3].store.seen("h3").startswith("True")
    assert not alarms(fleet, fleet.hosts[3])


@TTL
def test_its_own_site_dies_around_a_machine_and_then_it_does(ttl: float) -> None:
    fleet = sites(12, 2, ttl=ttl)
    last, *others = at(fleet, 1)
    check_deaths(fleet, *others)
    fleet.run(5 * ttl)
    assert not alarms(fleet, last)
    check_deaths(fleet, last)


@TTL
def test_a_whole_site_dies(ttl: float) -> None:
    fleet = sites(20, 2, ttl=ttl)
    check_deaths(fleet, *at(fleet, 1))


@SITES
@TTL
def test_restarts_disturb_nobody(count: int, places: int, ttl: float) -> None:
    fleet = sites(count, places, ttl=ttl)
    for phase, host in enumerate(fleet.hosts):
        fleet.kill(host)
        fleet.run(0.3 + phase % 7 / 10)
        fleet.start(host)
        fleet.run(0.37 * ttl)
    fleet.run(5 * ttl)
    assert not [e for e in alarms(fleet) if e[2].startswith("Ready=")]
    check_deaths(fleet, fleet.hosts[0])


@TTL
def test_who_starts_after_a_death_says_unknown_in_time(ttl: float) -> None:
    fleet = sites(2, 2, ttl=ttl)
    watcher, victim = fleet.hosts
    fleet.kill(watcher, victim)
    fleet.run(10 * ttl)
    began = fleet.now
    fleet.start(watcher)
    fleet.run(ttl + Timing.of(ttl).write + SLACK_SECONDS)
    assert victim.store.seen(victim.name) == "Unknown ObserverLost"
    assert down_at(fleet, victim, began) - began >= ttl


@TTL
def test_a_cut_within_a_site_is_refuted_there(ttl: float) -> None:
    fleet = sites(6, 2, ttl=ttl)
    a, b, _ = at(fleet, 0)
    fleet.partition([a], [b])
    fleet.run(20 * ttl)
    assert not [e for e in alarms(fleet) if e[2].startswith("Ready=")]
    assert len(alarms(fleet)) <= 2, "who is refuted is silent until it is answered again"
    fleet.cut.clear()
    fleet.run(3 * ttl)
    check_deaths(fleet, b)


@SITES
@TTL
def test_an_outage_of_the_store_changes_nobody(count: int, places: int, ttl: float) -> None:
    fleet = sites(count, places, ttl=ttl)
    dead = fleet.hosts[-1]
    dead.store.lose()
    fleet.run(1)
    fleet.kill(dead)
    fleet.run(4 * ttl)
    back = fleet.now
    dead.store.heal()
    fleet.run(ttl + Timing.of(ttl).write + SLACK_SECONDS)
    assert ttl <= down_at(fleet, dead, back) - back
    fleet.run(3 * ttl)
    assert not alarms(fleet, *fleet.hosts[:-1])


@TTL
@pytest.mark.parametrize("count", [2, 4])
def test_who_loses_only_the_store_is_unknown_if_nobody_reaches_it_and_takes_that_back_itself(count: int, ttl: float) -> None:
    fleet = sites(count, 2, ttl=ttl)
    lost = fleet.hosts[1]
    since = fleet.now
    lost.detach()
    fleet.run(4 * ttl)
    # With somebody at its own place, it was seen all the time.
    assert lost.store.seen(lost.name) == ("Unknown ObserverLost" if count == 2 else "True PeerAlive")
    back = fleet.now
    lost.attach()
    fleet.run(1)
    assert lost.store.seen(lost.name).startswith("True")
    fleet.run(4 * ttl)
    assert not [e for e in alarms(fleet, lost, since=back) if e[2].startswith("Ready=")]
    assert not alarms(fleet, *(host for host in fleet.hosts if host is not lost), since=since)


@TTL
@NAT
@pytest.mark.parametrize("shared", [True, False], ids=["one-store", "separate-stores"])
def test_who_has_lost_its_cable_says_unknown_at_the_ttl_whatever_other_links_it_has(
    ttl: float, nat: bool, shared: bool
) -> None:
    fleet = Fleet(2, ttl=ttl, shared=shared, nat=nat)
    fleet.start()
    fleet.run(3 * ttl)
    blind, other = fleet.hosts
    since = fleet.now
    fleet.unplug(blind)
    if shared:  # else it goes on writing itself, and is known to live
        fleet.kill(other)
    fleet.run(1.5 * ttl)
    assert blind.store.seen(other.name) == "Unknown ObserverLost"
    assert not blind.store.times(other.name, "Reachable=False", since=since)
    assert blind.store.age_at(other.name, "Ready=Unknown") >= ttl
    assert blind.store.age_at(other.name, "Ready=Unknown") <= ttl + 2
    if not shared:
        assert other.store.seen(blind.name) == "False PeerUnreachable"
    fleet.plug(blind)
    if shared:
        fleet.start(other)
    fleet.run(5)
    for store in (blind.store, other.store):
        assert all(seen.is_ready and seen.is_reachable for seen in store.views.values())


@TTL
@NAT
def test_who_has_lost_its_cable_disturbs_nobody_that_others_see(ttl: float, nat: bool) -> None:
    fleet = Fleet(4, ttl=ttl, shared=True, nat=nat)
    fleet.start()
    fleet.run(3 * ttl)
    since = fleet.now
    blind = fleet.hosts[0]
    fleet.unplug(blind)
    fleet.run(8 * ttl)
    assert not alarms(fleet, *fleet.hosts[1:], since=since)
    assert blind.store.seen(blind.name) == "False PeerUnreachable"
    fleet.plug(blind)
    fleet.run(5)
    assert blind.store.seen(blind.name).startswith("True")


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("seconds", [-3600.0, -20.0, 20.0, 3600.0])
def test_a_clock_that_is_set_changes_nobody(places: int, seconds: float) -> None:
    """As NTP does after boot, or a virtual machine that wakes up."""
    fleet = sites(6, places, ttl=5.0)
    for host in fleet.hosts:
        host.set_clock(seconds)
        fleet.run(7.3)
        host.set_clock(-2 * seconds)
        fleet.run(1.7)
    assert not alarms(fleet)
    check_deaths(fleet, fleet.hosts[2])
    fleet.hosts[3].set_clock(seconds)
    check_deaths(fleet, fleet.hosts[3])


@pytest.mark.parametrize("seed", range(6))
def test_no_law_is_broken_by_chance(seed: int) -> None:
    """Restarts, deaths, clocks, cuts of the store, in a random order: who lived all the time was never called anything else."""
    fleet = sites(8, 3, ttl=5.0, nat=seed % 2 == 0, seed=seed)
    calm = fleet.hosts[:3]
    for _ in range(40):
        host = fleet.random.choice(fleet.hosts[3:])
        match fleet.random.randrange(4):
            case 0 if host.running:
                fleet.kill(host, power=fleet.random.random() < 0.5)
            case 1 if not host.running:
                fleet.start(host)
            case 2 if host.running:
                host.set_clock(fleet.random.uniform(-7200, 7200))
            case 3:
                host.store.lose()
                fleet.run(fleet.random.uniform(0, 10))
                host.store.heal()
            case _:
                pass
        fleet.random.choice(calm).set_clock(fleet.random.uniform(-60, 60))
        fleet.run(fleet.random.uniform(0, 8))
    fleet.run(5 + 5 / 3 + SLACK_SECONDS)
    assert not [e for e in alarms(fleet, *calm) if e[2].startswith("Ready=")]
    states = {host.name: host.store.seen(host.name).startswith("True") for host in fleet.hosts}
    assert states == {host.name: host.running for host in fleet.hosts}


@pytest.mark.parametrize(("count", "places", "ttl"), [(10, 10, 90.0), (30, 3, 90.0), (12, 2, 5.0)])
def test_the_work_per_machine_is_what_it_is_at_one_place(count: int, places: int, ttl: float) -> None:
    fleet = sites(count, places, ttl=ttl)
    fleet.run(2 * ttl)
    store = fleet.hosts[0].store
    probes, writes = sum(host.probes for host in fleet.hosts), store.writes.total()
    fleet.run(2 * ttl)
    timing = Timing.of(ttl)
    per_second = (sum(host.probes for host in fleet.hosts) - probes) / (2 * ttl) / count
    assert per_second <= 1.2 / timing.period + 3 / 60
    assert (store.writes.total() - writes) / (2 * ttl / 60) / count <= 1.1 * 60 / timing.write
    assert not alarms(fleet)


@pytest.mark.slow
def test_eighty_machines_at_two_places() -> None:
    fleet = Fleet(80, ttl=90.0, shared=True, places=2)
    fleet.resume()
    fleet.run(65)
    store = fleet.hosts[0].store
    probes, writes = sum(host.probes for host in fleet.hosts), store.writes.total()
    fleet.run(30)
    assert (sum(host.probes for host in fleet.hosts) - probes) / 30 / 80 <= 0.12
    assert (store.writes.total() - writes) / 80 <= 1.2
    assert not alarms(fleet)
    dead, died = fleet.hosts[:3], fleet.now
    fleet.kill(*dead)
    fleet.run(90 + 30 + SLACK_SECONDS)
    for host in dead:
        assert down_at(fleet, host, died) - died >= 90 - 66
    assert not alarms(fleet, *fleet.hosts[3:])


def test_links_of_the_simulation() -> None:
    assert Fleet(1, ttl=5.0, shared=True, nat=True).hosts[0].usable.links == (LINK, NAT_LINK)
