"""Notices what a test left open: tasks, threads and file descriptors. Closes nothing."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Final

_DESCRIPTORS: Final = Path("/proc/self/fd")


PATIENCE_SECONDS: Final = 2.0
"""How long a driver's own threads may take to end."""


class LeakCheck:
    """What was open when this was made; anything more at the end is a leak."""

    def __init__(self) -> None:
        self._before = _open()

    def finish(self) -> None:
        """Raises AssertionError with the names of what was left."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left := self._left():
            if time.monotonic() >= deadline:
                raise AssertionError(left)
            time.sleep(0.02)

    def _left(self) -> dict[str, set[str]]:
        found = {what: names - self._before[what] for what, names in _open().items()}
        return {what: names for what, names in found.items() if names}


def _open() -> dict[str, set[str]]:
    current = asyncio.current_task()
    return {
        "tasks": {repr(task) for task in asyncio.all_tasks() if task is not current and not task.done()},
        "threads": {repr(thread) for thread in threading.enumerate() if thread.is_alive()},
        "files": _descriptors(),
    }


def _descriptors() -> set[str]:
    """Returns the file descriptors of the process and where they lead; empty where there is no /proc."""
    found: set[str] = set()
    for number in list(_DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else []:
        try:
            found.add(f"{number.name} {number.readlink()}")
        except OSError:
            continue  # the descriptor of this very listing
    return found
