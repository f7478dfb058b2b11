"""`k3 doctor`: what is wrong here, why it matters, and the command that mends it. What it looks at is in `k3.doctor`."""

import argparse
import asyncio
import json
import os
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from k3.cli.discovery import discovery_options, is_consul_named
from k3.cli.flags import Parser, add_options, add_store_flags
from k3.cli.network import network_config
from k3.cli.opening import settings_for_reading
from k3.cli.terminal import answer, close_streams, may_colour
from k3.core.safe_text import printable
from k3.core.sources import DISCOVERY, NETWORK
from k3.doctor.finding import Finding, Severity, document, is_healthy
from k3.doctor.machine import Case
from k3.settings import options
from k3.settings.load import here

WRONG: Final = 1
"""The exit code where something is wrong."""
_WIDTH: Final = 100
_STARTTIME: Final = 19
"""Where /proc/self/stat says when the process began, counted behind its name (proc(5): field 22, in ticks since the boot)."""
_INDENT: Final = " " * 9
_PATIENCE_SECONDS: Final = 0.2
_COLOURS: Final = {Severity.PROBLEM: "31", Severity.WARNING: "33", Severity.NOTE: "36", Severity.OK: "32"}
_FLAGS: Final = {
    NETWORK.name: (options.NETWORK, ("listen", "service", "domain", "interface")),
    DISCOVERY.name: (options.DISCOVERY, ("consul-addr", "consul-token", "service-name", "service-id", "datacenter")),
    "this machine": (options.MACHINE, ("node-name", "register-self")),
}
_EXAMPLES: Final = """\
  k3 doctor
  sudo k3 doctor -v
  k3 doctor -o json --store etcd://10.0.0.5:2379"""


def parser() -> argparse.ArgumentParser:
    """Returns the flags of `k3 doctor`: those of `k3 up` that say where and as whom this machine is found."""
    about = "Look at what keeps this machine from finding others, or from being found, and say how to mend it."
    flags = Parser("doctor", about, examples=_EXAMPLES)
    flags.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how to print it (text)")
    flags.add_argument("-v", "--all", action="store_true", help="also what is as it should be, one line each")
    for title, (known, names) in _FLAGS.items():
        add_options(flags.add_argument_group(title), [each for each in known if each.name in names])
    add_store_flags(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Prints what was found. Returns 0 where nothing is wrong, else 1."""
    chosen = parser().parse_args(arguments)
    settings = settings_for_reading(chosen)
    case = Case(
        network=network_config(chosen, settings, os.environ),
        reader=settings.reader,
        discovery=discovery_options(chosen, settings, os.environ) if is_consul_named(chosen, settings) else None,
        state_dir=here().state_directory,
    )
    from k3.doctor.examination import SECONDS, examine  # noqa: PLC0415 - a mistake in the flags is told before zeroconf is loaded

    found = _in_time(lambda: examine(case, seconds=SECONDS - _running_seconds()))
    answer(
        json.dumps(document(found), indent=2) + "\n" if chosen.output == "json" else "".join(_lines(found, is_all=chosen.all))
    )
    code = 0 if is_healthy(found) else WRONG
    _leave_what_hangs(code)
    return code


def _running_seconds() -> float:
    """Returns for how long this process has run: loading its modules is most of that on a busy machine. 0: not known."""
    try:
        began = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[_STARTTIME]
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(began) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):  # another system than Linux
        return 0.0


def _in_time(examination: Callable[[], Coroutine[Any, Any, list[Finding]]]) -> list[Finding]:
    """Runs the examination, and does not wait for a thread that hangs in a resolver or on a dead disk."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(examination())
    finally:
        loop.close()


def _leave_what_hangs(code: int) -> None:
    """Ends the process at once where a thread would keep it: the answer has been given."""
    others = [each for each in threading.enumerate() if each is not threading.current_thread() and not each.daemon]
    for each in others:
        each.join(_PATIENCE_SECONDS)
    if any(each.is_alive() for each in others):
        close_streams()
        os._exit(code)


def _lines(found: Sequence[Finding], *, is_all: bool) -> Iterator[str]:
    well = [each for each in found if each.severity is Severity.OK]
    for each in found:
        if each.severity is not Severity.OK:
            yield from _told(each)
    for each in well if is_all else ():
        yield f"{_label(each.severity)}{each.subject}: {printable(each.what)}\n"
    if well and not is_all:
        yield f"{_label(Severity.OK)}{', '.join(dict.fromkeys(str(each.subject) for each in well))} (-v says more)\n"
    yield f"\n{_sum(found)}\n"


def _told(finding: Finding) -> Iterator[str]:
    yield _label(finding.severity) + _wrapped(f"{finding.subject}: {finding.what}")
    for title, text in (("Why: ", finding.why), ("Do:  ", finding.do)):
        if text:
            yield _INDENT + _wrapped(title + text)
    for command in finding.commands:
        yield f"{_INDENT}  {printable(command)}\n"


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(printable(text), _WIDTH - len(_INDENT), break_long_words=False, break_on_hyphens=False)
    return f"\n{_INDENT}".join(lines) + "\n"


def _label(severity: Severity) -> str:
    label = str(severity).ljust(len(_INDENT))
    return f"\033[{_COLOURS[severity]}m{label}\033[0m" if may_colour() else label


def _sum(found: Sequence[Finding]) -> str:
    if is_healthy(found):
        return "Nothing is wrong, as far as can be seen from here."
    if not any(each.severity in {Severity.PROBLEM, Severity.WARNING} for each in found):
        given_up = ", ".join(dict.fromkeys(str(each.subject) for each in found if each.is_unfinished))
        return f"Nothing is found to be wrong, and not everything was looked at: {given_up}."
    problems = sum(each.severity is Severity.PROBLEM for each in found)
    warnings = sum(each.severity is Severity.WARNING for each in found)
    counted = [
        f"{number} {what}{'' if number == 1 else 's'}"
        for number, what in ((problems, "problem"), (warnings, "warning"))
        if number
    ]
    return f"{' and '.join(counted)}. Begin with the first: what follows may come from it."
