"""What no part of an agent expects: said once with a trace and an id, counted, and gone on from.

A fault is an error that the code has no answer for: a bug of k3's, or a word from outside of a shape that was not thought of.
It costs what was being done, and no more: after its start no answer from outside ends an agent (docs/adr/0021, docs/adr/0041).
"""

import asyncio
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from k3.agent.backoff import Backoff
from k3.agent.tasks import gather
from k3.core import limits
from k3.core.errors import NameTaken, RunEnded, StartFailed, first_of

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
LASTING_SECONDS: Final = 300.0
"""A part that has worked for so long begins again after the first pause."""

log = logging.getLogger(__name__)


MEANT: Final = (RunEnded, NameTaken, StartFailed)
"""What ends a run on purpose."""


class Faults:
    """The faults of one agent."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """How often each has happened, by its id; at most `limits.FAULTS` of them."""

    def survived(self, where: str, **fields: object) -> "Survived":
        """Goes on behind the block whatever fails in it. `where` and `fields` say what was being done."""
        return Survived(self, where, fields)

    async def keep(
        self, where: str, work: Callable[[], Coroutine[None, None, None]], *, started: asyncio.Event | None = None
    ) -> None:
        """Runs a part that works for ever, and begins again after a pause where it fails; returns when it returns.

        Before `started` is set, a failure is the start's, and is raised.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, chance=random.random)
        while True:
            began_at = loop.time()
            try:
                await gather(work)
            except Exception as error:
                if _is_meant(error) or (started is not None and not started.is_set()):
                    raise
                self.note(where, first_of(error))
            else:
                return
            if loop.time() - began_at >= LASTING_SECONDS:
                backoff.reset()
            await asyncio.sleep(backoff.next_seconds())

    def note(self, where: str, error: BaseException, **fields: object) -> None:
        """Counts a fault, and says it the first time: the same kind of error, at the same line, is the same fault."""
        id_ = _id(where, error)
        is_first = id_ not in self.counts
        if is_first and len(self.counts) >= limits.FAULTS:
            return
        self.counts[id_] += 1
        said = {"fault": id_, "where": where, "error": f"{type(error).__name__}: {error}", **fields}
        log.log(logging.ERROR if is_first else logging.DEBUG, "agent.fault", extra={"fields": said}, exc_info=error)

    def in_callback(self, _loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Notes what the event loop could not hand to anybody: an error of a callback, or of a task that was given up."""
        error = context.get("exception")
        if isinstance(error, Exception):
            self.note("loop", error, what=context.get("message", ""))
        else:
            log.debug("agent.fault", extra={"fields": {"where": "loop", "error": context.get("message", "")}})


class Survived:
    """A block behind which the agent goes on."""

    def __init__(self, faults: Faults, where: str, fields: Mapping[str, object]) -> None:
        self._faults = faults
        self._where = where
        self._fields = fields

    def __enter__(self) -> None:
        """Begins the block."""

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> bool:
        """Notes what failed, and swallows it unless it is meant to end the run."""
        if not isinstance(error, Exception) or _is_meant(error):
            return False
        self._faults.note(self._where, error, **self._fields)
        return True


def _is_meant(error: Exception) -> bool:
    """Whether it ends a run on purpose, by itself or in a group."""
    return isinstance(error, MEANT) or (isinstance(error, ExceptionGroup) and error.subgroup(MEANT) is not None)


def _id(where: str, error: BaseException) -> str:
    """Eight hex digits, the same for the same fault in every agent of one version."""
    place = _innermost(error.__traceback__)
    return hashlib.sha256(f"{where} {type(error).__name__} {place}".encode()).hexdigest()[:8]


def _innermost(trace: TracebackType | None) -> str:
    place = ""
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
