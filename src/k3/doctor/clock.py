"""Whose clock is wrong: this machine's against all that say their time."""

import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from k3.core.freshness import SKEW_SECONDS
from k3.doctor.finding import Finding, Subject, ok, problem, warning
from k3.view.cells import human_duration

SERIOUS_SECONDS: Final = 60.0
SET: Final = ("timedatectl set-ntp true",)
WHY: Final = "Ages, Events and certificates are judged by the clock; agents themselves compare none."


def clock(ahead_seconds: Mapping[str, float], local_seconds: float) -> list[Finding]:
    """Returns whose clock is wrong.

    `ahead_seconds`: by how much the clock of another machine (or server) is ahead of this process's. `local_seconds`: the same
    of the agent that runs on this machine.
    """
    found = []
    if abs(local_seconds) > SKEW_SECONDS:
        what = f"The agent of k3 on this machine is {_off(local_seconds)} this process: it was started with another clock."
        found.append(_said(local_seconds, what, "Restart it:", ("systemctl restart k3",)))
    wrong = {name: seconds for name, seconds in ahead_seconds.items() if abs(seconds) > SKEW_SECONDS}
    if not wrong:
        return [*found, *_right(len(ahead_seconds))]
    middle = statistics.median(wrong.values())
    agree = all(abs(seconds - middle) <= SKEW_SECONDS for seconds in wrong.values())
    if len(wrong) == len(ahead_seconds) > 1 and agree:
        what = f"This machine's clock is {_off(-middle)} that of {', '.join(sorted(wrong))}."
        return [*found, _said(middle, what, "Set this machine's clock by NTP:", SET)]
    for name, seconds in sorted(wrong.items(), key=lambda each: -abs(each[1])):
        what = f"The clock of {name} is {_off(seconds)} this machine's."
        is_theirs = len(wrong) < len(ahead_seconds)
        do = f"On {name} set the clock by NTP:" if is_theirs else "Set the wrong one of the two by NTP; on that machine run:"
        found.append(_said(seconds, what, do, SET))
    return found


def _said(seconds: float, what: str, do: str, commands: Sequence[str]) -> Finding:
    made = problem if abs(seconds) > SERIOUS_SECONDS else warning
    return made(Subject.CLOCK, what, why=WHY, do=do, commands=commands)


def _right(others: int) -> list[Finding]:
    return [ok(Subject.CLOCK, f"the clock agrees with {others} other{'' if others == 1 else 's'}")] if others else []


def _off(ahead_seconds: float) -> str:
    seconds = abs(ahead_seconds)
    span = timedelta(seconds=round(seconds) if seconds < 2 * SERIOUS_SECONDS else round(seconds / 60) * 60)
    return f"{human_duration(span)} {'ahead of' if ahead_seconds > 0 else 'behind'}"
