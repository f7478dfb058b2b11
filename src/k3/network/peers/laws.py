"""What may follow from what, in two tables. Pure.

`REPORTS` says, for each state in which a peer can be and each cause there can be for a report, which observation is reported;
what it does not list is never reported. `CONSEQUENCES` says what each event may lead to at once. What is due by then is done
after every event, as if a `Tick` had come right behind it, and counts as the `Tick`'s.

Every report names its cause. A `PeerTable` that is made with `check=enforce` (the simulated fleet and the tests do that) raises
at a step that the tables do not list. An agent makes no such check: a gap in a table is no reason to end it, and whatever it
reports is held to the Node's evidence by `policy.decide`.
"""

from collections.abc import Callable, Mapping
from enum import Enum, unique
from typing import Final

from k3.core.observation import Alive, Explained, Forgotten, Joined, Left, Observation, Silent, Suspected, Unproven
from k3.core.records import dataclass
from k3.network.events import (
    Action,
    BoundMet,
    CloneFound,
    Contested,
    Event,
    LinksChanged,
    NameKept,
    NodeGone,
    NodeShown,
    Probed,
    Reannounce,
    SelfProven,
    Stalled,
    StartProbe,
    StoreLost,
    Suspecting,
    Synced,
    Tick,
)
from k3.network.messages import Announcement, Withdrawal


@unique
class State(Enum):
    """What the store shows of a name."""

    CANDIDATE = "no Node: it is only announced"
    READY = "Ready, and no observer suspects it"
    SUSPECTED = "Ready, and Reachable=False"
    NOT_READY = "Ready is False or Unknown"
    OWN = "the agent's own Node, or none yet"
    FOREIGN = "a Node of another source, which has given it up"


@unique
class Cause(Enum):
    """Why something is reported."""

    ANSWER = "it was asked, and answered with the right identity"
    FAILURES = "it was asked twice in a row, and failed to answer"
    GOODBYE = "it said goodbye, and refused connections twice in a row"
    SILENCE = "no sign of life for its time to live"
    FORMER_NAME = "it stands for the agent's own machine, which goes by another name now"
    AGE = "it was never proven and is no longer announced, or has not been Ready for --forget-after"
    ROOM = "there are as many Nodes as there may be, and of those that are not Ready it has been silent longest"
    OWN_TURN = "the agent's own machine joins, changes, or is looked after by no other agent"


REPORTS: Final[Mapping[State, Mapping[Cause, type[Observation]]]] = {
    State.CANDIDATE: {Cause.ANSWER: Alive, Cause.FAILURES: Unproven},
    State.READY: {
        Cause.ANSWER: Alive,
        Cause.FAILURES: Suspected,
        Cause.GOODBYE: Left,
        Cause.SILENCE: Silent,
        Cause.FORMER_NAME: Silent,
    },
    State.SUSPECTED: {
        Cause.ANSWER: Alive,
        Cause.GOODBYE: Left,
        Cause.SILENCE: Silent,
        Cause.FORMER_NAME: Silent,
    },
    State.NOT_READY: {
        Cause.ANSWER: Alive,
        Cause.FAILURES: Explained,
        Cause.FORMER_NAME: Explained,
        Cause.AGE: Forgotten,
        Cause.ROOM: Forgotten,
    },
    State.OWN: {Cause.OWN_TURN: Joined},
    State.FOREIGN: {Cause.ANSWER: Alive, Cause.OWN_TURN: Joined},
}
"""Each of these may also be left out: an answer that changes nothing is not written, and an agent in doubt suspects no peer."""

CONSEQUENCES: Final[Mapping[type[Event], frozenset[type[Action | Observation]]]] = {
    Synced: frozenset({Contested, Silent, Explained}),
    NodeShown: frozenset({Contested, Silent, Explained}),
    NodeGone: frozenset(),
    StoreLost: frozenset(),
    Announcement: frozenset({Contested}),
    Withdrawal: frozenset(),
    Probed: frozenset({Alive, Suspecting, Suspected, Left, Unproven, Explained, Forgotten, BoundMet}),
    SelfProven: frozenset({Silent, Explained}),
    NameKept: frozenset(),
    CloneFound: frozenset(),
    LinksChanged: frozenset(),
    Stalled: frozenset({Reannounce}),
    Tick: frozenset({StartProbe, Silent, Forgotten, Joined, Reannounce, BoundMet}),
}
"""An observation stands for the `Report` of it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action of the machine: which event led to which action, or to the report of which observation."""

    event: type[Event]
    what: type[Action | Observation]
    state: State | None = None
    """Of the peer; with `cause`, for reports only."""
    cause: Cause | None = None


Check = Callable[[Step], None]
"""Sees each step before it is taken."""


class Unlawful(AssertionError):
    """A step that the tables do not list: a rule is wrong, or a table is."""


def enforce(step: Step) -> None:
    """Raises Unlawful."""
    listed = step.what in CONSEQUENCES[step.event]
    if step.state is not None and step.cause is not None:
        listed = listed and REPORTS[step.state].get(step.cause) is step.what
    if not listed:
        raise Unlawful(step)
