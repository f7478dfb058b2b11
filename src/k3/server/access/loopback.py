"""Whose connection it is that came over loopback: the kernel knows which user made the socket at the other end.

It is asked by netlink for that one socket (sock_diag(7)): among a thousand sockets 40 microseconds, where the table in /proc
(proc(5)) takes four milliseconds. That is read where the kernel does not answer; where neither is to be had, nobody is known
and nobody may write.

A socket that its process has closed belongs to no process any more, and older kernels report it as user 0. It is taken for
nobody's, or every user could send a write, close at once, and pass for root.
"""

import os
import pwd
import socket
import struct
from pathlib import Path
from typing import Final

from k3.core.addresses import Address, parse_address
from k3.server.access.identity import User, of_local
from k3.server.access.settings import LoopbackWrites

Endpoint = tuple[str, int]
"""An IP literal and a port."""

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
_REQUEST: Final = struct.Struct("=BBBxI")
"""inet_diag_req_v2 before the socket: family, protocol, extensions, states."""
_SOCKET: Final = struct.Struct("!HH16s16s4x8s")
"""inet_diag_sockid: ports, addresses, any interface, any cookie."""
_ENDS_BYTES: Final = 36
"""Of it, the ports and the addresses."""
_ANSWER: Final = struct.Struct("=BBBB48xIIIII")
"""inet_diag_msg: family, state, timer, retransmissions, the socket, expires, two queues, user, inode."""
_NO_COOKIE: Final = b"\xff" * 8
_ANY_STATE: Final = 0xFFFFFFFF
_ANSWER_BYTES: Final = 4_096
_WAIT_SECONDS: Final = 0.1
_TABLES: Final = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}
_OVERFLOW: Final = 65_534
"""The user that the kernel names for one that is none in this user namespace (user_namespaces(7)): it may be anyone."""
_IPV6: Final = 6


class Loopback:
    """Who may do what over loopback without TLS, where no token is shown."""

    def __init__(self, writes: LoopbackWrites) -> None:
        self._writes = writes

    def user(self, client: Endpoint, server: Endpoint) -> User:
        """Returns the user at the other end of a connection. To be asked as soon as it is there."""
        uid = owner(client, server)
        name = "unknown" if uid is None else _name(uid)
        return of_local(name, may_write=self._writes == "all" or _is_trusted(uid))


def owner(client: Endpoint, server: Endpoint) -> int | None:
    """Returns the uid of the process that made the client's socket; None: it cannot be told, or no process has it any more."""
    ends = tuple((_unmapped(host), port) for host, port in (client, server))
    (near, near_port), (far, far_port) = ends
    if near is None or far is None or near.version != far.version:
        return None
    try:
        return _by_netlink(near, near_port, far, far_port)
    except FileNotFoundError:  # there is no such connection any more
        return None
    except OSError:
        return _by_proc(near, near_port, far, far_port)


def _is_trusted(uid: int | None) -> bool:
    """Whether it is root, or the user that runs the server."""
    return uid is not None and uid != _OVERFLOW and uid in {0, os.geteuid()}


def _by_netlink(near: Address, near_port: int, far: Address, far_port: int) -> int | None:
    """Asks the kernel for one socket. Raises OSError where it does not answer so."""
    family = socket.AF_INET6 if near.version == _IPV6 else socket.AF_INET
    ends = _SOCKET.pack(near_port, far_port, near.packed.ljust(16, b"\0"), far.packed.ljust(16, b"\0"), _NO_COOKIE)
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ANY_STATE) + ends
    message = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(_WAIT_SECONDS)
        asked.send(message)
        answer = asked.recv(_ANSWER_BYTES)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        error = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        raise OSError(error, os.strerror(error))
    *_, uid, inode = _ANSWER.unpack_from(answer, _HEADER.size)
    found = answer[_HEADER.size + 4 :][:_ENDS_BYTES]
    # Where there is no such connection any more the kernel answers with the listener on that port, if there is one.
    return uid if inode and found == ends[:_ENDS_BYTES] else None


def _by_proc(near: Address, near_port: int, far: Address, far_port: int) -> int | None:
    ends = f"{_hexadecimal(near)}:{near_port:04X}", f"{_hexadecimal(far)}:{far_port:04X}"
    try:
        with _TABLES[near.version].open(encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if tuple(fields[1:3]) == ends:
                    return int(fields[7]) if int(fields[9]) else None
    except (OSError, ValueError, IndexError):
        return None
    return None


def _hexadecimal(address: Address) -> str:
    """Returns an address as /proc writes it: words of 32 bits, each in this machine's byte order."""
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    return "".join(f"{word:08X}" for word in words)


def _unmapped(host: str) -> Address | None:
    """Returns an address; an IPv4 one that came over an IPv6 socket is one of IPv4, as the kernel keeps it."""
    address = parse_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
