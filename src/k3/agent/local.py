"""Which agent of k3 runs on this machine: asked at its port, as any other machine may ask it. Changes nothing."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from k3.agent import facts
from k3.agent.http import HttpError, Server, get
from k3.agent.info import Info, parse_info
from k3.agent.tasks import time_limit
from k3.core.errors import Invalid
from k3.core.records import dataclass
from k3.settings.listen import Listen

ASK_SECONDS: Final = 0.8
ADDRESSES: Final = 8
"""At so many of this machine's addresses its agent is looked for."""


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


async def find(listen: Listen, addresses: Callable[[], Iterable[str]], *, seconds: float = ASK_SECONDS) -> LocalAgent:
    """Returns who answers where an agent listens by default or by `listen`, else at one of this machine's addresses.

    Only the agent itself may have been told to listen there alone. Each question takes so many seconds at most. Raises what
    `addresses` raises.
    """
    agent = await at(listen.local_host, listen.port, seconds=seconds)
    if listen.host or agent.info is not None or agent.is_silent or not agent.holder:
        return agent
    places = islice(addresses(), ADDRESSES)
    found = await asyncio.gather(*(_ask(LocalAgent(host=place, port=agent.port), seconds) for place in places))
    return next((replace(each, holder=agent.holder) for each in found if each.info is not None), agent)


async def at(host: str, port: int, *, seconds: float = ASK_SECONDS) -> LocalAgent:
    """Returns who answers at an address and port of this machine."""
    holder, agent = await asyncio.gather(_holder(port, seconds), _ask(LocalAgent(host=host, port=port), seconds))
    is_let_in = agent.is_open or await asyncio.to_thread(is_open, host, port)
    is_listened_at = bool(port) and await asyncio.to_thread(facts.is_listened_at, port)
    return replace(
        agent,
        is_open=is_let_in or bool(holder) or is_listened_at,
        holder=holder,
        is_closed=is_listened_at and not is_let_in,
        is_stopped=_is_stopped(_pid(holder)),
    )


def is_open(host: str, port: int) -> bool:
    """Whether a program listens there; waits for a fifth of a second."""
    try:
        with socket.create_connection((host, port), timeout=0.2):
            return True
    except OSError:
        return False


async def _holder(port: int, seconds: float) -> str:
    if not port:
        return ""
    try:
        async with time_limit(seconds):
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


async def _ask(agent: LocalAgent, seconds: float) -> LocalAgent:
    """Returns who answers there."""
    try:
        answer = await get(Server(host=agent.host, port=agent.port), "/info", timeout_seconds=seconds)
        info = parse_info(answer.body)
    except (HttpError, Invalid):
        return replace(agent, is_open=True)
    except OSError as error:
        return replace(agent, is_silent=isinstance(error, TimeoutError))
    ahead = (info.time - datetime.now(UTC)).total_seconds() if info.time else 0.0
    return replace(agent, info=info, ahead_seconds=ahead, is_open=True)
