"""The terminal as a screen that is drawn again and again, and left as it was found.

A frame is written at once, line over line, so nothing flickers. The alternate screen keeps what stood there before; lines that
are too long are cut and never wrap. What would be said on standard error meanwhile is kept until the screen is left, since it
would be written over the frame.
"""

import asyncio
import io
import os
import signal
import sys
import termios
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from time import monotonic
from typing import Final, TextIO

from k3.agent.tasks import time_limit
from k3.cli.terminal import answer
from k3.core import limits
from k3.core.records import dataclass

FRAME_SECONDS: Final = 0.25
"""Frames follow each other no faster than this, however much changes."""
TICK_SECONDS: Final = 1.0
NOTE_SECONDS: Final = 10.0
"""How long a note of something that is over stays on the screen."""
_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"  # alternate screen, no cursor, no wrapping, empty
_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END_OF_SCREEN: Final = "\x1b[J"
_SIGNALLED: Final = 128
"""What a shell adds to a signal's number in the exit code of the program that it ended."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a terminal shows."""

    columns: int
    lines: int


class Notes(io.TextIOBase):
    """Standard error while the screen is drawn: the latest line is for the screen, and a terminal gets all of them later."""

    def __init__(self, below: TextIO) -> None:
        self._below = below
        self._kept: deque[str] = deque(maxlen=limits.KEPT_REMARKS)
        self._keeps = False
        self._latest = ""
        self._since = 0.0

    def write(self, text: str) -> int:
        """Takes a line."""
        if self._keeps:
            self._kept.append(text)
        else:
            self._below.write(text)
            self._below.flush()
        if line := text.strip():
            self._latest, self._since = line, monotonic()
        return len(text)

    def latest(self, *, is_over: bool) -> str:
        """Returns the latest line; where what it tells of `is_over`, only for a while."""
        return "" if is_over and monotonic() - self._since > NOTE_SECONDS else self._latest.removeprefix("k3: ")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps what is said, where it would be written onto the screen."""
        self._keeps = self._below.isatty()
        try:
            yield
        finally:
            self._keeps = False
            with suppress(OSError):  # the terminal has gone
                self._below.write("".join(self._kept))
                self._below.flush()


class Screen:
    """The terminal, from `opened` on. `changed`: there is something to draw. `ended`: with which exit code it is to be left."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.changed = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else -1
        self._former: list[object] = []

    @contextmanager
    def opened(self, resumed: Callable[[], None]) -> Iterator[None]:
        """Takes the terminal; gives it back whatever happens. `resumed` is called after the program was stopped for a while."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._end, _SIGNALLED + number)
        loop.add_signal_handler(signal.SIGWINCH, self.changed.set)
        loop.add_signal_handler(signal.SIGTSTP, self._stop, resumed)
        if self._keyboard >= 0:
            loop.add_reader(self._keyboard, self._key)
        with self.notes.kept():
            self._enter()
            try:
                yield
            finally:
                self._leave()
                if self._keyboard >= 0:
                    loop.remove_reader(self._keyboard)
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGTSTP):
                    loop.remove_signal_handler(number)

    async def draw(self, frame: Callable[[Size], Sequence[str]]) -> None:
        """Draws the frames, for ever: at each change, and each second since ages grow."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            lines = frame(self.size())
            answer(_HOME + f"{_TO_END_OF_LINE}\r\n".join(lines) + _TO_END_OF_LINE + _TO_END_OF_SCREEN)
            pause = max(FRAME_SECONDS, 2 * (loop.time() - begun))  # a slow machine or line is not drawn to death
            await asyncio.sleep(pause)
            try:
                async with time_limit(max(0.0, TICK_SECONDS - pause)):
                    await self.changed.wait()
            except TimeoutError:
                continue
            finally:
                self.changed.clear()

    def size(self) -> Size:
        """Returns how much fits, as the terminal says now; one that does not say is taken for a common one."""
        found = os.get_terminal_size(sys.stdout.fileno())
        return Size(found.columns or 80, found.lines or 24)

    def _enter(self) -> None:
        if self._keyboard >= 0:  # what is typed is not shown, and `q` needs no Enter
            self._former = termios.tcgetattr(self._keyboard)
            quiet = termios.tcgetattr(self._keyboard)
            quiet[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, quiet)
        answer(_ENTER)

    def _leave(self) -> None:
        if self._keyboard >= 0:
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._former)  # type: ignore[arg-type]
        answer(_LEAVE)

    def _stop(self, resumed: Callable[[], None]) -> None:
        """Gives the terminal back while the program is stopped (Ctrl-Z), and takes it again afterwards."""
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter()
        resumed()
        self.changed.set()

    def _key(self) -> None:
        pressed = os.read(self._keyboard, 64)
        if not pressed:
            asyncio.get_running_loop().remove_reader(self._keyboard)
        if b"q" in pressed:
            self._end(0)

    def _end(self, exit_code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(exit_code)


@contextmanager
def noted() -> Iterator[Notes]:
    """Has what is said on standard error, by the log too, pass through notes."""
    notes = Notes(sys.stderr)
    with redirect_stderr(notes):
        yield notes
