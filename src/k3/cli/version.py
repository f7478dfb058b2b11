"""`k3 version`."""

import json
import platform

from k3 import __version__
from k3.cli.flags import Parser
from k3.cli.terminal import answer


def run(arguments: list[str]) -> int:
    """Prints the version."""
    parser = Parser("version", "Which k3 is this, and what runs it.", examples="  k3 version\n  k3 version -o json")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="how to print it (text)")
    if parser.parse_args(arguments).output == "text":
        answer(f"k3 {__version__}\n")
        return 0
    machine = f"{platform.system().lower()}/{platform.machine()}"
    facts = {"version": __version__, "python": platform.python_version(), "platform": machine}
    answer(json.dumps(facts, indent=2) + "\n")
    return 0
