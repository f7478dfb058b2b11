"""Whether this machine's name and identity are its own: two machines of one name, and copies of one disk."""

from collections.abc import Iterable, Sequence
from shlex import quote
from typing import Final

from k3.agent import facts
from k3.core.errors import Invalid
from k3.core.node import NodeView
from k3.core.sources import NETWORK
from k3.doctor.finding import Finding, Subject, note, ok, problem, warning
from k3.doctor.machine import Case, Machine
from k3.doctor.others import Other
from k3.doctor.surroundings import is_in_container
from k3.network import naming
from k3.network.messages import Answered
from k3.view import findings

OF_MANY: Final = frozenset(
    {
        *("raspberrypi", "debian", "ubuntu", "fedora", "archlinux", "alpine", "armbian", "dietpi", "openwrt", "kali", "nixos"),
        *("orangepi", "orangepi5", "rock64", "rockpi", "odroid", "buildroot", "linux", "linuxmint", "centos", "rocky", "host"),
    }
)
"""Host names as systems are installed with: the second machine has the same."""
_NOWHERE: Final = ("localhost", "localhost.localdomain")


def identity(
    machine: Machine, others: Iterable[Other], own_node: NodeView | None = None, nodes: Sequence[NodeView] = ()
) -> Iterable[Finding]:
    """Gives which machines are copies of this one. `own_node`: this machine, as the store shows it among `nodes`."""
    if not machine.has_machine_id and machine.info is not None:
        yield note(Subject.IDENTITY, "This user cannot see the machine id that k3 goes by here: copies were not looked for.")
        return
    if not machine.has_machine_id:
        made = note if is_in_container() else warning
        what = "This machine has no machine id: /etc/machine-id is empty or missing."
        why = "k3 keeps one in its state directory; where that does not last, it is a new machine after every start."
        yield made(Subject.IDENTITY, what, why=why, do="Make one:", commands=("systemd-machine-id-setup",))
        return
    found = list(_copies(machine, tuple(others), own_node, nodes))
    yield from found
    if found:
        return
    if machine.identity.clone_of:
        what = "This machine was once found to be a copy of another one's disk, and has an identity of its own since."
        yield note(Subject.IDENTITY, what, do="To end that for every program:", commands=_new_identity(machine))
    else:
        yield ok(Subject.IDENTITY, "the machine id is this machine's alone, as far as others answer")


def _copies(
    machine: Machine, others: Sequence[Other], own_node: NodeView | None, nodes: Sequence[NodeView]
) -> Iterable[Finding]:
    """Gives the copies of this machine: by their answers, else by what they announce, else by what is recorded."""
    answered = [(each, answer) for each in others if (answer := each.answered) and machine.is_same_installation(answer)]
    for other, answer in answered:
        yield _copy(machine, other, answer)
    twins = [each for each in others if each.is_announced and not each.answered and each.id == machine.identity.id]
    for other in twins:
        yield _twin(other)
    for one, another in _pairs(machine, others):
        yield _copies_elsewhere(machine, one, another)
    if not (answered or twins):
        for seen in _recorded(machine, own_node, nodes):
            yield _recorded_twin(seen)


def _pairs(machine: Machine, others: Iterable[Other]) -> list[tuple[Other, Other]]:
    """Returns other machines that announce themselves with one id at this moment, two and two."""
    first: dict[str, Other] = {}
    found = []
    for each in others:
        if each.is_announced and each.id and each.id != machine.identity.id:
            former = first.setdefault(each.id, each)
            if former.name != each.name and set(former.addresses).isdisjoint(each.addresses):
                found.append((former, each))
    return found


def _copies_elsewhere(machine: Machine, one: Other, another: Other) -> Finding:
    named = f"{one.name} ({one.where}) and {another.name} ({another.where})"
    if one.answered and another.answered:
        what = f"{named} answer with one identity, {_MADE_OF}: one of the two is a copy of the other."
        return problem(Subject.IDENTITY, what, why=_TAKEN, do=_ANOTHER_MAC, commands=_new_identity(machine))
    what = f"{named} announce themselves with one identity, {_MADE_OF}: a copy, or something that announces its id."
    return _claimed(what, *(each.where for each in (one, another) if not each.answered))


def _recorded(machine: Machine, own_node: NodeView | None, nodes: Sequence[NodeView]) -> list[NodeView]:
    """Returns which Nodes have this machine's id, are at other addresses, and were heard without ever having answered."""
    if own_node is None:
        return []
    found = findings.copies(own_node, nodes)
    return [each for each in found if each.is_unproven and machine.addresses.isdisjoint(each.addresses)]


def _recorded_twin(seen: NodeView) -> Finding:
    where = seen.addresses[0] if seen.addresses else "an address that is not known"
    what = (
        f"{seen.name} ({where}) has announced itself with this machine's identity, {_MADE_OF}, and has never answered: a copy"
        " of this machine, or something that announces its id."
    )
    return _claimed(what, *seen.addresses[:1])


_MADE_OF: Final = "which is made of machine id and MAC address"
_TAKEN: Final = "Two machines of one MAC address on one network take each other's packets: neither reaches the other."
_ANOTHER_MAC: Final = (
    "Give one of the two another MAC address (in a virtual machine's settings), run this on it, and restart k3 there:"
)


