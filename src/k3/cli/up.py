"""`k3 up`: both modules in one process. Its flags are those of the two; what it does is the daemon's affair."""

import argparse
import os

from k3.cli.discovery import add_discovery_flags, discovery_options
from k3.cli.flags import Parser, add_machine_flags, add_store_flags, add_waiting_flag
from k3.cli.network import add_network_flags, network_config
from k3.cli.opening import settings_of

_EXAMPLES = """\
  k3 up
  k3 up --consul-addr consul.example:8500 --store etcd://10.0.0.5:2379"""


def parser() -> argparse.ArgumentParser:
    """The flags of both modules; --listen is the one port for both."""
    flags = Parser("up", "k3 network and k3 discovery in one process, on one store.", examples=_EXAMPLES)
    add_network_flags(flags)
    add_discovery_flags(flags)
    add_machine_flags(flags)
    add_store_flags(flags)
    add_waiting_flag(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Run until told to stop."""
    chosen = parser().parse_args(arguments)
    config = network_config(chosen, settings_of(chosen, reading=False), os.environ)
    options = discovery_options(chosen, os.environ, service_port=config.listen_port)
    from k3.daemon import run_up  # noqa: PLC0415 - a mistake in the flags is told before zeroconf is loaded

    return run_up(config, options)
