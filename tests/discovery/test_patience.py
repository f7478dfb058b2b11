"""By a fake clock: how long a doubt keeps something from being said, and a Node is left to the program that wrote it."""

import math

import pytest

from k3.discovery.originals import LONGEST_SECONDS, Originals
from k3.discovery.patience import Doubt, Patience, Why

MISSING = Doubt(Why.MISSING, "dc1", "host", "k3-node-web1")
SILENT = Doubt(Why.SILENT, "dc1", "host", "k3-node-web1")
UNASKED = Doubt(Why.UNASKED, "dc1", "host", "k3-node-web1")
GRACE = 60.0


@pytest.mark.parametrize("doubt", [MISSING, UNASKED])
def test_a_doubt_is_over_after_the_grace_and_not_before(doubt: Doubt) -> None:
    patience = Patience()
    patience.see({doubt}, 100)
    for now in (100.0, 159.9):
        patience.see({doubt}, now)
        assert patience.over(now, GRACE) == frozenset()
        assert patience.next_end(now, GRACE) == 160
    assert patience.over(160, GRACE) == {doubt}
    assert patience.next_end(160, GRACE) == math.inf


def test_a_silent_agent_has_no_grace_but_that_its_machine_answers() -> None:
    patience = Patience()
    patience.see({SILENT}, 0)
    assert patience.over(10**6, GRACE) == frozenset()
    assert patience.settle(SILENT, is_over=True)
    assert patience.over(1, GRACE) == {SILENT}
    assert not patience.settle(SILENT, is_over=True), "nothing has changed"
    assert patience.settle(SILENT, is_over=False)
    assert patience.over(2, GRACE) == frozenset()


def test_what_comes_back_begins_anew() -> None:
    patience = Patience()
    patience.see({MISSING}, 0)
    patience.settle(MISSING, is_over=True)
    patience.see(frozenset(), 50)
    assert not patience.settle(MISSING, is_over=True), "there is no such doubt"
    patience.see({MISSING}, 59)
    assert patience.over(100, GRACE) == frozenset()
    assert patience.over(119, GRACE) == {MISSING}


def test_what_the_original_left_behind_is_taken_over_at_once(caplog: pytest.LogCaptureFixture) -> None:
    originals = Originals()
    assert originals.at("web1") == math.inf
    originals.show("web1", 5, 100, was_own=False)
    assert originals.at("web1") == 100
    originals.show("web1", 5, 200, was_own=False)  # the same, read again
    assert originals.at("web1") == 100
    assert not caplog.records


def test_what_it_still_writes_is_left_to_it_until_it_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    originals = Originals()
    originals.show("web1", 5, 0, was_own=False)
    for turn in range(1, 9):
        originals.show("web1", 5 + turn, 15.0 * turn, was_own=False)
        assert originals.at("web1") == 15 * turn + 90
    assert [record.message for record in caplog.records] == ["node.written_by_original"]


def test_what_it_takes_back_is_left_to_it_for_longer_each_time(caplog: pytest.LogCaptureFixture) -> None:
    originals, now = Originals(), 0.0
    originals.show("web1", 5, now, was_own=True)
    waits = []
    for turn in range(8):
        waits.append(originals.at("web1") - now)
        now = originals.at("web1")
        originals.show("web1", 6 + turn, now, was_own=True)
    assert waits == [90, 180, 360, 720, 1440, 2880, LONGEST_SECONDS, LONGEST_SECONDS]
    assert len(caplog.records) == 1, "it is told once"
