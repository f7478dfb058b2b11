"""Who may use the health server: shares of connections and of visits, and who goes first."""

import ipaddress
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.agent.visitors import (
    AWAY_FACTOR,
    AWAY_SECONDS,
    FORGIVEN_SECONDS,
    JUST_COME,
    KNOWN_SECONDS,
    LONGEST_AWAY_SECONDS,
    OLD_SECONDS,
    Known,
    Pace,
    Room,
)
from k3.core import limits
from k3.core.addresses import network_of


class Connection:
    def __init__(self, origin: str, number: int = 0) -> None:
        self.origin, self.number, self.is_dropped = origin, number, False

    def drop(self) -> None:
        self.is_dropped = True

    def __repr__(self) -> str:
        return f"{self.origin}#{self.number}"


def fill(room: Room, origin: str, count: int) -> list[Connection]:
    made = [Connection(origin, number) for number in range(count)]
    for each in made:
        room.enter(each)
    return made


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.77.1.66", "10.77.1.66"),
        ("::ffff:10.77.1.66", "10.77.1.66"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"),
        ("fe80::1", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
    ],
)
def test_a_host_is_an_ipv4_address_or_an_ipv6_64(address: str, expected: str) -> None:
    assert network_of(address) == expected


def test_beyond_its_share_an_origins_oldest_silent_connection_goes_and_no_other() -> None:
    room = Room(256)
    honest = fill(room, "10.0.0.1", 1)
    greedy = fill(room, "10.0.0.2", 300)
    assert [each for each in greedy if not each.is_dropped] == greedy[-limits.HTTP_CONNECTIONS_PER_ORIGIN :]
    assert not honest[0].is_dropped
    assert len(room) == 1 + limits.HTTP_CONNECTIONS_PER_ORIGIN


def test_an_idle_connection_goes_before_one_that_may_be_about_to_ask() -> None:
    room = Room(256)
    made = fill(room, "10.0.0.1", limits.HTTP_CONNECTIONS_PER_ORIGIN)
    room.rest(made[7])
    assert room.enter(Connection("10.0.0.1", 99)) is made[7]
    assert room.enter(Connection("10.0.0.1", 100)) is made[0]


def test_where_all_is_full_the_origin_with_the_most_makes_room() -> None:
    room = Room(40)
    few = fill(room, "10.0.0.1", 10)
    many = fill(room, "10.0.0.2", 18)
    other = fill(room, "10.0.0.3", 12)
    assert room.enter(Connection("10.0.0.4")) is many[0]
    room.rest(few[5])
    assert room.enter(Connection("10.0.0.5")) is few[5], "an idle one, whoever has it"
    assert not any(each.is_dropped for each in other)


def test_of_many_origins_with_one_each_the_oldest_goes() -> None:
    room = Room(256)
    made = [fill(room, f"10.0.{n // 250}.{n % 250}", 1)[0] for n in range(256)]
    honest = Connection("10.9.9.9")
    assert room.enter(honest) is made[0]
    for number in range(200):
        fill(room, f"10.1.0.{number}", 1)
    assert not honest.is_dropped, "it had the time of two hundred others to ask"


@given(st.lists(st.tuples(st.sampled_from(["enter", "rest", "leave"]), st.integers(0, 9)), max_size=200), st.integers(1, 20))
def test_the_count_is_right_whatever_happens(steps: list[tuple[str, int]], most: int) -> None:
    room, there = Room(most), []
    chance = random.Random(1)
    for number, (what, origin) in enumerate(steps):
        if what == "enter":
            there.append(Connection(f"10.0.0.{origin}", number))
            room.enter(there[-1])
        elif there:
            guest = chance.choice(there)
            room.rest(guest) if what == "rest" else room.leave(guest)
            if what == "leave":
                there.remove(guest)
        there = [each for each in there if not each.is_dropped]
        assert len(room) == len(there) <= most
        assert all(room.held(each.origin) <= room.share for each in there)
    room.clear()
    assert len(room) == 0
    assert all(each.is_dropped for each in there)


def visits(pace: Pace, origins: Iterator[str] | list[str], now: float) -> dict[str, int]:
    found: dict[str, int] = {}
    for origin in origins:
        if not pace.is_away(origin, now):
            found |= pace.visit(origin, now)
    return found


