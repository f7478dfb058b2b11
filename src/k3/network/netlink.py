"""The kernel's tables of interfaces and addresses, read over rtnetlink(7), and a wake-up when they change.

Raw facts only: which interfaces k3 uses is decided in `k3.network.interfaces`. They are right inside a bare network
namespace, too, where `/sys` still shows the host's interfaces.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from k3.agent.refusals import EXHAUSTED
from k3.core.addresses import parse_address
from k3.core.records import dataclass

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_RUNNING: Final = 0x40
IFF_NOARP: Final = 0x80
IFF_MULTICAST: Final = 0x1000

NUD_INCOMPLETE: Final = 0x01
NUD_REACHABLE: Final = 0x02
NUD_FAILED: Final = 0x20

_NETLINK_ROUTE: Final = 0
_RTM_NEWLINK: Final = 16
_RTM_GETLINK: Final = 18
_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
_RTM_NEWROUTE: Final = 24
_RTM_GETROUTE: Final = 26
_RTM_NEWNEIGH: Final = 28
_RTM_GETNEIGH: Final = 30
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_REQUEST: Final = 0x1
_DUMP: Final = 0x300
_GROUPS: Final = 0x1 | 0x10 | 0x100  # links, IPv4 addresses, IPv6 addresses

_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
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
_IFA_PROTO: Final = 11
_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PREFSRC: Final = 7
_NDA_DST: Final = 1
_FAR_AWAY: Final = {socket.AF_INET: "192.88.99.1", socket.AF_INET6: "2000::1"}
"""Addresses that are on no link (RFC 7526, and a part of the global space that is not assigned)."""

# Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
_ATTRIBUTE_TYPE: Final = 0x3FFF
_TIMEOUT_SECONDS: Final = 2.0
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEntry:
    """One interface. `master` is the index of the bridge or bond it is part of, 0: none."""

    index: int
    name: str
    flags: int
    master: int = 0
    mac: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressEntry:
    """One address of an interface, as a literal without scope. `flags` are IFA_F_*, `protocol` says what added it."""

    index: int
    address: str
    prefix_length: int
    flags: int
    protocol: int = 0


@dataclass(frozen=True, slots=True)
class WayOut:
    """How packets to far away leave through one interface: from which address, and to which router (empty: none)."""

    source: str
    gateway: str = ""


def tables() -> tuple[tuple[LinkEntry, ...], tuple[AddressEntry, ...]]:
    """Returns all interfaces and their addresses, in the kernel's order. Raises OSError where the kernel does not answer."""
    return read_tables(_dump(_RTM_GETLINK), _dump(_RTM_GETADDR))


def read_tables(
    links: Iterable[tuple[int, bytes]], addresses: Iterable[tuple[int, bytes]]
) -> tuple[tuple[LinkEntry, ...], tuple[AddressEntry, ...]]:
    """Returns the tables in the kernel's messages (type and body). Raises OSError for what is not understood."""
    try:
        found = (_address(body) for kind, body in addresses if kind == _RTM_NEWADDR)
        entries = tuple(_link(body) for kind, body in links if kind == _RTM_NEWLINK)
        return entries, tuple(entry for entry in found if entry is not None)
    except (struct.error, ValueError, IndexError) as error:
        raise OSError(errno.EBADMSG, "the kernel's answer over netlink is not understood") from error


def ways_out(index: int) -> tuple[WayOut, ...]:
    """Returns the source addresses that the kernel takes for far destinations behind an interface, IPv4 first; empty: none.

    Raises OSError while the kernel is out of descriptors or memory.
    """
    found = []
    for family, destination in _FAR_AWAY.items():
        try:
            found.append(_way_out(family, destination, index))
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
        except (struct.error, ValueError):
            continue
    return tuple(found)


def neighbour_states(address: str) -> tuple[int, ...]:
    """Returns what the kernel knows of an address on each link that it has it on (NUD_*). Raises OSError, and ValueError."""
    wanted = parse_address(address)
    packed = b"" if wanted is None else wanted.packed
    try:
        entries = [
            (_NEIGHBOUR.unpack_from(body)[2], _attributes(body[_NEIGHBOUR.size :]))
            for kind, body in _dump(_RTM_GETNEIGH)
            if kind == _RTM_NEWNEIGH
        ]
    except struct.error as error:
        raise OSError(errno.EBADMSG, "the kernel's answer over netlink is not understood") from error
    return tuple(state for state, found in entries if packed and found.get(_NDA_DST) == packed)


def _way_out(family: socket.AddressFamily, destination: str, index: int) -> WayOut:
    packed = socket.inet_pton(family, destination)
    body = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += _attribute(_RTA_DST, packed) + _attribute(_RTA_OIF, _WORD.pack(index))
    for kind, payload in _ask(_RTM_GETROUTE, _REQUEST, body):
        if kind == _RTM_NEWROUTE:
            found = _attributes(payload[_ROUTE.size :])
            gateway = found.get(_RTA_GATEWAY, b"")
            return WayOut(
                socket.inet_ntop(family, found.get(_RTA_PREFSRC, b"")), socket.inet_ntop(family, gateway) if gateway else ""
            )
    raise OSError(errno.ENETUNREACH, "no route")


def _attribute(kind: int, payload: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def changes_socket() -> socket.socket | None:
    """Returns a non-blocking socket that becomes readable when an interface or address changes; None: it cannot be had."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    except OSError:
        return None
    try:
        sock.bind((0, _GROUPS))
    except OSError:
        sock.close()
        return None
    return sock


def drain(sock: socket.socket) -> None:
    """Throws away what has arrived: it is a wake-up, and the tables are read anew. An overrun (ENOBUFS) is no more."""
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
            return _ask(request, _REQUEST | _DUMP, bytes(_LINK.size))
        except InterruptedError:
            continue
    return _ask(request, _REQUEST | _DUMP, bytes(_LINK.size))


def _ask(request: int, request_flags: int, body: bytes) -> list[tuple[int, bytes]]:
    """Returns the kernel's answer: all messages of a dump, or the one message that answers anything else."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as sock:
        sock.settimeout(_TIMEOUT_SECONDS)
        sock.bind((0, 0))
        sock.send(_HEADER.pack(_HEADER.size + len(body), request, request_flags, 1, 0) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            # One call takes one datagram, and what does not fit is lost; the kernel fills at most 32 KiB of a dump at once.
            for kind, flags, payload in _messages(sock.recv(262_144)):
                # NLM_F_DUMP_INTR: the table changed during the dump, which may have skipped or repeated entries.
                if flags & 0x10:
                    raise InterruptedError
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", payload)[0]
                    raise OSError(number, "netlink refuses the request")
                found.append((kind, payload))
            if not request_flags & _DUMP:
                return found


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, _sequence, _port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, flags, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3  # NLMSG_ALIGN: netlink(3)


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
    # On a point-to-point link IFA_ADDRESS is the other end's; IPv6 has no IFA_LOCAL elsewhere.
    raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if family not in {socket.AF_INET, socket.AF_INET6} or not raw:
        return None
    if _IFA_FLAGS in found:  # 32 bits, of which the header has room for 8
        flags = _WORD.unpack(found[_IFA_FLAGS])[0]
    protocol = found.get(_IFA_PROTO, b"\0")[0]
    return AddressEntry(
        index=index, address=socket.inet_ntop(family, raw), prefix_length=prefix_length, flags=flags, protocol=protocol
    )
