"""Messages of a Ready condition that tell more than its reason, as agents write them and readers recognise them. Pure.

A reason says what an agent has found, and these say which case of it: readers give other advice for each (`k3.view.words`).
"""

import re
from typing import Final

AGENT_LOST: Final = "the Consul agent of this machine does not answer"
"""Of a machine that discovery mirrors: nobody in Consul can say how it is."""
STOPPED_REASONS: Final = frozenset({"PeerLeft", "NodeShutdown"})
"""Of a machine that network looks after: k3 was stopped there."""
_RENAMED: Final = "renamed: "
_UNANSWERED: Final = "does not answer "
_ANOTHER: Final = re.compile(r" answers (?:under another identity|as \S+) now$")


def renamed(former: str, name: str) -> str:
    """What the Node of a machine's former name says: the same words from the machine itself and from others."""
    return f"{_RENAMED}the machine goes by the name of {name} now; to remove this Node: k3 delete node {former}"


def is_renamed(message: str) -> bool:
    """Whether a message says that the machine goes by another name now."""
    return message.startswith(_RENAMED)


def another_answers(where: str, name: str = "") -> str:
    """What the Node of a machine says in whose place another one answers; `name`: that of the other, if it has another."""
    return f"{where} answers as {name} now" if name else f"{where} answers under another identity now"


def is_another(message: str) -> bool:
    """Whether a message says that another machine answers in this one's place."""
    return _ANOTHER.search(message) is not None


def does_not_answer(observer: str) -> str:
    """What the condition Reachable says while an agent suspects a machine."""
    return f"{_UNANSWERED}{observer}"


def unanswered(message: str) -> str:
    """The observer that a machine does not answer, by the message of Reachable; empty: it says something else."""
    return message.removeprefix(_UNANSWERED) if message.startswith(_UNANSWERED) else ""
