"""Owns the one mDNS responder of this process: its sockets, the interfaces they are on, their buffers, and who is heard there.

The announcer and the browser share it. It does not know what is announced or heard. In front of each of the responder's sockets
stands a gate, since the responder would read every packet of a flood (`k3.network.intake`, ADR 55).
"""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from zeroconf import IPVersion, Zeroconf
from zeroconf._listener import AsyncListener
from zeroconf.asyncio import AsyncZeroconf

from k3.agent import packet_filter
from k3.agent.refusals import Trouble
from k3.agent.tasks import time_limit
from k3.core.errors import StartFailed
from k3.network.intake import Intake, Kind, kind_of
from k3.network.links import Interface, Links

PORT: Final = 5353
GROUP_V4: Final = "224.0.0.251"
GROUP_V6: Final = "ff02::fb"
RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024

FLOODED: Final = "machines that may be among them are asked for instead: what is it that sends so many?"
SAY_SECONDS: Final = 1.0
"""Between two attempts to say so; `agent/log_repeats` holds back most of them."""
LOOK_SECONDS: Final = 0.25
"""The kernel's filter is changed no more often than that."""

_SO_RCVBUFFORCE: Final = 33
_MAPPED: Final = "::ffff:"  # of an IPv4 sender on an IPv6 socket (RFC 4291 §2.5.5.2)

log = logging.getLogger(__name__)


class Mdns:
    """The responder and its interfaces. It also runs with none, and waits for `update`."""

    def __init__(self, responder: AsyncZeroconf, version: IPVersion) -> None:
        """To be made by `open`."""
        self._responder = responder
        self._version = version
        self._links = Links()
        self._joining = asyncio.Lock()
        self._moved = asyncio.Event()
        self._trouble = Trouble(log, "mdns.join_failed", "other interfaces are used as before, and this is tried again")
        self._clock = asyncio.get_running_loop().time
        self._intake = Intake(self._clock())
        self._looking: asyncio.TimerHandle | None = None
        self._said_at = -SAY_SECONDS
        self.missed: Callable[[], None] = lambda: None
        """Called for everything that is not read, a flood in most cases: some of it may have been worth it."""
        self.is_reading_answer = False
        """Whether what the responder reads at this moment was sent to this machine alone."""

    @classmethod
    async def open(cls, links: Links) -> Self:
        """Starts on these interfaces. Raises StartFailed where the mDNS port cannot be shared."""
        # Its warnings quote packets, and what they are about is noticed here by the interface that does not work.
        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)
        version = IPVersion.All if _has_ipv6() else IPVersion.V4Only
        try:
            # Interfaces come second: one that vanishes meanwhile must not stop the start.
            responder = AsyncZeroconf(interfaces=[], ip_version=version)
            await responder.zeroconf.async_wait_for_start()
        except OSError as error:
            raise StartFailed(_explain(error)) from error
        mdns = cls(responder, version)
        await mdns.update(links)
        return mdns

    @property
    def zeroconf(self) -> Zeroconf:
        """The responder, for the announcer and the browser."""
        return self._responder.zeroconf

    @property
    def links(self) -> Links:
        """The interfaces it is on."""
        return self._links

    @property
    def refused(self) -> Mapping[Kind, int]:
        """How many packets were not read, by kind."""
        return self._intake.refused

    def admits(self, packet: bytes, sender: str, *, is_for_all: bool) -> bool:
        """Whether the responder is to read a packet."""
        kind, address, now = (
            kind_of(packet, is_for_all=is_for_all),
            sender.removeprefix(_MAPPED).partition("%")[0],
            self._clock(),
        )
        if self._intake.admits(kind, address, now):
            return True
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            log.warning("mdns.flooded", extra={"fields": {"from": address, "packets": kind.value, "advice": FLOODED}})
        self.missed()
        if self._looking is None and self._intake.away(Kind.ANNOUNCEMENT, now):
            self._look()
        return False

    def _look(self) -> None:
        """Has the kernel drop what it can, and looks again soon, for as long as there is anything."""
        away = self._intake.away(Kind.ANNOUNCEMENT, self._clock())
        for protocol in self.zeroconf.engine.protocols:
            wrapped = protocol.transport
            if wrapped is not None and _is_for_all(wrapped.sock_name):
                with suppress(OSError):  # a sandbox may forbid it: they are dropped by the gate
                    if away.only is not None:
                        packet_filter.drop_others(wrapped.sock, away.only)
                    else:
                        packet_filter.drop(wrapped.sock, away.origins, but_questions=True)
        self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look) if away else None
        if away:
            self.missed()

    async def update(self, links: Links) -> None:
        """Moves to these interfaces; what is registered is announced on new ones.

        An interface replaced by one with the same address has lost its multicast membership, which the library, comparing
        addresses, does not see: places that are not the same as before are left first, then joined.
        """
        async with self._joining:
            before, after = _places(self._links), _places(links)
            if before.keys() - after.keys():
                await self._join([place for place in after if place in before])
            self._links = links
            self._intake.own = frozenset(address for each in links.interfaces for address in each.addresses)
            self._tell(await self._join(list(after)))
        self._moved.set()  # `run` has to look anew at what is missing
        log.debug("mdns.interfaces", extra={"fields": {"names": [each.name for each in links.interfaces]}})

    async def run(self) -> None:
        """Joins again what could not be joined, for ever: the kernel may have been out of descriptors or memory."""
        while True:
            self._moved.clear()
            pause = self._trouble.pause_seconds if self._missing() else None
            with suppress(TimeoutError):
                async with time_limit(pause):
                    await self._moved.wait()
                continue
            async with self._joining:
                for interface in self._missing():
                    self._leave(interface.index)
                self._tell(await self._join(list(_places(self._links))))

    async def _join(self, places: Sequence[tuple[int, str]]) -> OSError:
        """Joins these places and leaves all others, as far as possible; returns the error to blame if one is missing."""
        wanted = [address or index for index, address in places if address or self._version is IPVersion.All]
        why = OSError(errno.EADDRNOTAVAIL, "an interface could not be joined")
        try:
            await self._responder.async_update_interfaces(wanted, ip_version=self._version)
        except (OSError, RuntimeError) as error:
            # It went away between the look and the join, which the next look shows, or the kernel could not.
            why = error if isinstance(error, OSError) else why
        _enlarge_buffers(self.zeroconf)
        self._set_gates()
        return why

    def _set_gates(self) -> None:
        for protocol in self.zeroconf.engine.protocols:
            wrapped = protocol.transport
            if wrapped is None:
                continue
            transport = wrapped.transport
            if not isinstance(transport.get_protocol(), _Gate):
                transport.set_protocol(_Gate(self, protocol, is_for_all=_is_for_all(wrapped.sock_name)))

    def _tell(self, why: OSError) -> None:
        if self._missing():
            self._trouble.begins(why)
        else:
            self._trouble.ends()

    def _missing(self) -> list[Interface]:
        """Returns interfaces with an IPv4 address that have no sender. One sender for each is enough, whatever its address."""
        senders = {sender.sock_name[0] for sender in self.zeroconf.engine.senders}
        v4 = [(each, [a for a in each.addresses if ":" not in a]) for each in self._links.interfaces]
        return [each for each, addresses in v4 if addresses and senders.isdisjoint(addresses)]

    def _leave(self, index: int) -> None:
        """Drops the membership that a join which failed half way has left: it would make the next one fail (EADDRINUSE)."""
        member = struct.pack("=4s4si", socket.inet_aton(GROUP_V4), bytes(4), index)
        for reader in self.zeroconf.engine.readers:
            with suppress(OSError):
                reader.sock.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, member)

    async def aclose(self) -> None:
        """Closes the sockets. What is still registered says goodbye first."""
        if self._looking is not None:
            self._looking.cancel()
        await self._responder.async_close()


