"""What is concluded from what was sent, heard and asked on the LAN: who does not hear whom, and which side is to be opened."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from k3.core.addresses import authority
from k3.core.node import NodeView
from k3.core.records import dataclass
from k3.doctor import surroundings
from k3.doctor.finding import Finding, Subject, note, ok, problem, warning
from k3.doctor.firewall import Firewall, Packet
from k3.doctor.machine import Machine
from k3.doctor.others import Other
from k3.network.hearing import Heard
from k3.network.links import Links
from k3.network.lookout import FIREWALLS_TCP, FIREWALLS_UDP, FIREWALLS_UDP_OUT
from k3.network.mdns import PORT
from k3.network.messages import Impostor, LocalFault, NoAnswer, Refused
from k3.network.multicast import Blocked
from k3.settings.structs import Reader

FINDS_BY: Final = "k3 finds machines by multicast: what is not heard is not found."
REACHES_BY: Final = "k3 calls a machine Ready only when it answers at its TCP port."
NAMED: Final = 8
"""So many machines are named in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was tried on the LAN, and what came of it."""

    machine: Machine
    firewall: Firewall
    blocked: tuple[Blocked, ...]
    heard: tuple[Heard, ...]
    others: tuple[Other, ...]
    reader: Reader
    """How another command of this user is told of the same store."""
    own_node: NodeView | None = None
    """This machine, as the store shows it."""
    nodes: tuple[NodeView, ...] = ()
    """All that was read in the store."""


def firewall(seen: Evidence) -> Iterable[Finding]:
    """Gives what this machine's own firewall keeps out, or in."""
    found = [*_multicast_blocked(seen), *_tcp_blocked(seen)]
    yield from found
    if seen.firewall.unread:
        yield note(Subject.FIREWALL, f"The firewall's rules were not looked at: {seen.firewall.unread}.")
    if seen.firewall.unfollowed:
        what = (
            f"Legacy tables of iptables are loaded here ({seen.firewall.unfollowed}); their rules were not followed, since the"
            " command iptables-legacy-save is not here, or does not answer."
        )
        yield note(Subject.FIREWALL, what, do="Look at them:", commands=("iptables-legacy -S", "iptables -S"))
    if not (found or seen.firewall.unread or seen.firewall.unfollowed):
        keeper = f" ({seen.firewall.keeper})" if seen.firewall.keeper else ""
        yield ok(Subject.FIREWALL, f"no rule of this machine's firewall{keeper} is in the way")


def _shut(seen: Evidence) -> list[Blocked]:
    """Returns where multicast does not get through: what was tried, and what the rules drop only when others have sent it."""
    found = list(seen.blocked)
    tried = {each.interface for each in found if not each.why}
    for each in seen.machine.links.interfaces:
        is_used = each.running and any(":" not in address for address in each.addresses)
        if is_used and each.name not in tried and seen.firewall.dropped(Packet("input", "udp", PORT, each.name)) is not None:
            found.append(Blocked(each.name))
    return found


def _multicast_blocked(seen: Evidence) -> Iterable[Finding]:
    for each in _shut(seen):
        packet = Packet("output" if each.why else "input", "udp", PORT, each.interface)
        where = seen.firewall.dropped(packet)
        how = f"cannot be sent on {each.interface} ({each.why})" if each.why else f"does not come in on {each.interface}"
        why = f"{FINDS_BY} The {where}." if where else FINDS_BY
        do = "Let UDP port 5353 through; one of these does it." if not where else "Let UDP port 5353 through:"
        what = f"Multicast (UDP 5353) {how}: this machine's own firewall blocks it."
        yield problem(Subject.FIREWALL, what, why=why, do=do, commands=seen.firewall.commands(packet))


def _tcp_blocked(seen: Evidence) -> Iterable[Finding]:
    port = seen.machine.info.facts.port if seen.machine.info else seen.machine.agent.port
    yield from _blocks(seen, Packet("input", "tcp", port, ""), "lets nobody in at")
    yield from _blocks(seen, Packet("output", "tcp", port, ""), "lets nothing out to other machines'")


