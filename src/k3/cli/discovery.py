"""`k3 discovery`: its flags. What it runs is in `daemon`."""

import argparse
import os
from collections.abc import Mapping

from k3.agent import facts
from k3.cli.flags import Parser, add_options, add_store_flags, values_of
from k3.cli.opening import settings_of
from k3.cli.terminal import answer
from k3.cli.usage import BadUsage
from k3.core import limits
from k3.core.addresses import parse_port
from k3.core.errors import ConfigInvalid
from k3.discovery.options import DiscoveryOptions
from k3.discovery.settings import from_flags
from k3.settings import options
from k3.settings.options import Values
from k3.settings.parsing import bad_value
from k3.settings.structs import Settings

_EXAMPLES = """\
  k3 discovery --store etcd://10.0.0.5:2379
  k3 discovery --consul-addr consul.example:8500 --datacenter dc1 --datacenter dc2
  k3 discovery --once --dry-run"""


def parser() -> argparse.ArgumentParser:
    """Returns the flags of `k3 discovery`, with the specification's defaults."""
    flags = Parser("discovery", "Register this machine in Consul, and keep all registered there as Nodes.", examples=_EXAMPLES)
    group = flags.add_argument_group("discovery")
    add_options(group, (*options.DISCOVERY, options.SERVICE_PORT))
    group.add_argument("--once", action="store_true", help="mirror what Consul shows now, and end; registers nothing")
    group.add_argument("--dry-run", action="store_true", help="with --once: only say what would be written, and why")
    add_options(flags.add_argument_group("this machine"), options.MACHINE)
    add_store_flags(flags)
    return flags


def run(arguments: list[str]) -> int:
    """Runs until told to stop, or once."""
    chosen = parser().parse_args(arguments)
    if chosen.dry_run and not chosen.once:
        msg = "--dry-run needs --once"
        raise BadUsage(msg, command="discovery")
    settings = settings_of(chosen, reading=chosen.once and chosen.dry_run)
    told = discovery_options(chosen, settings, os.environ)
    wait = values_of(chosen, options.MACHINE, settings, os.environ, section="discovery").seconds("store-wait")
    from k3.daemon.discovery import run_discovery, run_discovery_once  # noqa: PLC0415 - mistakes are told before all is loaded

    if chosen.once:
        answer(run_discovery_once(told, settings.storage, store_wait_seconds=wait, is_dry=chosen.dry_run))
        return 0
    return run_discovery(told, settings.storage, settings.reader, store_wait_seconds=wait)


def discovery_options(
    chosen: argparse.Namespace, settings: Settings, environ: Mapping[str, str], *, one_port: int | None = None
) -> DiscoveryOptions:
    """Returns command line, environment and file as the daemon takes them. Raises ConfigInvalid.

    `one_port`: that of the health server, where network's --listen sets it.
    """
    said = values_of(chosen, options.SECTIONS["discovery"], settings, environ, section="discovery")
    with said.naming_the_place():
        return DiscoveryOptions(
            name=said.text("node-name") if said.is_given("node-name") else facts.default_node_name(),
            consul=from_flags(said.text("consul-addr"), _token(said, environ), environ),
            service=said.text("service-name"),
            service_id=said.text("service-id"),
            service_address=said.text("service-address"),
            service_port=_port(said, one_port),
            tags=said.words("tags"),
            datacenters=said.texts("datacenter"),
            register_self=said.is_true("register-self"),
            watch_interval_seconds=said.seconds("watch-interval"),
            check_interval_seconds=said.seconds("health-check-interval"),
            check_timeout_seconds=said.seconds("health-check-timeout"),
            deregister_after_seconds=said.seconds("deregister-after"),
            controller_heartbeat=said.is_true("controller-heartbeat"),
        )


def is_consul_named(chosen: argparse.Namespace, settings: Settings) -> bool:
    """Whether anything was said of Consul, on the command line, in the environment or in the file."""
    said = values_of(chosen, options.DISCOVERY, settings, os.environ, section="discovery")
    return any(said.is_given(option.name) for option in options.DISCOVERY)


def _token(said: Values, environ: Mapping[str, str]) -> str:
    """Returns the flag's token, or the file's where the environment has none: that may name a file of its own."""
    is_in_environ = environ.get("CONSUL_HTTP_TOKEN") or environ.get("CONSUL_HTTP_TOKEN_FILE")
    return "" if is_in_environ and said.is_from_file("consul-token") else said.text("consul-token")


def _port(said: Values, one_port: int | None) -> int:
    text, where = said.text("service-port"), said.where("service-port")
    port = parse_port(text)
    if port is None:
        raise bad_value(where, text, f"0 to {limits.PORT}")
    if one_port is None:
        return port
    if said.is_given("service-port") and port != one_port:
        msg = f"{where}: k3 up has one port for both modules, that of --listen ({one_port}); leave this one out"
        raise ConfigInvalid(msg)
    return one_port
