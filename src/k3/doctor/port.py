"""Who listens at k3's port on this machine: its own agent, the program that k3 follows, another program, or nobody."""

from collections.abc import Iterable

from k3.agent.local import LocalAgent
from k3.core.node import NodeView
from k3.doctor.finding import Finding, Subject, note, ok, problem
from k3.doctor.machine import Machine
from k3.network.lookout import FIREWALLS_TCP

_OWN_NAMES = ("k3", "python")


def port(machine: Machine, own_node: NodeView | None, start: str, *, is_walled: bool = False) -> Iterable[Finding]:
    """Gives who holds the port, and whether k3 runs here.

    `start` is the command that starts it; `is_walled`: a rule of the firewall that closes the port is known.
    """
    agent = machine.agent
    if not agent.port:
        yield note(Subject.PORT, "k3 takes any free port here (--listen with port 0): who listens there was not looked at.")
        return
    if machine.info is not None and machine.info.facts.id:
        holder = f", {agent.holder}" if agent.holder else ""
        yield ok(Subject.PORT, f"k3 runs here as {machine.info.facts.node} and answers at TCP port {agent.port}{holder}")
    elif machine.info is not None:
        what = f"TCP port {agent.port} is held by the program that k3 follows{_by(agent.holder)} already."
        yield _taken(what, agent, start)
    elif agent.is_closed and not agent.is_stopped:
        yield _closed(agent, is_walled=is_walled)
    elif agent.is_open:
        yield _not_k3(machine, start)
    elif own_node is not None and (own_node.agent or own_node.seen_by):
        what = f"k3 does not run on this machine, which is {own_node.name} in the store."
        why = "It answers nobody: after its time to live it is NotReady on every list."
        yield problem(Subject.AGENT, what, why=why, do="Start it:", commands=(start, "systemctl start k3"))
    else:
        what = f"k3 does not run on this machine (nothing listens at TCP port {agent.port}): it is on no list."
        yield note(Subject.AGENT, what, do="Start it:", commands=(start,))


def _closed(agent: LocalAgent, *, is_walled: bool) -> Finding:
    if is_walled:
        what = (
            f"The agent here{_by(agent.holder)} was not asked: the firewall closes TCP port {agent.port} to this machine, too."
        )
        return note(Subject.PORT, what)
    what = f"This machine's own firewall closes TCP port {agent.port}: a program listens there, and is not reached from here."
    commands = [command.replace("PORT", str(agent.port)) for command in FIREWALLS_TCP.values()]
    do = "Let it through; one of these does it."
    return problem(Subject.FIREWALL, what, why="Other machines conclude that this one is gone.", do=do, commands=commands)


def _not_k3(machine: Machine, start: str) -> Finding:
    agent = machine.agent
    if agent.is_stopped:
        what = f"The program at TCP port {agent.port}{_by(agent.holder)} was stopped by a signal (SIGSTOP), and does nothing."
        why = "Other machines conclude that this one is gone."
        return problem(Subject.PORT, what, why=why, do="Let it go on:", commands=(f"kill -CONT {agent.pid}",))
    if agent.is_silent and (not agent.holder or agent.holder.startswith(_OWN_NAMES)):
        what = f"The agent here{_by(agent.holder)} does not answer at TCP port {agent.port}: it stands still, or is no k3."
        why = "Other machines conclude that this one is gone."
        commands = (f"kill {agent.pid}",) if agent.pid else ()
        return problem(
            Subject.PORT, what, why=why, do="Look at its log; stop it and start it again:", commands=(*commands, start)
        )
    return _taken(f"TCP port {agent.port} is held by another program{_by(agent.holder).rstrip(',')}.", agent, start)


def _taken(what: str, agent: LocalAgent, start: str) -> Finding:
    why = "k3 cannot start here with this port."
    if agent.holder.startswith("dockerd"):
        why += " Docker Swarm uses it, too."
    find = () if agent.holder else (f"sudo ss -ltnp 'sport = :{agent.port}'",)
    stop = (f"kill {agent.pid}",) if agent.pid else ()
    do = "Give k3 another port, which the others learn by themselves, or stop that program:"
    return problem(Subject.PORT, what, why=why, do=do, commands=(f"{start} --listen :{agent.port + 1}", *stop, *find))


def _by(holder: str) -> str:
    return f", {holder}," if holder else ""
