"""Asks peers on behalf of the agent: no more at once than the process has descriptors for.

What the kernel refuses for want of descriptors or memory is told once, and held against no peer (ADR 28).
"""

import asyncio
import errno
import logging
import os
from collections.abc import Mapping
from typing import Final

from k3.agent.metrics import PROBES, Counters
from k3.agent.refusals import EXHAUSTED, Trouble, descriptors_for
from k3.core import limits
from k3.network.messages import Answered, Impostor, LocalFault, NoAnswer, Outcome, Refused, Target
from k3.network.probe import Ask, probe
from k3.network.whereabouts import Whereabouts

OUTCOMES: Final[Mapping[type[Outcome], str]] = {
    Answered: "answered",
    Refused: "refused",
    NoAnswer: "no_answer",
    Impostor: "impostor",
    LocalFault: "not_asked",
}
"""What each is counted as."""

log = logging.getLogger(__name__)


class Prober:
    """The probes of one run."""

    def __init__(self, where: Whereabouts, *, ask: Ask = probe, counters: Counters | None = None) -> None:
        self._where = where
        self._counters = counters or Counters()
        self._ask = ask
        self._gate = asyncio.Semaphore(descriptors_for(limits.PROBES_AT_ONCE))
        clock = asyncio.get_running_loop().time
        self._trouble = Trouble(log, "probes.refused", "nobody is asked, and nothing is concluded from that", clock=clock)

    async def ask(self, target: Target, *, timeout_seconds: float) -> Outcome:
        """How it went. The time begins once it is this target's turn."""
        outcome: Outcome
        try:
            async with self._gate:
                outcome = await self._ask(target, timeout_seconds=timeout_seconds, via=self._where.links.detour)
        except OSError as error:
            outcome = LocalFault(errno.errorcode.get(error.errno or 0, str(error)), passes=error.errno in EXHAUSTED)
        self._note(outcome)
        return outcome

    def _note(self, outcome: Outcome) -> None:
        self._counters.add(PROBES, OUTCOMES[type(outcome)])
        if isinstance(outcome, LocalFault) and outcome.passes:
            number = getattr(errno, outcome.why)
            self._trouble.begins(OSError(number, os.strerror(number)))
        elif not isinstance(outcome, LocalFault):
            self._trouble.ends()
