"""A loop that stood still, seen by the next thing that happens in it."""

import asyncio
import logging

import pytest

from k3.network.events import Stalled
from k3.network.pulse import BEAT_SECONDS, STALL_SECONDS, Pulse
from k3.testing.clock import FakeLoop
from tests.fake_time import on_fake_time


def stand_still(seconds: float) -> None:
    """Nothing in the loop runs for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, FakeLoop)
    loop.clock.advance(seconds)


@on_fake_time
async def test_a_loop_that_runs_is_not_stalled() -> None:
    told: list[Stalled] = []
    pulse = Pulse(told.append)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(pulse.run())
        for _ in range(100):
            await asyncio.sleep(0.3)
            pulse.look()
        stand_still(STALL_SECONDS)
        await asyncio.sleep(1.0)
        running.cancel()
    assert told == []


@pytest.mark.parametrize("looks", [True, False], ids=["an-event-comes-first", "the-beat-comes-first"])
@on_fake_time
async def test_a_loop_that_stood_still_is_told_once(looks: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told: list[Stalled] = []
    pulse = Pulse(told.append)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(pulse.run())
        await asyncio.sleep(0)
        stand_still(5.0)
        if looks:
            pulse.look()
            assert [round(each.seconds, 3) for each in told] == [5.0 - BEAT_SECONDS]
        await asyncio.sleep(10.0)
        running.cancel()
    assert [round(each.seconds, 3) for each in told] == [5.0 - BEAT_SECONDS]
    assert [(each.getMessage(), each.fields) for each in caplog.records] == [("agent.stalled", {"seconds": 4.5})]  # type: ignore[attr-defined]


@on_fake_time
async def test_what_happens_between_two_beats_hides_no_stall() -> None:
    told: list[Stalled] = []
    pulse = Pulse(told.append)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(pulse.run())
        await asyncio.sleep(BEAT_SECONDS - 0.1)
        pulse.look()
        stand_still(STALL_SECONDS + 0.2)
        pulse.look()
        running.cancel()
    assert [round(each.seconds, 3) for each in told] == [STALL_SECONDS + 0.1]


@on_fake_time
async def test_what_came_before_the_first_beat_is_no_stall() -> None:
    """A name may be waited for, for a minute, before the pulse begins."""
    told: list[Stalled] = []
    pulse = Pulse(told.append)
    await asyncio.sleep(60.0)
    pulse.begin()
    pulse.look()
    assert told == []
