"""Whether the disk that holds a file store has room."""

import os
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Final

from k3.doctor.finding import Finding, Subject, problem, warning

FULL_BYTES: Final = 1024 * 1024
LOW_BYTES: Final = 32 * 1024 * 1024
KEPT_IN: Final = "The list of machines is kept there: without it nothing is written, and what is read grows old."


def room(file: Path) -> Iterable[Finding]:
    """Gives what is to be said of the disk that holds a file."""
    place = next((each for each in file.parents if each.exists()), Path("/"))
    try:
        disk = os.statvfs(place)
    except OSError:
        return
    free, inodes = disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else 1
    do, commands = "Make room:", (f"df -h {quote(str(place))}", f"du -xh {quote(str(place))} | sort -h | tail")
    if free < FULL_BYTES or not inodes:
        lacks = f"{free // 1024} KiB are free" if inodes else "no more files can be made (no inodes)"
        yield problem(
            Subject.STORE, f"The disk that holds the store is full: {lacks} at {place}.", why=KEPT_IN, do=do, commands=commands
        )
    elif free < LOW_BYTES:
        what = f"The disk that holds the store is almost full: {free // 1024 // 1024} MiB are free at {place}."
        yield warning(Subject.STORE, what, why=KEPT_IN, do=do, commands=commands)
