"""Who is observed, whatever the clocks say: each case is a list as a reader finds it, with the right answer beside it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from k3.core import freshness, node, times
from k3.core.freshness import Sightings, WrongClock
from k3.core.node import NodeView

NOW = datetime(2026, 11, 26, 8, tzinfo=UTC)
TTL = 90.0
HOUR = 3_600.0


def machine(name: str, seen_by: str, age: float, *, run: str = "", ready: str = "True", reachable: str = "True") -> NodeView:
    """A Node of network's, refreshed `age` seconds ago by the clock of `seen_by`, whose run is `<seen_by>-1` by default."""
    stamp = times.precise_timestamp(NOW - timedelta(seconds=age))
    notes = {
        "lastSeen": stamp,
        "seen-by": seen_by,
        "seen-run": run or f"{seen_by}-1",
        "agent": f"{name}-1",
        "boot": f"{name}-1",
    }
    manifest = {
        "metadata": {
            "labels": {"k3.network/managed": "true"},
            "annotations": {f"k3.network/{key}": text for key, text in notes.items()} | {"k3.network/peer-ttl": f"{TTL:g}s"},
        },
        "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": node.REACHABLE, "status": reachable}]},
    }
    return node.view_manifest(name, manifest)


@pytest.mark.parametrize(
    ("nodes", "answered", "observed"),
    [
        pytest.param([machine("a", "b", 30), machine("b", "a", 20)], {}, "ab", id="all is well"),
        pytest.param([machine("a", "b", 181), machine("b", "a", 182)], {}, "", id="nobody is there any more"),
        pytest.param([machine("a", "b", HOUR), machine("b", "a", 20)], {}, "ab", id="b's clock is an hour behind"),
        pytest.param([machine("a", "b", -HOUR), machine("b", "a", 20)], {}, "ab", id="b's clock is an hour ahead"),
        pytest.param([machine("a", "b", -HOUR), machine("b", "a", 181)], {}, "", id="b's clock was ahead, and all are dead"),
        pytest.param([machine("a", "b", HOUR), machine("b", "a", HOUR)], {}, "", id="the reader's clock is ahead: who knows"),
        pytest.param([machine("a", "b", HOUR), machine("b", "a", HOUR)], {"a": "a-1"}, "ab", id="it is, but a answers"),
        pytest.param([machine("a", "b", -HOUR), machine("b", "a", -HOUR)], {"b": "b-1"}, "ab", id="behind, and b answers"),
        pytest.param([machine("a", "a", HOUR), machine("b", "a", HOUR)], {"a": "a-2"}, "a", id="a has started anew"),
        pytest.param([machine("a", "b", HOUR, run="b-0"), machine("b", "a", 20)], {}, "b", id="another run saw a, long ago"),
        pytest.param([machine("a", "b", HOUR), machine("b", "a", 20, ready="False")], {}, "b", id="b is down"),
        pytest.param(
            [machine("a", "b", HOUR), machine("b", "a", 20, reachable="False")],
            {},
            "b",
            id="b is suspected",
        ),
        pytest.param([machine("a", "a", HOUR)], {}, "", id="nobody vouches for itself"),
        pytest.param(
            [machine("a", "b", HOUR), machine("b", "c", HOUR), machine("c", "d", HOUR), machine("d", "d", 1)],
            {},
            "abcd",
            id="a chain",
        ),
        pytest.param([replace(machine("a", "b", HOUR), owner=None)], {}, "a", id="a controller's"),
        pytest.param([replace(machine("a", "b", 0), last_seen="")], {}, "", id="called Ready, and never seen by k3"),
        pytest.param([replace(machine("a", "b", 0, ready="False"), last_seen="")], {}, "a", id="announced, and never seen"),
    ],
)
def test_who_is_observed(nodes: list[NodeView], answered: Mapping[str, str], observed: str) -> None:
    assert freshness.observed(nodes, NOW, answered) == set(observed)


def test_who_is_seen_to_write_lives_whatever_the_readers_clock_says() -> None:
    nodes = [machine("a", "b", HOUR), machine("b", "a", HOUR), machine("c", "d", HOUR)]
    assert freshness.observed(nodes, NOW, writing={"b-1"}) == {"a", "b"}


def test_who_is_worth_asking_is_ready_and_has_a_stamp_that_disagrees() -> None:
    nodes = [
        machine("old", "x", 181),
        machine("future", "x", -5.1),
        machine("fine", "x", 179),
        machine("close", "x", -4.9),
        machine("down", "x", HOUR, ready="False"),
        replace(machine("other", "x", HOUR), owner=None),
    ]
    assert [seen.name for seen in freshness.doubtful(nodes, NOW)] == ["old", "future"]


