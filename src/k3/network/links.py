"""Which of this machine's interfaces k3 uses, what is on-link through them, and when that changes.

Reads the kernel's tables; opens no socket to the outside and sets nothing.
"""

import asyncio
import ipaddress
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

from k3.core import limits
from k3.core.errors import Invalid
from k3.facts import default_route_interfaces
from k3.network import netlink
from k3.network.netlink import AddressEntry, LinkEntry
from k3.tasks import time_limit

POLL_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 0.3
PATIENCE_SECONDS: Final = 1.0

_CONTAINER_BRIDGE: Final = re.compile(
    r"docker\d+|br-[0-9a-f]{6,}|virbr\d+.*|cni.*|veth.*|podman\d+|lxcbr\d+|lxdbr\d+|incusbr\d+|flannel.*|cali.*"
)
_USABLE_FLAGS: Final = netlink.IFF_UP | netlink.IFF_MULTICAST
_UNSETTLED: Final = 0x08 | 0x20 | 0x40  # duplicate, deprecated, tentative
_TEMPORARY_V6: Final = 0x01
_WHOLE_V4: Final = 31

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface k3 speaks mDNS on.

    `addresses` are IP literals without scope, settled ones only; `prefixes` the networks they stand for, in the same
    order (CIDR). `running` is the carrier.
    """

    name: str
    index: int
    mac: str
    running: bool
    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Links:
    """The interfaces in use at one moment. Equal snapshots mean that nothing k3 depends on has changed."""

    interfaces: tuple[Interface, ...] = ()

    @property
    def running(self) -> bool:
        """Whether any interface has a carrier and an address."""
        return any(each.running and each.addresses for each in self.interfaces)

    @cached_property
    def prefixes(self) -> tuple[str, ...]:
        """The networks this machine is on: CIDR, IPv4 first, at most `limits.LINKS`, no link-local IPv6: all have it."""
        every = (ipaddress.ip_network(p) for each in self.interfaces for p in each.prefixes)
        shared = dict.fromkeys(net for net in every if net.version == 4 or not net.is_link_local)  # noqa: PLR2004 - the IP version
        return tuple(str(net) for net in sorted(shared, key=lambda net: net.version))[: limits.LINKS]

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """What to announce: IPv4 first, at most `limits.LINKS`; link-local IPv6 only where there is nothing else.

        More than a Node shows: a peer needs the one that is on its own link.
        """
        every = [ipaddress.ip_address(a) for each in self.interfaces for a in each.addresses]
        settled = [ip for ip in every if ip.version == 4 or not ip.is_link_local] or every  # noqa: PLR2004 - the IP version
        ordered = sorted(dict.fromkeys(settled), key=lambda ip: ip.version)
        return tuple(str(ip) for ip in ordered[: limits.LINKS])

    @cached_property
    def places(self) -> frozenset[str]:
        """Every address of this machine on these interfaces, link-local IPv6 with its scope."""
        return frozenset(
            f"{address}%{each.name}" if ipaddress.ip_address(address).is_link_local and ":" in address else address
            for each in self.interfaces
            for address in each.addresses
        )

    @cached_property
    def _networks(self) -> tuple[Network, ...]:
        return tuple(dict.fromkeys(ipaddress.ip_network(p) for each in self.interfaces for p in each.prefixes))

    @cached_property
    def _names(self) -> dict[int, str]:
        return {each.index: each.name for each in self.interfaces}

    def name_of(self, index: int) -> str:
        """The name of one of these interfaces, or empty."""
        return self._names.get(index, "")

    def on_link(self, address: str) -> bool:
        """Whether an address is a host's on one of these networks: reached without a router, and no broadcast or loopback.

        A link-local IPv6 address is on-link only with the scope of one of these interfaces (`fe80::1%eth0`).
        """
        literal, _, scope = address.partition("%")
        try:
            ip = ipaddress.ip_address(literal)
        except ValueError:
            return False
        if ip.is_multicast or ip.is_loopback or ip.is_unspecified:
            return False
        if ip.version == 6 and ip.is_link_local:  # noqa: PLR2004 - the IP version
            return scope in self._names.values()
        return not scope and any(ip.version == net.version and ip in net and _is_host(ip, net) for net in self._networks)


def _is_host(ip: Address, net: Network) -> bool:
    return net.version == 6 or net.prefixlen >= _WHOLE_V4 or ip not in (net.network_address, net.broadcast_address)  # noqa: PLR2004 - the IP version


def read(only: Sequence[str] = ()) -> Links:
    """The interfaces in use now.

    All that are up, multicast and not loopback, except parts of a bridge or bond and container bridges without a default
    route. `only` names them instead; one that does not exist is Invalid, one that is down or without multicast is left out
    until it can be used. Raises StartFailed where the kernel does not answer.
    """
    entries, addresses = netlink.tables()
    _require(only, entries)
    routed = frozenset(default_route_interfaces())
    chosen = [entry for entry in entries if _chosen(entry, only, routed)]
    return Links(tuple(_interface(entry, addresses) for entry in chosen))


def _require(only: Sequence[str], entries: Sequence[LinkEntry]) -> None:
    there = [entry.name for entry in entries]
    for name in only:
        if name not in there:
            msg = f"--interface {name!r}: there is no such interface here; there are {', '.join(there) or 'none'}"
            raise Invalid(msg)


def _chosen(entry: LinkEntry, only: Sequence[str], routed: frozenset[str]) -> bool:
    if entry.flags & _USABLE_FLAGS != _USABLE_FLAGS:
        return False
    if only:
        return entry.name in only
    if entry.flags & netlink.IFF_LOOPBACK or entry.master:
        return False
    return entry.name in routed or _CONTAINER_BRIDGE.fullmatch(entry.name) is None


def _interface(entry: LinkEntry, addresses: Sequence[AddressEntry]) -> Interface:
    mine = [each for each in addresses if each.index == entry.index and _settled(each)]
    mine.sort(key=lambda each: (":" in each.address, each.address))
    nets = [str(ipaddress.ip_network((each.address, each.prefix_length), strict=False)) for each in mine]
    running = bool(entry.flags & netlink.IFF_RUNNING)
    return Interface(entry.name, entry.index, entry.mac, running, tuple(each.address for each in mine), tuple(nets))


def _settled(entry: AddressEntry) -> bool:
    unsettled = _UNSETTLED | (_TEMPORARY_V6 if ":" in entry.address else 0)
    return not entry.flags & unsettled


async def changes(
    first: Links,
    *,
    only: Sequence[str] = (),
    poll_seconds: float = POLL_SECONDS,
    quiet_seconds: float = QUIET_SECONDS,
    look: Callable[[Sequence[str]], Links] = read,
) -> AsyncGenerator[Links, None]:
    """Every new state of the links after `first`, once it has been quiet for `quiet_seconds` (at most `PATIENCE_SECONDS`).

    The kernel's notice is only a wake-up; a look every `poll_seconds` finds what it missed. An interface replaced by one
    with the same name and address is a change: its index differs. A named interface that has vanished reads as not there.
    """
    current = first
    with _Notices() as notices:
        while True:
            latest = _look(look, only)  # at once the first time: `first` may be old by now
            if latest != current:
                current = latest
                yield latest
            await notices.settle(poll_seconds=poll_seconds, quiet_seconds=quiet_seconds)


def _look(look: Callable[[Sequence[str]], Links], only: Sequence[str]) -> Links:
    try:
        return look(only)
    except Invalid:
        every = look(())
        return Links(tuple(each for each in every.interfaces if each.name in only))


class _Notices:
    """The kernel's notices as something to wait for. Without permission to listen, only the polling is left."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stirred = asyncio.Event()
        self._sock = netlink.changes_socket()

    def __enter__(self) -> Self:
        if self._sock is not None:
            self._loop.add_reader(self._sock, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _hear(self) -> None:
        if self._sock is not None:
            netlink.drain(self._sock)
        self._stirred.set()

    async def settle(self, *, poll_seconds: float, quiet_seconds: float) -> None:
        """Return at the next poll, or once notices have stopped coming."""
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
