"""What this machine is: its interfaces, who it goes by, and which agent of k3 runs here. Changes nothing."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from k3.agent import facts
from k3.agent.facts import Identity
from k3.agent.http import HttpError, Server, get
from k3.agent.info import Info, parse_info
from k3.agent.tasks import time_limit
from k3.core.errors import Invalid, K3Error
from k3.discovery.options import DiscoveryOptions
from k3.network import link_changes, netlink
from k3.network.links import Links
from k3.network.messages import Answered
from k3.network.netlink import LinkEntry
from k3.network.own_identity import OwnIdentity
from k3.settings.structs import NetworkConfig, Reader

LOCAL_SECONDS: Final = 0.8
ADDRESSES: Final = 8
"""At so many of this machine's addresses its agent is looked for."""


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
class LocalAgent:
    """Who answers at k3's port on this machine. `info` is None where it is no agent of k3, or nobody."""

    host: str
    port: int
    info: Info | None = None
    ahead_seconds: float = 0.0
    """How far its clock is ahead of this process's."""
    is_open: bool = False
    """Whether a program listens there."""
    is_silent: bool = False
    """Whether that takes connections and says nothing."""
    holder: str = ""
    """Which one, as far as this user may know: `python3 (pid 123)`."""
    is_closed: bool = False
    """Whether a program listens there, and connections from this machine itself are not let through."""
    is_stopped: bool = False
    """Whether that was stopped by a signal (SIGSTOP), and does nothing until it is let go on."""

    @property
    def pid(self) -> str:
        """The process that holds the port; empty: unknown."""
        return _pid(self.holder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, as far as it can be known without changing anything."""

    links: Links
    entries: tuple[LinkEntry, ...]
    addressed: frozenset[int]
    """The interfaces that have an address, by index."""
    routed: tuple[str, ...]
    """Those that default routes leave through."""
    trouble: str
    """Why the interfaces that a person named cannot be used; empty: they can, or none was named."""
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
    def info(self) -> Info | None:
        """What the agent that runs here says of itself."""
        return self.agent.info

    @property
    def addresses(self) -> frozenset[str]:
        """Every address on the interfaces in use."""
        return frozenset(each for interface in self.links.interfaces for each in interface.addresses)


async def look(case: Case) -> Machine:
    """Looks at this machine. Raises OSError where the kernel does not show its interfaces."""
    entries, addresses = netlink.tables()
    links, trouble = _links(case)
    listen = case.network.listen
    agent = await _local_agent(listen.host or "127.0.0.1", listen.port)
    if agent.holder and agent.info is None and not agent.is_silent and not listen.host:
        agent = await _at_one_address(agent, links)
    names = tuple(each.name for each in links.interfaces)
    has_id = bool(facts.known_machine_id(case.state_dir))
    own = OwnIdentity(has_parted=True)
    if has_id:
        own.learn(case.state_dir, names)
    running = agent.info.facts if agent.info else None
    return Machine(
        links=links,
        entries=entries,
        addressed=frozenset(each.index for each in addresses),
        routed=facts.default_route_interfaces(),
        trouble=trouble,
        identity=Identity(running.id, running.clone_of) if running else own.identity if has_id else Identity(""),
        has_machine_id=has_id,
        is_same_installation=own.is_sealed if has_id else lambda _: False,
        boot_id=facts.system(case.state_dir).boot_id if has_id else "",
        new_identity=facts.new_identity_advice(case.state_dir),
        agent=agent,
    )


def _links(case: Case) -> tuple[Links, str]:
    try:
        return link_changes.read(case.network.interfaces), ""
    except K3Error as error:
        return link_changes.look(), str(error)


async def asked_at(machine: Machine, host: str, port: int) -> Machine:
    """Returns the machine as its agent shows it that listens elsewhere; as it was where none answers there."""
    if host not in machine.addresses:
        return machine
    agent = await _local_agent(host, port)
    if agent.info is None or not agent.info.facts.id:
        return machine
    said = agent.info.facts
    return replace(machine, agent=agent, identity=Identity(said.id, said.clone_of), boot_id=said.system.boot_id)


async def _at_one_address(agent: LocalAgent, links: Links) -> LocalAgent:
    """Returns the agent where it was told to listen at one address only (--listen); as it was where none answers."""
    places = [address for each in links.interfaces for address in each.addresses][:ADDRESSES]
    found = await asyncio.gather(*(_ask(LocalAgent(host=place, port=agent.port)) for place in places))
    return next((replace(each, holder=agent.holder) for each in found if each.info is not None), agent)


async def _local_agent(host: str, port: int) -> LocalAgent:
    """Asks whoever listens at a port of this machine."""
    holder, agent = await asyncio.gather(_holder(port), _ask(LocalAgent(host=host, port=port)))
    is_let_in = agent.is_open or await asyncio.to_thread(is_open, host, port)
    is_listened_at = bool(port) and await asyncio.to_thread(facts.is_listened_at, port)
    return replace(
        agent,
        is_open=is_let_in or bool(holder) or is_listened_at,
        holder=holder,
        is_closed=is_listened_at and not is_let_in,
        is_stopped=_is_stopped(_pid(holder)),
    )


async def _holder(port: int) -> str:
    if not port:
        return ""
    try:
        async with time_limit(LOCAL_SECONDS):
            return await asyncio.to_thread(facts.holder_of_port, port)
    except (OSError, TimeoutError):
        return ""


def _pid(holder: str) -> str:
    return holder.rpartition("(pid ")[2].removesuffix(")") if "(pid " in holder else ""


def _is_stopped(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace") if pid else ""
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["T"]  # proc(5): the name, in brackets, may hold anything


async def _ask(agent: LocalAgent) -> LocalAgent:
    """Returns who answers there."""
    try:
        answer = await get(Server(host=agent.host, port=agent.port), "/info", timeout_seconds=LOCAL_SECONDS)
        info = parse_info(answer.body)
    except (HttpError, Invalid):
        return replace(agent, is_open=True)
    except OSError as error:
        return replace(agent, is_silent=isinstance(error, TimeoutError))
    ahead = (info.time - datetime.now(UTC)).total_seconds() if info.time else 0.0
    return replace(agent, info=info, ahead_seconds=ahead, is_open=True)


def is_open(host: str, port: int) -> bool:
    """Whether a program listens there; waits for a fifth of a second."""
    try:
        with socket.create_connection((host, port), timeout=0.2):
            return True
    except OSError:
        return False
