"""Standard output and standard error, and what may go wrong with them. Escaping is the caller's duty."""

import os
import sys

from k3.core.errors import K3Error, StartFailed


class OutputClosed(K3Error):
    """Nobody reads the answer any more (`k3 nodes | head`): end as silently as any other program in a pipe."""

    exit_code = 141


def answer(text: str) -> None:
    """Write to standard output, at once. Raises OutputClosed, or StartFailed where it cannot be written (a full disk)."""
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


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:  # an old locale: escape what it lacks
        sys.stdout.write(text.encode("ascii", "backslashreplace").decode())
    sys.stdout.flush()


def remark(text: str) -> None:
    """Write a line to standard error; where nobody reads that, there is nobody to tell."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        return


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter does not fail again on what is left in its buffer."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
