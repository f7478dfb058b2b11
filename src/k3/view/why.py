"""Why is a Node as it is? The rule that decided its state, in words, the evidence with its ages, and what is not known. Pure.

It explains and decides nothing: what a state is, `k3.view.node_table` says, and what made it so is taken from the Node, the
Events about it and the Leases, as `k3.core.decision` and the policies of the sources have written them (ADR 57).
`k3 describe` shows all that is known of a Node; this answers one question, and the cause comes first.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any, Final

from k3.core.phrases import STOPPED_REASONS
from k3.core.records import dataclass
from k3.core.sources import DISCOVERY, NETWORK
from k3.view import why_besides, why_controller, why_discovery, why_network, words
from k3.view.findings import Finding, Record, facts, stamped
from k3.view.reasons import SITUATIONS, Word

_EVENTS: Final = 5
_MODULES: Final = {NETWORK.name: why_network, DISCOVERY.name: why_discovery, None: why_controller}
"""Who explains the Nodes of a source, and those of no source."""
_DOWN: Final = frozenset({"PeerUnreachable", "NeverAnswered", "ObserverLost", "ProbeFailed", "PeerLeft", "NodeShutdown"})
"""Causes about which this reader's own question to the machine tells more than what is recorded."""

_NOW: Final = {
    "answered": "AnswersNow",
    "another": "AnotherAnswers",
    "odd": "OtherProgram",
    "refused": "RefusesNow",
    "hangs": "Hangs",
    "filtered": "Filtered",
    "gone": "NotThere",
    "unable": "NoWay",
}
"""The situation that an answer to this reader shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a Node is as it is."""

    name: str
    status: str
    """As `k3 nodes` has it."""
    is_well: bool
    since: str
    """RFC 3339; empty where that is not recorded."""
    headline: str
    """One line: the name, the state, and for a machine that is not well since when."""
    cause: Finding
    means: str
    do: str
    command: str
    on: str
    """The machine on which the command is to be typed; empty: here."""
    evidence: tuple[Finding, ...]
    besides: tuple[Finding, ...]
    """What else a person should know, beside the cause."""
    unknown: tuple[str, ...]
    """What the record does not tell."""

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "name": self.name,
            "status": self.status,
            "isWell": self.is_well,
            "since": self.since,
            "cause": self.cause.to_json(),
            "means": self.means,
            "do": self.do,
            "command": self.command,
            "on": self.on,
            "evidence": [each.to_json() for each in self.evidence],
            "besides": [each.to_json() for each in self.besides],
            "unknown": list(self.unknown),
        }


def cause(record: Record) -> Finding:
    """Returns the rule that decided the state, in words."""
    found: Finding = _module(record).cause(record) if record.seen.owner in _MODULES else _of_another_source(record)
    return replace(found, text=f"{found.text} {why_besides.same_id(record)}") if _may_be_a_copy(record, found) else found


def advice(record: Record, found: Finding) -> Word:
    """Returns what the cause means and what to do; nothing to do for a machine that is well."""
    if record.reading.state.is_well:
        return words.of_reason(record.reading.state.reason)
    if _may_be_a_copy(record, found):
        return words.fitted(SITUATIONS[why_besides.same_id_situation(record)], record.reading)
    if record.asked is not None and found.rule in _DOWN:
        now = _NOW.get(record.asked.way)
        is_announced = found.rule == "NeverAnswered" and now == "RefusesNow"  # so k3 runs there: a firewall refuses for it
        if now is not None and not is_announced:
            return words.fitted(SITUATIONS[now], record.reading)
    return words.of(record.reading)


def _may_be_a_copy(record: Record, found: Finding) -> bool:
    """Whether the machine is down, and another Node has its id: two of one hardware address take each other's packets."""
    return found.rule in _DOWN - STOPPED_REASONS and bool(record.copies)


def explain(record: Record, *, is_brief: bool = False) -> Explanation:
    """Returns why the Node is as it is; a brief one has no evidence, nor what else there is to say."""
    found, state = cause(record), record.reading.state
    word = advice(record, found)
    return Explanation(
        name=record.name,
        status=str(state),
        is_well=state.is_well,
        since=state.since,
        headline=_headline(record),
        cause=found,
        means=word.means,
        do="" if state.is_well else word.do,
        command="" if state.is_well else word.command,
        on=record.name if word.on_machine and not state.is_well else "",
        evidence=() if is_brief else tuple(_evidence(record)),
        besides=() if is_brief else tuple(why_besides.besides(record)),
        unknown=() if is_brief or record.seen.owner not in _MODULES else tuple(_module(record).unknowns(record)),
    )


def _headline(record: Record) -> str:
    state = record.reading.state
    since = "" if state.is_well or not state.since else f", since {record.when(state.since).removeprefix('at ')}"
    return f"{record.name} is {state}{since}"


def _module(record: Record) -> ModuleType:
    return _MODULES[record.seen.owner]


def _of_another_source(record: Record) -> Finding:
    """The cause as a source has written it that k3 does not know."""
    state, ready = record.reading.state, record.seen.ready
    status, message = ready.status if ready else "?", record.message or "it says no more"
    text = f"Ready={status}, because of {state.reason or 'no reason'}: {message}"
    return stamped(record, state.reason, record.seen.owner or "controller", text, state.since)


def _evidence(record: Record) -> Iterator[Finding]:
    if record.asked is not None:
        yield why_network.asked(record, record.asked)
    if record.seen.owner in _MODULES:
        yield from _module(record).evidence(record)
    else:
        yield from facts({"last seen": record.seen.last_seen, "seen by": record.seen.seen_by}, record.seen.owner or "")
    if record.seen.owner is not None:  # a kubelet that has only begun to look after it has a Lease and nothing else
        yield from why_controller.lease(record)
    yield why_controller.writers(record)
    yield from why_besides.happened(record, _EVENTS)
