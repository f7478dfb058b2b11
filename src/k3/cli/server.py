"""`k3 server`: its flags. What it runs is in `daemon`."""

import argparse
import os

from k3.agent.tls import without_authorities
from k3.cli.flags import Parser, add_options, add_store_flags, values_of
from k3.cli.opening import require_server_packages, settings_of
from k3.server.access.settings import AccessSettings
from k3.settings import options
from k3.settings.options import Option

_EXAMPLES = """\
  k3 server
  k3 server --store etcd://10.0.0.5:2379
  k3 server --listen :8443 --store mysql://k3@db/k3"""
_WAIT: tuple[Option, ...] = tuple(option for option in options.MACHINE if option.name == "store-wait")


def parser() -> argparse.ArgumentParser:
    """Returns the flags of `k3 server`."""
    flags = Parser(
        "server", "Serve the store over the Kubernetes API: to kubectl and every Kubernetes client.", examples=_EXAMPLES
    )
    add_options(flags.add_argument_group("server"), (*options.SERVER, *_WAIT))
    add_store_flags(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Runs until told to stop."""
    chosen = parser().parse_args(arguments)
    settings = settings_of(chosen, reading=False)
    said = values_of(chosen, (*options.SERVER, *_WAIT), settings, os.environ, section="server")
    access = AccessSettings.parse(said)
    seconds = said.seconds("store-wait")
    require_server_packages()
    with without_authorities():
        from k3.daemon.server import run_server  # noqa: PLC0415 - a mistake in the flags is told before aiohttp is loaded

    return run_server(settings.storage, access, seconds, settings.reader)
