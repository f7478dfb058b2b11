"""Fake time passes when told to, for whoever sleeps and whoever reads it."""

import asyncio

import pytest

from k3.testing.clock import WALL, FakeClock, FakeLoop


async def test_sleepers_wake_in_order_at_their_time() -> None:
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        for _ in range(2):
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic() - 1_000.0))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("slow", 2.5))
        group.create_task(sleeper("fast", 1.0))
        await clock.run_for(4.0)
        assert woken == [("fast", 1.0), ("fast", 2.0), ("slow", 2.5)]
        assert clock.next_wake == 1_005.0
        await clock.run_for(1.0)
    assert woken[-1] == ("slow", 5.0)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = FakeClock()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(clock.sleep(1.0))
        await asyncio.sleep(0)
        task.cancel()
    assert clock.next_wake is None


def test_wall_and_monotonic_go_together_until_somebody_sets_the_clock() -> None:
    clock = FakeClock()
    clock.advance(5.0)
    assert (clock.monotonic(), clock.time()) == (1_005.0, WALL + 5.0)
    clock.step_wall(-3_600.0)
    assert (clock.monotonic(), clock.time()) == (1_005.0, WALL - 3_595.0)


def test_a_loop_on_a_fake_clock_skips_what_it_would_sleep_through() -> None:
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, asyncio.get_running_loop().time() - 1_000.0))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper("an hour", 3_600.0))
            group.create_task(sleeper("a minute", 60.0))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await asyncio.Event().wait()

    loop = FakeLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert woken == [("a minute", 60.0), ("an hour", 3_600.0)]
    assert (loop.clock.monotonic(), loop.clock.time()) == (4_605.0, WALL + 3_605.0)


def test_a_loop_on_a_fake_clock_still_waits_for_a_thread() -> None:
    async def main() -> str:
        return await asyncio.to_thread(lambda: "done")

    with asyncio.Runner(loop_factory=FakeLoop) as runner:
        assert runner.run(main()) == "done"
