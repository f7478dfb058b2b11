"""Reads which interfaces this machine has, and tells when that changes.

Reads the kernel's tables; opens no socket to the outside and sets nothing. Which interfaces count is decided in
`k3.network.interfaces`.
"""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import Final, Self

from k3.agent.facts import default_route_interfaces
from k3.agent.refusals import Trouble
from k3.agent.tasks import time_limit
from k3.core.errors import Invalid, StartFailed
from k3.network import interfaces, netlink
from k3.network.interfaces import Addressed
from k3.network.links import Interface, Links
from k3.network.netlink import AddressEntry, LinkEntry

POLL_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 0.3
# A cable that is plugged in brings a dozen notices (carrier, addresses, IPv6 leaving "tentative"): one state is wanted of them.
PATIENCE_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


def read(only: Sequence[str] = ()) -> Links:
    """Returns the interfaces in use now, see `k3.network.interfaces`.

    `only` names them instead; one that is down or without multicast is left out until it can be used. Raises Invalid for one
    that does not exist or is loopback, StartFailed where the kernel does not answer.
    """
    try:
        entries, addresses = netlink.tables()
        _require(only, entries)
        return _links(entries, addresses, only)
    except OSError as error:
        msg = f"cannot read this machine's network interfaces: {error.strerror}"
        raise StartFailed(msg) from error


def look(only: Sequence[str] = ()) -> Links:
    """As `read`, for an agent that has started: a named interface that has vanished is left out. Raises OSError."""
    return _links(*netlink.tables(), only)


def _links(entries: Sequence[LinkEntry], addresses: Sequence[AddressEntry], only: Sequence[str]) -> Links:
    chosen = interfaces.chosen(entries, only, default_route_interfaces())
    return Links(tuple(_interface(interfaces.addressed(entry, addresses)) for entry in chosen))


def _require(only: Sequence[str], entries: Sequence[LinkEntry]) -> None:
    there = {entry.name: entry.flags for entry in entries}
    for name in only:
        if name not in there:
            msg = f"--interface {name!r}: there is no such interface here; there are {', '.join(there) or 'none'}"
            raise Invalid(msg)
        if there[name] & netlink.IFF_LOOPBACK:
            others = [other for other, flags in there.items() if not flags & netlink.IFF_LOOPBACK]
            listed = ", ".join(others) or "no others"
            msg = f"--interface {name!r}: this machine is alone there, nobody finds it and it finds nobody; there are {listed}"
            raise Invalid(msg)


def _interface(found: Addressed) -> Interface:
    entry = found.entry
    literals = tuple(each.address for each in found.addresses)
    nets = (ipaddress.ip_network((each.address, each.prefix_length), strict=False) for each in found.addresses)
    running = bool(entry.flags & netlink.IFF_RUNNING)
    return Interface(
        name=entry.name,
        index=entry.index,
        mac=entry.mac,
        running=running,
        addresses=literals,
        prefixes=tuple(str(net) for net in nets),
        spare=found.spare,
    )


async def changes(
    first: Links,
    *,
    only: Sequence[str] = (),
    poll_seconds: float = POLL_SECONDS,
    quiet_seconds: float = QUIET_SECONDS,
    look: Callable[[Sequence[str]], Links] = look,
) -> AsyncGenerator[Links, None]:
    """Gives every new state of the links after `first`, once it is quiet for `quiet_seconds` (after `PATIENCE_SECONDS` anyway).

    The kernel's notice is only a wake-up; a look every `poll_seconds` finds what it missed. An interface replaced by one
    with the same name and address is a change: its index differs. Where the kernel does not answer, what was known stays;
    that is said once, and tried again.
    """
    current = first
    trouble = Trouble(log, "network.links_unknown", "the interfaces known so far stay in use until the kernel answers again")
    with _Notices() as notices:
        while True:
            try:
                latest = look(only)  # at once the first time: `first` may be old by now
            except OSError as error:
                trouble.begins(error)
                await asyncio.sleep(trouble.pause_seconds)
                continue
            trouble.ends()
            if latest != current:
                current = latest
                yield latest
            await notices.settle(poll_seconds=poll_seconds, quiet_seconds=quiet_seconds)


class _Notices:
    """The kernel's notices as something to wait for. While the kernel refuses a socket for them, only the polling is left."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stirred = asyncio.Event()
        self._sock = netlink.changes_socket()

    def __enter__(self) -> Self:
        self._listen()
        return self

    def _listen(self) -> None:
        if self._sock is not None:
            self._loop.add_reader(self._sock, self._hear)

    def __exit__(self, *_: object) -> None:
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _hear(self) -> None:
        if self._sock is not None:
            netlink.drain(self._sock)
        self._stirred.set()

    async def settle(self, *, poll_seconds: float, quiet_seconds: float) -> None:
        """Returns at the next poll, or once notices have stopped coming."""
        if self._sock is None:
            self._sock = netlink.changes_socket()  # refused before: tried again at every poll
            self._listen()
        if not await self._stir(poll_seconds):
            return
        deadline = self._loop.time() + PATIENCE_SECONDS
        while self._loop.time() < deadline and await self._stir(quiet_seconds):
            pass

    async def _stir(self, wait_seconds: float) -> bool:
        with suppress(TimeoutError):
            async with time_limit(wait_seconds):
                await self._stirred.wait()
        stirred = self._stirred.is_set()
        self._stirred.clear()
        return stirred
