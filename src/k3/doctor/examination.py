"""The whole examination: everything that can be looked at, at the same time, within a few seconds, whatever does not answer.

Theory of operation
-------------------
What is asked of the LAN, of this machine, of the store and of Consul is asked at the same time: all that is needed before is
which interfaces there are. Then the machines that became known are asked who they are. There is one time for the whole,
`SECONDS` from when the command was given, or `LEAST_IN_ALL_SECONDS` after its modules were loaded, if that is later; each part
has its share of it, and what is not finished then is said to be unfinished, and is not taken for well. A part that fails in a
way that was not foreseen becomes a note, and costs the others nothing. What is concluded is in the module of each subject.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from k3.agent import facts, local
from k3.agent.tasks import time_limit
from k3.core.node import NodeView
from k3.core.phrases import is_renamed
from k3.core.safe_text import one_line
from k3.core.sources import NETWORK
from k3.doctor import clock, consul, firewall, lan, names, port, store, surroundings
from k3.doctor import machine as here
from k3.doctor.consul import ConsulSeen
from k3.doctor.finding import Finding, Subject, in_order, note, unfinished
from k3.doctor.firewall import Firewall
from k3.doctor.lan import Evidence
from k3.doctor.machine import Case, Machine
from k3.doctor.others import ASK_SECONDS, Other, ask, heard_by_now, known
from k3.doctor.store import StoreSeen
from k3.network import multicast
from k3.network.hearing import LISTEN_SECONDS, Heard, hear
from k3.network.multicast import Blocked

T = TypeVar("T")

SECONDS: Final = 4.5
"""So long after the process began everything is to be known; later, where its modules took long to load (the next)."""
LEAST_IN_ALL_SECONDS: Final = 3.2
"""So long the looks are given, however long the modules took to load: enough to hear the others, and to ask them."""
FAR_SECONDS: Final = 3.0
"""For the store and for Consul."""
NODES_SECONDS: Final = 2.0
"""So long the store is waited for before the machines that it knows are asked; those that are heard do not wait longer."""
LEAST_SECONDS: Final = 0.5
"""So long each question is given to be answered, however late it is."""
CONSUL_PORT: Final = 8500


async def examine(case: Case, *, seconds: float = SECONDS) -> list[Finding]:
    """Returns what was found, the worst first and causes before what follows from them. `seconds`: what is left for it."""
    return await _Examination(case, seconds).run()


class _Examination:
    """One look. What could not be looked at is in `findings`."""

    def __init__(self, case: Case, seconds: float) -> None:
        self._case = case
        self.findings: list[Finding] = []
        self._times: dict[str, float] = {}
        """How far other clocks are ahead of this process's, in seconds."""
        self._until = asyncio.get_running_loop().time() + max(LEAST_IN_ALL_SECONDS, seconds)

    async def run(self) -> list[Finding]:
        """Looks at everything."""
        far = self._at_most(FAR_SECONDS)
        async with asyncio.TaskGroup() as tasks:
            kept = tasks.create_task(self._part(Subject.STORE, store.look(self._case, seconds=far), StoreSeen(findings=())))
            away = tasks.create_task(self._consul(far))
            walls = tasks.create_task(self._part(Subject.FIREWALL, firewall.look(), Firewall(unread="it did not answer")))
            machine = await self._lan(kept, walls)
        self.findings += [*kept.result().findings, *away.result().findings]
        if (ahead := away.result().ahead_seconds) is not None:
            self._times["Consul"] = ahead
        if machine is not None:
            self._say(Subject.STORE, lambda: store.agreement(self._case, kept.result(), machine.agent))
            self._say(Subject.CLOCK, lambda: clock.clock(self._times, machine.agent.ahead_seconds))
        return in_order(self.findings)

    async def _consul(self, seconds: float) -> ConsulSeen:
        if self._case.discovery is None:
            is_open = await asyncio.to_thread(local.is_open, "127.0.0.1", CONSUL_PORT)
            return ConsulSeen(findings=tuple(consul.found_by_itself(self._case.reader, is_open=is_open)))
        look = consul.look(self._case.discovery, self._case.reader, seconds=seconds)
        return await self._part(Subject.CONSUL, look, ConsulSeen(findings=()))

    async def _lan(self, kept: "asyncio.Task[StoreSeen]", walls: "asyncio.Task[Firewall]") -> Machine | None:
        """Looks at this machine and asks the LAN. Returns the machine with its agent, wherever that was found."""
        service = self._case.network.service
        nothing: tuple[Heard, ...] = ()
        unblocked: tuple[Blocked, ...] = ()
        try:
            network = surroundings.look(self._case.network.interfaces)
        except OSError as error:
            self._failed(Subject.INTERFACES, error)
            return None
        hearing = hear(network.links, service, seconds=self._at_most(LISTEN_SECONDS))
        async with asyncio.TaskGroup() as tasks:
            heard = tasks.create_task(self._part(Subject.MULTICAST, hearing, nothing))
            blocked = tasks.create_task(self._part(Subject.MULTICAST, multicast.blocked(network.links), unblocked))
            looked = tasks.create_task(self._part(Subject.PORT, here.look(self._case, network), None))
            tasks.create_task(_waited(kept, self._at_most(NODES_SECONDS)))
        machine = looked.result()
        if machine is None:
            return None
        nodes = kept.result().nodes if kept.done() else ()
        machine = await self._found_elsewhere(machine, heard.result(), nodes)
        others = await self._asked(known(heard.result(), nodes, machine, self._name), heard.result(), machine)
        mine = own_node(nodes, machine)
        seen = Evidence(
            machine=machine,
            firewall=await walls,
            blocked=blocked.result(),
            heard=heard.result(),
            others=tuple(others),
            reader=self._case.reader,
            own_node=mine,
            nodes=tuple(nodes),
        )
        self._conclude(seen)
        return machine

    def _conclude(self, seen: Evidence) -> None:
        machine, others = seen.machine, seen.others
        self._times = {each.name: each.ahead_seconds for each in others if each.ahead_seconds is not None}
        self._say(Subject.INTERFACES, lambda: surroundings.interfaces(machine.network))
        self._say(Subject.FIREWALL, lambda: lan.firewall(seen))
        self._say(Subject.MULTICAST, lambda: lan.multicast(seen))
        self._say(Subject.MACHINES, lambda: lan.machines(seen))
        start = self._case.reader.command(NETWORK.name)
        is_walled = seen.firewall.is_closed_here(machine.agent.port)
        self._say(Subject.PORT, lambda: port.port(machine, seen.own_node, start, is_walled=is_walled))
        self._say(Subject.IDENTITY, lambda: names.identity(machine, others, seen.own_node, seen.nodes))
        self._say(Subject.NAME, lambda: names.names(self._case, machine, others))

    async def _found_elsewhere(self, machine: Machine, heard: Iterable[Heard], nodes: Iterable[NodeView]) -> Machine:
        """Asks the agent of this machine where it announces itself, if it is not where the command line says."""
        places = {(said.addresses[0], said.port) for each in heard for said in each.own}
        mine = [each for each in nodes if each.id and each.id == machine.identity.id]
        places |= {(each.addresses[0], each.port) for each in mine if each.port and each.addresses}
        for host, port_ in sorted(places):
            if machine.info is None:
                machine = await self._part(Subject.PORT, here.asked_at(machine, host, port_), machine)
        return machine

    async def _asked(self, others: list[Other], heard: tuple[Heard, ...], machine: Machine) -> list[Other]:
        """Asks the other machines who they are, and meanwhile listens again for those that were not heard."""
        seconds = self._at_most(ASK_SECONDS)
        later: tuple[Heard, ...] = ()
        async with asyncio.TaskGroup() as tasks:
            answers = tasks.create_task(self._part(Subject.MACHINES, ask(others, seconds=seconds), others))
            if any(not each.interface for each in others):
                again = hear(machine.links, self._case.network.service, seconds=seconds)
                later = await self._part(Subject.MULTICAST, again, later)
        return heard_by_now(answers.result(), (*heard, *later))

    @property
    def _name(self) -> str:
        """The name that this machine is to have, as far as it can have one."""
        return self._case.network.node_name or facts.hostname()

    def _at_most(self, seconds: float) -> float:
        """Returns how long a question may take that is put now: so many seconds, or what is left of the time."""
        return min(seconds, max(LEAST_SECONDS, self._until - asyncio.get_running_loop().time() - LEAST_SECONDS))

    async def _part(self, subject: Subject, work: Awaitable[T], otherwise: T) -> T:
        """Returns what a part found; `otherwise` where it took too long or failed."""
        try:
            async with time_limit(max(LEAST_SECONDS, self._until - asyncio.get_running_loop().time())):
                return await work
        except TimeoutError:
            if (given_up := unfinished(subject)) not in self.findings:
                self.findings.append(given_up)
        except Exception as error:  # noqa: BLE001 - one part costs the others nothing
            self._failed(subject, error)
        return otherwise

    def _say(self, subject: Subject, conclude: Callable[[], Iterable[Finding]]) -> None:
        try:
            self.findings += list(conclude())
        except Exception as error:  # noqa: BLE001 - the same
            self._failed(subject, error)

    def _failed(self, subject: Subject, error: Exception) -> None:
        why = one_line(str(error)) or type(error).__name__
        self.findings.append(note(subject, f"{subject} could not be looked at ({type(error).__name__}: {why})."))


def own_node(nodes: Iterable[NodeView], machine: Machine) -> NodeView | None:
    """Returns this machine as the store shows it, and not a name that it has given up."""
    own = (each for each in nodes if _is_own(each, machine))
    return next((each for each in own if each.ready is None or not is_renamed(each.ready.message)), None)


def _is_own(seen: NodeView, machine: Machine) -> bool:
    """Whether a Node is this machine's: a copy of it has the same id, and other addresses."""
    has_id = bool(seen.id) and seen.id == machine.identity.id
    return has_id and (not machine.addresses or not seen.addresses or bool(machine.addresses.intersection(seen.addresses)))


async def _waited(kept: "asyncio.Task[StoreSeen]", seconds: float) -> None:
    await asyncio.wait([kept], timeout=seconds)
