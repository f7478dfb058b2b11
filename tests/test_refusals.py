"""A refusal of the kernel is said once, however often it is met, and its end too."""

import errno
import logging
import os
import resource

import pytest

from k3.agent import refusals
from k3.agent.refusals import LONGEST_PAUSE_SECONDS, QUIET_SECONDS, Trouble

log = logging.getLogger("test.refusals")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def refusal(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_beginning_and_end_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    trouble = Trouble(log, "it.failed", "the rest goes on", clock=clock)
    with caplog.at_level(logging.INFO):
        trouble.ends()
        for _ in range(50):
            trouble.begins(refusal(errno.EMFILE))
            clock.now += 0.5
            trouble.ends()
        assert [each.levelname for each in caplog.records] == ["WARNING"]
        assert "LimitNOFILE" in caplog.records[0].fields["advice"]  # type: ignore[attr-defined]
        clock.now += QUIET_SECONDS
        trouble.ends()
        trouble.ends()
        assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]


def test_pauses_grow_to_a_ceiling_and_start_anew() -> None:
    trouble = Trouble(log, "it.failed", "", chance=lambda: 1.0)
    pauses = []
    for _ in range(100):
        trouble.begins(refusal(errno.ENOMEM))
        pauses.append(trouble.pause_seconds)
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    trouble.ends()
    assert trouble.pause_seconds == 1.0


@pytest.mark.parametrize(("soft", "allowed"), [(1024, 256), (256, 96), (64, 4), (20, 4), (resource.RLIM_INFINITY, 256)])
def test_what_may_be_used_follows_the_limit(monkeypatch: pytest.MonkeyPatch, soft: int, allowed: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert refusals.descriptors_for(256) == allowed
