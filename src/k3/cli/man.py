"""`k3 help --man`: the man pages, in roff, made from the same parsers and the same text as --help.

`k3 help --man` is k3(1), `k3 help --man nodes` is k3-nodes(1). `python -m k3.cli.man DIRECTORY` writes all of them: `make man`.
"""

import argparse
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from k3 import __version__, cli
from k3.cli.completing import commands, shape
from k3.cli.terminal import answer
from k3.cli.usage import BadUsage
from k3.core.safe_text import printable

_SPECIAL: Final = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
"""Characters that roff reads as others, or as its own (groff_char(7), man-pages(7))."""


def run(arguments: list[str]) -> int:
    """Prints one page. Raises BadUsage for a command that has none."""
    name = cli.unaliased([*arguments])[0] if arguments else ""
    if name and (name not in cli.COMMANDS or len(arguments) > 1):
        msg = f'no man page for "{printable(" ".join(arguments), limit=60)}"'
        raise BadUsage(msg)
    answer(page(name))
    return 0


def page(command: str) -> str:
    """Returns the page of a command, or of k3 itself where none is named."""
    return "".join(f"{line}\n" for line in (_of_command(command) if command else _of_k3()))


def write_all(directory: Path) -> None:
    """Writes every page: k3.1, k3-nodes.1, ... Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    for command in ("", *cli.COMMANDS):
        (directory / f"{_title(command)}.1").write_text(page(command), encoding="utf-8")


def _of_k3() -> Iterator[str]:
    what, _, rest = cli.HELP.partition("\n\n")
    yield from _head("", what.partition(": ")[2].rstrip("?\n").replace(", and", " and"))
    yield from (".SH SYNOPSIS", ".B k3", r"\fICOMMAND\fR [\fIFLAGS\fR]")
    yield from (".SH DESCRIPTION", _text(what.partition(": ")[2].strip()))
    yield ".SH COMMANDS"
    for line in rest.splitlines():
        name = line.split(" ")[2] if line.startswith("  ") else ""
        if line and not name and not line.startswith(("Every", "(")):
            yield f".SS {_text(line)}"
        elif name:
            reference = rf"\fBk3\-{name}\fR(1)" if name in cli.COMMANDS else rf"\fBk3 {name}\fR"
            yield from (".TP", reference, _text(commands()[name]))
    yield from (".SH OPTIONS", _text(" ".join(rest.rpartition("\n\n")[2].split())))
    yield from (".SH EXIT STATUS", _text(" ".join(inspect.cleandoc(cli.main.__doc__ or "").partition("\n\n")[2].split())))


def _of_command(command: str) -> Iterator[str]:
    yield from _head(command, commands()[command])
    found = shape(command)
    if isinstance(found, argparse.ArgumentParser):
        yield from _synopsis([found])
        yield from (".SH DESCRIPTION", _text(found.description or ""))
        yield from _flags(found, ".SH", ".SS")
        yield from _examples([found])
    elif found is not None:
        yield from _of_verbs(command, found)
    yield from (".SH SEE ALSO", r"\fBk3\fR(1)")


def _of_verbs(command: str, verbs: Mapping[str, Callable[[list[str]], int]]) -> Iterator[str]:
    """Gives the sections of a command that is followed by a word of its own: one for each of them."""
    parsers = [each for verb in verbs if isinstance(each := shape(command, [verb]), argparse.ArgumentParser)]
    yield from _synopsis(parsers)
    yield from (".SH DESCRIPTION", _text(f"{commands()[command].capitalize()}."))
    for parser in parsers:
        yield from (f".SH {_text(parser.prog.upper())}", _text(parser.description or ""))
        yield from _flags(parser, ".SS", ".SS")
    yield from _examples(parsers)


def _head(command: str, about: str) -> Iterator[str]:
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")  # https://reproducible-builds.org/specs/source-date-epoch
    day = datetime.fromtimestamp(int(seconds), UTC) if seconds.isdigit() else datetime.now(UTC)
    yield f'.TH {_text(_title(command).upper())} 1 "{day:%Y-%m-%d}" "k3 {_text(__version__)}" "k3"'
    yield from (".SH NAME", rf"{_text(_title(command))} \- {_text(about)}")


def _synopsis(parsers: list[argparse.ArgumentParser]) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    for number, parser in enumerate(parsers):
        words = " ".join(parser.format_usage().removeprefix("usage: ").removeprefix(parser.prog).split())
        yield from ([".br"] if number else [])
        yield rf"\fB{_text(parser.prog)}\fR {_text(words)}"


def _flags(parser: argparse.ArgumentParser, section: str, part: str) -> Iterator[str]:
    """Gives arguments and flags, each group of them under its title."""
    for group in parser._action_groups:  # noqa: SLF001 - argparse has no public list of its groups
        if not group._group_actions:  # noqa: SLF001 - see above
            continue
        title = (group.title or "").replace("positional arguments", "arguments")
        is_first = title in {"arguments", "options"}
        yield f"{section if is_first else part} {_text(title.upper() if is_first and section == '.SH' else title.capitalize())}"
        for action in group._group_actions:  # noqa: SLF001 - see above
            yield from (".TP", _named(action), _text(action.help or ""))


def _named(action: argparse.Action) -> str:
    value = (
        "" if action.nargs == 0 else rf"\fI{_text(str(action.metavar or '|'.join(map(str, action.choices or ['VALUE']))))}\fR"
    )
    if not action.option_strings:
        return value
    optional = f"[={value}]" if action.nargs == "?" else f" {value}" if value else ""
    return ", ".join(rf"\fB{_text(flag)}\fR" for flag in action.option_strings) + optional


def _examples(parsers: list[argparse.ArgumentParser]) -> Iterator[str]:
    yield from (".SH EXAMPLES", ".nf")
    for parser in parsers:
        yield from (_text(line.strip()) for line in (parser.epilog or "").partition("\n")[2].splitlines())
    yield ".fi"


def _title(command: str) -> str:
    return f"k3-{command}" if command else "k3"


def _text(text: str) -> str:
    r"""Returns text that roff sets as it is; a dot in front would be a request."""
    return re.sub(r"^\.", r"\\&.", "".join(_SPECIAL.get(char, char) for char in text))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
