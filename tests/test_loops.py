"""Nothing spins: a loop that goes on after an error waits before it tries again, or a reason is given here."""

import ast
from collections.abc import Iterator
from typing import Final

from tests import source

pytestmark = source.READERS

WAITS: Final = ("sleep", "wait", "pause")
ELSEWHERE: Final = {
    "agent/reconciler.py: _work": "waits for the next Node, and an error ends that one",
    "agent/source.py: follow": "subscribes again; what it is cut off by needs a turn of the loop for each change",
    "daemon/network.py: _network": "another run listens for 0.3 s before it says anything",
    "stores/etcd/client.py: read": "tries each member once, a lone one twice",
    "stores/log/commit.py: run": "waits for the next write, and answers this one with the error",
}
"""Loops that wait in what they call, or that end: which, and why."""


def swallows(loop: ast.AST) -> bool:
    """Whether an error may be caught in it with no way out of the loop."""
    for each in ast.walk(loop):
        if isinstance(each, ast.Try | ast.TryStar) and any(
            not isinstance(handler.body[-1], ast.Raise | ast.Return | ast.Break) for handler in each.handlers
        ):
            return True
        if isinstance(each, ast.With | ast.AsyncWith) and any(
            isinstance(item.context_expr, ast.Call) and ast.unparse(item.context_expr.func).endswith(("suppress", "survived"))
            for item in each.items
        ):
            return True
    return False


def waits(loop: ast.AST) -> bool:
    """Whether it waits for a time, or for something to happen, by name."""
    awaited = (ast.unparse(each.value) for each in ast.walk(loop) if isinstance(each, ast.Await))
    return any(word in call.partition("(")[0] for call in awaited for word in WAITS)


def loops() -> Iterator[tuple[str, ast.AST]]:
    for name, found in source.nodes(ast.AsyncFunctionDef):
        yield from ((f"{name}: {found.name}", each) for each in ast.walk(found) if isinstance(each, ast.While))


def test_every_loop_that_goes_on_after_an_error_waits() -> None:
    assert {name for name, loop in loops() if swallows(loop) and not waits(loop)} == set(ELSEWHERE)


def test_the_walk_finds_a_loop_that_spins() -> None:
    spins = ast.parse("async def f():\n while True:\n  try:\n   await g()\n  except OSError:\n   continue\n")
    rests = ast.parse("async def f():\n while True:\n  try:\n   await g()\n  except OSError:\n   await asyncio.sleep(1)\n")
    assert swallows(spins)
    assert not waits(spins)
    assert swallows(rests)
    assert waits(rests)
