"""IP literals, ports and how the two are written together. Pure."""

import ipaddress
from functools import lru_cache
from typing import Final

from k3.core import limits

_LITERAL_CHARACTERS: Final = 64
"""More than any literal has, with a scope."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """An IP literal, without the scope that one of IPv6 may have (RFC 4007 §11.2), or None."""
    return _parsed(text) if len(text) <= _LITERAL_CHARACTERS else None  # what is long is not remembered either


@lru_cache(maxsize=4_096)
def network_of(text: str) -> str:
    """The network that one host may have for itself: an IPv4 address, or the /64 of an IPv6 one (RFC 4291 §2.5.1).

    An IPv6 address may be with a scope, which does not count, or that of an IPv4 one. Other texts stand for themselves.
    """
    address = parse_address(text)
    if address is None:
        return text
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


@lru_cache(maxsize=32_768)
def _parsed(text: str) -> Address | None:
    literal, percent, _ = text.partition("%")
    try:
        return ipaddress.IPv6Address(literal) if percent else ipaddress.ip_address(literal)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a host, an IP literal or a name, is this machine itself by what it is called."""
    address = parse_address(host)
    return address.is_loopback if address is not None else host.lower().removesuffix(".") == "localhost"


def parse_port(text: str) -> int | None:
    """A port as people write it, 0 to 65535, or None."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(limits.PORT))):
        return None
    return int(text) if int(text) <= limits.PORT else None


def bracketed(host: str) -> str:
    """A host as a URL has it: an IPv6 literal stands in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host


def authority(host: str, port: int) -> str:
    """`10.0.0.7:7946`, `[fd00::7]:7946`, `:7946` (RFC 3986 §3.2)."""
    return f"{bracketed(host)}:{port}"