def _blocks(seen: Evidence, packet: Packet, how: str) -> Iterable[Finding]:
    running = [each.name for each in seen.machine.links.interfaces if each.running and each.addresses]
    drops = [(name, where) for name in running if (where := seen.firewall.dropped(replace(packet, interface=name))) is not None]
    if not drops:
        return
    what = f"This machine's own firewall {how} TCP port {packet.port} on {', '.join(name for name, _ in drops)}."
    why = f"{REACHES_BY} The {drops[0][1]}."
    commands = seen.firewall.commands(replace(packet, interface=drops[0][0]))
    yield problem(Subject.FIREWALL, what, why=why, do=f"Let TCP port {packet.port} through:", commands=commands)


def multicast(seen: Evidence) -> Iterable[Finding]:
    """Gives what is heard of others on each interface."""
    blocked = {each.interface for each in _shut(seen)}
    for each in seen.heard:
        if each.interface not in blocked:
            yield _on(each, seen)


def _on(heard: Heard, seen: Evidence) -> Finding:
    unheard = [each for each in seen.others if each.answered and not each.interface and _is_on(each, heard.interface, seen)]
    if unheard:
        return _lost(heard, unheard)
    name = heard.interface
    if heard.is_shut_out:
        what = f"Another program has UDP port 5353, that of mDNS, for itself: nothing can be heard on {name}."
        do = (
            "Stop it, or have it share the port (avahi: disallow-other-stacks=no in /etc/avahi/avahi-daemon.conf); which it is:"
        )
        return problem(Subject.MULTICAST, what, why=FINDS_BY, do=do, commands=("sudo ss -lunp 'sport = :5353'",))
    if number := max(len(heard.machines), sum(each.interface == name for each in seen.others)):
        return ok(Subject.MULTICAST, f"{_count(number, 'other machine')} of k3 heard on {name}, and this one hears itself")
    if surroundings.is_on_dockers_bridge(seen.machine.network):
        what = (
            f"k3 runs in a container whose network ({name}) is a bridge of the container manager, and hears no other machine."
        )
        do = "Run the container with the host's network:"
        return problem(Subject.MULTICAST, what, why=surroundings.BRIDGE, do=do, commands=surroundings.HOST_NETWORK)
    if heard.senders:
        what = (
            f"No other machine of k3 is heard on {name}; {_count(len(heard.senders), 'other device')}"
            f" {'is' if len(heard.senders) == 1 else 'are'}: multicast comes in."
        )
        return note(Subject.MULTICAST, what, do="Start k3 on a second machine:", commands=("k3 network",))
    return _nobody(name, seen)


def _nobody(name: str, seen: Evidence) -> Finding:
    """Returns what is to be said where nothing is heard: that proves nothing (ADR 26)."""
    if any(each.machines for each in seen.heard):
        return note(Subject.MULTICAST, f"Nobody else is heard on {name}.")
    silent = [each for each in seen.others if isinstance(each.outcome, NoAnswer) and each.node is not None]
    if surroundings.is_wireless(name):
        what = f"Nobody else is heard on {name}, which is Wi-Fi."
        why = "Many access points keep their clients apart (client isolation, guest network): then multicast does not pass."
        do = f"If another machine is on this Wi-Fi, switch client isolation off in the access point. {surroundings.CONSUL}"
        return warning(Subject.MULTICAST, what, why=why, do=do) if silent else note(Subject.MULTICAST, what, why=why, do=do)
    what = f"Nobody else is heard on {name}; what this machine sends comes back to it."
    why = "From here it cannot be known whether another machine is there and its multicast is lost on the way."
    own = seen.machine.identity.id
    if any(each.owner and each.id != own for each in seen.nodes):
        return note(Subject.MULTICAST, what, why=why, do="Run k3 doctor on another machine of the list, too.")
    do = "Start k3 on a second machine; if it does not show up, run k3 doctor there too."
    if surroundings.is_in_container():
        do += " If this is a container, it needs the host's network (--network host)."
    return note(Subject.MULTICAST, what, why=why, do=do, commands=("k3 network",))


