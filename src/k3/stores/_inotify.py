"""Tells when another process has written to a SQLite database, by the file system alone (inotify(7)).

Sockets would end at a network namespace; the file does not. The write-ahead log is modified before its commit can be
seen, so that alone only asks for a look a little later; each k3 touches the database file after its commit, and that
asks for a look at once. Where the system has no inotify, or no instance to spare, one has to poll.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

WAL_SETTLE_SECONDS: Final = 0.05
"""How long after a change of the write-ahead log to look, if no touch has come."""

_MODIFY: Final = 0x2
_ATTRIB: Final = 0x4
_DELETE_SELF: Final = 0x400
_MOVE_SELF: Final = 0x800
_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 16_384


class DatabaseListener:
    """Calls `changed` on the event loop soon after anybody has committed to the database at `path`."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        """Begin to listen. Raises OSError where inotify cannot be had."""
        self._changed = changed
        self._files = ((os.fsencode(path), _ATTRIB | _DELETE_SELF | _MOVE_SELF), (os.fsencode(f"{path}-wal"), _MODIFY))
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            msg = "no inotify on this system"
            raise OSError(msg)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._loop.add_reader(self._fd, self._read)

    def renew(self) -> bool:
        """Listen to the files that are there now; the same ones stay as they were. False where one cannot be."""
        marks = [self._libc.inotify_add_watch(self._fd, path, mask) for path, mask in self._files]
        return all(mark >= 0 for mark in marks)

    def close(self) -> None:
        """Stop. Closing twice is fine."""
        if self._later is not None:
            self._later.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            events = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        masks = 0
        offset = 0
        while offset < len(events):
            _mark, mask, _cookie, length = _EVENT.unpack_from(events, offset)
            masks |= mask
            offset += _EVENT.size + length
        if masks & ~_MODIFY:
            self._look()
        elif self._later is None:
            self._later = self._loop.call_later(WAL_SETTLE_SECONDS, self._look)

    def _look(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._changed()
