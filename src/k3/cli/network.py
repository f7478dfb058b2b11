"""`k3 network`: its flags. What it does is the daemon's affair."""

import argparse
import os
from collections.abc import Mapping

from k3 import parsing
from k3.cli.flags import Parser, add_machine_flags, add_store_flags, add_waiting_flag, machine_name
from k3.cli.opening import settings_of
from k3.config import NetworkConfig, Settings

_EXAMPLES = """\
  k3 network
  k3 network --interface eth0 --peer-ttl 30s
  k3 network --store etcd://10.0.0.5:2379"""


def parser() -> argparse.ArgumentParser:
    """The flags of `k3 network`, with the defaults of `NetworkConfig`."""
    flags = Parser("network", "Find the machines of this LAN by mDNS and keep them as Nodes.", examples=_EXAMPLES)
    add_network_flags(flags)
    add_machine_flags(flags)
    add_store_flags(flags)
    add_waiting_flag(flags)
    return flags


def add_network_flags(flags: argparse.ArgumentParser) -> None:
    """What only the network module takes."""
    group = flags.add_argument_group("network")
    group.add_argument("--listen", default=":7946", metavar="ADDR", help="health server, and the port announced (:7946)")
    group.add_argument("--service", default="_k3._tcp", metavar="NAME", help="mDNS service (_k3._tcp)")
    group.add_argument("--domain", default="local.", metavar="NAME", help="mDNS domain (local.)")
    group.add_argument("--peer-ttl", default="90s", metavar="TIME", help="silence after which a peer is NotReady (90s)")
    group.add_argument("--interface", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    group.add_argument("--forget-after", default="0", metavar="TIME", help="remove Nodes that long not Ready (0: never)")


def run(arguments: list[str]) -> int:
    """Run until told to stop."""
    chosen = parser().parse_args(arguments)
    config = network_config(chosen, settings_of(chosen, reading=False), os.environ)
    from k3.daemon import run_network  # noqa: PLC0415 - a mistake in the flags is told before zeroconf is loaded

    return run_network(config)


def network_config(chosen: argparse.Namespace, settings: Settings, environ: Mapping[str, str]) -> NetworkConfig:
    """The command line and settings as the daemon takes them. Raises ConfigInvalid."""
    name, is_explicit = machine_name(chosen, environ)
    return NetworkConfig(
        storage=settings.storage,
        listen=chosen.listen,
        service=chosen.service,
        domain=chosen.domain.removesuffix(".") + ".",
        node_name=name,
        is_name_explicit=is_explicit,
        peer_ttl_seconds=parsing.duration(chosen.peer_ttl, "--peer-ttl"),
        register_self=parsing.boolean(chosen.register_self, "--register-self"),
        interfaces=tuple(dict.fromkeys(chosen.interface)),
        forget_after_seconds=parsing.duration(chosen.forget_after, "--forget-after"),
        store_wait_seconds=parsing.duration(chosen.store_wait, "--store-wait"),
        log_level=settings.log.level,
        log_format=settings.log.format,
    )
