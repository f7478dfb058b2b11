"""Where lines go: standard error, standard output, a log file. Nothing that happens to one of them ends or stops k3.

A terminal that was closed, or is stopped by Ctrl-S, or whose other end sleeps; a pipe that no process reads; a full disk; a
file that was rotated away: what cannot be written is lost and counted, and the other outputs are told once (ADR 32).
"""

import errno
import io
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final, Protocol, TextIO

from k3.agent.trust import foreign_file, foreign_link
from k3.core import limits

NOT_BLOCKING_SECONDS: Final = 1.0
"""How long a descriptor that another program made non-blocking may be full."""


class Output(Protocol):
    """Something that takes text."""

    name: str

    def write(self, text: str) -> None:
        """Writes all of it. Raises OSError; part of the text may have been written then."""
        ...


class StreamOutput:
    """A standard stream. Its descriptor is written to directly, so that nothing waits in a buffer that cannot be emptied."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self.name = name
        self._stream = stream
        try:
            self._descriptor = stream.fileno()
        except (io.UnsupportedOperation, ValueError):  # not a real one
            self._descriptor = -1

    def write(self, text: str) -> None:
        """Writes all of it. Raises OSError."""
        if self._descriptor < 0:
            self._stream.write(text)
            return
        _write(self._descriptor, text.encode(self._stream.encoding, "backslashreplace"))


class FileOutput:
    """A log file, opened for appending. One that was moved away or deleted is made again, at the next line."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it. Raises OSError."""
        self.name = str(path)
        self._path = path
        self._descriptor = -1
        self._is_cut = False
        self._open()

    def write(self, text: str) -> None:
        """Writes all of it. Raises OSError. The former file takes the lines while no new one can be made, if it has a name."""
        if self._has_moved():
            try:
                self._open()
            except OSError:
                if os.fstat(self._descriptor).st_nlink == 0:  # deleted: what is written there cannot be read any more
                    raise
        data = text.encode()
        try:
            _write(self._descriptor, b"\n" + data if self._is_cut else data)
        except OSError:
            self._is_cut = not self._ends_a_line()
            raise
        self._is_cut = False

    def close(self) -> None:
        """Closes the file: no more lines will come."""
        os.close(self._descriptor)

    def _open(self) -> None:
        if why := foreign_link(self._path) or foreign_file(self._path):
            raise OSError(errno.ELOOP, why)
        new = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        os.set_blocking(new, True)  # opened without waiting, since the path may be a pipe that no process reads (fifo(7))
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = new

    def _has_moved(self) -> bool:
        try:
            there = self._path.stat()
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(self._descriptor))

    def _ends_a_line(self) -> bool:
        """Whether the file ends with a whole line, after a failure. What cannot be known counts as yes."""
        try:
            with self._path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) == b"\n"
        except OSError:
            return True


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # the descriptor is shared with a program that made it so
            if not select.select([], [descriptor], [], NOT_BLOCKING_SECONDS)[1]:
                raise


class Outlet:
    """An output and its troubles: what it did not take is counted, its first failure is told, and so is its recovery."""

    def __init__(self, output: Output, *, failed: Callable[[OSError], None], resumed: Callable[[int], str]) -> None:
        """`failed` tells others; `resumed` makes the line that says how many were lost, with its line end."""
        self.output = output
        self._failed = failed
        self._resumed = resumed
        self._refused = 0
        """Lines of which the output took no more than a part. Counted by the thread that writes."""
        self._passed_over = 0
        """Lines that were never handed to `write`, since the beginning. Counted by the threads that hand them over."""
        self._told = 0
        """How many of `_passed_over` a line of the output has reported."""
        self._refused_before = 0
        """Refused in troubles that are over."""

    @property
    def lost(self) -> int:
        """Lines that were lost since the beginning."""
        return self._refused_before + self._refused + self._passed_over

    def lose(self) -> None:
        """Counts a line that is not handed to `write`."""
        self._passed_over += 1

    def write(self, text: str) -> None:
        """Writes whole lines, after a word on those that were lost before. Raises nothing."""
        passed_over = self._passed_over
        lost = self._refused + passed_over - self._told
        try:
            self.output.write(self._resumed(lost) + text if lost else text)
        except OSError as error:
            is_first = not self._refused
            self._refused += text.count("\n")
            if is_first:
                self._failed(error)
        else:
            self._refused_before += self._refused
            self._refused, self._told = 0, passed_over


class Lane:
    """A thread that writes, in order, what others hand to it, so that none of them waits for a terminal or a disk."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._waiting: deque[tuple[Outlet, str]] = deque()
        self._is_writing = False
        self._is_closed = False
        # A daemon: a terminal that takes nothing does not keep the process from ending.
        threading.Thread(target=self._run, name="k3-output", daemon=True).start()

    def put(self, outlet: Outlet, text: str) -> None:
        """Has the text written. Never waits."""
        with self._news:
            if len(self._waiting) >= limits.LOG_LINES:
                outlet.lose()
                return
            self._waiting.append((outlet, text))
            self._news.notify_all()

    def close(self, seconds: float) -> bool:
        """Ends the thread; waits at most `seconds` for it to write what it has. Returns whether all is written."""
        with self._news:
            self._is_closed = True
            self._news.notify_all()
            return self._news.wait_for(lambda: not self._waiting and not self._is_writing, seconds)

    def _run(self) -> None:
        while True:
            with self._news:
                self._is_writing = False
                self._news.notify_all()
                self._news.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                batch = list(self._waiting)
                self._waiting.clear()
                self._is_writing = True
            for outlet, texts in groupby(batch, key=itemgetter(0)):
                outlet.write("".join(text for _, text in texts))
