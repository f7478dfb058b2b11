"""`k3 network`: its flags. What it runs is in `daemon`."""

import argparse
import os
from collections.abc import Mapping

from k3.cli.flags import Parser, add_options, add_store_flags, values_of
from k3.cli.opening import settings_of
from k3.settings import options
from k3.settings.listen import Listen
from k3.settings.service_type import ServiceType
from k3.settings.structs import NetworkConfig, Settings

_EXAMPLES = """\
  k3 network
  k3 network --interface eth0 --peer-ttl 30s
  k3 network --store etcd://10.0.0.5:2379"""


def parser() -> argparse.ArgumentParser:
    """Returns the flags of `k3 network`."""
    flags = Parser("network", "Find the machines of this LAN by mDNS and keep them as Nodes.", examples=_EXAMPLES)
    add_options(flags.add_argument_group("network"), options.NETWORK)
    add_options(flags.add_argument_group("this machine"), options.MACHINE)
    add_store_flags(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Runs until told to stop."""
    chosen = parser().parse_args(arguments)
    settings = settings_of(chosen, reading=False)
    config = network_config(chosen, settings, os.environ)
    from k3.daemon.network import run_network  # noqa: PLC0415 - a mistake in the flags is told before zeroconf is loaded

    return run_network(config, settings.reader)


def network_config(chosen: argparse.Namespace, settings: Settings, environ: Mapping[str, str]) -> NetworkConfig:
    """Returns command line, environment and file as the daemon takes them. Raises ConfigInvalid."""
    said = values_of(chosen, options.SECTIONS["network"], settings, environ, section="network")
    with said.naming_the_place():
        return NetworkConfig(
            storage=settings.storage,
            listen=Listen.parse(said.text("listen")),
            service=ServiceType.parse(said.text("service"), said.text("domain")),
            node_name=said.text("node-name"),
            is_name_explicit=said.is_given("node-name"),
            peer_ttl_seconds=said.seconds("peer-ttl"),
            register_self=said.is_true("register-self"),
            interfaces=said.texts("interface"),
            forget_after_seconds=said.seconds("forget-after"),
            store_wait_seconds=said.seconds("store-wait"),
        )
