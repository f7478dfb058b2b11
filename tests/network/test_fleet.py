"""Whole fleets in simulated time: deaths, partitions, restarts, store outages, forged goodbyes. Times are exact."""

import itertools

import pytest

from k3.network.ranks import Timing
from k3.testing.fleet import Fleet, Host, SimulatedStore

SHARED = pytest.mark.parametrize("shared", [True, False], ids=["one-store", "separate-stores"])
TTL = pytest.mark.parametrize("ttl", [5.0, 90.0])
SMALL = pytest.mark.parametrize("count", [2, 3])


def running(count: int, *, ttl: float = 5.0, shared: bool = True, loss: float = 0.0) -> Fleet:
    """A fleet that has come to rest."""
    fleet = Fleet(count, ttl=ttl, shared=shared, loss=loss)
    fleet.start()
    fleet.run(3 * ttl)
    return fleet


def stores(fleet: Fleet) -> list[SimulatedStore]:
    return list({id(host.store): host.store for host in fleet.hosts}.values())


def others(fleet: Fleet, gone: Host) -> list[SimulatedStore]:
    return list({id(host.store): host.store for host in fleet.hosts if host is not gone}.values())


def false_alarms(fleet: Fleet, *innocent: Host) -> list[tuple[float, str, str]]:
    names = {host.name for host in innocent}
    return [
        entry
        for store in stores(fleet)
        for entry in store.history
        if entry[1] in names and entry[2].endswith(("=False", "=Unknown"))
    ]


@SHARED
@SMALL
def test_everybody_sees_everybody_ready(count: int, shared: bool) -> None:
    fleet = running(count, shared=shared)
    for store in stores(fleet):
        assert {name: seen.is_ready for name, seen in store.views.items()} == dict.fromkeys((h.name for h in fleet.hosts), True)
    assert not false_alarms(fleet, *fleet.hosts)


@SHARED
@TTL
@pytest.mark.parametrize("power", [True, False], ids=["killed", "no-power"])
@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.slow
def test_a_dead_machine_is_suspected_soon_and_down_at_its_ttl(count: int, ttl: float, shared: bool, power: bool) -> None:
    fleet = running(count, ttl=ttl, shared=shared)
    timing = Timing.of(ttl)
    victim = fleet.hosts[1]
    for phase in (0.0, 0.37 * timing.period):
        fleet.run(phase)
    died = fleet.now
    fleet.kill(victim, power=power)
    fleet.run(1.5 * ttl)
    for store in others(fleet, victim):
        suspected = store.times(victim.name, "Reachable=False", since=died)
        down = store.times(victim.name, "Ready=False", since=died)
        assert len(suspected) == 1
        assert suspected[0] - died <= max(ttl / 3, 4.0)
        assert len(down) == 1
        assert store.seen(victim.name) == "False PeerUnreachable"
        assert ttl <= store.age_at(victim.name, "Ready=False") <= ttl + 2.0
    assert not false_alarms(fleet, *(h for h in fleet.hosts if h is not victim))


@SHARED
@SMALL
def test_a_frozen_machine_is_dead_and_ready_soon_after_the_thaw(count: int, shared: bool) -> None:
    fleet = running(count, shared=shared)
    victim = fleet.hosts[0]
    victim.freeze()
    fleet.run(9)
    stores_ = others(fleet, victim)
    assert [store.seen(victim.name) for store in stores_] == ["False PeerUnreachable"] * len(stores_)
    thawed = fleet.now
    victim.thaw()
    fleet.run(3)
    for store in stores_:
        assert store.times(victim.name, "Ready=True", since=thawed)[0] - thawed <= 1.0
    # What it missed does not make it judge others.
    assert not false_alarms(fleet, *(h for h in fleet.hosts if h is not victim))


@SHARED
@TTL
@SMALL
def test_a_stopped_machine_is_not_ready_at_once_and_back_at_once(count: int, ttl: float, shared: bool) -> None:
    fleet = running(count, ttl=ttl, shared=shared)
    leaver = fleet.hosts[0]
    at = fleet.now
    fleet.stop(leaver)
    fleet.run(10)
    for store in others(fleet, leaver):
        down = store.times(leaver.name, "Ready=False", since=at)
        assert len(down) == 1
        assert down[0] - at <= 1.0
        assert store.seen(leaver.name) in {"False NodeShutdown", "False PeerLeft"}
    at = fleet.now
    fleet.start(leaver)
    fleet.run(5)
    for store in stores(fleet):
        assert store.times(leaver.name, "Ready=True", since=at)[0] - at <= 1.0


