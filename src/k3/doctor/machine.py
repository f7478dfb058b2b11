"""What this machine is: its interfaces, who it goes by, and which agent of k3 runs here. Changes nothing."""

from collections.abc import Callable
from dataclasses import field, replace
from pathlib import Path

from k3.agent import facts, local
from k3.agent.facts import Identity
from k3.agent.info import Info
from k3.agent.local import LocalAgent
from k3.core.records import dataclass
from k3.discovery.options import DiscoveryOptions
from k3.doctor.surroundings import Network
from k3.network.links import Links
from k3.network.messages import Answered
from k3.network.own_identity import OwnIdentity
from k3.settings.structs import NetworkConfig, Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is to be examined: how k3 runs on this machine, or would, by the command line, the environment and the file."""

    network: NetworkConfig
    reader: Reader
    """How another command of this user is told of the same store."""
    discovery: DiscoveryOptions | None
    """None: nothing was said of Consul."""
    state_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, as far as it can be known without changing anything."""

    network: Network
    identity: Identity
    has_machine_id: bool
    is_same_installation: Callable[[Answered], bool] = field(repr=False)
    """Whether an answer was sealed with this machine's own machine id: by a copy of it."""
    boot_id: str
    """Of this boot of its kernel; empty: unknown."""
    new_identity: str
    """What a person does about a copy."""
    agent: LocalAgent

    @property
    def links(self) -> Links:
        """The interfaces that k3 uses."""
        return self.network.links

    @property
    def info(self) -> Info | None:
        """What the agent that runs here says of itself."""
        return self.agent.info

    @property
    def addresses(self) -> frozenset[str]:
        """Every address on the interfaces in use."""
        return frozenset(each for interface in self.links.interfaces for each in interface.addresses)


async def look(case: Case, network: Network) -> Machine:
    """Looks at this machine, whose interfaces are known."""
    links = network.links
    agent = await local.find(case.network.listen, lambda: links.addresses)
    names = tuple(each.name for each in links.interfaces)
    has_id = bool(facts.known_machine_id(case.state_dir))
    own = OwnIdentity(has_parted=True)
    if has_id:
        own.learn(case.state_dir, names)
    running = agent.info.facts if agent.info else None
    return Machine(
        network=network,
        identity=Identity(running.id, running.clone_of) if running else own.identity if has_id else Identity(""),
        has_machine_id=has_id,
        is_same_installation=own.is_sealed if has_id else lambda _: False,
        boot_id=facts.system(case.state_dir).boot_id if has_id else "",
        new_identity=facts.new_identity_advice(case.state_dir),
        agent=agent,
    )


async def asked_at(machine: Machine, host: str, port: int) -> Machine:
    """Returns the machine as its agent shows it that listens elsewhere; as it was where none answers there."""
    if host not in machine.addresses:
        return machine
    agent = await local.at(host, port)
    if agent.info is None or not agent.info.facts.id:
        return machine
    said = agent.info.facts
    return replace(machine, agent=agent, identity=Identity(said.id, said.clone_of), boot_id=said.system.boot_id)
