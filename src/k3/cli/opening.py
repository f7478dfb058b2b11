"""From a command's flags to its settings and its store."""

import argparse
import logging
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Final

from k3.agent import logs
from k3.core.errors import NotFound, StartFailed
from k3.core.safe_text import one_line
from k3.core.sources import NETWORK
from k3.core.store import Store
from k3.settings import sources
from k3.settings.load import Flags, here, is_there, load
from k3.settings.structs import Reader, Settings
from k3.stores import connect
from k3.stores.installing import how_to_install

SERVER_PACKAGES: Final[Mapping[str, str]] = {
    "aiohttp": "aiohttp",
    "cryptography": "cryptography",
    "lightkube": "lightkube-models",
}
"""What the extra `server` brings, by the module that it is imported as."""
_LOG: Final = logging.getLogger(__name__)


def settings_for_reading(arguments: argparse.Namespace) -> Settings:
    """Returns the settings of a command that answers and ends: it logs only warnings unless told otherwise."""
    found = settings_of(arguments, reading=True, log_level="warning")
    logs.tell(_LOG, sources.learn())
    return found


def settings_of(arguments: argparse.Namespace, *, reading: bool, log_level: str = "info") -> Settings:
    """Returns settings from flags, environment and file, and sets up logging accordingly. Raises ConfigInvalid.

    The log file is for agents: a reader may not be allowed to write there, or would make it for the wrong user.
    """
    flags = Flags(arguments.config, arguments.store, arguments.log_level, arguments.log_format)
    found = load(flags, here(), reading=reading, log_level=log_level)
    logs.set_up(replace(found.log, path="") if reading else found.log)
    logs.tell(_LOG, found.notes)
    return found


def typed_here(command: str, reader: Reader) -> str:
    """Returns a command to be typed on this machine: one of k3's with what it needs to use the same store."""
    return reader.command(command.removeprefix("k3 ")) if command.startswith("k3 ") else command


def no_store(found: Settings) -> NotFound:
    """Returns the error for a store whose file is not there."""
    return NotFound(f"no store at {one_line(found.storage.url)}. Make it with: {found.reader.command(NETWORK.name)}")


def require_server_packages() -> None:
    """Raises StartFailed where a package that the server needs is not installed."""
    for module, package in SERVER_PACKAGES.items():
        if find_spec(module) is None:
            needs = how_to_install("server", *SERVER_PACKAGES.values())
            msg = f"k3 server needs the package {package}, which is not installed: {needs}"
            raise StartFailed(msg)


async def open_existing(found: Settings) -> Store | None:
    """Returns the store; None where this machine's default one is not there yet, since opening would make it.

    It may be one that this user can only read. Raises NotFound where the missing file was named.
    """
    if (file := found.storage.file) is not None and not is_there(file):
        if found.is_default_store:
            return None
        raise no_store(found)
    return await connect(found.storage, reading=True)
