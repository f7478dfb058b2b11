"""What the driver starts beside everything else, and what is left of it when a run ends."""

import asyncio
import gc
import warnings
from collections.abc import Sequence

import pytest

from k3.agent.faults import Faults
from k3.core.errors import NameTaken
from k3.network.driver import Driver
from k3.network.messages import LocalFault, Outcome, Target


class Nobody:
    """Answers nothing."""

    async def ask(self, target: Target, *, timeout_seconds: float) -> Outcome:
        return LocalFault(f"{target.name} {timeout_seconds}")


def never_awaited(warned: Sequence[warnings.WarningMessage]) -> list[str]:
    return [text for each in warned if "never awaited" in (text := str(each.message))]


async def work() -> None:
    await asyncio.sleep(0)


async def a_run_that_ends_at_once(driver: Driver) -> None:
    async with asyncio.TaskGroup() as tasks:
        driver.use(tasks)
        driver.start(work())
        msg = "web"
        raise NameTaken(msg)


async def test_work_that_a_run_leaves_no_time_to_begin_is_let_go_of() -> None:
    """A name that is taken ends the run at once, and with it what was started in the same breath."""
    driver = Driver(Nobody(), Faults())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ExceptionGroup):
            await a_run_that_ends_at_once(driver)
        driver.start(work())
        gc.collect()
    assert not never_awaited(warned)


async def test_before_there_is_a_run_nothing_is_started() -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        Driver(Nobody(), Faults()).start(work())
        gc.collect()
    assert not never_awaited(warned)
