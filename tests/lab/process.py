"""A running command: its output as it comes, its signals, its use of the machine. It knows nothing of namespaces."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.lab.waiting import until

_LINES_KEPT = 50_000
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """One command in a process group of its own. Standard output and standard error are one stream of lines."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], label: str) -> None:
        self.label = label
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._news = threading.Condition()
        self._ended = False
        self._popen = subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self._popen.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._popen.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def lines(self) -> tuple[str, ...]:
        """What was printed so far, without line ends; the newest 50,000."""
        with self._news:
            return tuple(self._lines)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, wanted: str | Callable[[str], bool], *, guard_seconds: float = 30.0, skip: int = 0) -> str:
        """The first line, after the first `skip`, that contains the text or fulfils the predicate.

        Raises AssertionError with the end of the output when the command ends first or the guard passes.
        """
        matches = (lambda line: wanted in line) if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + guard_seconds
        seen = skip
        with self._news:
            while True:
                for line in list(self._lines)[seen:]:
                    seen += 1
                    if matches(line):
                        return line
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    break
                self._news.wait(left)
        why = "it ended" if self._ended else f"{guard_seconds:g} s passed"
        msg = f"{self.label}: {why} before {wanted!r}\n" + "\n".join(self.lines[-30:])
        raise AssertionError(msg)

    def wait(self, *, guard_seconds: float = 30.0) -> int:
        """The exit code; minus the signal's number if one ended it. Raises AssertionError when the guard passes."""
        try:
            code = self._popen.wait(guard_seconds)
        except subprocess.TimeoutExpired:
            msg = f"{self.label}: still running after {guard_seconds:g} s\n" + "\n".join(self.lines[-30:])
            raise AssertionError(msg) from None
        self._reader.join(guard_seconds)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to the command itself; nothing happens if it has ended."""
        self._popen.send_signal(number)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Signal the command, wait for its end, and return the exit code."""
        self.send_signal(number)
        return self.wait()

    def stop(self, *, guard_seconds: float = 30.0) -> int:
        """SIGTERM, and the exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait(guard_seconds=guard_seconds)

    def freeze(self) -> None:
        """Stop the whole group without ending it; when this returns, no thread of the command runs any more."""
        os.killpg(self.pid, signal.SIGSTOP)
        until(lambda: not self.running or self._is_stopped(), every_seconds=0.001, what=f"{self.label} stands still")

    def _is_stopped(self) -> bool:
        """Whether all its threads are: the signal is delivered to one after the other."""
        tasks = Path(f"/proc/{self.pid}/task")
        try:
            return all((task / "stat").read_text().rpartition(") ")[2][0] in "TtZX" for task in tasks.iterdir())
        except (FileNotFoundError, ProcessLookupError):  # a thread, or the command, has just ended
            return False

    def thaw(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """Processor time used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE

    def close(self) -> None:
        """End the whole group, whatever state it is in, and collect it."""
        if self._popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(10)
        self._reader.join(10)

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._news:
                    self._lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
