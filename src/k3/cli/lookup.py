"""How a command reads its words, found by running it up to there: what completion and man pages are made from, as --help is.

So there is no second list of flags, and a command has nothing to do for it but to parse its words before all else.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar

Shape = argparse.ArgumentParser | Mapping[str, Callable[[list[str]], int]]
"""A command's flags and arguments, or the commands that may follow its name."""

_IS_LOOKED_UP: ContextVar[bool] = ContextVar("is_looked_up", default=False)


class _Reached(BaseException):
    """Ends a command that is only looked up. No error: nothing on its way catches it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape


def reached(shape: Shape) -> None:
    """Is called by whatever is about to read the words of a command."""
    if _IS_LOOKED_UP.get():
        raise _Reached(shape)


def look_up(run: Callable[[list[str]], int], words: Sequence[str] = ()) -> Shape | None:
    """Returns how `run` reads its words, the first of which may name a command of its own; None: nothing was reached."""
    token = _IS_LOOKED_UP.set(True)
    try:
        run([*words])
    except _Reached as found:
        return found.shape
    finally:
        _IS_LOOKED_UP.reset(token)
    return None
