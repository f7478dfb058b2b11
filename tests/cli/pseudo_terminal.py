"""A command on a pseudo terminal, and what a person would see there: the terminal itself is pyte's."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyte

from tests.lab import until


class Terminal:
    """A terminal of so many columns and lines, and `k3` in it, or another command. To be closed."""

    def __init__(
        self,
        *arguments: str,
        command: Sequence[str] = (sys.executable, "-m", "k3.cli"),
        columns: int = 100,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._fd, line = pty.openpty()
        self.resize(columns, lines)
        self.before = self.flags()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command, *arguments],
            stdin=line,
            stdout=line,
            stderr=line,
            env={**os.environ, "TERM": "xterm-256color", "NO_COLOR": "", **(env or {})},
        )
        os.close(line)
        self.pid = self._process.pid

    def read(self, seconds: float = 0.05) -> None:
        """Takes in what has come, or comes within so many seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._fd], [], [], left)[0]:
                return
            try:
                data = os.read(self._fd, 65_536)
            except OSError:  # the command has ended
                return
            self.raw += data
            self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the empty lines at its end."""
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def row(self, name: str) -> str:
        """The line that begins with this word, or an empty text."""
        return next((line for line in self.lines if line.split()[:1] == [name]), "")

    def wait_for(self, wanted: str | Callable[[], bool]) -> None:
        """Waits until the screen shows the text, or the condition holds."""

        def holds() -> bool:
            self.read()
            return wanted in self.text if isinstance(wanted, str) else wanted()

        until(holds, every_seconds=0.01, what=lambda: f"{wanted} in\n{self.text}")

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def flags(self) -> list[Any]:
        """How the terminal treats what is typed: among it, whether that is shown."""
        return termios.tcgetattr(self._fd)[:4]

    def end(self) -> int:
        """Waits for the end; returns the exit code."""
        self.wait_for(lambda: self._process.poll() is not None)
        self.read()
        return self._process.returncode

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._fd)