def _lost(heard: Heard, unheard: Sequence[Other]) -> Finding:
    """Returns what is to be said of machines that answer when they are asked, and whose multicast is not heard."""
    name, first = heard.interface, unheard[0]
    listed = _named(unheard)
    asked = "asked directly, it answers, and it is" if len(unheard) == 1 else "asked directly, they answer, and they are"
    what = f"Multicast is lost between {name} and {listed}: {asked} not heard."
    if surroundings.is_wireless(name):
        do = f"Switch client isolation off in the access point. {surroundings.CONSUL}"
        return problem(Subject.MULTICAST, what, why=FINDS_BY, do=do)
    # Who answers a broadcast lets questions in: then its firewall keeps nothing but what it sends to the group.
    lets_in = all(each.answers_broadcast for each in unheard)
    commands = [*FIREWALLS_UDP_OUT.values(), *(() if lets_in else FIREWALLS_UDP.values())]
    ways = "out" if lets_in else "out, and in"
    do = (
        "A switch, router or access point between them drops multicast: switch off IGMP snooping there, or have it send IGMP"
        f" queries. If it is a firewall on {first.name} ({first.where}), these on that machine open it, {ways}; one for each"
        f" way is enough. {surroundings.CONSUL}"
    )
    made = problem if not heard.machines else warning
    return made(Subject.MULTICAST, what, why=FINDS_BY, do=do, commands=commands)


def _is_on(other: Other, interface: str, seen: Evidence) -> bool:
    """Whether a machine is on the link of this interface."""
    if other.answers_broadcast:
        return other.answers_broadcast == interface
    links = Links(tuple(each for each in seen.machine.links.interfaces if each.name == interface))
    return links.on_link(other.where)


def machines(seen: Evidence) -> Iterable[Finding]:
    """Gives which of the other machines do not answer, and what is in the way there."""
    announced = [each for each in seen.others if each.is_announced and _can_be_judged(each, seen)]
    silent = [each for each in announced if isinstance(each.outcome, NoAnswer)]
    answered = [each for each in seen.others if each.answered]
    for each in silent[:NAMED]:
        yield _hanging(each) if each.way == "hangs" else _silent(each, "does not answer there", "one in between")
    for each in announced:
        match each.outcome:
            case Refused():
                yield _silent(each, "refuses connections there", f"k3 on {each.name} listens elsewhere (--listen)")
            case Impostor(node=node):
                what = f"At {authority(each.where, each.port)}, where {each.name} announces itself, {node} answers."
                why = "Two machines may have one address, or a name was changed a moment ago."
                yield warning(
                    Subject.MACHINES, what, why=why, do="Look who has the address:", commands=(f"ip neigh show {each.where}",)
                )
            case LocalFault(why=fault):
                what = f"{each.name} at {authority(each.where, each.port)} cannot be asked from here ({fault})."
                yield warning(
                    Subject.MACHINES, what, why=REACHES_BY, do="Look at the route:", commands=(f"ip route get {each.where}",)
                )
            case _:
                pass
    unannounced = [each for each in seen.others if not each.is_announced and _can_be_judged(each, seen)]
    yield from _away(unannounced, seen)
    unannounced = [each for each in unannounced if not each.is_away]
    quiet = [each for each in unannounced if isinstance(each.outcome, NoAnswer | Refused)]
    if quiet:
        what = f"The store calls {_named(quiet)} Ready, and from here {'it does' if len(quiet) == 1 else 'they do'} not answer."
        do = "If it stays so, look whether they are on, and whether this machine's cable or Wi-Fi leads to their network."
        yield warning(
            Subject.MACHINES,
            what,
            why=REACHES_BY,
            do=do,
            commands=(f"curl http://{authority(quiet[0].where, quiet[0].port)}/info",),
        )
    yield from _own(seen)
    if answered:
        yield ok(Subject.MACHINES, f"{_count(len(answered), 'other machine')} answered over TCP: {_named(answered)}")


