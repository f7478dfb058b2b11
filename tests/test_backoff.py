"""Pauses between attempts."""

from random import Random

import pytest

from k3.agent.backoff import Backoff


def test_pauses_double_to_the_ceiling_and_begin_anew_after_a_success() -> None:
    backoff = Backoff(0.25, 1.5, chance=lambda: 1.0)
    assert [backoff.next_seconds() for _ in range(5)] == [0.25, 0.5, 1.0, 1.5, 1.5]
    backoff.reset()
    assert backoff.next_seconds() == 0.25


@pytest.mark.parametrize(("drawn", "first"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_chance_takes_away_a_half_at_most(drawn: float, first: float) -> None:
    assert Backoff(1.0, 8.0, chance=lambda: drawn).next_seconds() == first


def test_two_that_fail_at_one_moment_do_not_come_back_at_one_moment() -> None:
    one, other = (Backoff(1.0, 8.0, chance=Random(seed).random) for seed in (1, 2))
    assert one.next_seconds() != other.next_seconds()
