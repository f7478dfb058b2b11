"""What a run of the benchmarks looks like on paper: docs/benchmarks.md. Measures nothing."""

import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.figures import Figure
from k3 import __version__
from tests.needs import find

_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One part's result, or why there is none. `load` is the machine's load average at its end."""

    name: str
    began: str
    quick: bool
    load: float
    figures: tuple[Figure, ...]
    details: Mapping[str, Any]
    failure: str = ""

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """From its entry in the file of the last run."""
        return cls(**{**document, "figures": tuple(Figure.parse(each) for each in document["figures"])})

    @property
    def summary(self) -> str:
        """One line."""
        if self.failure:
            return f"FAILED: {self.failure}"
        missed = sum(figure.is_missed for figure in self.figures)
        return f"{len(self.figures)} figures" + (f", {missed} missed" if missed else "")


def this_machine(root: Path) -> dict[str, str]:
    """What the figures depend on."""
    memory = _line("/proc/meminfo", "MemTotal").split()[0]
    found = {
        "CPU": f"{_line('/proc/cpuinfo', 'model name') or platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory) / _KIB / _KIB:.1f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "zeroconf": version("zeroconf"),
        "h11": version("h11"),
        "grpcio": version("grpcio"),
        "asyncmy": version("asyncmy"),
        "k3": f"{__version__} {_output(['git', '-C', str(root), 'describe', '--always', '--dirty'])}".strip(),
    }
    if shutil.which("etcd"):
        found["etcd"] = _output(["etcd", "--version"]).partition("\n")[0].removeprefix("etcd Version: ")
    if mariadb := find("mariadbd"):
        found["MariaDB"] = _output([mariadb, "--version"]).partition("Ver ")[2]
    if consul := find("consul"):
        found["Consul"] = _output([consul, "version"]).partition("\n")[0].removeprefix("Consul v")
    if shutil.which("avahi-daemon"):
        found["avahi"] = _output(["avahi-daemon", "--version"]).removeprefix("avahi-daemon ")
    return found


def _line(path: str, field: str) -> str:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _output(argv: Sequence[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout.strip()


def page(machine: Mapping[str, str], parts: Sequence[Part], *, missing: Iterable[str]) -> str:
    """The whole page, in Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "The last run of `make bench`, which writes this page; `benchmarks/last-run.json` has every round. Each figure stands",
        "beside something that was measured in the same run, or beside T, which is `--peer-ttl`: 5 s here. On another machine",
        "trust the ratios more than the values.",
        "Nothing here is asserted in a test. Hosts are network namespaces on one bridge: no radio, no switch, next to no",
        "round-trip time, and all agents share the machine. `k3 discovery` is measured on loopback; the machines that it",
        "mirrors are entries in the catalog of a real Consul server.",
        "",
        *(f"* {name}: {text}" for name, text in machine.items()),
        "",
        "| figure | target | measured | | beside | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for part in parts:
        lines += [_row(figure) for figure in part.figures] or [f"| {part.name} | | **failed** | {_cell(part.failure)} | | |"]
    lines += [f"| {name} | | not run | | | |" for name in missing]
    lines += ["", "| part | when (UTC) | length | load average at its end |", "|---|---|---|---|"]
    lines += [f"| {part.name} | {part.began[:16]} | {'short' if part.quick else 'full'} | {part.load:.1f} |" for part in parts]
    return "\n".join(lines) + "\n"


def _row(figure: Figure) -> str:
    verdict = "" if figure.low is None and figure.high is None else "**missed**" if figure.is_missed else "met"
    beside = ""
    if figure.beside_measured is not None:
        beside = f"{figure.beside}: {number(figure.beside_measured)} {figure.unit}"
    elif figure.beside:
        beside = f"{figure.beside}: failed"
    beside = "; ".join(text for text in (beside, figure.remark) if text)
    ratio = f"{number(figure.ratio)}" if figure.ratio is not None else ""
    cells = (figure.name, _target(figure), f"{number(figure.measured)} {figure.unit}", verdict, beside, ratio)
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _target(figure: Figure) -> str:
    if figure.low is not None and figure.high is not None:
        return f"{number(figure.low)} to {number(figure.high)}"
    if figure.low is not None:
        return f"≥ {number(figure.low)}"
    return f"≤ {number(figure.high)}" if figure.high is not None else ""


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    digits = 2 if abs(value) >= 1 else 3 if abs(value) >= 0.01 else 6
    return f"{value:.{digits}f}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
