"""What outside can cause is one line a minute for each kind and origin; what was held back is counted and told."""

import io
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.agent import logs
from k3.agent.log_repeats import MINUTE_SECONDS, ORIGINS, Repeats
from k3.core import limits
from k3.settings.structs import LogSettings
from tests.docs import sources
from tests.source import READERS


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repeats(clock: Clock) -> Repeats:
    return Repeats(clock=clock)


def record(event: str, *, name: str = "k3.test", **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, __file__, 1, event, None, None)
    made.fields = fields
    return made


def flooded(origin: str, **fields: Any) -> logging.LogRecord:
    return record("health.flooded", **{"from": origin}, **fields)


def told(repeats: Repeats, *records: logging.LogRecord) -> list[dict[str, Any]]:
    return [each.fields for each in records if repeats.filter(each)]  # type: ignore[attr-defined]


@READERS
def test_every_event_that_is_counted_is_one_that_is_logged() -> None:
    assert set(ORIGINS) <= sources.events()


def test_the_first_is_told_and_the_others_of_its_minute_are_not(repeats: Repeats, clock: Clock) -> None:
    assert told(repeats, *(flooded("10.0.0.1", visits=n) for n in range(100))) == [{"from": "10.0.0.1", "visits": 0}]
    clock.now += MINUTE_SECONDS
    assert told(repeats, flooded("10.0.0.1", visits=7)) == [{"from": "10.0.0.1", "visits": 7, "repeated": 99}]
    assert repeats.held_back == 99
    clock.now += MINUTE_SECONDS
    assert told(repeats, flooded("10.0.0.1")) == [{"from": "10.0.0.1"}], "nothing was held back meanwhile"


def test_the_last_word_is_told_when_the_minute_is_over_even_if_nothing_follows(repeats: Repeats, clock: Clock) -> None:
    for event in ("datacenter.doubted", "datacenter.believed") * 3:
        repeats.filter(record(event, datacenter="dc1", n=clock.now))
        clock.now += 1
    assert repeats.due() == []
    clock.now += MINUTE_SECONDS
    said = [(each.getMessage(), each.fields) for each in repeats.due()]  # type: ignore[attr-defined]
    assert said == [
        ("datacenter.doubted", {"datacenter": "dc1", "n": 1_004.0, "repeated": 1}),
        ("datacenter.believed", {"datacenter": "dc1", "n": 1_005.0, "repeated": 1}),
    ]
    assert repeats.held_back == 2
    assert repeats.due(early=True) == []


def test_origins_and_kinds_do_not_hold_back_each_other(repeats: Repeats) -> None:
    said = [flooded("10.0.0.1"), flooded("10.0.0.2"), record("health.crowded", **{"from": "10.0.0.1"})]
    assert len(told(repeats, *said)) == 3


def test_what_no_stranger_causes_is_always_told(repeats: Repeats) -> None:
    assert len(told(repeats, *(record("node.transition", node="a") for _ in range(50)))) == 50
    assert len(told(repeats, *(record("health.refused", over=True) for _ in range(50)))) == 50


def test_a_library_says_the_same_once_a_minute(repeats: Repeats) -> None:
    said = [record("socket.send() raised exception.", name="asyncio") for _ in range(50)]
    assert len(told(repeats, *said, record("another", name="asyncio"))) == 2


def test_many_origins_are_so_many_lines_and_one_for_the_rest(repeats: Repeats, clock: Clock) -> None:
    for _ in range(3):
        assert len(told(repeats, *(flooded(f"10.0.{n // 250}.{n % 250}") for n in range(5_000)))) in {
            0,
            limits.LOG_ORIGINS_PER_MINUTE,
        }
        assert len(repeats._origins) <= limits.LOG_ORIGINS
    clock.now += MINUTE_SECONDS
    due = repeats.due()
    assert len(due) <= limits.LOG_ORIGINS_PER_MINUTE + 1
    assert repeats.held_back + len(due) + limits.LOG_ORIGINS_PER_MINUTE == 15_000


@given(
    st.lists(
        st.tuples(st.sampled_from(["health.flooded", "peer.suspected", "x"]), st.text(max_size=3), st.integers(0, 40)),
        max_size=80,
    )
)
def test_every_line_is_told_or_counted(steps: list[tuple[str, str, int]]) -> None:
    clock = Clock()
    repeats, shown = Repeats(clock=clock), 0
    times: dict[tuple[str, str], float] = {}
    for event, origin, seconds in steps:
        clock.now += seconds
        for each in repeats.due():
            assert not hasattr(each, "x")
            shown += 1
        if repeats.filter(record(event, **{"from": origin, "node": origin})):
            shown += 1
            if event in ORIGINS:
                assert clock.now - times.get((event, origin), float("-inf")) >= MINUTE_SECONDS
                times[event, origin] = clock.now
        if event in ORIGINS:
            assert len(repeats._origins) <= len(steps)
    shown += len(repeats.due(early=True))
    assert shown + repeats.held_back == len(steps)


def test_a_trace_is_not_kept(repeats: Repeats) -> None:
    error = ValueError()
    for _ in range(2):
        each = record("agent.fault", fault="1234")
        each.exc_info = failed = (ValueError, error, None)
        repeats.filter(each)
        assert each.exc_info is failed
    [last] = repeats.due(early=True)
    assert last.exc_info is None


def test_threads_may_log_at_once(repeats: Repeats) -> None:
    count = []

    def log() -> None:
        count.extend(told(repeats, *(flooded("10.0.0.1") for _ in range(500))))

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(count) == 1
    assert repeats.held_back == 1_999


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[[], tuple[list[str], list[str]]]]:
    """Returns the lines of both outputs: a stream, and a file."""
    root, stream, path = logging.getLogger(), io.StringIO(), tmp_path / "k3.log"
    former, levels = root.handlers[:], (root.level, logging.getLogger("k3").level)
    logs.set_up(LogSettings(path=str(path)), stream=stream)
    yield lambda: (stream.getvalue().splitlines(), path.read_text().splitlines())
    for handler in [each for each in root.handlers if each not in former]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(levels[0])
    logging.getLogger("k3").setLevel(levels[1])


def test_all_outputs_are_told_the_same_and_the_rest_at_the_end(
    written: Callable[[], tuple[list[str], list[str]]],
) -> None:
    with logs.in_background():
        for number in range(10):
            fields = {"from": "10.0.0.1", "visits": number}
            logging.getLogger("k3.agent.health").warning("health.flooded", extra={"fields": fields})
    shown, kept = written()
    assert shown == kept
    assert [line.partition(" WARN ")[2] for line in shown] == [
        "health.flooded from=10.0.0.1 visits=0",
        "health.flooded from=10.0.0.1 visits=9 repeated=8",
    ]
    assert logs.dropped() == {"repeated": 8, "output": 0}
