"""Processes whose clock is wrong, by libfaketime."""

import shutil
import subprocess
from pathlib import Path


def clock(offset: str) -> dict[str, str]:
    """The environment of a process whose clock is off: `-1h`, `+30`; its monotonic clock stays what it is."""
    _clear()
    command = shutil.which("faketime")
    assert command is not None
    shown = subprocess.run([command, "-f", "+0", "env"], capture_output=True, text=True, check=True).stdout
    library = next(line.partition("=")[2] for line in shown.splitlines() if line.startswith("LD_PRELOAD="))
    return {
        "LD_PRELOAD": str(Path(library).with_name("libfaketimeMT.so.1")),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _clear() -> None:
    """Remove what processes that were killed have left in memory: the next one that gets such a pid would not start."""
    for left in Path("/dev/shm").glob("*faketime_*"):
        pid = left.name.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            left.unlink(missing_ok=True)