def _away(unannounced: Sequence[Other], seen: Evidence) -> Iterable[Finding]:
    """Gives what is known of machines that are not heard and that the store does not call Ready."""
    shut = [each for each in unannounced if each.is_away and each.way == "filtered"]
    for each in shut[:NAMED]:
        what = f"{each.name} is on this network at {each.where}, is not heard, and TCP port {each.port} there does not answer."
        do = f"A firewall on {each.name} keeps it closed. On {each.name} run those that fit, for multicast and for the port:"
        commands = [*FIREWALLS_UDP.values(), *(command.replace("PORT", str(each.port)) for command in FIREWALLS_TCP.values())]
        yield problem(Subject.MACHINES, what, why=REACHES_BY, do=do, commands=commands)
    told = {each.name for each in shut} | {each.name for each in seen.others if not each.is_away}
    own = seen.machine.identity.id
    down = [each.name for each in seen.nodes if _is_down(each) and each.id != own and each.name not in told]
    if down:
        shown = ", ".join(sorted(down)[:NAMED]) + (f" and {len(down) - NAMED} more" if len(down) > NAMED else "")
        what = f"The store does not call {shown} Ready."
        yield note(Subject.MACHINES, what, do="Ask why:", commands=(seen.reader.command("why"),))


def _is_down(seen: NodeView) -> bool:
    return seen.owner is not None and seen.ready is not None and not seen.is_ready


def _can_be_judged(other: Other, seen: Evidence) -> bool:
    """Whether its silence says anything of it: not where this machine's firewall lets no question out, nor of a copy."""
    if other.id and other.id == seen.machine.identity.id:
        return False
    running = [each for each in seen.machine.links.interfaces if each.running]
    return all(seen.firewall.dropped(Packet("output", "tcp", other.port, each.name)) is None for each in running)


def _hanging(other: Other) -> Finding:
    what = f"{other.name} at {authority(other.where, other.port)} takes the connection, and does not answer in time."
    do = f"k3 stands still on {other.name}, or that machine, or this one, is very busy. Look at the process there:"
    return warning(Subject.MACHINES, what, why=REACHES_BY, do=do, commands=("ps -o pid,stat,args -C k3",))


def _silent(other: Other, how: str, else_: str) -> Finding:
    """Returns what is to be said of a machine that speaks mDNS at this moment, and does not let this one in."""
    what = f"{other.name} announces itself at {authority(other.where, other.port)}, and {how}."
    closed = f"A firewall on {other.name} keeps TCP port {other.port} closed, or {else_}."
    do = f"{closed} On {other.name} ({other.where}) run one of these:"
    commands = [command.replace("PORT", str(other.port)) for command in FIREWALLS_TCP.values()]
    return problem(Subject.MACHINES, what, why=REACHES_BY, do=do, commands=commands)


def _own(seen: Evidence) -> Iterable[Finding]:
    """Gives what others say of this machine in the store, while its own agent answers."""
    info, own = seen.machine.info, seen.own_node
    if info is None or own is None or (own.is_ready and own.is_reachable):
        return
    packet = Packet("input", "tcp", info.facts.port, "")
    what = f"Other machines cannot reach this one at {authority(own.addresses[0] if own.addresses else '', info.facts.port)}."
    yield problem(Subject.MACHINES, what, why=REACHES_BY, do="Open the port here:", commands=seen.firewall.commands(packet))


def _named(others: Sequence[Other]) -> str:
    listed = ", ".join(f"{each.name} ({each.where})" for each in others[:NAMED])
    return listed if len(others) <= NAMED else f"{listed} and {len(others) - NAMED} more"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
