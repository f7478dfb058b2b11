"""Asks one peer who it is, and reports the outcome. One question per probe; nothing is remembered between probes (ADR 2).

Connects to the endpoints it is given and to nothing else (a redirect is an answer, not an instruction), reads no more than
`core.limits` allows, and waits no longer than it is told.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from k3.agent.http import Conversation, HttpError, NotHttp, Request
from k3.agent.info import parse_info
from k3.agent.refusals import EXHAUSTED
from k3.agent.tasks import time_limit
from k3.core import limits
from k3.core.addresses import authority
from k3.core.errors import Invalid
from k3.network.messages import SILENT, Answered, Endpoint, Impostor, LocalFault, NoAnswer, Outcome, Refused, Target

HEAD_START_SECONDS: Final = 0.25
"""How long one address is tried alone before the next one is tried too (RFC 8305 §5)."""

_LINGER_NONE: Final = b"\1\0\0\0\0\0\0\0"  # struct linger {1, 0}: socket(7)
_OK: Final = 200
_WEIGHT: Final = (LocalFault, Refused, NoAnswer, Impostor, Answered)
"""Of several outcomes the last in this order is the peer's: one answer outweighs any failure, any failure a local fault."""

# Failures of this machine: they say nothing about the peer (ADR 28).
_LOCAL: Final = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.EACCES,
        errno.EPERM,
        errno.EINVAL,
        errno.ENODEV,
        errno.ENETDOWN,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAFNOSUPPORT,
    }
)
_NO_ROUTE: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH})


Via = Callable[[str], str]
"""Returns the interface to reach an address by, against the kernel's routes; empty: as they say."""


def _as_routed(_: str) -> str:
    return ""


class Ask(Protocol):
    """Asks one peer: `probe`, or what stands in for it in a test."""

    async def __call__(self, target: Target, *, timeout_seconds: float, via: Via = ...) -> Outcome:
        """How it went. Never raises for what a peer or network does."""
        ...


async def probe(target: Target, *, timeout_seconds: float, via: Via = _as_routed) -> Outcome:
    """Asks `GET /info` at the target's endpoints, group after group until one answers as the target.

    Within a group the next endpoint is tried when the former failed, or after `HEAD_START_SECONDS`; each group gets
    `timeout_seconds`. Raises for nothing that a peer or network does.
    """
    outcomes: list[Outcome] = []
    for number, group in enumerate(target.groups):
        if not group:
            continue
        outcome = await _ask_group(target, number, via, timeout_seconds=timeout_seconds)
        if isinstance(outcome, Answered):
            return outcome
        outcomes.append(outcome)
    return _heaviest(outcomes) if outcomes else LocalFault("no address to ask")


def _heaviest(outcomes: Sequence[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: _WEIGHT.index(type(outcome)))


async def _ask_group(target: Target, number: int, via: Via, *, timeout_seconds: float) -> Outcome:
    group = target.groups[number]
    outcomes: list[Outcome] = []
    try:
        async with time_limit(timeout_seconds):
            if len(group) == 1:  # the usual case, without a task of its own
                return await _ask(target, group[0], number, via)
            await _race(target, number, via, outcomes)
    except TimeoutError:
        outcomes.append(NoAnswer(SILENT))
    return _heaviest(outcomes)


async def _race(target: Target, number: int, via: Via, outcomes: list[Outcome]) -> None:
    """Fills `outcomes` until one is an answer or every endpoint has one."""
    group = target.groups[number]
    finished = asyncio.Event()

    async def attempt(endpoint: Endpoint) -> None:
        outcomes.append(await _ask(target, endpoint, number, via))
        finished.set()

    async with asyncio.TaskGroup() as tasks:
        running = []
        for started, endpoint in enumerate(group, 1):
            running.append(tasks.create_task(attempt(endpoint)))
            patience = HEAD_START_SECONDS if started < len(group) else None
            while len(outcomes) < started and not _answered(outcomes):
                finished.clear()
                if not await _within(patience, finished):
                    break
            if _answered(outcomes):
                break
        for task in running:
            task.cancel()


def _answered(outcomes: Sequence[Outcome]) -> bool:
    return any(isinstance(outcome, Answered) for outcome in outcomes)


async def _within(patience_seconds: float | None, event: asyncio.Event) -> bool:
    try:
        async with time_limit(patience_seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _ask(target: Target, endpoint: Endpoint, group: int, via: Via) -> Outcome:
    try:
        body = await _fetch(target, endpoint, via(endpoint.address))
    except OSError as error:
        return _failure(error, endpoint)
    except HttpError as error:
        return NoAnswer("not an HTTP answer" if isinstance(error, NotHttp) else str(error))
    if isinstance(body, NoAnswer):
        return body
    try:
        said = parse_info(body)
    except Invalid:
        return NoAnswer("not an /info document")
    facts = said.facts
    if facts.node != target.name or (target.id and facts.id != target.id):
        return Impostor(facts.node, facts.id, endpoint)
    return Answered(
        facts=facts,
        endpoint=endpoint,
        group=group,
        uptime_seconds=said.uptime_seconds,
        store_id=said.store_id,
        time=said.time,
        seal=said.seal,
    )


async def _fetch(target: Target, endpoint: Endpoint, interface: str) -> bytes | NoAnswer:
    """Returns the body of a good answer. Raises OSError, HttpError."""
    family, address = _socket_address(endpoint)
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock:
        # Closing resets the connection: neither side keeps a TIME_WAIT for a question asked every few seconds.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        if interface:
            with suppress(OSError):  # a kernel before 5.7 lets only root do this
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        await loop.sock_connect(sock, address)
        conversation = Conversation(
            read=partial(loop.sock_recv, sock, limits.INFO_BYTES), write=partial(loop.sock_sendall, sock)
        )
        head = await conversation.ask(_request(endpoint, target.asker))
        return await conversation.body(limits.INFO_BYTES) if head.status == _OK else NoAnswer(f"HTTP status {head.status}")


def _socket_address(endpoint: Endpoint) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    literal, _, scope = endpoint.address.partition("%")
    if ":" not in literal:
        return socket.AF_INET, (literal, endpoint.port)
    return socket.AF_INET6, (literal, endpoint.port, 0, socket.if_nametoindex(scope) if scope else 0)


def _request(endpoint: Endpoint, asker: str) -> Request:
    host = authority(endpoint.address.partition("%")[0], endpoint.port)
    return Request("GET", "/info", (("Host", host), ("User-Agent", asker), ("Accept", "application/json")))


def _failure(error: OSError, endpoint: Endpoint) -> Outcome:
    number = error.errno or errno.ENODEV  # if_nametoindex says no number: the scope names no interface
    if number == errno.ECONNREFUSED:
        return Refused()
    if number in _LOCAL or (number in _NO_ROUTE and not _has_route(endpoint)):
        return LocalFault(errno.errorcode.get(number, "error"), passes=number in EXHAUSTED)
    return NoAnswer("connection closed" if number in {errno.ECONNRESET, errno.EPIPE} else errno.errorcode.get(number, "error"))


def _has_route(endpoint: Endpoint) -> bool:
    """Whether this machine has a route there: if so, a router, or the peer's firewall, said that it is unreachable.

    Connecting a datagram socket looks the route up and sends nothing.
    """
    try:
        family, address = _socket_address(endpoint)
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(address)
    except OSError:
        return False
    return True
