"""How commands name Nodes: `web1`, `node/web1`, and before the names a word for the kind, as kubectl takes them."""

from collections.abc import Iterable, Sequence
from typing import Final

from k3.cli.usage import BadUsage
from k3.core.safe_text import printable

NODE_WORDS: Final = ("node", "nodes", "no")
EVENT_WORDS: Final = ("event", "events", "ev")


def node_name(word: str, *, command: str) -> str:
    """Returns the name in `web1`, `node/web1`, `nodes/web1` or `no/web1`. Raises BadUsage."""
    kind, slash, name = word.rpartition("/")
    if slash and kind not in NODE_WORDS:
        msg = f'"{printable(word, limit=80)}" is not a node, expected NAME or node/NAME'
        raise BadUsage(msg, command=command)
    if not name:
        msg = f'"{printable(word, limit=80)}" lacks a name, expected NAME or node/NAME'
        raise BadUsage(msg, command=command)
    return name


def node_names(words: Iterable[str], *, command: str) -> list[str]:
    """Returns the names in their order, each once. Raises BadUsage."""
    return list(dict.fromkeys(node_name(word, command=command) for word in words))


def split_kind(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Returns whether the words begin with one for nodes, and the other words."""
    has_kind = bool(words) and words[0] in NODE_WORDS
    return has_kind, list(words[1:] if has_kind else words)
