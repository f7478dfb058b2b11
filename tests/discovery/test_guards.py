"""Which answers are believed: a table of single answers, sequences with a clock, and what no sequence may do."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.discovery.guards import CONFIRM_SECONDS, Guard, Heard, Own, Trust, grace_seconds

WHOLE = Heard(shown=5, known=5, missing=0, own=Own.SHOWN)
EMPTY = Heard(shown=0, known=5, missing=5, own=Own.NOT_EXPECTED)


@pytest.mark.parametrize(
    ("change", "trust", "why"),
    [
        ({}, Trust.FULL, ""),
        ({"shown": 4, "missing": 1}, Trust.FULL, ""),
        ({"shown": 1, "known": 2, "missing": 1}, Trust.FULL, ""),
        ({"shown": 2, "known": 4, "missing": 2}, Trust.FULL, ""),
        ({"shown": 1, "missing": 4}, Trust.SHOWN, "4 of 5 are missing at once"),
        ({"shown": 5, "known": 10, "missing": 5}, Trust.SHOWN, "5 of 10 are missing at once"),
        ({"shown": 26, "known": 29, "missing": 3}, Trust.SHOWN, "3 of 29 are missing at once"),
        ({"shown": 27, "known": 30, "missing": 3}, Trust.FULL, ""),
        ({"shown": 4, "missing": 1, "went_back": True}, Trust.SHOWN, "1 of 5 are missing"),
        ({"went_back": True}, Trust.FULL, ""),
        ({"shown": 0, "known": 0, "missing": 0, "own": Own.NOT_EXPECTED}, Trust.FULL, ""),
        ({"shown": 0, "known": 1, "missing": 1, "own": Own.NOT_EXPECTED}, Trust.SHOWN, "1 of 1 are missing"),
        ({"shown": 0, "known": 1, "missing": 1, "own": Own.UNREGISTERED}, Trust.SHOWN, "1 of 1 are missing"),
        ({"own": Own.MISSING}, Trust.SHOWN, "our own registration is missing"),
        ({"is_filtered": True}, Trust.SHOWN, "not complete"),
        ({"has_leader": False}, Trust.NONE, "no leader"),
        ({"last_contact_seconds": 2.1}, Trust.NONE, "not heard from it"),
        ({"last_contact_seconds": 2.0}, Trust.FULL, ""),
    ],
)
def test_one_answer(change: dict[str, Any], trust: Trust, why: str) -> None:
    belief = Guard().hear(replace(WHOLE, **change), 0.0)
    assert belief.trust is trust
    assert why in belief.why
    assert bool(belief.why) == (trust is not Trust.FULL)


@pytest.mark.parametrize(
    ("answers", "believed"),
    [
        ([(0, EMPTY), (30, EMPTY), (60, EMPTY)], True),
        ([(0, EMPTY), (30, EMPTY), (59, EMPTY)], False),
        ([(0, EMPTY), (300, EMPTY)], False),
        ([(0, EMPTY), (30, WHOLE), (60, EMPTY), (61, EMPTY)], False),
        ([(0, EMPTY), (30, None), (60, EMPTY), (90, EMPTY)], False),
        ([(0, EMPTY), (30, None), (60, EMPTY), (90, EMPTY), (120, EMPTY)], True),
        ([(0, EMPTY), (30, replace(EMPTY, has_leader=False)), (60, EMPTY)], False),
        ([(0, EMPTY), (20, replace(EMPTY, shown=4, missing=1)), (40, EMPTY), (60, EMPTY)], True),
    ],
)
def test_much_that_is_missing_wants_three_answers_over_a_minute(
    answers: list[tuple[float, Heard | None]], believed: bool
) -> None:
    guard = Guard()
    for now, heard in answers:
        if heard is None:
            guard.fail("down", now)
        else:
            guard.hear(heard, now)
    assert (guard.belief.trust is Trust.FULL) is believed


ONE_LESS = replace(WHOLE, shown=4, missing=1)


@pytest.mark.parametrize(
    "outage",
    [None, replace(WHOLE, has_leader=False), replace(WHOLE, went_back=True, own=Own.MISSING)],
    ids=["no answer", "no leader", "an index that went back"],
)
def test_what_is_missing_after_an_outage_wants_confirmation(outage: Heard | None) -> None:
    """Consul may have lost its memory: machines come back one by one, and the first answers may even lack our own."""
    guard = Guard()
    guard.hear(WHOLE, 0)
    if outage is None:
        guard.fail("down", 1)
    else:
        guard.hear(outage, 1)
    assert guard.hear(replace(WHOLE, shown=0, missing=5, own=Own.MISSING), 2).trust is Trust.SHOWN
    assert guard.hear(ONE_LESS, 3).trust is Trust.SHOWN
    assert guard.hear(ONE_LESS, 30).trust is Trust.SHOWN
    assert guard.hear(ONE_LESS, 63).trust is Trust.FULL
    assert guard.hear(ONE_LESS, 64).trust is Trust.FULL, "and the outage is forgotten"


def test_an_outage_that_cost_nothing_is_over_with_the_first_answer() -> None:
    guard = Guard()
    guard.fail("down", 0)
    assert guard.hear(WHOLE, 1).trust is Trust.FULL
    assert guard.hear(ONE_LESS, 2).trust is Trust.FULL


def test_what_is_small_while_much_is_in_doubt_waits_as_well() -> None:
    guard = Guard()
    guard.hear(EMPTY, 0)
    assert guard.hear(replace(WHOLE, shown=4, missing=1), 20).trust is Trust.SHOWN
    assert guard.hear(WHOLE, 30).trust is Trust.FULL
    assert guard.hear(replace(WHOLE, shown=4, missing=1), 40).trust is Trust.FULL


def test_an_agent_that_cannot_show_ourselves_is_never_believed() -> None:
    guard = Guard()
    for turn in range(1000):
        assert guard.hear(replace(EMPTY, own=Own.MISSING), 10.0 * turn).trust is Trust.SHOWN


def test_bad_time_counts_from_the_first_answer_that_was_not_believed() -> None:
    guard = Guard()
    assert guard.bad_seconds(50) == 0
    guard.hear(WHOLE, 100)
    assert guard.bad_seconds(1000) == 0
    guard.fail("refused", 1000)
    guard.hear(EMPTY, 1010)
    guard.fail("refused", 1020)
    assert guard.bad_seconds(1030) == 30
    guard.hear(WHOLE, 1040)
    assert guard.bad_seconds(1100) == 0


def test_silence_counts_from_the_last_answer_of_which_anything_was_believed() -> None:
    guard = Guard()
    guard.hear(replace(WHOLE, own=Own.MISSING), 100)
    guard.hear(replace(WHOLE, own=Own.MISSING), 1000)
    assert guard.silent_seconds(1000) == 0
    guard.fail("refused", 1010)
    assert (guard.bad_seconds(1020), guard.silent_seconds(1020)) == (920, 10)
    guard.hear(replace(WHOLE, own=Own.MISSING), 1030)
    assert guard.silent_seconds(1040) == 0


def test_the_grace_is_a_minute_or_four_intervals() -> None:
    assert (grace_seconds(15), grace_seconds(5), grace_seconds(30)) == (60, 60, 120)


heards = st.builds(
    Heard,
    shown=st.integers(0, 9),
    known=st.integers(0, 9),
    missing=st.integers(0, 9),
    own=st.sampled_from(list(Own)),
    has_leader=st.booleans(),
    last_contact_seconds=st.sampled_from([0.0, 1.0, 12.0]),
    is_filtered=st.booleans(),
    went_back=st.booleans(),
)


@given(st.lists(st.tuples(st.floats(0.1, 40), st.none() | heards), max_size=30))
def test_absence_is_never_believed_of_what_may_be_incomplete(steps: list[tuple[float, Heard | None]]) -> None:
    guard, now = Guard(), 0.0
    for pause, heard in steps:
        now += pause
        belief = guard.fail("down", now) if heard is None else guard.hear(heard, now)
        if belief.trust is not Trust.FULL:
            continue
        assert heard is not None
        assert guard.bad_seconds(now + 1e6) == 0
        assert heard.has_leader
        assert not heard.is_filtered
        assert heard.own is not Own.MISSING
        assert heard.last_contact_seconds <= 2


@given(st.lists(st.floats(0.1, 40), min_size=1, max_size=20))
def test_an_empty_answer_is_never_believed_within_the_minute(pauses: list[float]) -> None:
    guard, now = Guard(), 0.0
    first = pauses[0]
    for pause in pauses:
        now += pause
        if guard.hear(EMPTY, now).trust is Trust.FULL:
            assert now - first >= CONFIRM_SECONDS
            return
