"""Why a Node of `k3 network` is as it is: which of the rules for peers decided it, and the evidence. Pure.

The rules are those of `k3.network` (docs/architecture.md, "Many observers, one truth"). What an agent knew and did not write,
such as which one of several gave the verdict, is not guessed.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from k3.core import node, phrases, times
from k3.core.sources import NETWORK
from k3.view import words
from k3.view.cells import human_duration
from k3.view.findings import Asked, Finding, Record, stamped
from k3.view.node_table import NO_OBSERVER, NOT_ANSWERING

_SOURCE: Final = NETWORK.name
_LONGEST_SECONDS: Final = 365 * 86_400.0
"""A time to live may be anything that a stranger has written."""


def cause(record: Record) -> Finding:
    """Returns the rule that decided the state, in words."""
    state, seen = record.reading.state, record.seen
    if state.remark == NO_OBSERVER:
        return _unobserved(record)
    if state.remark == NOT_ANSWERING:
        return _suspected(record)
    rule = words.situation(record.reading) or state.reason
    text = _CAUSES.get(rule, "Ready={status}, because of {reason}: {message}")
    ready = seen.ready
    shown = text.format(
        status=ready.status if ready else "?",
        reason=state.reason or "no reason",
        message=record.message or "it says no more",
        where=record.where,
        ttl=record.ttl,
        who=_judge(record),
        observer="its own agent" if seen.seen_by == record.name else seen.seen_by or "an agent",
        last=record.when(seen.last_seen),
        when=record.when(state.since),
    )
    return stamped(record, rule, _SOURCE, shown, seen.last_seen if seen.is_ready else state.since)


_CAUSES: Final = {
    "PeerAlive": (
        "Ready=True, because it gave the right answer when it was asked at {where}; {observer} last knew it alive, {last}."
    ),
    "SelfRegistered": (
        "Ready=True, because its own agent started and had the right answer at the machine's own addresses;"
        " {observer} last knew it alive, {last}."
    ),
    "SameIdentity": "Ready=True, and {message}",
    "PeerUnreachable": (
        "Ready=False, because {who} asked {where} and had no answer for {ttl}; {observer} was the last to know it alive,"
        " {last}. Only an agent that it had answered before may say False."
    ),
    "NeverAnswered": (
        "Ready=False, because {observer} heard it announce itself, asked {where} at least twice, and never had an answer"
        " ({message})."
    ),
    "Renamed": "Ready=False, because {message}. Its own id answers under the other name.",
    "AnotherAnswers": (
        "Ready=False, because {message}: the right answer has the name and the id of this Node; {observer} was the last to know"
        " it alive, {last}."
    ),
    "PeerLeft": (
        "Ready=False, because it said goodbye by mDNS and its port then refused two connections, {when}."
        " A goodbye alone would change nothing."
    ),
    "NodeShutdown": "Ready=False, because its own agent was told to stop {when} and wrote that itself before it ended.",
    "ObserverLost": (
        "Ready=Unknown, because {ttl} passed without a sign of life after the last, {last}, and the agent that says so may not"
        " blame the machine: {message}."
    ),
    "LANDiscovery": "Ready=True, because another program of the same purpose heard it announce itself.",
    "PeerExpired": "Ready=False, because another program of the same purpose could not connect to it: {message}.",
}


def _judge(record: Record) -> str:
    """Returns who gave the verdict, as far as that can be known."""
    if only := record.only_writer:
        return f"{only}, the only other agent that writes to this store,"
    return "an agent"


def _suspected(record: Record) -> Finding:
    """Two failures and no verdict yet (rule 6)."""
    seen, reachable = record.seen, record.seen.reachable
    said = phrases.unanswered(record.message)
    who = f"{said} asked {record.where} twice and had no answer" if said else f"an observer found that {record.message}"
    text = f"Still Ready=True, although {who} {{when}}: {record.ttl} has not passed since it was last known alive"
    text += f" ({record.when(seen.last_seen).removeprefix('at ')}). {_deadline(record)}"
    return stamped(record, "ProbeFailed", _SOURCE, text, reachable.transition if reachable else "")


def _deadline(record: Record) -> str:
    """Returns when the suspicion becomes a verdict."""
    age = record.age_seconds(record.seen.last_seen)
    if age is None or not record.ttl_seconds:
        return "Without an answer it becomes NotReady when that has passed."
    left = min(record.ttl_seconds - age, _LONGEST_SECONDS)
    when = f"in about {human_duration(timedelta(seconds=left))}" if left > 0 else "now"
    return f"Without an answer it becomes NotReady {when}."


def _unobserved(record: Record) -> Finding:
    """What the store says is old (worked out by the reader, never stored)."""
    seen, name = record.seen, record.seen.seen_by
    limit = times.duration(node.unobserved_seconds(seen))
    by = f" by {name}" if name else ""
    text = (
        f"The store still says Ready=True, but no agent has refreshed this Node since it was last known alive{by}, {{when}}:"
        f" that is longer than {limit}, so nobody can say how the machine is now."
    )
    if not seen.last_seen:
        text = (
            "The store says Ready=True and names no time at which the machine was known alive: no agent of k3 keeps this Node."
        )
    return stamped(record, "NoObserver", _SOURCE, text, seen.last_seen)


def evidence(record: Record) -> Iterator[Finding]:
    """Gives what is recorded, each with its age."""
    seen = record.seen
    if seen.last_seen:
        by = f", by {seen.seen_by}" if seen.seen_by else ""
        run = f" (run {seen.seen_run})" if seen.seen_run else ""
        yield stamped(record, "LastSeen", _SOURCE, f"last known alive {{when}}{by}{run}", seen.last_seen)
    else:
        yield Finding(rule="LastSeen", source=_SOURCE, text="has never answered an agent that writes to this store")
    if (reachable := seen.reachable) is not None:
        text = f"Reachable={reachable.status} {{when}}: {reachable.reason}, {reachable.message}"
        yield stamped(record, "Reachable", _SOURCE, text, reachable.transition)
    own = (
        f"its own agent writes to this store (run {seen.agent})" if seen.agent else "its own agent does not write to this store"
    )
    yield Finding(rule="Agent", source=_SOURCE, text=own)
    yield from _places(record)


def _places(record: Record) -> Iterator[Finding]:
    seen = record.seen
    who = ", ".join(text for text in (f"id {seen.id}" if seen.id else "", f"run {seen.boot}" if seen.boot else "") if text)
    if record.where != "it" and not record.reading.state.is_well:
        yield Finding(
            rule="Endpoint", source=_SOURCE, text=f"it is asked at {record.where}; the right answer has {who or 'its name'}"
        )
    if seen.links and (near := _neighbours(record)) is not None:
        yield Finding(rule="Links", source=_SOURCE, text=near)


def _neighbours(record: Record) -> str | None:
    """Returns which agents may ask it; None: the store has no other agent."""
    agents = record.writers
    if not agents:
        return "no other agent that is Ready writes to this store" if not record.reading.state.is_well else None
    here = set(record.seen.links)
    near = sorted(each.name for each in agents if here & set(each.links))
    shown = ", ".join(near[:8]) + (f" and {len(near) - 8} more" if len(near) > 8 else "")  # noqa: PLR2004 - a line's worth
    nets = ", ".join(record.seen.links[:4])
    return f"on {nets}: {shown} can ask it" if near else f"on {nets}: no Ready agent of this store is on one of these networks"


def asked(record: Record, found: Asked) -> Finding:
    """Returns what this reader's own question has shown."""
    why = found.detail or "off, cut off, or behind a firewall"
    texts = {
        "answered": "it gives the right answer",
        "another": f"{why} answers there",
        "refused": "the connection is refused: no k3 listens there, or a firewall there refuses",
        "odd": f"what answers there is not k3 ({why})",
        "hangs": "it takes the connection and gives no answer",
        "filtered": "its hardware address is found on this link, but nothing comes back from the port",
        "gone": "nothing on this link has its address",
        "silent": "nothing comes back (k3 doctor says whether a firewall of this machine keeps the question in)",
        "unable": f"this machine has no way there ({why})",
    }
    text = f"asked {record.where} from here, just now: {texts[found.way]}"
    return Finding(rule="AskedNow", source="this command", text=text, age_seconds=0.0)


def unknowns(record: Record) -> Iterator[str]:
    """Gives what the record does not tell."""
    reason = record.reading.state.reason
    is_verdict = reason in {"PeerUnreachable", "PeerLeft", "ObserverLost"} and not record.seen.is_unproven
    if is_verdict and not record.only_writer:
        yield "Which agent wrote this: the Node does not record it. The log of that agent has a line node.transition about it."
    if reason == "ObserverLost":
        yield "Whether the machine is well: no agent was in a position to say."
