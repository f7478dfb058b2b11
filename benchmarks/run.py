"""Runs the benchmarks, each part in a process of its own, and writes docs/benchmarks.md and benchmarks/last-run.json.

A part that fails is reported as failed. With `--only`, the other parts keep their last results, each with its own date.

PYTHONPATH=src:. python benchmarks/run.py [--quick] [--churn SECONDS] [--only NAME]...
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from benchmarks import store_rows  # noqa: E402 - the path comes first, so that `make bench` needs no environment
from benchmarks.figures import Figure  # noqa: E402 - as above
from benchmarks.report import Part, page, this_machine  # noqa: E402 - as above

LAST_RUN: Final = ROOT / "benchmarks" / "last-run.json"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
NETWORK: Final = ("join", "leave", "crowd", "idle", "shared")
DISCOVERY: Final = ("discovery_flips", "discovery_first", "discovery_steady")
PARTS: Final = (*NETWORK, *DISCOVERY, "server", "page", *store_rows.PARTS)
NEED_ROOT: Final = frozenset(NETWORK)
"""They make hosts."""
SHORTEN: Final = frozenset({*NETWORK, *DISCOVERY, "server", "page"})
"""They know a short run."""
CHURN: Final = frozenset({"page"})
"""They have machines come and go, for as long as is wanted."""
GUARD_SECONDS: Final = 1_800.0
LAST_WORDS: Final = 400
ERROR: Final = re.compile(r"[\w.]*(Error|Exception|Group|Exit|Unavailable|Forbidden|Failed|Skipped)\b")
"""How the last line of a traceback begins; below it there may be what a process printed.

Skipped, or Failed under K3_REQUIRE_SERVERS=1: its server is not on this machine.
"""


def command(name: str, *, quick: bool, churn_seconds: float) -> list[str]:
    """How a part is run; those that make hosts as root."""
    argv = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py")]
    if quick and name in SHORTEN:
        argv.append("--quick")
    if churn_seconds and name in CHURN:
        argv += ["--churn", str(churn_seconds)]
    if name in NEED_ROOT and os.geteuid() != 0 and shutil.which("sudo"):
        argv = ["sudo", "env", f"PYTHONPATH={ROOT / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE=1", *argv]
    return argv


def run_part(name: str, *, quick: bool, churn_seconds: float) -> Part:
    """Run one part to its end."""
    began = datetime.now(UTC)
    process = subprocess.Popen(
        command(name, quick=quick, churn_seconds=churn_seconds),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    why = ""
    guard_seconds = GUARD_SECONDS + churn_seconds
    try:
        output, errors = process.communicate(timeout=guard_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        why = f"not done within {guard_seconds:.0f} s"
    if not why and process.returncode:
        lines = [line for line in errors.splitlines() if ERROR.match(line)] or ["no word of why"]
        why = f"exit code {process.returncode}: {lines[-1][:LAST_WORDS]}".replace(f"{ROOT}/", "")
        print(errors, file=sys.stderr)
    figures, details = ([], {}) if why else _read(name, output)
    short = quick and name in SHORTEN
    return Part(name, began.isoformat(timespec="seconds"), short, os.getloadavg()[0], tuple(figures), details, why)


def _read(name: str, output: str) -> tuple[list[Figure], dict[str, Any]]:
    document = json.loads(output)
    if name in store_rows.PARTS:
        return store_rows.rows(name, document), document
    return [Figure.parse(each) for each in document["figures"]], document["details"]


def load() -> dict[str, Part]:
    """The results of the last run, by part."""
    try:
        document = json.loads(LAST_RUN.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {each["name"]: Part.parse(each) for each in document["parts"]}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Measure k3, each figure beside something else in the same run.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter windows")
    parser.add_argument(
        "--churn", type=float, default=0.0, metavar="SECONDS", help="how long machines come and go before the page"
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    chosen = parser.parse_args(arguments)
    parts = load() if chosen.only else {}
    for name in chosen.only or PARTS:
        print(f"{name} ...", end=" ", flush=True)
        part = run_part(name, quick=chosen.quick, churn_seconds=chosen.churn)
        parts[name] = part
        print(part.summary, flush=True)
    ordered = [parts[name] for name in PARTS if name in parts]
    machine = this_machine(ROOT)
    LAST_RUN.write_text(
        json.dumps({"machine": machine, "parts": [asdict(part) for part in ordered]}, indent=2) + "\n", encoding="utf-8"
    )
    PAGE.write_text(page(machine, ordered, missing=[name for name in PARTS if name not in parts]), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}, {LAST_RUN.relative_to(ROOT)}")
    return 1 if any(part.failure for part in ordered) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