@SHARED
@TTL
def test_a_forged_goodbye_changes_nothing(ttl: float, shared: bool) -> None:
    fleet = running(3, ttl=ttl, shared=shared)
    for _ in range(20):
        fleet.say_goodbye_for(fleet.hosts[2])
        fleet.run(0.3)
    assert not false_alarms(fleet, *fleet.hosts)


@TTL
def test_on_one_store_the_side_that_reaches_a_machine_refutes(ttl: float) -> None:
    fleet = running(3, ttl=ttl)
    a, b, c = fleet.hosts
    fleet.partition([a], [c])
    fleet.run(6 * ttl)
    assert all(a.store.seen(host.name).startswith("True") for host in (a, b, c))
    assert not [entry for entry in a.store.history if entry[2] in {"Ready=False", "Ready=Unknown"}]


def test_on_separate_stores_each_side_says_what_it_can_know_and_heals() -> None:
    fleet = running(4, shared=False)
    left, right = fleet.hosts[:2], fleet.hosts[2:]
    fleet.partition(left, right)
    fleet.run(12)
    for host, other in itertools.product(left, right):
        assert not host.store.views[other.name].is_ready
        assert not other.store.views[host.name].is_ready
    assert all(one.store.views[two.name].is_ready for one, two in itertools.permutations(left, 2))
    fleet.cut.clear()
    at = fleet.now
    fleet.run(8)
    for host, other in itertools.permutations(fleet.hosts, 2):
        assert host.store.views[other.name].is_ready, (host.name, other.name, at)


@SHARED
def test_a_watcher_that_was_down_meanwhile_still_notices(shared: bool) -> None:
    fleet = running(2, shared=shared)
    watcher, victim = fleet.hosts
    fleet.kill(watcher)
    fleet.kill(victim)
    fleet.run(60)
    assert watcher.store.views[victim.name].is_ready
    at = fleet.now
    fleet.start(watcher)
    fleet.run(9)
    down = [t for what in ("Ready=False", "Ready=Unknown") for t in watcher.store.times(victim.name, what, since=at)]
    assert len(down) == 1
    assert 5.0 <= down[0] - at <= 7.0


def test_a_restart_writes_nothing_for_living_peers() -> None:
    fleet = running(5)
    agent = fleet.hosts[0]
    fleet.kill(agent)
    fleet.start(agent)
    fleet.run(20)
    assert not false_alarms(fleet, *fleet.hosts)


@SHARED
def test_while_the_store_is_away_nothing_is_concluded_and_the_view_is_right_afterwards(shared: bool) -> None:
    fleet = running(4, shared=shared)
    dead = fleet.hosts[3]
    for store in stores(fleet):
        store.lose()
    fleet.run(2)
    fleet.kill(dead)
    fleet.run(20)
    assert not false_alarms(fleet, *fleet.hosts)
    before = {id(store): dict(store.writes) for store in stores(fleet)}
    back = fleet.now
    for store in stores(fleet):
        store.heal()
    fleet.run(1)
    for store in stores(fleet):
        assert all(count - before[id(store)].get(name, 0) <= 1 for name, count in store.writes.items())
    fleet.run(9)
    for store in others(fleet, dead):
        assert not store.views[dead.name].is_ready
        assert store.times(dead.name, "Ready=False", since=back)[0] - back >= 5.0
    assert not false_alarms(fleet, *fleet.hosts[:3])


@TTL
def test_when_a_machine_and_its_first_observer_die_together_the_next_one_takes_over(ttl: float) -> None:
    fleet = running(10, ttl=ttl)
    timing = Timing.of(ttl)
    victim = fleet.hosts[0]
    first = next(h for h in fleet.hosts[1:] if h.table is not None and h.table.peers[victim.name].rank == 0)
    died = fleet.now
    fleet.kill(victim, first)
    fleet.run(2 * ttl + 10)
    for gone in (victim, first):
        down = victim.store.times(gone.name, "Ready=False", since=died) + victim.store.times(
            gone.name, "Ready=Unknown", since=died
        )
        assert len(down) == 1
        assert ttl - timing.write - timing.period - 1 <= down[0] - died <= ttl + 2
        assert victim.store.age_at(gone.name, "Ready=False") >= ttl
    assert not false_alarms(fleet, *(h for h in fleet.hosts if h not in {victim, first}))


