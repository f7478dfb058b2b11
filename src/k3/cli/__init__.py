"""The command line: finds the command, runs it, and turns every error into one line and an exit code.

Only the chosen command's module is loaded, so that help and mistakes are answered at once.
"""

import gc
import importlib
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from k3.cli.terminal import OutputClosed, answer, close_streams, open_streams, remark
from k3.cli.usage import BadUsage
from k3.core.errors import K3Error, first_of
from k3.core.safe_text import one_line, printable

HELP: Final = """\
k3: which machines do I have right now, and are they healthy?

Run
  network    find the machines of this LAN and keep them as Nodes    k3 network
  discovery  the same across networks, through Consul                k3 discovery
  up         all in one process, on one store                        k3 up
  server     serve the store to kubectl and other clients            k3 server
Look
  nodes      list the machines, or follow them                       k3 nodes -w
  describe   all that is known of a machine                          k3 describe node web1
  why        why a machine is as it is, and what to do about it      k3 why web1
  doctor     what is wrong here, and the command that mends it       k3 doctor
  events     what has happened to the machines                       k3 events --for node/web1
  status     the agent of this machine, its store and its server     k3 status
  open       the machines in a browser                               k3 open
  get        nodes and events by kubectl's word                      k3 get nodes
Change
  delete     remove a Node                                           k3 delete node web1
Access
  token      make, list and revoke tokens of the Kubernetes API      k3 token create --role view
  kubeconfig print what kubectl needs to reach k3 server             k3 kubeconfig
Store
  store      check a store, or copy one into another                 k3 store check
Other
  version    which k3 is this                                        k3 version -o json
  completion what bash, zsh or fish need to complete words           k3 completion bash
  help       this text, or that of a command                         k3 help nodes

Every command but version and completion takes --config FILE (or CONFIG_PATH), and all but store copy --store URL
(or K3_STORE).
"""
COMMANDS: Final = (
    "network",
    "discovery",
    "up",
    "server",
    "nodes",
    "describe",
    "why",
    "doctor",
    "events",
    "status",
    "open",
    "delete",
    "token",
    "kubeconfig",
    "store",
    "version",
    "completion",
)
_COMPLETE: Final = "__complete"
"""What a shell runs to complete a word."""
_ALIASES: Final = {
    "node": "nodes",
    "no": "nodes",
    "event": "events",
    "ev": "events",
    "--version": "version",
    "-V": "version",
    "-h": "help",
    "--help": "help",
}
_HABITS: Final = ("ls", "list", "members", "ps")
"""The names of the lists of other programs."""
_INTERRUPTED: Final = 130
_RARELY: Final = (20_000, 20, 50)
"""How many objects are made between two looks for cycles (`gc.set_threshold`): few here are cyclic, no module is, and with
10,000 Nodes in memory each look is long."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    0 done, 1 failure, 2 usage, 3 not found, 4 store unreachable, 5 conflict, 6 a machine is not well (`why`), 130 interrupted,
    141 the answer's reader has gone.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    gc.set_threshold(*_RARELY)
    open_streams()
    try:
        return _run(unaliased(arguments))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as ended:  # argparse, when asked for help
        return int(ended.code or 0)
    except Exception as error:  # noqa: BLE001 - a person is told in one line, whatever it is
        return _report(first_of(error), trace=_wants_trace(arguments))
    finally:
        close_streams()


def _run(arguments: list[str]) -> int:
    name, *rest = arguments
    if name == "help":
        if not rest:
            answer(HELP)
            return 0
        if rest[0] == "--man":
            return int(importlib.import_module(f"{__name__}.man").run(rest[1:]))
        name, *rest = unaliased([*rest, "--help"])
    if name == _COMPLETE:
        name = "completing"
    elif name not in COMMANDS:
        return _run_other(name, rest)
    return int(importlib.import_module(f"{__name__}.{name}").run(rest))


def _run_other(name: str, arguments: list[str]) -> int:
    """Runs a source that another package brings. Raises BadUsage where there is none of this name."""
    from k3.settings import sources  # noqa: PLC0415 - entry points are read only for a name that k3 does not know

    if (source := sources.find(name)) is None:
        raise BadUsage(_unknown(name))
    return source.run(arguments)


def _unknown(name: str) -> str:
    """Returns what to say about an unknown command: what there is instead."""
    kind = "flag" if name.startswith("-") else "command"
    said = f'unknown {kind} "{printable(name, limit=60)}"'
    if name in _HABITS:
        return f"{said}; did you mean: k3 nodes"
    # difflib, behind the nearest known word, is too slow to load for those who make no mistake
    from k3.settings.parsing import nearest  # noqa: PLC0415 - see above

    return said + nearest(name, (*COMMANDS, "get"))


def unaliased(arguments: list[str]) -> list[str]:
    """Returns the command line with aliases resolved; an empty one asks for help."""
    if not arguments:
        return ["help"]
    name, *rest = arguments
    if name == "get":
        from k3.cli.get import without_get  # noqa: PLC0415 - most command lines have no `get`

        return without_get(rest)
    return [_ALIASES.get(name, name), *rest]


def _wants_trace(arguments: list[str]) -> bool:
    words = [word.lower() for word in arguments]
    return "--log-level=debug" in words or ("--log-level", "debug") in pairwise(words)


def _report(error: BaseException, *, trace: bool) -> int:
    """Tells a person what went wrong; returns the exit code."""
    if isinstance(error, OutputClosed):
        return error.exit_code
    if trace and not isinstance(error, BadUsage):
        import traceback  # noqa: PLC0415 - only for this

        for line in "".join(traceback.format_exception(error)).splitlines():
            remark(one_line(line))
    if isinstance(error, K3Error):
        remark(f"k3: {one_line(str(error))}")
        if isinstance(error, BadUsage):
            remark(error.hint)
        return error.exit_code
    hint = "" if trace else " (run with --log-level debug for the traceback)"
    remark(f"k3: unexpected {type(error).__name__}: {one_line(str(error))}{hint}")
    return 1
