"""`k3 up`: network, the API server and, where Consul is configured, discovery, in one process on one store.

Its flags are those of the three, but that the server's address is --api-listen; what it runs is in `daemon`.
"""

import argparse
import logging
import os
from dataclasses import replace
from typing import Final

from k3.agent import logs
from k3.cli.discovery import discovery_options, is_consul_named
from k3.cli.flags import Parser, add_options, add_store_flags, values_of
from k3.cli.network import network_config
from k3.cli.opening import require_server_packages, settings_of
from k3.core.errors import ConfigInvalid, StartFailed
from k3.server.access.settings import AccessSettings
from k3.settings import options
from k3.settings.options import Option
from k3.settings.structs import Note, Settings

_LOG: Final = logging.getLogger(__name__)
_API_LISTEN: Final = Option(
    name="api-listen", metavar="ADDR", help="where kubectl finds the API (127.0.0.1:8080, else any free port)"
)
_SERVER: Final = tuple(option for option in options.SERVER if option.name != "listen")
_EXAMPLES = """\
  k3 up
  k3 up --api-listen :8443
  k3 up --consul-addr consul.example:8500 --store etcd://10.0.0.5:2379"""


def parser() -> argparse.ArgumentParser:
    """Returns the flags of all three; --listen is the one port for both modules."""
    about = "k3 network, k3 server and, where Consul is configured, k3 discovery in one process, on one store."
    flags = Parser("up", about, examples=_EXAMPLES)
    add_options(flags.add_argument_group("network"), options.NETWORK)
    add_options(flags.add_argument_group("discovery"), options.DISCOVERY)
    add_options(flags.add_argument_group("server"), (_API_LISTEN, *_SERVER))
    add_options(flags.add_argument_group("this machine"), options.MACHINE)
    add_store_flags(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Runs until told to stop."""
    chosen = parser().parse_args(arguments)
    settings = settings_of(chosen, reading=False)
    config = network_config(chosen, as_one_machine(settings), os.environ)
    discovery = discovery_options(chosen, as_one_machine(settings), os.environ, one_port=config.listen.port)
    serve = _served(_access(chosen, settings))
    from k3.daemon.up import run_up  # noqa: PLC0415 - a mistake in the flags is told before zeroconf is loaded

    return run_up(config, discovery if is_consul_named(chosen, settings) else None, serve, settings.reader)


def _served(access: AccessSettings) -> AccessSettings | None:
    """Returns how the store is to be served; None where a package for that is missing, and nobody has asked for it."""
    try:
        require_server_packages()
    except StartFailed as missing:
        if not access.else_any_port:
            raise
        logs.tell(_LOG, [Note("server.left_out", {"why": str(missing)}, warning=True)])
        return None
    return access


def _access(chosen: argparse.Namespace, settings: Settings) -> AccessSettings:
    named = argparse.Namespace(**{**vars(chosen), "listen": chosen.api_listen})
    said = values_of(named, options.SERVER, settings, os.environ, section="server")
    return replace(AccessSettings.parse(said), else_any_port=not said.is_given("listen"))


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
