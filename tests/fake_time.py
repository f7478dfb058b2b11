"""Tests that run on an event loop whose time is skipped, not waited for."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

from k3.testing.clock import FakeLoop

P = ParamSpec("P")
GUARD_SECONDS: Final = 100_000.0
"""What goes on for ever does so at once, where time is skipped: no guard of real time would end it."""


def on_fake_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a `FakeLoop`: an hour of sleep takes no time, and every time is exact."""

    async def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        async with asyncio.timeout(GUARD_SECONDS):
            await test(*args, **kwargs)

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=FakeLoop) as runner:
            runner.run(guarded(*args, **kwargs))

    return run


def now() -> float:
    """The seconds that the running loop's clock shows."""
    return asyncio.get_running_loop().time()