def test_a_few_hundred_visits_a_second_are_served_whoever_makes_them() -> None:
    pace = Pace(Known())
    for second in range(10):
        assert visits(pace, ["10.0.0.1"] * (limits.HTTP_VISITS_PER_SECOND - 1), second) == {}


def test_one_that_floods_is_turned_away_alone_and_each_time_for_longer() -> None:
    pace, now = Pace(Known()), 0.0
    lengths = []
    for _ in range(8):
        found = visits(pace, ["10.0.0.1", "10.0.0.2"] + ["10.0.0.66"] * 1_000, now)
        assert list(found) == ["10.0.0.66"]
        assert list(pace.away(now)) == ["10.0.0.66"]
        lengths.append(pace.away(now)["10.0.0.66"] - now)
        now = pace.away(now)["10.0.0.66"]
        assert not pace.is_away("10.0.0.66", now)
    assert lengths[:3] == [AWAY_SECONDS, AWAY_FACTOR * AWAY_SECONDS, LONGEST_AWAY_SECONDS]
    assert lengths[-1] == LONGEST_AWAY_SECONDS
    now += FORGIVEN_SECONDS
    visits(pace, ["10.0.0.66"] * 1_000, now)
    assert pace.away(now)["10.0.0.66"] - now == AWAY_SECONDS


@pytest.mark.parametrize("origins", [30, 250, 1_000])
def test_floods_from_many_are_turned_away_within_few_visits(origins: int) -> None:
    known = Known()
    known.answered("10.0.0.1", -OLD_SECONDS)
    pace, served = Pace(known), 0
    for number in range(20_000):
        origin = str(ipaddress.ip_address(0x0A420000 + number % origins))
        if pace.is_away(origin, 0.5):
            continue
        served += 1
        pace.visit(origin, 0.5)
        if number % 5_000 == 0:
            assert not pace.visit("10.0.0.1", 0.5).get("10.0.0.1"), "an honest one comes four times in the same second"
    assert served <= 4 * limits.HTTP_VISITS_PER_SECOND + origins
    assert len(pace.away(0.5)) <= limits.HTTP_TURNED_AWAY
    assert not pace.is_away("10.0.0.1", 0.5)


@pytest.mark.parametrize(("pause_seconds", "turned_away"), [(0.0005, True), (0.004, False)])
def test_two_hundred_strangers_are_a_storm_if_they_come_within_a_moment(pause_seconds: float, turned_away: bool) -> None:
    pace, count = Pace(Known()), limits.HTTP_VISITS_PER_SECOND
    found: dict[str, int] = {}
    for number in range(count):
        found |= pace.visit(f"10.0.{number // 250}.{number % 250}", number * pause_seconds)
    assert len(found) == (count - JUST_COME if turned_away else 0), "who has just come may be about to ask"


@pytest.mark.parametrize("origins", [1, 30, 250])
def test_floods_of_clients_that_asked_properly_once_are_turned_away_too(origins: int) -> None:
    known = Known()
    clients = [str(ipaddress.ip_address(0x0A420000 + number)) for number in range(origins)]
    for client in clients:
        known.answered(client, 0)
    pace, served = Pace(known), 0
    for number in range(20_000):
        client = clients[number % origins]
        if not pace.is_away(client, 0.5):
            served += 1
            known.forget(pace.visit(client, 0.5))
    assert served <= 6 * limits.HTTP_VISITS_PER_SECOND
    assert set(pace.away(0.5)) == set(clients)
    assert not any(client in known for client in clients)


def test_a_known_client_is_not_counted_as_its_64() -> None:
    known = Known()
    known.answered("fe80::1", 0)
    assert known.origin("fe80::1") == "fe80::1"
    assert known.origin("fe80::2") == "fe80::/64"
    assert known.within(["fe80::/64"]) == ["fe80::1"]


def test_newcomers_do_not_push_out_the_clients_that_come_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_KNOWN_CLIENTS", 3)
    known, now = Known(), 0.0
    for number in range(3):
        known.answered(f"fe80::{number}", now)
    known.answered("fe80::9", now + 1)
    assert "fe80::9" not in known
    now += KNOWN_SECONDS + 1
    known.answered("fe80::1", now)
    known.answered("fe80::9", now)
    assert [f"fe80::{number}" in known for number in (0, 1, 2, 9)] == [False, True, True, True]
