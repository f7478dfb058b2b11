"""What `k3.agent.tasks` promises holds on every Python, and no module goes around it."""

import ast
import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from k3.agent.tasks import gather, time_limit, time_limit_at
from tests import source


async def fail(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def test_a_limit_that_is_over_says_so() -> None:
    with pytest.raises(TimeoutError):
        async with time_limit(0.01):
            await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        async with time_limit_at(asyncio.get_running_loop().time()) as limit:
            await asyncio.Event().wait()
    assert limit.expired()
    async with time_limit(None), time_limit(10):
        await asyncio.sleep(0)


async def test_a_limit_says_so_in_a_task_that_cleans_up_while_it_is_being_cancelled() -> None:
    """Python 3.11.2 lets a CancelledError out instead."""
    said = []

    async def clean_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                async with time_limit(0.01):
                    await asyncio.Event().wait()
            except TimeoutError:
                said.append("over")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(clean_up())
        await asyncio.sleep(0)
        task.cancel()
    assert said == ["over"]


async def test_a_limit_says_so_behind_a_group_that_failed() -> None:
    """Python 3.11.2 lets a CancelledError out instead: by this, the watch of an etcd that froze ended without a word."""
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(OSError("one")))
    with pytest.raises(TimeoutError):
        async with time_limit(0.01):
            await asyncio.Event().wait()


async def test_who_cancels_is_heard_through_a_limit() -> None:
    async def wait() -> None:
        async with time_limit(60):
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


async def test_gather_gives_results_in_order() -> None:
    async def late() -> int:
        await asyncio.sleep(0.01)
        return 1

    async def early() -> int:
        return 2

    assert await gather(late, early) == [1, 2]
    assert await gather() == []


async def test_the_first_failure_is_raised_as_it_is_and_leaves_no_mark() -> None:
    """Before Python 3.13 a group that failed leaves its task as if it were being cancelled."""
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    task = asyncio.current_task()
    assert task is not None
    for _ in range(2):
        with pytest.raises(OSError, match=r"^one$"):
            await gather(wait, lambda: fail(OSError("one")), lambda: fail(OSError("two")))
        assert not task.cancelling()
    assert ended == ["cancelled"] * 2


async def test_a_work_that_nobody_cancelled_and_that_ends_as_cancelled_has_failed() -> None:
    async def leak() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="nobody cancelled it"):
        await gather(leak, asyncio.Event().wait)


async def test_who_cancels_a_gathering_ends_all_of_it() -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(gather(asyncio.Event().wait, asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


class Held:
    """What a work had in hand."""


async def test_what_ended_as_cancelled_holds_nothing() -> None:
    """Although the gathering task, and with it its error, is kept."""
    held: list[weakref.ref[Held]] = []

    async def hold() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(gather(hold, hold))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
    gc.collect()
    assert task.cancelled()
    assert [each() for each in held] == [None, None]


# --- the rule


def names_of_asyncio(tree: ast.AST) -> Iterator[str]:
    for each in ast.walk(tree):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "asyncio":
            yield each.attr
        if isinstance(each, ast.ImportFrom) and each.module and each.module.split(".")[0] == "asyncio":
            yield from (alias.name for alias in each.names)


def catches_a_group(each: ast.AST) -> bool:
    return isinstance(each, ast.ExceptHandler) and each.type is not None and "ExceptionGroup" in ast.unparse(each.type)


def goes_on_with_a_mark(tree: ast.AST) -> bool:
    """Whether what fails as a group is awaited by the very task that catches it, and not by `gather`."""
    for each in ast.walk(tree):
        if isinstance(each, ast.TryStar) or (isinstance(each, ast.Try) and any(map(catches_a_group, each.handlers))):
            inside = [found for statement in each.body for found in ast.walk(statement)]
            awaited = [ast.unparse(found.value) for found in inside if isinstance(found, ast.Await)]
            if any(isinstance(found, ast.AsyncWith) for found in inside) or not all(w.startswith("gather(") for w in awaited):
                return True
    return False


@source.READERS
def test_every_module_keeps_to_it() -> None:
    """In `k3.testing` a test's own guards are asyncio's: nobody goes on behind them."""
    for name, tree in source.trees().items():
        if name != "agent/tasks.py" and not name.startswith("testing/"):
            assert {"timeout", "timeout_at", "wait_for"}.isdisjoint(names_of_asyncio(tree)), (
                f"{name}: use agent.tasks.time_limit"
            )
            assert not goes_on_with_a_mark(tree), f"{name}: use k3.agent.tasks.gather"


def test_the_rule_finds_what_it_forbids() -> None:
    bad = "async def f():\n try:\n  async with asyncio.TaskGroup() as g:\n   g.create_task(h())\n except* OSError:\n  pass"
    assert goes_on_with_a_mark(ast.parse(bad))
    assert goes_on_with_a_mark(ast.parse(bad.replace("except* OSError", "except BaseExceptionGroup")))
    assert set(names_of_asyncio(ast.parse("asyncio.timeout(1)\nfrom asyncio import wait_for"))) == {"timeout", "wait_for"}
