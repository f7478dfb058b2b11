"""Why a Node of `k3 discovery` is as it is: what Consul said of its machine, to which mirror, and when. Pure."""

from collections.abc import Iterator
from typing import Final

from k3.core import node, times
from k3.core.sources import DISCOVERY
from k3.view import words
from k3.view.findings import Finding, Record, renewed, stamped
from k3.view.node_table import NO_OBSERVER

_SOURCE: Final = DISCOVERY.name
_UNOBSERVED: Final = (
    "The store still says Ready=True, but the mirror has not refreshed this Node since {last}: that is longer than {limit},"
    " so no k3 discovery looks at Consul for this store any more."
)
_CAUSES: Final = {
    "ConsulPassing": "Ready=True, because {consul} lists it and says: {message}.",
    "ConsulWarning": "Ready=True, because {consul} lists it and its worst check only warns: {message}.",
    "ConsulCritical": "Ready=False, because {consul} lists it and says: {message}. The worst of its checks decides.",
    "ConsulDeregistered": "Ready=False, because {consul} answered and does not list it any more: {message}, {when}.",
    "SourceUnreachable": (
        "Ready=Unknown, because for longer than its grace the mirror had nothing to go by: {message}. The machine itself"
        " may be well."
    ),
    "ConsulAgentLost": (
        "Ready=Unknown, because {consul} says that {message}, and k3 there did not answer the mirror either: nobody can see the"
        " machine's checks."
    ),
    "NodeShutdown": "Ready=False, because its own k3 discovery was told to stop {when} and wrote that itself before it ended.",
    "ConsulRegistered": "Ready=True, because another program of the same purpose found it in Consul.",
    "ConsulHealthCheck": "Ready={status}, because another program of the same purpose read its checks in Consul: {message}.",
}


def cause(record: Record) -> Finding:
    """Returns the rule that decided the state, in words."""
    state, seen = record.reading.state, record.seen
    if state.remark == NO_OBSERVER:
        limit = times.duration(node.unobserved_seconds(seen))
        text = _UNOBSERVED.format(last=record.when(seen.last_seen).removeprefix("at "), limit=limit)
        return stamped(record, "NoObserver", _SOURCE, text, seen.last_seen)
    rule = words.situation(record.reading) or state.reason
    text = _CAUSES.get(rule, "Ready={status}, because of {reason}: {message}").format(
        status=seen.ready.status if seen.ready else "?",
        reason=state.reason or "no reason",
        message=record.message or "it says no more",
        consul=_consul(record),
        when=record.when(state.since),
    )
    return stamped(record, rule, _SOURCE, text, seen.last_seen if seen.is_ready else state.since)


def _consul(record: Record) -> str:
    datacenter = record.note("datacenter")
    return f"Consul's datacenter {datacenter}" if datacenter else "Consul"


def evidence(record: Record) -> Iterator[Finding]:
    """Gives what is recorded, each with its age."""
    seen = record.seen
    by = f", to the mirror on {seen.seen_by}" if seen.seen_by else ""
    if seen.last_seen:
        yield stamped(record, "LastSeen", _SOURCE, f"last shown by Consul {{when}}{by}", seen.last_seen)
    names = {"service": "service", "service-id": "service ID", "consul-node": "Consul node", "datacenter": "datacenter"}
    listed = ", ".join(f"{title} {text}" for key, title in names.items() if (text := record.note(key)))
    if listed:
        yield Finding(rule="Registration", source=_SOURCE, text=f"registered as {listed}")
    if seen.ready is not None:
        text = f"Ready={seen.ready.status} {{when}}, as the mirror wrote it: {seen.ready.message}"
        yield stamped(record, "Checks", _SOURCE, text, seen.ready.transition)
    holder, stamp = renewed(record.mirror)
    if holder:
        text = f"the mirror that leads is {holder.partition('_')[0]}: it renewed its Lease {{when}}"
        yield stamped(record, "Mirror", "store", text, stamp)
    elif record.mirror is not None:
        yield Finding(rule="Mirror", source="store", text="no mirror leads: the Lease was released, and nobody has taken it")


def unknowns(record: Record) -> Iterator[str]:
    """Gives what the record does not tell."""
    reason = record.reading.state.reason
    if reason == "ConsulDeregistered":
        yield "Who took it out of Consul: neither Consul nor the Node records it."
    if reason == "SourceUnreachable":
        yield "Whether the machine is well: Consul could not say."
