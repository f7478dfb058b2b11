"""What every long-running command does as a process: its signals, its state directory, its first words."""

import asyncio
import gc
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from k3 import node_table, settings
from k3.cache import Cache
from k3.core.errors import StartFailed
from k3.core.store import Store
from k3.safe_text import printable

EXIT_CODES: Final = {signal.SIGTERM: 0, signal.SIGINT: 130}
"""The signals that stop us, and what a shell is told when we have stopped in order."""


def collect_rarely() -> None:
    """Have the cyclic collector look less often: little here is cyclic, and with 10,000 Nodes in memory each look is long."""
    gc.set_threshold(20_000, 20, 50)


def stop_on_signals() -> asyncio.Future[int]:
    """Given the exit code by the first SIGTERM or SIGINT; the second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def on_signal(number: signal.Signals) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(EXIT_CODES[number])

    for number in EXIT_CODES:
        loop.add_signal_handler(number, on_signal, number)
    return stop


def state_directory() -> Path:
    """Where this user's k3 keeps what must survive a restart, made if need be. Raises StartFailed."""
    path = settings.here().state_directory
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the state directory {path}: {error.strerror}; set XDG_STATE_HOME to a directory you can write"
        raise StartFailed(msg) from error
    return path


async def greet(cache: Cache, store: Store, joined: asyncio.Event) -> None:
    """Once this machine is a Node, show a person what they have and what to do next."""
    await joined.wait()
    now = datetime.now(UTC)
    rows = [node_table.row(item.manifest(), now, wide=False) for item in cache.objects.values()]
    lines = [node_table.titles(wide=False), *sorted(rows)]
    widths = [max(len(printable(line[n])) for line in lines) for n in range(len(lines[0]))]
    table = "\n".join(
        "   ".join(printable(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
    sys.stdout.write(
        f"{table}\n\nThis machine is on the list, kept in {store.url}.\n"
        "Add a second one: run the same command on it; it shows up here within a second.\n"
        f"Watch the list from another terminal: {_command()} nodes -w\n"
    )
    sys.stdout.flush()


def _command() -> str:
    """How a person calls k3 here."""
    return "k3" if shutil.which("k3") else sys.argv[0]
