"""Standard output and standard error, and what may go wrong with them. Escaping is the caller's duty."""

import os
import sys
from collections.abc import Iterable
from typing import Final, TextIO

from k3.core.errors import K3Error, StartFailed

_PIECE_CHARACTERS: Final = 65_536


class OutputClosed(K3Error):
    """The reader of the answer has gone (`k3 nodes | head`): k3 ends as silently as any other program in a pipe."""

    exit_code = 141


def answer(text: str) -> None:
    """Writes to standard output, at once. Raises OutputClosed, or StartFailed where it cannot be written (a full disk)."""
    if not text:
        return
    try:
        _write(text)
    except BrokenPipeError:
        _discard_output()
        raise OutputClosed from None
    except OSError as error:
        _discard_output()
        msg = f"cannot write the answer: {error.strerror}"
        raise StartFailed(msg) from None


def answer_in_pieces(texts: Iterable[str]) -> None:
    """Writes a long answer as it is made, in pieces of a good size. Raises as `answer`."""
    waiting, length = [], 0
    for text in texts:
        waiting.append(text)
        length += len(text)
        if length >= _PIECE_CHARACTERS:
            answer("".join(waiting))
            waiting, length = [], 0
    answer("".join(waiting))


def is_read_by_a_person() -> bool:
    """Whether the answer goes to a terminal."""
    return sys.stdout.isatty()


def may_colour() -> bool:
    """Whether the answer goes to a terminal that is to have colours (https://no-color.org)."""
    return can_redraw() and not os.environ.get("NO_COLOR")


def can_redraw() -> bool:
    """Whether the answer goes to a terminal that knows more than lines (terminfo's name for the others is `dumb`)."""
    return is_read_by_a_person() and os.environ.get("TERM", "dumb") not in {"", "dumb"}


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:  # an old locale: escape what it lacks
        sys.stdout.write(text.encode("ascii", "backslashreplace").decode())
    sys.stdout.flush()


def remark(text: str) -> None:
    """Writes a line to standard error; a stream that cannot be written is passed over."""
    draw(f"{text}\n")


def draw(text: str) -> None:
    """Writes a part of a line to standard error: a bar that grows. Errors are treated as in `remark`."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        return


def open_streams() -> None:
    """Gives a process that was started without standard streams (`>&-`) some that lead nowhere.

    Otherwise the next file or connection that is opened would be taken for one of them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    # None: there was no such stream when the interpreter started
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def close_streams() -> None:
    """Flushes the last lines, or gives them up: the exit code is the command's, whatever became of the terminal."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _discard(stream)


def _discard_output() -> None:
    _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    """Points a stream at nothing, so that the interpreter does not fail again on what is left in its buffer."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream.fileno())
    os.close(nothing)
