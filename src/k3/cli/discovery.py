"""`k3 discovery`: its flags. What it does is the daemon's affair."""

import argparse
import os
from collections.abc import Mapping

from k3 import facts, parsing
from k3.cli.flags import Parser, add_machine_flags, add_store_flags, add_waiting_flag, machine_name
from k3.cli.opening import settings_of
from k3.cli.usage import BadUsage
from k3.core.errors import ConfigInvalid
from k3.discovery.service import DiscoveryOptions
from k3.discovery.settings import from_flags
from k3.safe_text import printable

_EXAMPLES = """\
  k3 discovery --store etcd://10.0.0.5:2379
  k3 discovery --consul-addr consul.example:8500 --datacenter dc1 --datacenter dc2
  k3 discovery --once --dry-run"""


def parser() -> argparse.ArgumentParser:
    """The flags of `k3 discovery`, with the specification's defaults."""
    flags = Parser("discovery", "Register this machine in Consul, and keep all registered there as Nodes.", examples=_EXAMPLES)
    add_discovery_flags(flags)
    flags.add_argument("--service-port", default="7946", metavar="PORT", help="health server, and the port registered (7946)")
    flags.add_argument("--once", action="store_true", help="mirror what Consul shows now, and end; registers nothing")
    flags.add_argument("--dry-run", action="store_true", help="with --once: only say what would be written, and why")
    add_machine_flags(flags)
    add_store_flags(flags)
    add_waiting_flag(flags)
    return flags


def add_discovery_flags(flags: argparse.ArgumentParser) -> None:
    """What only the discovery module takes."""
    group = flags.add_argument_group("discovery")
    group.add_argument("--consul-addr", default="", metavar="ADDR", help="localhost:8500 (CONSUL_HTTP_ADDR)")
    group.add_argument("--consul-token", default="", metavar="TOKEN", help="better in CONSUL_HTTP_TOKEN or its _FILE")
    group.add_argument("--service-name", default="k3-node", metavar="NAME", help="service in Consul (k3-node)")
    group.add_argument("--service-id", default="", metavar="ID", help="its ID (service-name-node-name)")
    group.add_argument("--service-address", default="", metavar="IP", help="where we are reached (the route to Consul's)")
    group.add_argument("--tags", default="", metavar="A,B", help="tags of the service")
    group.add_argument("--datacenter", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    group.add_argument("--watch-interval", default="15s", metavar="TIME", help="compare with the store at least so often (15s)")
    group.add_argument("--health-check-interval", default="10s", metavar="TIME", help="how often Consul asks us (10s)")
    group.add_argument("--health-check-timeout", default="3s", metavar="TIME", help="how long Consul waits for us (3s)")
    group.add_argument("--deregister-after", default="30s", metavar="TIME", help="critical that long: out (30s, acts as 1m)")
    group.add_argument(
        "--controller-heartbeat",
        nargs="?",
        const="true",
        default="true",
        metavar="BOOL",
        help="tell controllers' Nodes that their machine is alive (true)",
    )


def run(arguments: list[str]) -> int:
    """Run until told to stop, or once."""
    chosen = parser().parse_args(arguments)
    if chosen.dry_run and not chosen.once:
        msg = "--dry-run needs --once"
        raise BadUsage(msg, command="discovery")
    settings = settings_of(chosen, reading=chosen.once and chosen.dry_run)
    options = discovery_options(chosen, os.environ, service_port=_port(chosen.service_port))
    from k3.daemon import run_discovery, run_discovery_once  # noqa: PLC0415 - a mistake in the flags is told before all is loaded

    wait = parsing.duration(chosen.store_wait, "--store-wait")
    if chosen.once:
        return run_discovery_once(options, settings.storage, store_wait_seconds=wait, is_dry=chosen.dry_run)
    return run_discovery(options, settings.storage, store_wait_seconds=wait)


def discovery_options(chosen: argparse.Namespace, environ: Mapping[str, str], *, service_port: int) -> DiscoveryOptions:
    """The command line and environment as the daemon takes them. Raises ConfigInvalid."""
    name, is_named = machine_name(chosen, environ)
    return DiscoveryOptions(
        name=name if is_named else facts.default_node_name(),
        consul=from_flags(chosen.consul_addr, chosen.consul_token, environ),
        service=chosen.service_name,
        service_id=chosen.service_id,
        service_address=chosen.service_address,
        service_port=service_port,
        tags=tuple(dict.fromkeys(tag for tag in chosen.tags.split(",") if tag)),
        datacenters=tuple(dict.fromkeys(chosen.datacenter)),
        register_self=parsing.boolean(chosen.register_self, "--register-self"),
        watch_interval_seconds=parsing.duration(chosen.watch_interval, "--watch-interval"),
        check_interval_seconds=parsing.duration(chosen.health_check_interval, "--health-check-interval"),
        check_timeout_seconds=parsing.duration(chosen.health_check_timeout, "--health-check-timeout"),
        deregister_after_seconds=parsing.duration(chosen.deregister_after, "--deregister-after"),
        controller_heartbeat=parsing.boolean(chosen.controller_heartbeat, "--controller-heartbeat"),
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len("65535")):
        msg = f'--service-port: bad value "{printable(text, limit=40)}", expected 0 to 65535'
        raise ConfigInvalid(msg)
    return int(text)
