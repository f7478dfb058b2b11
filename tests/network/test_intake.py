"""Which packets are read: a flood costs itself, and who was heard before is not its victim."""

import struct
from itertools import pairwise
from random import Random

import pytest

from k3.core import limits
from k3.network.intake import AWAY_SECONDS, OLD_SECONDS, Intake, Kind, kind_of
from k3.network.questions import HINDSIGHT_SECONDS, HURRY_SECONDS, GeneralSchedule

HOUR_SECONDS = 3_600.0


def flood(intake: Intake, now: float, seconds: float, *, sources: int = 1, rate: int = 2_000) -> int:
    """So many announcements a second. Returns how many were read."""
    packets = round(rate * seconds)
    return sum(
        intake.admits(Kind.ANNOUNCEMENT, f"10.9.{number % sources // 250}.{number % sources % 250}", now + number / rate)
        for number in range(packets)
    )


def test_what_a_packet_is() -> None:
    query, response = struct.pack("!6H", 0, 0, 1, 0, 0, 0), struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0)
    assert kind_of(query, is_for_all=True) == kind_of(query, is_for_all=False) == Kind.QUESTION
    assert kind_of(response, is_for_all=True) == Kind.ANNOUNCEMENT
    assert kind_of(response, is_for_all=False) == Kind.ANSWER
    assert kind_of(b"\0\0", is_for_all=True) == Kind.QUESTION


def test_one_sender_is_read_within_its_budget_and_takes_nobody_elses() -> None:
    intake = Intake(0.0)
    assert flood(intake, 0.0, 10) <= limits.PACKETS_AT_ONCE_PER_ORIGIN + 10 * limits.PACKETS_PER_SECOND_PER_ORIGIN + 1
    assert intake.admits(Kind.ANNOUNCEMENT, "10.0.0.7", 10.0)
    assert intake.refused[Kind.ANNOUNCEMENT] > 19_000
    assert not intake.refused[Kind.QUESTION]


@pytest.mark.parametrize("sources", [250, 5_000])
def test_a_flood_from_everywhere_leaves_other_kinds_and_who_was_heard_before(sources: int) -> None:
    intake = Intake(0.0)
    for at in range(0, round(OLD_SECONDS) + 1, 5):
        assert intake.admits(Kind.ANNOUNCEMENT, "10.0.0.7", at)
    began = OLD_SECONDS + 1
    read = flood(intake, began, 10, sources=sources)
    assert read <= limits.PACKETS_AT_ONCE + 10 * limits.PACKETS_PER_SECOND + 1
    now = began + 10
    assert not all(intake.admits(Kind.ANNOUNCEMENT, address, now) for address in ("10.0.0.8", "10.0.0.9"))
    assert intake.admits(Kind.ANNOUNCEMENT, "10.0.0.7", now)
    assert intake.admits(Kind.ANSWER, "10.0.0.8", now)
    assert intake.admits(Kind.QUESTION, "10.0.0.8", now)
    assert intake.away(Kind.ANNOUNCEMENT, now).only == ("10.0.0.7",)
    assert not intake.away(Kind.ANNOUNCEMENT, now + AWAY_SECONDS)


def test_what_this_machine_says_is_read_whatever_comes_from_everywhere() -> None:
    intake = Intake(0.0)
    intake.own = frozenset({"10.0.0.1", "fe80::1"})
    flood(intake, 0.0, 10, sources=5_000)
    assert intake.admits(Kind.ANNOUNCEMENT, "10.0.0.1", 10.0)
    assert intake.admits(Kind.ANNOUNCEMENT, "fe80::1", 10.0)
    assert not all(intake.admits(Kind.ANNOUNCEMENT, f"fe80::{number}", 10.0) for number in (2, 3))
    assert set(intake.away(Kind.ANNOUNCEMENT, 10.0).only or ()) == intake.own


def test_whoever_comes_much_too_often_is_away_for_a_while() -> None:
    intake = Intake(0.0)
    assert not intake.away(Kind.ANNOUNCEMENT, 0.0)
    flood(intake, 0.0, 1)
    assert intake.away(Kind.ANNOUNCEMENT, 1.0) == (("10.9.0.0",), None)
    assert not intake.away(Kind.ANSWER, 1.0)
    assert not intake.away(Kind.ANNOUNCEMENT, 1.0 + AWAY_SECONDS)
    assert intake.admits(Kind.ANNOUNCEMENT, "10.9.0.0", 1.0 + AWAY_SECONDS)


def test_an_old_sender_that_floods_is_a_stranger_again() -> None:
    intake = Intake(0.0)
    assert intake.admits(Kind.ANNOUNCEMENT, "10.9.0.0", 0.0)
    flood(intake, HOUR_SECONDS, 5)
    flood(intake, HOUR_SECONDS, 5, sources=1_000)
    assert not intake.admits(Kind.ANNOUNCEMENT, "10.9.0.0", HOUR_SECONDS + 5)


def test_a_link_of_ipv6_is_one_sender() -> None:
    intake = Intake(0.0)
    read = sum(intake.admits(Kind.ANNOUNCEMENT, f"fe80::{number:x}", number / 2_000) for number in range(10_000))
    assert read <= limits.PACKETS_AT_ONCE_PER_ORIGIN + 5 * limits.PACKETS_PER_SECOND_PER_ORIGIN + 1


def test_memory_is_bounded() -> None:
    intake = Intake(0.0)
    for number in range(3 * limits.ORIGINS):
        intake.admits(Kind.ANNOUNCEMENT, f"10.{number // 65_536}.{number // 256 % 256}.{number % 256}", 10.0 * number)
    budgets = intake._budgets[Kind.ANNOUNCEMENT]
    assert len(budgets._strangers) <= limits.ORIGINS
    assert len(budgets._old) <= limits.ORIGINS


def test_while_packets_are_missed_the_question_is_asked_often_and_once_more_afterwards() -> None:
    schedule = GeneralSchedule(Random(1))
    schedule.series(0.0, (0.0,))
    now = 1.0
    schedule.take(now, 0)
    asked = []
    while now < 21.0:
        now += 0.01
        if now < 11.0:
            schedule.hurry(now, 0)
        if (unicast := schedule.take(now, 0)) is not None:
            asked.append(now)
            assert unicast
    pauses = [after - before for before, after in pairwise(asked)]
    assert all(HURRY_SECONDS - 0.02 < pause < HURRY_SECONDS + 0.2 for pause in pauses[:-1])
    assert HINDSIGHT_SECONDS - 0.1 < pauses[-1] < HINDSIGHT_SECONDS + 0.1
    assert asked[-1] >= 12.4


def test_a_large_fleet_asks_more_rarely() -> None:
    schedule = GeneralSchedule(Random(1))
    schedule.series(0.0, (0.0,))
    schedule.take(1.0, 0)
    assert schedule.hurry(1.0, 200)
    assert schedule.next > 10.0
    assert not schedule.hurry(1.1, 200)