class _Gate(asyncio.DatagramProtocol):
    """Stands between a socket and the responder's own protocol for it."""

    def __init__(self, mdns: Mdns, inner: AsyncListener, *, is_for_all: bool) -> None:
        """`is_for_all`: the socket is the one where multicast arrives."""
        self._mdns = mdns
        self._inner = inner
        self._is_for_all = is_for_all

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Hands on what is to be read."""
        if self._mdns.admits(data, addr[0], is_for_all=self._is_for_all):
            self._mdns.is_reading_answer = not self._is_for_all
            self._inner.datagram_received(data, addr)
            self._mdns.is_reading_answer = False

    def error_received(self, exc: Exception) -> None:
        """Hands it on."""
        self._inner.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hands it on."""
        self._inner.connection_lost(exc)


def _is_for_all(sock_name: tuple[Any, ...]) -> bool:
    """Whether a socket is the responder's for multicast: the others are each bound to an address of this machine."""
    return sock_name[0] in {"0.0.0.0", "::"}  # noqa: S104 - nothing is bound here


def _places(links: Links) -> dict[tuple[int, str], None]:
    """Returns what can be joined: an index with each IPv4 address, and with none for IPv6, which is joined by index alone.

    The responder sends from the first address of an interface.
    """
    found = ((each, sorted(each.addresses, key=each.spare.__contains__)) for each in links.interfaces)
    return {(each.index, "" if ":" in address else address): None for each, addresses in found for address in addresses}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", 0))
    except OSError:
        return False
    return True


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "UDP port 5353 is taken by a program that does not share it (avahi: set disallow-other-stacks=no); stop it"
    return f"cannot open the mDNS port (UDP 5353): {error.strerror}"


def _enlarge_buffers(zeroconf: Zeroconf) -> None:
    """Enlarges the receive buffers: a few hundred peers answer one question at once, and the default loses some of them."""
    for reader in zeroconf.engine.readers:
        with suppress(OSError):
            reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        with suppress(OSError):  # beyond net.core.rmem_max, with CAP_NET_ADMIN (socket(7))
            reader.sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
