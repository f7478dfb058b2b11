"""What else a person should know about a Node beside the cause of its state: names, copies, clocks, cordons, pressure. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from k3.core import freshness, node, ownership
from k3.core.node import NodeView
from k3.core.sources import DISCOVERY, NETWORK
from k3.view import node_table, words
from k3.view.cells import clock_offset, human_duration, part, text_at
from k3.view.findings import Finding, Record, wanted_name
from k3.view.reasons import SITUATIONS

_PRESSURES: Final = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable", f"{DISCOVERY.prefix}Warning")
_SHOWN: Final = 4


def besides(record: Record) -> Iterator[Finding]:
    """Gives what is to be said besides; nothing for a machine of which there is no more to say."""
    yield from _names(record)
    yield from _copies(record)
    yield from _clocks(record)
    yield from _cordon(record)
    yield from _pressures(record)


def _by(record: Record, rule: str, source: str, text: str) -> Finding:
    """Returns a finding with the advice of its reason's or condition's entry."""
    word = words.fitted(words.REASONS.get(rule) or words.CONDITIONS[rule], record.reading)
    return Finding(
        rule=rule, source=source, text=text, do=word.do, command=word.command, on=record.name if word.on_machine else ""
    )


def _names(record: Record) -> Iterator[Finding]:
    """Gives who else asks for this name, or has the one that this machine asked for."""
    hostname = node.first_address(record.reading.manifest, "Hostname")
    if (wanted := wanted_name(replace(record.seen, name=record.name))) != record.name:
        holder = record.fleet.by_name.get(wanted)
        has = f"{_at(holder)} has that name" if holder else "that name was another machine's then; no Node has it now"
        called = f", its host name is {hostname}" if hostname and hostname != wanted else ""
        text = f"it asked for the name {wanted} and goes by its second name{called}: {has}"
        yield _by(record, "NameConflict", NETWORK.name, text)
    if rivals := record.fleet.seconds.get(record.name):
        text = f"other machines ask for this name too, and go by another: {_listed(rivals)}"
        yield _by(record, "NameConflict", NETWORK.name, text)


def _listed(nodes: Sequence[NodeView]) -> str:
    shown = ", ".join(f"{each.name} ({_at(each)})" for each in nodes[:_SHOWN])
    return f"{shown} and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else shown


def _at(seen: NodeView) -> str:
    return f"the machine at {words.endpoint(seen)}" if words.endpoint(seen) else "a machine whose address is not known"


def _copies(record: Record) -> Iterator[Finding]:
    cloned = node.condition(record.reading.manifest, node.CLONED)
    if cloned is not None and record.reading.state.reason != cloned.reason:
        yield _by(record, "SameIdentity", NETWORK.name, cloned.message)
    if record.copies and record.reading.state.is_well:
        word = words.fitted(SITUATIONS[same_id_situation(record)], record.reading)
        on = record.name if word.on_machine else ""
        yield Finding(rule="SameId", source=NETWORK.name, text=same_id(record), do=word.do, command=word.command, on=on)
    if former := record.note("clone-of"):
        text = f"it goes by an id of its own since another machine had the same one ({former}): one of the two is a copy"
        yield Finding(rule="SameIdentity", source=NETWORK.name, text=text)


def same_id_situation(record: Record) -> str:
    """Returns which situation it is that another Node has this one's id: ids are public, and an announcement proves nothing."""
    return "SameIdAnnounced" if any(each.is_unproven for each in (record.seen, *record.copies)) else "SameId"


def same_id(record: Record) -> str:
    """Returns who else has this machine's id, and what that may mean."""
    others = record.copies
    has = "has" if len(others) == 1 else "have"
    liar = ", or something that announces its id" if same_id_situation(record) == "SameIdAnnounced" else ""
    return (
        f"The same id, made of machine id and hardware address, {has} {_listed(others)}: a copy of this machine,"
        f" or this machine under another name{liar}."
    )


def _clocks(record: Record) -> Iterator[Finding]:
    clocks, seen = record.fleet.clocks, record.seen
    do = "Set the wrong clock, best by NTP."
    command = "timedatectl set-ntp true"
    if clocks.is_readers:
        off = min((clock.ahead_seconds for clock in clocks.wrong), key=abs)
        text = (
            f"the clock of the machine you are on is {clock_offset(-off)} everybody else's: the ages shown here are off by that"
        )
        yield Finding(rule="WrongClock", source="this command", text=text, do=do, command=command)
        return
    for clock in clocks.wrong:
        if clock.name in {record.name, seen.seen_by}:
            text = (
                f"the clock of {clock.name} is {clock_offset(clock.ahead_seconds)} this machine's: times that it wrote are off"
            )
            text += " by that, and no state rests on them"
            yield Finding(rule="WrongClock", source="this command", text=text, do=do, command=command, on=clock.name)
    if not (seen.owner and seen.is_ready):
        return
    if not record.reading.at.is_observed and freshness.is_ahead(seen, record.now):
        text = "its time stamps are still to come by this machine's clock, and no agent answers: one of the clocks is wrong"
        yield Finding(rule="WrongClock", source="this command", text=text, do=do, command=command)
    elif clocks.unwritten_seconds:
        span = human_duration(timedelta(seconds=round(clocks.unwritten_seconds)))
        text = f"no Node of this store was refreshed for {span}, so what became of it since is not known"
        do = "Look on a machine that runs k3 whether it may write to this store."
        yield Finding(rule="Unwritten", source="this command", text=text, do=do, command="k3 doctor")


def _cordon(record: Record) -> Iterator[Finding]:
    if part(record.reading.manifest, "spec").get("unschedulable") is not True:
        return
    if record.seen.annotations.get(ownership.CORDONED):
        text = "new work is kept off it, because it is in maintenance in Consul; k3 discovery takes that back when it is over"
        do = "End the maintenance in Consul when it is over; the command lists what is in it."
        yield Finding(rule=node_table.CORDONED, source=DISCOVERY.name, text=text, do=do, command="consul maint", on=record.name)
        return
    word = words.fitted(words.STATES[node_table.CORDONED], record.reading)
    text = "new work is kept off it, and k3 has not done that: a person or another program has"
    yield Finding(
        rule=node_table.CORDONED,
        source="controller",
        text=text,
        do=word.do,
        command=word.command,
        on=record.name if word.on_machine else "",
    )


def _pressures(record: Record) -> Iterator[Finding]:
    for type_ in _PRESSURES:
        found = node.condition(record.reading.manifest, type_)
        if found is not None and found.status == "True":
            source = DISCOVERY.name if type_.startswith(DISCOVERY.prefix) else "controller"
            text = f"{type_}: {found.message or found.reason or 'it says no more'}"
            yield _by(record, type_, source, text)


def happened(record: Record, most: int) -> Iterator[Finding]:
    """Gives the newest Events, the newest first."""
    for event in reversed(record.events[-most:]):
        stamp = text_at(event, "lastTimestamp") or text_at(event, "eventTime")
        reason, message = text_at(event, "reason"), text_at(event, "message")
        yield Finding(
            rule=reason or "Event",
            source="events",
            text=f"{reason} {record.when(stamp)}: {message}",
            at=stamp,
            age_seconds=record.age_seconds(stamp),
        )
