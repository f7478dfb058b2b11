"""One agent per name and module in a network of a machine: a file in the state directory, locked while the agent runs.

Two agents of one name would overwrite each other where they have one identity, which is that of their network's interfaces.
So the file is named for the network namespace, and each of two on a machine may have an agent of the name (ADR 9). The kernel
drops a lock with its process. A file that no process holds says nothing: its agent removes it at the end, or the next one that
starts.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from k3.core.errors import StartFailed

SWEEP_TRIES: Final = 10
SWEEP_SECONDS: Final = 0.2
LOCK_CHARACTERS: Final = 200
"""Of a name in a file's name, which may have 255."""


@contextmanager
def only_one(module: str, state_dir: Path, name: str) -> Iterator[None]:
    """Refuses a second agent of one name on a machine, since the two would overwrite each other. Raises StartFailed."""
    path = lock_file(module, state_dir, name)
    try:
        descriptor = _locked(path)
    except BlockingIOError as error:
        msg = f'k3 {module} runs here already as "{name}" ({_holder(path)}); stop it first, or choose another --node-name'
        raise StartFailed(msg) from error
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}; make {path.parent} writable for this user, or set XDG_STATE_HOME"
        raise StartFailed(msg) from error
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {namespace('pid')}\n".encode())
        _sweep(state_dir)
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is still locked: a process that waits for it finds another file there
        os.close(descriptor)


def lock_file(module: str, state_dir: Path, name: str) -> Path:
    """Returns the file that an agent of this name locks, in the network namespace of this process."""
    return state_dir / f"{module}-{name[-LOCK_CHARACTERS:]}.{namespace('net')}.lock"


def namespace(kind: str) -> int:
    """Returns the number of this process's namespace of a kind (namespaces(7)); 0 where there is no /proc."""
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino  # noqa: PTH116 - one number
    except OSError:
        return 0


def _locked(path: Path) -> int:
    """Returns the file, locked, and still the one of that name. Raises BlockingIOError if another process holds it, OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _lock(descriptor)
            if _is_still(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Locks a file. Another agent that sweeps may hold it for a moment. Raises BlockingIOError where it is held for longer."""
    for _ in range(SWEEP_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(SWEEP_SECONDS / SWEEP_TRIES)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    """Returns which process holds the lock, by a number that means something here."""
    with suppress(OSError, ValueError):
        pid, held_in = path.read_text(encoding="ascii", errors="replace")[:64].split()
        return f"pid {int(pid)}" if int(held_in) == namespace("pid") else "in another container"
    return "pid ?"


def _sweep(state_dir: Path) -> None:
    """Removes what agents left that were killed, or ran under names that are no longer in use."""
    for path in state_dir.glob("*-*.lock"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(path, descriptor):
                    path.unlink()
            finally:
                os.close(descriptor)
