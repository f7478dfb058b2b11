"""What every long-running command does as a process: its signals, its state directory, its first words."""

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from k3.agent import logs
from k3.agent.source import Source
from k3.agent.tasks import time_limit
from k3.agent.trust import foreign_link
from k3.core.errors import StartFailed
from k3.settings.load import here
from k3.settings.structs import Reader
from k3.stores.sqlite.local_disk import DIRECTORY_MODES
from k3.view import node_table
from k3.view.cells import Moment
from k3.view.table import Table

LOGGED_SECONDS: Final = 0.5
EXIT_CODES: Final = {signal.SIGTERM: 0, signal.SIGHUP: 0, signal.SIGINT: 130, signal.SIGQUIT: 131}
"""The signals that stop an agent, and what a shell is told when it has stopped in order. SIGHUP: the terminal was closed."""


def stop_on_signals() -> asyncio.Future[int]:
    """Returns a future that the first signal of `EXIT_CODES` gives the exit code; the second one ends the process at once.

    A closed terminal sends SIGHUP more than once, so that one never counts as second. Under `nohup` it is ignored, and
    stays so. SIGUSR1 does nothing: log rotation sends it, and a log file that was moved away is noticed anyway.
    """
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()
    asked: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        if number is not signal.SIGHUP:
            if asked:
                os._exit(128 + number)
            asked.append(number)
        if not stop.done():
            stop.set_result(EXIT_CODES[number])

    for number in EXIT_CODES:
        if number in {signal.SIGTERM, signal.SIGINT} or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal, number)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return stop


def state_directory() -> Path:
    """Returns where this user's k3 keeps what must survive a restart, made if need be. Raises StartFailed."""
    path = here().state_directory
    if why := foreign_link(path):
        raise StartFailed(why)
    try:
        path.mkdir(mode=DIRECTORY_MODES[os.geteuid() == 0], parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the state directory {path}: {error.strerror}; set XDG_STATE_HOME to a directory you can write"
        raise StartFailed(msg) from error
    return path


async def greet(source: Source, *, reader: Reader) -> None:
    """Once this machine is a Node, shows a person what they have and what to do next.

    Where something keeps other machines from being found, it says so: nothing is promised that is known not to come.
    """
    await source.joined.wait()
    with suppress(TimeoutError):  # what the log says of this machine's Node comes before the table
        async with time_limit(LOGGED_SECONDS):
            await source.shared.reconciler.recorder.may_write.wait()
    what_now = await source.hindrance() or _ADD_A_SECOND
    moment = Moment(datetime.now(UTC))
    shared = source.shared
    rows = [node_table.row(item.manifest(), moment, wide=False) for item in shared.cache.objects.values()]
    table = Table(node_table.titles(wide=False), headers=True).text(sorted(rows))
    logs.say(f"{table}\nThis machine is on the list, kept in {shared.store.url}.\n{what_now}{_how_to_watch(reader)}\n")


def _how_to_watch(reader: Reader) -> str:
    if reader.served_at:
        return f"{how_to_ask(reader)}Watch the list from another terminal: {reader.environ}{_command()} nodes -w{reader.flags}"
    if reader.is_alone:
        return "No other process can read this list: it is in memory. Choose another --store to watch it."
    return f"Watch the list from another terminal: {reader.environ}{_command()} nodes -w{reader.flags}"


def how_to_ask(reader: Reader) -> str:
    """Returns how a person sees what the server shows that this process runs: in a browser, and with kubectl."""
    page = f"See them in a browser: {reader.served_at}/\n"
    if reader.served_at.startswith("http://"):
        return f"{page}Look with kubectl: kubectl --server {reader.served_at} get nodes\n"
    token = f"{reader.environ}{_command()} token create --role view{reader.flags}"
    return (
        f"{page}It asks for a token, which this makes: {token}\n"
        f"Look with kubectl at {reader.served_at}: (umask 077; {reader.environ}{_command()} kubeconfig --role view "
        f"--server {reader.served_at}{reader.flags} > k3.yaml) && "
        "kubectl --kubeconfig k3.yaml get nodes\n"
    )


_ADD_A_SECOND: Final = "Add a second one: run the same command on it; it shows up here within a second.\n"


def _command() -> str:
    """Returns how a person calls k3 here."""
    if shutil.which("k3"):
        return "k3"
    return f"{sys.executable} -m k3.cli" if Path(sys.argv[0]).name == "__main__.py" else sys.argv[0]