def test_a_wrong_clock_is_named_by_whose_stamps_it_wrote() -> None:
    nodes = [machine("a", "b", HOUR), machine("b", "a", 20), machine("c", "b", HOUR + 30)]
    clocks = freshness.wrong_clocks(nodes, NOW, freshness.observed(nodes, NOW))
    assert clocks == [WrongClock("b", -HOUR)]
    assert not freshness.is_readers(clocks, nodes, NOW)


def test_where_nobody_agrees_with_the_reader_the_readers_clock_is_wrong() -> None:
    nodes = [machine("a", "b", HOUR), machine("b", "a", HOUR)]
    clocks = freshness.wrong_clocks(nodes, NOW, "ab", {"a": -HOUR - 1, "b": -HOUR + 1})
    assert [clock.ahead_seconds for clock in clocks] == [-HOUR - 1, -HOUR + 1]
    assert freshness.is_readers(clocks, nodes, NOW)
    ahead = [machine("a", "b", -HOUR), machine("b", "a", -HOUR)]
    assert freshness.is_readers(freshness.wrong_clocks(ahead, NOW, "ab"), ahead, NOW), "a stamp to come needs no answer"


@pytest.mark.parametrize("said", [{}, {"a": 0.3, "b": -0.2}], ids=["nobody said the time", "it is the same"])
def test_old_stamps_where_nobody_writes_accuse_no_clock(said: Mapping[str, float]) -> None:
    """The agents live and answer, and cannot write: a store that is read-only, a password that was changed."""
    nodes = [machine("a", "b", 200), machine("b", "a", 190), machine("c", "a", HOUR, ready="False")]
    assert freshness.wrong_clocks(nodes, NOW, "ab", said) == []
    assert freshness.unwritten_seconds(nodes, NOW, []) == 190


def test_an_agent_that_has_just_ended_has_no_wrong_clock() -> None:
    """It refreshed one Node a little later than the other, so that one stamp has just become too old and the other has not."""
    nodes = [machine("a", "b", 2 * TTL + 1), machine("b", "b", 2 * TTL - 1)]
    assert freshness.wrong_clocks(nodes, NOW, "ab") == []


def test_of_the_time_that_a_machine_says_nothing_is_guessed() -> None:
    """Its stamps are as old as its last refresh besides."""
    nodes = [machine("a", "b", HOUR + 30), machine("b", "a", 20)]
    clocks = freshness.wrong_clocks(nodes, NOW, "ab", {"b": -HOUR})
    assert clocks == [WrongClock("b", -HOUR)]
    assert freshness.unwritten_seconds(nodes, NOW, clocks) == 0


def test_who_writes_is_not_said_to_be_silent() -> None:
    assert freshness.unwritten_seconds([machine("a", "b", 200), machine("b", "a", 20)], NOW, []) == 0
    assert freshness.unwritten_seconds([machine("a", "b", HOUR, ready="False")], NOW, []) == 0
    assert freshness.unwritten_seconds([machine("a", "b", HOUR)], NOW, [WrongClock("b", -HOUR)]) == 0


def test_who_stays_counts_on_its_own_clock() -> None:
    sightings, stale = Sightings(), machine("stale", "x", HOUR)
    sightings.begin([machine("a", "b", -HOUR), stale], {"a"}, 1_000.0)
    assert (sightings.is_observed("a"), sightings.is_observed("stale")) == (True, False)
    assert sightings.take_lost(1_000 + 2 * TTL) == []
    sightings.show(machine("a", "b", -HOUR), 1_100.0)  # a label has changed, and nothing that an agent writes
    assert sightings.take_lost(1_000 + 2 * TTL + 0.1) == ["a"]
    assert sightings.take_lost(9_999.0) == []
    sightings.show(machine("a", "b", -HOUR + 1), 2_000.0)
    sightings.show(machine("stale", "x", HOUR - 1), 2_000.0)
    assert sightings.is_observed("a")
    assert sightings.is_observed("stale")
    sightings.restart(2_100.0)
    assert sightings.take_lost(2_100 + 2 * TTL) == []
    assert sorted(sightings.take_lost(2_100 + 2 * TTL + 0.1)) == ["a", "stale"]


def test_who_goes_to_another_owner_is_that_ones_to_look_after() -> None:
    sightings, seen = Sightings(), machine("a", "b", 0)
    sightings.begin([seen], {"a"}, 0.0)
    sightings.show(replace(seen, owner=None), 1.0)
    assert sightings.take_lost(1e9) == []
    sightings.drop("a")
    assert sightings.is_observed("a")