@SHARED
@pytest.mark.slow
def test_packet_loss_makes_no_machine_not_ready(shared: bool) -> None:
    fleet = running(5, shared=shared, loss=0.05)
    fleet.run(600)
    assert not [entry for store in stores(fleet) for entry in store.history if entry[2] in {"Ready=False", "Ready=Unknown"}]


def test_an_observer_that_is_cut_off_blames_nobody() -> None:
    fleet = running(4, shared=False)
    alone = fleet.hosts[0]
    fleet.partition([alone], fleet.hosts[1:])
    fleet.run(30)
    states = {alone.store.seen(host.name) for host in fleet.hosts[1:]}
    assert states == {"Unknown ObserverLost"}


@pytest.mark.parametrize(("count", "ttl"), [(2, 90.0), (10, 90.0), (40, 90.0), (10, 5.0)])
@pytest.mark.slow
def test_on_one_store_the_work_per_machine_does_not_depend_on_their_number(count: int, ttl: float) -> None:
    fleet = Fleet(count, ttl=ttl, shared=True)
    fleet.resume()
    fleet.run(2 * ttl)
    store = fleet.hosts[0].store
    probes, writes = sum(host.probes for host in fleet.hosts), store.writes.total()
    fleet.run(2 * ttl)
    per_second = (sum(host.probes for host in fleet.hosts) - probes) / (2 * ttl) / count
    per_minute = (store.writes.total() - writes) / (2 * ttl / 60) / count
    timing = Timing.of(ttl)
    assert per_second <= 1.05 / timing.period
    assert per_minute <= 1.1 * 60 / timing.write
    assert not false_alarms(fleet, *fleet.hosts)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_machines() -> None:
    """Its cost grows with the square of their number; `benchmarks/shared.py` looks at a thousand."""
    fleet = Fleet(100, ttl=90.0, shared=True)
    fleet.resume()
    fleet.run(16)
    store = fleet.hosts[0].store
    probes, writes = sum(host.probes for host in fleet.hosts), store.writes.total()
    dead = fleet.hosts[:1]
    died = fleet.now
    fleet.kill(*dead)
    fleet.run(93)
    # One in 15 s for each, and those that find out about the dead.
    assert (sum(host.probes for host in fleet.hosts) - probes) / 93 / len(fleet.hosts) <= 0.075
    assert (store.writes.total() - writes) / len(fleet.hosts) <= 1.1 * 93 / 30
    for host in dead:
        down = [at for what in ("Ready=False", "Ready=Unknown") for at in store.times(host.name, what, since=died)]
        assert len(down) == 1
        assert 90 - 46 <= down[0] - died <= 92
    assert not false_alarms(fleet, *fleet.hosts[1:])


def test_after_an_outage_the_word_of_who_reached_a_machine_counts_whoever_is_back_first() -> None:
    """The agent that never asked the machine itself is back at the store a second before the one that did."""
    fleet = Fleet(3, ttl=5.0, shared=True)
    fleet.resume()
    fleet.run(15)
    for host in fleet.hosts:
        fleet.announce(host)  # which says nothing new, so nobody asks because of it
    fleet.run(1)
    for victim in fleet.hosts:
        observers = [host for host in fleet.hosts if host is not victim]
        reached = [bool(host.table and host.table.peers[victim.name].answered) for host in observers]
        if sorted(reached) == [False, True]:
            break
    else:
        pytest.fail("there is no machine that only one of the two has asked")
    witness, other = sorted(observers, key=lambda host: reached[observers.index(host)], reverse=True)
    store = witness.store
    store.lose()
    fleet.kill(victim, power=False)
    fleet.run(2)
    witness.detach()
    store.heal()
    fleet.run(1)
    witness.attach()
    fleet.run(5 + 2)
    assert store.seen(victim.name) == "False PeerUnreachable"
    assert not store.times(victim.name, "Ready=Unknown")
    assert not false_alarms(fleet, witness, other)
