"""The kernel's tables of interfaces and addresses, read over rtnetlink(7), and a wake-up when they change.

Raw facts only: which interfaces k3 uses is decided in `k3.network.links`. One source instead of three (ioctl, `/sys`,
`/proc`), and right inside a bare network namespace, where `/sys` still shows the host's interfaces.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from k3.core.errors import StartFailed

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_RUNNING: Final = 0x40
IFF_MULTICAST: Final = 0x1000

_NETLINK_ROUTE: Final = 0
_RTM_NEWLINK: Final = 16
_RTM_GETLINK: Final = 18
_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_REQUEST_DUMP: Final = 0x1 | 0x300
_GROUPS: Final = 0x1 | 0x10 | 0x100  # links, IPv4 addresses, IPv6 addresses

_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_WORD: Final = struct.Struct("=I")

_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_MASTER: Final = 10
_IFLA_LINKINFO: Final = 18
_IFLA_INFO_KIND: Final = 1
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_IFA_FLAGS: Final = 8
_ATTRIBUTE_TYPE: Final = 0x3FFF
_TIMEOUT_SECONDS: Final = 2.0
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """One interface. `master` is the index of the bridge or bond it is part of, 0: none."""

    index: int
    name: str
    flags: int
    master: int = 0
    mac: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class AddressEntry:
    """One address of an interface, as a literal without scope. `flags` are IFA_F_*."""

    index: int
    address: str
    prefix_length: int
    flags: int


def tables() -> tuple[tuple[LinkEntry, ...], tuple[AddressEntry, ...]]:
    """All interfaces and all their addresses, in the kernel's order. Raises StartFailed where the kernel does not answer."""
    try:
        links = tuple(_link(body) for kind, body in _dump(_RTM_GETLINK) if kind == _RTM_NEWLINK)
        found = (_address(body) for kind, body in _dump(_RTM_GETADDR) if kind == _RTM_NEWADDR)
        return links, tuple(entry for entry in found if entry is not None)
    except (OSError, struct.error) as error:
        msg = f"cannot read this machine's network interfaces over netlink: {error}"
        raise StartFailed(msg) from error


def changes_socket() -> socket.socket | None:
    """A non-blocking socket that becomes readable when an interface or address changes; None where that is not allowed."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    try:
        sock.bind((0, _GROUPS))
    except OSError:
        sock.close()
        return None
    return sock


def drain(sock: socket.socket) -> None:
    """Throw away what has arrived: it is a wake-up, the tables are the truth (an overrun says no more than that either)."""
    for _ in range(1_024):
        try:
            if not sock.recv(65_536):
                return
        except BlockingIOError:
            return
        except OSError:
            continue


def _dump(request: int) -> list[tuple[int, bytes]]:
    for _ in range(_ATTEMPTS - 1):
        try:
            return _dump_once(request)
        except InterruptedError:
            continue  # the table changed underneath
    return _dump_once(request)


def _dump_once(request: int) -> list[tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as sock:
        sock.settimeout(_TIMEOUT_SECONDS)
        sock.bind((0, 0))
        body = bytes(_LINK.size)
        sock.send(_HEADER.pack(_HEADER.size + len(body), request, _REQUEST_DUMP, 1, 0) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            for kind, flags, payload in _messages(sock.recv(262_144)):
                if flags & 0x10:  # NLM_F_DUMP_INTR
                    raise InterruptedError
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", payload)[0]
                    raise OSError(number, "netlink refuses the request")
                found.append((kind, payload))


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, _sequence, _port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, flags, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _ATTRIBUTE_TYPE] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def _link(body: bytes) -> LinkEntry:
    _family, _type, index, flags, _change = _LINK.unpack_from(body)
    found = _attributes(body[_LINK.size :])
    mac = found.get(_IFLA_ADDRESS, b"")
    return LinkEntry(
        index=index,
        name=found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode("utf-8", "replace"),
        flags=flags,
        master=_WORD.unpack(found[_IFLA_MASTER])[0] if _IFLA_MASTER in found else 0,
        mac=mac.hex(":") if any(mac) else "",
        kind=_attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"").rstrip(b"\0").decode("ascii", "replace"),
    )


def _address(body: bytes) -> AddressEntry | None:
    family, prefix_length, flags, _scope, index = _ADDRESS.unpack_from(body)
    found = _attributes(body[_ADDRESS.size :])
    raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if family not in {socket.AF_INET, socket.AF_INET6} or not raw:
        return None
    if _IFA_FLAGS in found:
        flags = _WORD.unpack(found[_IFA_FLAGS])[0]
    return AddressEntry(index, socket.inet_ntop(family, raw), prefix_length, flags)
