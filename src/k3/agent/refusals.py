"""What the kernel may refuse for a while (no descriptors, memory or buffers), and how an agent bears that.

No such refusal ends an agent: it keeps what it knows, says so once, tries again with growing pauses, and says when it is over.
"""

import errno
import logging
import random
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from k3.agent.backoff import Backoff

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""The refusals that pass: they say nothing about what was asked for."""

_ADVICE: Final = {
    errno.EMFILE: "this process has used up its file descriptors: raise LimitNOFILE= of its unit, or ulimit -n",
    errno.ENFILE: "this machine has used up its file descriptors: raise sysctl fs.file-max",
    errno.ENOMEM: "this machine is out of memory",
    errno.ENOBUFS: "the kernel is out of buffers",
    errno.EPERM: "the kernel refuses this to the process: a firewall's output rule, seccomp, or a container's profile",
    errno.EACCES: "the kernel refuses this to the process: seccomp, or a container's profile",
}
OWN_DESCRIPTORS: Final = 64
"""What an agent needs for itself: its store, mDNS on each interface, the log."""

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
QUIET_SECONDS: Final = 5.0
"""How long no attempt may fail before a trouble is over."""


class Trouble:
    """One thing that the kernel may refuse: its beginning and its end are said once, whatever lies between.

    A single success is no end: where one descriptor is free, every second attempt succeeds.
    """

    def __init__(
        self,
        log: logging.Logger,
        event: str,
        keeps: str,
        *,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`event` names it in the log; `keeps` says what goes on meanwhile."""
        self._log = log
        self._event = event
        self._keeps = keeps
        self._clock = clock
        self._failed_at = 0.0
        self._backoff = Backoff(FIRST_PAUSE_SECONDS, longest_pause_seconds, chance=chance)
        self.is_on = False
        self.pause_seconds = FIRST_PAUSE_SECONDS
        """How long to wait before the next attempt."""

    def begins(self, error: OSError) -> None:
        """Notes that an attempt failed; says so if it is the first one."""
        self._failed_at = self._clock()
        self.pause_seconds = self._backoff.next_seconds()
        if not self.is_on:
            self.is_on = True
            advice = _ADVICE.get(error.errno or 0, "")
            fields = {"error": error.strerror or str(error), "meanwhile": self._keeps, **({"advice": advice} if advice else {})}
            self._log.warning(self._event, extra={"fields": fields})

    def ends(self) -> None:
        """Notes that an attempt succeeded: the trouble is over once none has failed for `QUIET_SECONDS`."""
        self._backoff.reset()
        self.pause_seconds = FIRST_PAUSE_SECONDS
        if self.is_on and self._clock() - self._failed_at >= QUIET_SECONDS:
            self.is_on = False
            self._log.info(self._event, extra={"fields": {"over": True}})


def take_all_descriptors() -> None:
    """Raises the soft limit of open files to the hard one: the low default is for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptors_for(wanted: int) -> int:
    """Returns how many of `wanted` descriptors one use may take: half of what the agent does not need itself, but four."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(4, min(wanted, (soft - OWN_DESCRIPTORS) // 2))
