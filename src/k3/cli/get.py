"""`k3 get nodes` is `k3 nodes`, and `k3 get events` is `k3 events`: people are used to kubectl's word."""

from collections.abc import Sequence
from typing import Final

from k3.cli.names import EVENT_WORDS, NODE_WORDS
from k3.cli.usage import BadUsage
from k3.core.safe_text import printable

_COMMANDS: Final = dict.fromkeys(NODE_WORDS, "nodes") | dict.fromkeys(EVENT_WORDS, "events")


def without_get(rest: Sequence[str]) -> list[str]:
    """Returns the command that is meant. Flags may stand before the word, as in kubectl. Raises BadUsage."""
    for number, word in enumerate(rest):
        if word in _COMMANDS:
            return [_COMMANDS[word], *rest[:number], *rest[number + 1 :]]
        if "/" in word and word.partition("/")[0] in NODE_WORDS:
            return ["nodes", *rest]
    if any(word in {"-h", "--help"} for word in rest):
        return ["nodes", "--help"]
    what = next((word for word in rest if not word.startswith("-")), "")
    msg = f'"{printable(what, limit=60)}" is nothing k3 keeps' if what else "which kind"
    msg = f"{msg}; write: k3 get nodes, or: k3 get events"
    raise BadUsage(msg)
