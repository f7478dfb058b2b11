"""`k3 up`: both modules in one process. Its flags are those of the two; what it runs is in `daemon`."""

import argparse
import os
from dataclasses import replace

from k3.cli.discovery import discovery_options
from k3.cli.flags import Parser, add_options, add_store_flags
from k3.cli.network import network_config
from k3.cli.opening import settings_of
from k3.core.errors import ConfigInvalid
from k3.settings import options
from k3.settings.structs import Settings

_EXAMPLES = """\
  k3 up
  k3 up --consul-addr consul.example:8500 --store etcd://10.0.0.5:2379"""


def parser() -> argparse.ArgumentParser:
    """Returns the flags of both modules; --listen is the one port for both."""
    flags = Parser("up", "k3 network and k3 discovery in one process, on one store.", examples=_EXAMPLES)
    add_options(flags.add_argument_group("network"), options.NETWORK)
    add_options(flags.add_argument_group("discovery"), options.DISCOVERY)
    add_options(flags.add_argument_group("this machine"), options.MACHINE)
    add_store_flags(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Runs until told to stop."""
    chosen = parser().parse_args(arguments)
    settings = settings_of(chosen, reading=False)
    config = network_config(chosen, as_one_machine(settings), os.environ)
    discovery = discovery_options(chosen, as_one_machine(settings), os.environ, one_port=config.listen.port)
    from k3.daemon.up import run_up  # noqa: PLC0415 - a mistake in the flags is told before zeroconf is loaded

    return run_up(config, discovery, settings.reader)


def as_one_machine(settings: Settings) -> Settings:
    """Returns the settings; what either section says of the machine counts in both. Raises ConfigInvalid where they differ."""
    network, discovery = (settings.sections.get(name, {}) for name in ("network", "discovery"))
    of_the_machine = {}
    for option in options.MACHINE:
        said = [section[option.name] for section in (network, discovery) if option.name in section]
        if len({each.texts for each in said}) > 1:
            msg = f"{said[1].where}: differs from {said[0].where}; k3 up is one machine: keep one of them"
            raise ConfigInvalid(msg)
        if said:
            of_the_machine[option.name] = said[0]
    sections = {"network": {**network, **of_the_machine}, "discovery": {**discovery, **of_the_machine}}
    return replace(settings, sections=sections)
