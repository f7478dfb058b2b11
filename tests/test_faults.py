"""A fault is said once with a trace and an id, counted, and gone on from; what ends a run on purpose passes."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from k3.agent import faults
from k3.agent.faults import Faults
from k3.core import limits
from k3.core.errors import NameTaken, RunEnded, Unavailable


def said(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if record.levelname == "ERROR"]


def test_a_fault_is_said_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    of_one = Faults()
    for name in ("web1", "web2", "web1"):
        with of_one.survived("test.place", node=name):
            raise ValueError(name)
    (line,) = said(caplog)
    assert line["where"] == "test.place"
    assert line["error"] == "ValueError: web1"
    assert line["node"] == "web1"
    assert of_one.counts == {line["fault"]: 3}
    assert caplog.records[0].exc_info is not None, "with its trace"


def test_another_line_or_another_kind_is_another_fault(caplog: pytest.LogCaptureFixture) -> None:
    of_one = Faults()
    with of_one.survived("test.place"):
        raise ValueError
    with of_one.survived("test.place"):
        raise TypeError
    with of_one.survived("test.other"):
        raise TypeError
    assert len({line["fault"] for line in said(caplog)}) == 3


def test_the_kinds_are_bounded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(limits, "FAULTS", 2)
    of_one = Faults()
    for number in range(5):
        with of_one.survived(f"place{number}"):
            raise ValueError
    assert len(of_one.counts) == len(said(caplog)) == 2


@pytest.mark.parametrize("meant", [RunEnded("over"), NameTaken("web1")])
async def test_what_is_meant_passes(meant: Exception) -> None:
    of_one = Faults()

    async def ends() -> None:
        raise meant

    async def ends_in_a_group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ends())

    with pytest.raises(type(meant)), of_one.survived("test"):
        raise meant
    with pytest.raises(type(meant)):
        await of_one.keep("test", ends)
    with pytest.raises(ExceptionGroup):
        await of_one.keep("test", ends_in_a_group)
    assert not of_one.counts


async def test_a_part_that_fails_begins_again_after_ever_longer_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FIRST_PAUSE_SECONDS", 0.04)
    monkeypatch.setattr(faults, "LONGEST_PAUSE_SECONDS", 0.16)
    began: list[float] = []

    async def part() -> None:
        began.append(asyncio.get_running_loop().time())
        if len(began) < 5:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fails())

    async def fails() -> None:
        if len(began) == 1:
            raise Unavailable
        raise ValueError

    of_one = Faults()
    async with asyncio.timeout(20):
        await of_one.keep("test", part)
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert len(began) == 5, "and what returns has ended"
    assert all(pause >= floor for pause, floor in zip(pauses, (0.02, 0.04, 0.08, 0.08), strict=True)), pauses
    assert sorted(of_one.counts.values()) == [1, 3]


async def test_a_cancelled_part_is_cancelled() -> None:
    of_one = Faults()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(of_one.keep("test", asyncio.Event().wait))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
    assert not of_one.counts
