"""Commands that are followed by a word of their own: `k3 store check`, `k3 token create`."""

from collections.abc import Callable, Mapping, Sequence

from k3.cli.lookup import reached
from k3.cli.terminal import answer
from k3.cli.usage import BadUsage
from k3.core.safe_text import printable

Verbs = Mapping[str, Callable[[list[str]], int]]


def run_verb(command: str, verbs: Verbs, arguments: Sequence[str], *, about: str) -> int:
    """Runs what the first word names, with the rest; `about` is the command's help. Raises what that raises, and BadUsage."""
    verb, *rest = arguments or ["--help"]
    if verb not in verbs:
        reached(verbs)
    if verb in {"-h", "--help"}:
        answer(about)
        return 0
    if verb not in verbs:
        *others, last = verbs
        msg = f'unknown {command} command "{printable(verb, limit=60)}", expected {", ".join(others)} or {last}'
        raise BadUsage(msg, command=command)
    return verbs[verb](rest)
