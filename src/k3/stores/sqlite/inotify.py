"""Tells when another process has committed to a SQLite database, by the file system alone (inotify(7)).

A socket's reach ends at a network namespace; the file's does not. Each k3 touches the database file after a commit: the
write-ahead log itself changes before its commit can be seen, so watching that would be too early. Where the system has no
inotify, or no instance to spare, the store polls.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_TOUCHED: Final = 0x4 | 0x400 | 0x800
"""IN_ATTRIB, which also comes when a link to the file goes; IN_DELETE_SELF; IN_MOVE_SELF."""

_READ_BYTES: Final = 16_384


class TouchListener:
    """Calls `touched` on the event loop when the file at `path` was touched, deleted or moved."""

    def __init__(self, path: Path, touched: Callable[[], None]) -> None:
        """Begins to listen. Raises OSError where inotify cannot be had."""
        self._path = os.fsencode(path)
        self._touched = touched
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            msg = "no inotify on this system"
            raise OSError(msg)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._loop.add_reader(self._fd, self._read)

    def renew(self) -> bool:
        """Listens to the file that is there now, which costs nothing if it is the same. Returns False where that fails."""
        mark: int = self._libc.inotify_add_watch(self._fd, self._path, _TOUCHED)
        return mark >= 0

    def close(self) -> None:
        """Stops. Closing twice is fine."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            os.read(self._fd, _READ_BYTES)  # what they say does not matter: any of them means that the log is to be read
        except BlockingIOError:
            return
        self._touched()