def _claimed(what: str, *places: str) -> Finding:
    """Returns a finding about what was announced and proven by nothing: ids are known to everybody on the LAN (ADR 44)."""
    why = f"Ids are announced to everybody, so an announcement alone proves nothing. {_TAKEN}"
    do = (
        "Look who is at that address, and whether it has this machine's MAC address (ip -br link). Only if it is a copy, give"
        " one of the two another MAC address and another machine id: k3 doctor on the copy says how."
    )
    return warning(Subject.IDENTITY, what, why=why, do=do, commands=[f"ip neigh show {quote(place)}" for place in places])


def _twin(other: Other) -> Finding:
    """Returns what is to be said of a machine that says it is this one, and cannot be asked: two of one MAC cannot speak."""
    what = (
        f"{other.name} ({other.where}) announces itself with this machine's identity, {_MADE_OF}, and does not answer: a copy"
        " of this machine, or something that announces its id."
    )
    return _claimed(what, other.where)


def _copy(machine: Machine, other: Other, answer: Answered) -> Finding:
    mine, theirs = machine.identity, answer.facts
    whose = f"{theirs.node} ({other.where})"
    if {mine.id, mine.clone_of} & {theirs.id, theirs.clone_of} - {""}:
        what = f"This machine and {whose} are copies of one disk: they have the same machine id and MAC address."
        why = "k3 keeps them apart by a part of its own; DHCP, journals and other programs take them for one machine."
        do = "On one of the two run this, give it another host name, and restart k3 there:"
        return problem(Subject.IDENTITY, what, why=why, do=do, commands=_new_identity(machine))
    what = f"This machine and {whose} have the same machine id in /etc/machine-id, and different MAC addresses."
    why = "k3 tells them apart. DHCP and other programs may take them for one machine."
    boot = machine.info.facts.system.boot_id if machine.info else ""
    is_one_kernel = bool(boot) and boot == theirs.system.boot_id
    made = note if is_one_kernel else warning  # containers of one machine may share its id
    return made(
        Subject.IDENTITY, what, why=why, do="On one of the two run this, and restart k3:", commands=_new_identity(machine)
    )


def _new_identity(machine: Machine) -> tuple[str, ...]:
    return (" && ".join(machine.new_identity.removesuffix("; and restart k3").split("; ")),)


def names(case: Case, machine: Machine, others: Iterable[Other]) -> Iterable[Finding]:
    """Gives who else goes by this machine's name."""
    network = case.network
    try:
        wanted = network.node_name or facts.default_node_name()
    except Invalid as error:
        commands = _named(case, "web1")
        yield problem(
            Subject.NAME, f"{error}.", why="k3 does not start here without a name.", do="Give one:", commands=commands
        )
        return
    answers = [(each, each.answered.facts) for each in others if each.answered]
    running = machine.info.facts.node if machine.info else wanted
    found = [
        (each, said.node)
        for each, said in answers
        if said.id != machine.identity.id
        and (
            said.node in {wanted, running}
            or (
                bool(said.hostname)
                and said.hostname in {wanted, facts.hostname()}
                and naming.is_second_name(said.node, said.hostname, said.id)
            )
        )
    ]
    for other, name in found:
        yield _namesake(case, (wanted, running), other, name)
    if not found and running != wanted and naming.is_second_name(running, wanted, machine.identity.id):
        what = f"This machine goes by {running}, since another one has the name {wanted}."
        yield problem(
            Subject.NAME, what, why=_WHY, do="Give this one another name, and restart k3:", commands=_rename(case, wanted)
        )
    if not found and running == wanted:
        yield _by_itself(case, wanted)


_WHY: Final = "Names tell machines apart: commands, labels and histories of one may be taken for the other's."


def _namesake(case: Case, own: tuple[str, str], other: Other, name: str) -> Finding:
    """Returns what is to be said of a machine that has this one's name. `own`: the name this one wants, and goes by."""
    wanted, running = own
    what = f"Another machine, at {other.where}, also has the name {wanted}"
    if running != wanted:
        what += f": this one goes by {running} meanwhile"
    elif name != wanted:
        what += f": it goes by {name} meanwhile"
    return problem(
        Subject.NAME,
        f"{what}.",
        why=_WHY,
        do="Give one of the two another name, and restart k3 there:",
        commands=_rename(case, wanted),
    )


def _rename(case: Case, name: str) -> tuple[str, ...]:
    return _named(case, f"{name.partition('.')[0]}-2")


def _named(case: Case, name: str) -> tuple[str, ...]:
    """Returns what gives this machine a name: for every program, and for k3 alone."""
    return (f"hostnamectl set-hostname {name}", case.reader.command(f"{NETWORK.name} --node-name {name}"))


def _by_itself(case: Case, name: str) -> Finding:
    is_chosen = bool(case.network.node_name)
    if not is_chosen and name in _NOWHERE:
        what = f"This machine has no host name of its own: it is called {name}."
        return warning(
            Subject.NAME,
            what,
            why=_WHY,
            do="Give it one:",
            commands=_named(case, "web1"),
        )
    if not is_chosen and name in OF_MANY:
        what = f"This machine is called {name}, as many are when they are new."
        return note(
            Subject.NAME, what, why=_WHY, do="Give it a name of its own before there are two:", commands=_rename(case, name)
        )
    return ok(Subject.NAME, f"no other machine that is heard has the name {name}")
