"""What the commands' flags have in common. A mistake raises BadUsage; nothing here ends the process except --help."""

import argparse
from collections.abc import Mapping
from typing import NoReturn

from k3.cli.usage import BadUsage
from k3.config import LOG_FORMATS, LOG_LEVELS


class Parser(argparse.ArgumentParser):
    """One command's flags, written out in full: an abbreviation would change its meaning with the next flag k3 gets."""

    def __init__(self, command: str, description: str, *, examples: str) -> None:
        super().__init__(
            prog=f"k3 {command}",
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._command = command

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        raise BadUsage(message, command=self._command)


def add_machine_flags(parser: argparse.ArgumentParser) -> None:
    """What this machine is called, and whether it is a Node too."""
    group = parser.add_argument_group("this machine")
    group.add_argument("--node-name", metavar="NAME", help="its name (NODE_NAME, else the host name)")
    group.add_argument("--register-self", nargs="?", const="true", default="true", metavar="BOOL", help="be a Node too (true)")
    group.add_argument("--no-register-self", dest="register_self", action="store_const", const="false", help="the opposite")


def machine_name(chosen: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, bool]:
    """The name that a person gave this machine, empty where nobody did; and whether one was given, empty or not."""
    name = environ.get("NODE_NAME", "") if chosen.node_name is None else chosen.node_name
    return name, bool(name) or chosen.node_name is not None


def add_waiting_flag(parser: argparse.ArgumentParser) -> None:
    """How long an agent waits for its store; who only looks does not."""
    parser.add_argument(
        "--store-wait", default="60s", metavar="TIME", help="wait at the start for a store to answer (60s; 0: not)"
    )


def add_store_flags(parser: argparse.ArgumentParser) -> None:
    """--store, --config and the two about logging."""
    group = parser.add_argument_group("store and logging")
    group.add_argument("--store", metavar="URL", help="sqlite:///path, mysql://user@host/db, etcd://host:2379 (K3_STORE)")
    group.add_argument("--config", metavar="FILE", help="configuration file in YAML (CONFIG_PATH)")
    group.add_argument("--log-level", choices=LOG_LEVELS, help="how much to say on stderr")
    group.add_argument("--log-format", choices=LOG_FORMATS, help="text or json")
