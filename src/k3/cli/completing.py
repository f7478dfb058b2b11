"""What may stand at the end of a command line: asked by the shells' scripts (`k3.cli.completion`), one word in each line.

Commands come from the help, flags and their values from the parsers that --help is made from. Names of Nodes and labels come
from the store, within a second: a store that is slow, away or forbidden costs the names and nothing else.
"""

import argparse
import asyncio
import importlib
import os
import re
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Final

from k3 import cli
from k3.cli.lookup import Shape, look_up
from k3.cli.names import NODE_WORDS
from k3.cli.sorting import columns
from k3.cli.terminal import answer
from k3.core import limits
from k3.core.errors import K3Error
from k3.settings.structs import LOG_FORMATS, LOG_LEVELS

FILES: Final = ":files"
"""The line for: any file."""
_LINE: Final = re.compile(r"  ([a-z]+) +(.+?) {2,}k3 .*")
_KINDS: Final = ("nodes", "node", "events")
_VALUES: Final[Mapping[str, Sequence[str]]] = {
    "--log-level": LOG_LEVELS,
    "--log-format": LOG_FORMATS,
    "--register-self": ("true", "false"),
    "--tls": ("true", "false"),
    "--sort-by": columns(),
}
"""Values of flags whose parsers do not list them."""
Found = Iterable[tuple[str, str]]
"""Words, and what is said of each."""


def run(arguments: list[str]) -> int:
    """Prints what fits the last of the words, which may be empty. Is silent whatever happens."""
    words = arguments[1:] if arguments[:1] == ["--"] else arguments
    *before, last = words or [""]
    found = [(word, about) for word, about in _candidates(before, last) if word == FILES or word.startswith(last)]
    answer("".join(f"{word}\t{about}\n" if about else f"{word}\n" for word, about in found[: limits.COMPLETIONS]))
    return 0


def commands() -> dict[str, str]:
    """Returns all commands, and what the help says of each."""
    return {found[1]: found[2] for line in cli.HELP.splitlines() if (found := _LINE.fullmatch(line))}


def shape(command: str, words: Sequence[str] = ()) -> Shape | None:
    """Returns how a command reads its words, the first of which may name a command of its own."""
    return look_up(importlib.import_module(f"{cli.__name__}.{command}").run, words) if command in cli.COMMANDS else None


def _give_up(_number: int, _frame: FrameType | None) -> None:
    """Ends the process without a word: what hangs may be a driver's thread, which nothing else would end."""
    os._exit(0)


def _candidates(before: Sequence[str], last: str) -> Found:
    if not before:
        return commands().items()
    command, *rest = before
    if command == "get" and not rest:
        return [(kind, "") for kind in _KINDS]
    command, *rest = cli.unaliased([*before])
    if command == "help":
        return commands().items() if not rest else _after(rest, "")
    return _after([command, *rest], last)


def _after(words: Sequence[str], last: str) -> Found:
    """Returns what may follow a command and its words."""
    command, *rest = words
    found = shape(command, rest[:1]) or shape(command)
    if isinstance(found, Mapping):
        return [(verb, "") for verb in found]
    if found is None:
        return []
    verbs = shape(command)
    return _flag_or_argument(found, rest[1:] if isinstance(verbs, Mapping) else rest, last)


def _flag_or_argument(parser: argparse.ArgumentParser, words: Sequence[str], last: str) -> Found:
    flags = parser._option_string_actions  # noqa: SLF001 - argparse has no public list of its flags
    name, equals, value = last.partition("=")
    if equals and name in flags:
        return [(f"{name}={word}" if word != FILES else word, about) for word, about in _values(flags[name], words, value)]
    if words and (action := flags.get(words[-1])) is not None and action.nargs is None:
        return _values(action, words[:-1], last)
    if last.startswith("-"):
        return [(flag, action.help or "") for flag, action in flags.items() if flag.startswith("--")]
    return _arguments(parser, words, last)


def _values(action: argparse.Action, words: Sequence[str], last: str) -> Found:
    """Returns what a flag takes."""
    if action.choices is not None:
        return [(str(each), "") for each in action.choices]
    match action.metavar:
        case "FILE":
            return [(FILES, "")]
        case "node/NAME":
            return [(f"node/{name}", "") for name in _names(words, last)]
        case "SELECTOR" | "KEY":
            return [(key, "") for key in _label_keys(words)]
    known = {**_VALUES, "--interface": [name for _, name in socket.if_nameindex()]}
    return [(value, "") for flag in action.option_strings for value in known.get(flag, ())]


def _arguments(parser: argparse.ArgumentParser, words: Sequence[str], last: str) -> Found:
    """Returns what may stand where there is no flag."""
    action = next((each for each in parser._actions if not each.option_strings), None)  # noqa: SLF001 - as above
    if action is None:
        return []
    if action.choices is not None:
        return [(str(each), "") for each in action.choices]
    given = [word for word in words if not word.startswith("-")]
    if action.metavar == "node NAME" and not any(word in NODE_WORDS for word in given):
        return [("node", "the next words name Nodes"), *((f"node/{name}", "") for name in _names(words, last))]
    if action.metavar in {"NAME", "NODE", "node NAME"}:
        named = [name for name in _names(words, last) if name not in given]
        return [(f"node/{name}" if last.startswith("node/") else name, "") for name in named]
    return []


# --- what the store knows --------------------------------------------------------------------------------------------


def _names(words: Sequence[str], last: str) -> list[str]:
    """Returns the names that begin as the last word does, whatever kind it names; none that a shell would take for a flag."""
    begin = last.removeprefix("node/")
    return [name for name, _ in _nodes(words, begin) if name.isprintable() and " " not in name and not name.startswith("-")]


def _label_keys(words: Sequence[str]) -> list[str]:
    return sorted({key for _, labels in _nodes(words, "") for key in labels if key.isprintable()})


def _nodes(words: Sequence[str], begin: str) -> list[tuple[str, list[str]]]:
    """Returns names of Nodes that begin so, and the keys of their labels; nothing where the store does not say it in time."""
    try:
        return asyncio.run(_listed(words, begin))
    except (K3Error, OSError, ExceptionGroup):
        return []


async def _listed(words: Sequence[str], begin: str) -> list[tuple[str, list[str]]]:
    from k3.cli.opening import open_existing, settings_for_reading  # noqa: PLC0415 - most words need no store
    from k3.core.objects import NODE, Key  # noqa: PLC0415 - see above
    from k3.view.node_table import labels  # noqa: PLC0415 - see above

    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, limits.COMPLETION_SECONDS)
    store = await open_existing(settings_for_reading(_store_flags(words)))
    if store is None:
        return []
    try:
        after = Key(NODE, begin[:-1]) if begin else None  # before all that begin so, and behind most others
        page = await store.list(NODE, limit=limits.COMPLETIONS, after=after)
        return [(item.key.name, list(labels(item.manifest()))) for item in page.objects]
    finally:
        await store.aclose()


def _store_flags(words: Sequence[str]) -> argparse.Namespace:
    """Returns which store the words name, however unfinished they are."""
    return argparse.Namespace(
        **{flag: _said(f"--{flag}", words) for flag in ("store", "config")}, log_level="error", log_format=None
    )


def _said(flag: str, words: Sequence[str]) -> str | None:
    said = [*_told(flag, words)]
    return said[-1] if said else None


def _told(flag: str, words: Sequence[str]) -> Iterator[str]:
    for number, word in enumerate(words):
        if word == flag and number + 1 < len(words):
            yield words[number + 1]
        elif word.startswith(f"{flag}="):
            yield word.partition("=")[2]
