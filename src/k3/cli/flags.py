"""What the commands' flags have in common. A mistake raises BadUsage; nothing here ends the process except --help."""

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

from k3.cli.lookup import reached
from k3.cli.usage import BadUsage
from k3.core.safe_text import one_line, printable
from k3.settings.options import Option, Values
from k3.settings.parsing import nearest, nearest_name
from k3.settings.structs import LOG_FORMATS, LOG_LEVELS, Settings

_NEGATIVE: Final = re.compile(r"-\.?\d\S*")
_SYNONYMS: Final = {
    "port": ("listen", "service-port"),
    "service-port": ("listen",),
    "bind": ("listen",),
    "address": ("listen",),
    "debug": ("log-level debug",),
    "verbose": ("log-level debug",),
    "v": ("log-level debug",),
    "quiet": ("log-level error",),
    "follow": ("watch",),
}
"""Names of other programs for a flag, in the order in which they are looked for."""


class Parser(argparse.ArgumentParser):
    """One command's flags, written out in full: an abbreviation may mean another flag in the next version."""

    def __init__(self, command: str, description: str, *, examples: str) -> None:
        super().__init__(
            prog=f"k3 {command}",
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._command = command

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse has it
        """Parses the words. Raises BadUsage. argparse words an error differently in each Python, so k3 looks first."""
        reached(self)
        return super().parse_args(list(self._looked_at(args or [])), namespace)

    def error(self, message: str) -> NoReturn:
        """Raises BadUsage instead of exiting."""
        about, _, words = message.partition(": ")
        if about == "unrecognized arguments":
            first = words.split(" ")[0]
            message = f'unexpected argument "{printable(one_line(first), limit=60)}"'
        if about == "the following arguments are required":
            message = f"missing: {words}"
        raise BadUsage(message, command=self._command)

    def _looked_at(self, words: Sequence[str]) -> Iterator[str]:
        """Returns the words, the value of each flag joined to it. Raises BadUsage for what cannot be a flag of this command."""
        left = list(words)
        while left:
            word = left.pop(0)
            if word == "--":
                yield from (word, *left)
                return
            if not word.startswith("-") or word == "-" or _NEGATIVE.fullmatch(word):
                yield word
            elif word.startswith("--"):
                yield self._long(word, left)
            else:
                yield self._short(word, left)

    def _long(self, word: str, left: list[str]) -> str:
        name, equals, value = word.partition("=")
        action = self._option_string_actions.get(name)
        if action is None:
            self.error(f'unknown flag "{printable(name, limit=60)}"{self._hint(name)}')
        if action.nargs == 0:
            if equals:
                self.error(f"{name} takes no value")
            return word
        if not equals and action.nargs is not None:
            return word
        return f"{name}={self._value(action, name, [value] if equals else left)}"

    def _short(self, word: str, left: list[str]) -> str:
        name = word.partition("=")[0]
        action = self._option_string_actions.get(word[:2])
        if f"-{name}" in self._option_string_actions or action is None:
            self.error(f'unknown flag "{printable(name, limit=60)}"{self._hint(name)}')
        if action.nargs is not None:
            return word
        rest = word[2:].removeprefix("=")
        long = next(name for name in action.option_strings if name.startswith("--"))  # which takes an empty value, too
        return f"{long}={self._value(action, word[:2], [rest] if rest else left)}"

    def _value(self, action: argparse.Action, name: str, left: list[str]) -> str:
        """Returns the next word, which is the flag's value. Raises BadUsage where there is none, or none that it takes."""
        if not left or (left[0].startswith("-") and left[0] != "-" and not _NEGATIVE.fullmatch(left[0])):
            self.error(f"{name} needs a value: {name} {action.metavar or 'VALUE'}")
        value = left.pop(0)
        if action.choices is not None and value not in action.choices:
            self.error(_bad_choice(name, value, [str(each) for each in action.choices]))
        return value

    def _hint(self, word: str) -> str:
        names = [name.removeprefix("--") for name in self._option_string_actions if name.startswith("--")]
        for other in _SYNONYMS.get(word.strip("-").lower(), ()):
            if other.split(" ")[0] in names:
                return f"; did you mean --{other}?"
        return nearest_name(word, names, prefix="--")


def _bad_choice(name: str, value: str, known: Sequence[str]) -> str:
    return f'{name}: bad value "{printable(one_line(value), limit=60)}", expected {", ".join(known)}{nearest(value, known)}'


def add_options(group: Any, options: Iterable[Option]) -> None:  # noqa: ANN401 - argparse's groups have no public type
    """Adds a flag for each option. One that is not given is None: `values_of` settles which place counts."""
    for option in options:
        flag = f"--{option.name}"
        if option.kind == "switch":
            group.add_argument(flag, nargs="?", const="true", metavar=option.metavar, help=option.help)
        else:
            how = "append" if option.kind == "list" else "store"
            group.add_argument(flag, action=how, metavar=option.metavar, help=option.help)
        if option.name == "register-self":
            group.add_argument(
                f"--no-{option.name}", dest="register_self", action="store_const", const="false", help="the opposite"
            )


def values_of(
    chosen: argparse.Namespace, options: Sequence[Option], settings: Settings, environ: Mapping[str, str], *, section: str
) -> Values:
    """Returns what a module was told: flag > environment > section of the file > default."""
    flags: dict[str, Sequence[str]] = {}
    for option in options:
        said = getattr(chosen, option.name.replace("-", "_"), None)
        if said is not None:
            flags[option.name] = said if isinstance(said, list) else (said,)
    return Values(options, flags=flags, environ=environ, section=settings.sections.get(section, {}))


def add_store_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --store, --config and the two flags about logging."""
    group = parser.add_argument_group("store and logging")
    group.add_argument("--store", metavar="URL", help="sqlite:///path, mysql://user@host/db, etcd://host:2379 (K3_STORE)")
    group.add_argument("--config", metavar="FILE", help="configuration file in YAML (CONFIG_PATH)")
    add_log_flags(group)


def add_log_flags(group: Any) -> None:  # noqa: ANN401 - a parser or one of its groups
    """Adds the two flags about logging. Their values are checked as in the file."""
    group.add_argument("--log-level", metavar="LEVEL", help=f"how much to say on stderr: {', '.join(LOG_LEVELS)}")
    group.add_argument("--log-format", metavar="FORMAT", help=" or ".join(LOG_FORMATS))
