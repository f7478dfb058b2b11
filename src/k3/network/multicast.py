"""Whether multicast gets out of this machine and in again: tried on each interface with one small packet.

The kernel hands a copy of what a machine multicasts back to it, through the firewall's output rules and then its input rules,
as if it had come from the link. So a packet that is refused, or does not come back, is a firewall here. What a switch, an
access point or a driver drops comes back all the same: that only shows in what is never heard from others (ADR 26).
"""

import asyncio
import errno
import os
import secrets
import socket
import struct
from typing import Final

from k3.agent.refusals import EXHAUSTED
from k3.agent.tasks import time_limit
from k3.core.records import dataclass
from k3.network.links import Interface, Links
from k3.network.mdns import GROUP_V4, GROUP_V6, PORT

SENDS: Final = 3
SEND_INTERVAL_SECONDS: Final = 0.4
INTERFACES: Final = 20

_HEADER: Final = struct.Struct("!6H")
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_NOT_A_FINDING: Final = EXHAUSTED | {
    errno.EAGAIN,
    errno.EINTR,
    errno.ENODEV,
    errno.EADDRNOTAVAIL,
    errno.EADDRINUSE,
    errno.ENETDOWN,
}
"""Errors of missing resources, or of an interface that is going away: they say nothing about a firewall."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Multicast that does not get through on one interface. `why`: the kernel's error on sending; empty: it is not heard."""

    interface: str
    why: str = ""


async def blocked(links: Links, *, sends: int = SENDS) -> tuple[Blocked, ...]:
    """Returns what does not get through, by interface; waits up to `sends * SEND_INTERVAL_SECONDS` if something is amiss."""
    wanted = [each for each in links.interfaces if each.running and each.addresses][:INTERFACES]
    async with asyncio.TaskGroup() as tasks:
        tried = [tasks.create_task(_try(each, sends)) for each in wanted]
    return tuple(found for task in tried if (found := task.result()) is not None)


async def _try(interface: Interface, sends: int) -> Blocked | None:
    family = socket.AF_INET if any(":" not in a for a in interface.addresses) else socket.AF_INET6
    # A query without a question, which no responder answers. Its id means nothing in mDNS (RFC 6762 §18.1) and, with the
    # random bytes, tells this packet from others.
    packet = _HEADER.pack(1 + secrets.randbelow(0xFFFF), 0, 0, 0, 0, 0) + secrets.token_bytes(8)
    loop = asyncio.get_running_loop()
    try:
        with group_socket(family, interface.index) as sock:
            for _ in range(sends):
                sock.sendto(packet, (GROUP_V4, PORT) if family == socket.AF_INET else (GROUP_V6, PORT, 0, interface.index))
                if await _comes_back(loop, sock, packet):
                    return None
    except OSError as error:
        return None if error.errno in _NOT_A_FINDING else Blocked(interface.name, os.strerror(error.errno or 0))
    return Blocked(interface.name)


async def _comes_back(loop: asyncio.AbstractEventLoop, sock: socket.socket, packet: bytes) -> bool:
    try:
        async with time_limit(SEND_INTERVAL_SECONDS):
            while await loop.sock_recv(sock, 9_000) != packet:
                pass
    except TimeoutError:
        return False
    return True


def group_socket(family: socket.AddressFamily, index: int) -> socket.socket:
    """Returns a socket that hears only multicast of this interface: bound to the group, it takes no answer meant for others.

    Raises OSError.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # The port is shared with the responder and with programs such as avahi, which may set either of these.
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET:
            sock.bind((GROUP_V4, PORT))
            member = struct.pack("=4s4si", socket.inet_aton(GROUP_V4), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member)
            # By default Linux delivers what any socket of this machine has joined, on any interface (ip(7)).
            sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)  # RFC 6762 §11
        else:
            sock.bind((GROUP_V6, PORT, 0, index))
            sock.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(family, GROUP_V6) + struct.pack("=I", index)
            )
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    except BaseException:
        sock.close()
        raise
    return sock
