"""A filter of the kernel's in front of a socket: who is turned away costs the agent no time at all (ADR 45, ADR 55, ADR 61).

It is a classic BPF program (socket(7), SO_ATTACH_FILTER), which takes no rights. It sees what arrives at the socket: of a
listening one the packets of a handshake, and those of connections made while it was there. It drops by source address; at an
mDNS socket, only what is no question. Where two sockets listen on one port, such a program says which one gets a client.
"""

import ctypes
import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Final

from k3.core import limits

_ATTACH: Final = 26  # SO_ATTACH_FILTER and SO_DETACH_FILTER, asm-generic/socket.h
_DETACH: Final = 27
_ATTACH_CHOICE: Final = 51  # SO_ATTACH_REUSEPORT_CBPF, the same
_INSTRUCTIONS: Final = 4_096  # BPF_MAXINSNS, linux/bpf_common.h
_OLD_INSTRUCTIONS: Final = 2_400  # what net.core.optmem_max takes, at 20 KiB as it was before Linux 6.7

# linux/filter.h: what a program is made of, and where the network header of a packet begins.
_LOAD_BYTE: Final = 0x30
_LOAD_WORD: Final = 0x20
_SHIFT_RIGHT: Final = 0x74
_JUMP: Final = 0x05
_JUMP_EQUAL: Final = 0x15
_JUMP_IF_SET: Final = 0x45
_RETURN: Final = 0x06
_NETWORK_HEADER: Final = -0x100000 & 0xFFFFFFFF
_PASS: Final = 0xFFFFFFFF
_DROP: Final = 0
_FIRST: Final = 0
_SECOND: Final = 1
_DNS_FLAGS: Final = 10  # behind the UDP header (RFC 768), with which a packet begins here, and the id (RFC 1035 §4.1.1)
_DNS_RESPONSE: Final = 0x80
_V4: Final = 4
_V6: Final = 6
_V4_SOURCE: Final = _NETWORK_HEADER + 12  # RFC 791 §3.1
_V6_SOURCE: Final = _NETWORK_HEADER + 8  # RFC 8200 §3

Instruction = tuple[int, int, int, int]
"""Code, how far to jump if true and if false, and an operand: `struct sock_filter`."""

_HEAD: Final[list[Instruction]] = [(_LOAD_BYTE, 0, 0, _NETWORK_HEADER), (_SHIFT_RIGHT, 0, 0, 4), (_JUMP_EQUAL, 1, 0, _V6)]
"""Looks at the IP version; one more step jumps on for IPv4."""

_QUESTIONS_PASS: Final[list[Instruction]] = [
    (_LOAD_BYTE, 0, 0, _DNS_FLAGS),
    (_JUMP_IF_SET, 1, 0, _DNS_RESPONSE),
    (_RETURN, 0, 0, _PASS),
]


def drop(sock: socket.socket, origins: Iterable[str], *, passing: Collection[str] = (), but_questions: bool = False) -> None:
    """Drops what comes from these origins, IPv4 addresses or IPv6 /64s, and nothing else; none: removes the filter.

    `passing`: IPv6 addresses that pass although they are in such a /64. `but_questions`: the socket is one of DNS over UDP, and
    questions pass whoever asks. Raises OSError where the kernel takes no filter.
    """
    v4, v6 = _sorted(origins)
    if not v4 and not v6:
        with suppress(OSError):  # there was none
            sock.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
        return
    head = _QUESTIONS_PASS if but_questions else []
    _attach(sock, lambda most: [*head, *program(v4, v6, passing, most=most)])


def drop_others(sock: socket.socket, origins: Iterable[str]) -> None:
    """Drops what comes from anywhere but these origins, and is no question, at a socket of DNS over UDP. Raises OSError."""
    v4, v6 = _sorted(origins)
    _attach(sock, lambda most: [*_QUESTIONS_PASS, *program(v4, v6, most=most, listed=_PASS, others=_DROP)])


def steer(sock: socket.socket, addresses: Iterable[str]) -> None:
    """Of two sockets that listen on one port, gives clients at these addresses to the second one, and all others to the first.

    `sock` is one of both. Raises OSError where the kernel takes no such program.
    """
    v4, v6 = _sorted(addresses)
    _attach(sock, lambda most: program(v4, v6, most=most, listed=_SECOND, others=_FIRST), option=_ATTACH_CHOICE)


def _attach(sock: socket.socket, made: Callable[[int], Collection[Instruction]], *, option: int = _ATTACH) -> None:
    """Attaches a program, a short one where the kernel takes no long one."""
    try:
        _attach_one(sock, made(_INSTRUCTIONS), option)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        _attach_one(sock, made(_OLD_INSTRUCTIONS), option)


def _attach_one(sock: socket.socket, steps: Collection[Instruction], option: int) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", len(steps), ctypes.addressof(code)))


def _sorted(origins: Iterable[str]) -> tuple[list[int], list[tuple[int, ...]]]:
    found = [_prefix(origin) for origin in origins]
    return [words[0] for version, words in found if version == _V4], [words for version, words in found if version == _V6]


@lru_cache(maxsize=limits.HTTP_TURNED_AWAY)
def _prefix(origin: str) -> tuple[int, tuple[int, ...]]:
    """Returns the IP version, and the first words of the addresses."""
    net = ipaddress.ip_network(origin)
    packed = net.network_address.packed[: net.prefixlen // 8]
    return net.version, struct.unpack(f"!{len(packed) // 4}I", packed)


def program(
    v4: Iterable[int],
    v6: Iterable[tuple[int, ...]],
    passing: Iterable[str] = (),
    *,
    most: int = _INSTRUCTIONS,
    listed: int = _DROP,
    others: int = _PASS,
) -> list[Instruction]:
    """Returns the filter; an IPv6 entry is the first words of an address. What does not fit is taken for others."""
    room = most - len(_QUESTIONS_PASS) - len(_HEAD) - 3
    for_v4 = _as_fit((_if_from((each,), _V4_SOURCE, listed) for each in v4), room)
    passes = (_prefix(each)[1] for each in passing if ":" in each)
    entries = [*((words, _PASS) for words in passes), *((words, listed) for words in v6)]
    for_v6 = _as_fit((_if_from(words, _V6_SOURCE, verdict) for words, verdict in entries), room - len(for_v4))
    to_v4 = (_JUMP, 0, 0, len(for_v6) + 1)
    return [*_HEAD, to_v4, *for_v6, (_RETURN, 0, 0, others), *for_v4, (_RETURN, 0, 0, others)]


def _as_fit(entries: Iterable[list[Instruction]], room: int) -> list[Instruction]:
    steps: list[Instruction] = []
    for entry in entries:
        if len(steps) + len(entry) > room:
            break
        steps += entry
    return steps


def _if_from(words: tuple[int, ...], source: int, verdict: int) -> list[Instruction]:
    """Returns the verdict for packets whose source begins with these words; others go on behind it."""
    steps: list[Instruction] = []
    for place, word in enumerate(words):
        left = 2 * (len(words) - place - 1) + 1
        steps += [(_LOAD_WORD, 0, 0, source + 4 * place), (_JUMP_EQUAL, 0, left, word)]
    return [*steps, (_RETURN, 0, 0, verdict)]
