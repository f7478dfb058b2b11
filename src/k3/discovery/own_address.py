"""Which address of this machine Consul gets: the one on the route to it."""

import asyncio
import ipaddress
import socket
from typing import Final

from k3.agent.tasks import time_limit
from k3.core import node
from k3.discovery.settings import ConsulSettings

RESOLVE_SECONDS: Final = 2.0
ELSEWHERE: Final = (("192.0.2.1", 9), ("2001:db8::1", 9))
"""Addresses that no machine has (RFC 5737, RFC 3849): the route to them is the default route, and nothing is sent."""


async def address_towards(consul: ConsulSettings) -> str:
    """Returns the address on the route to Consul; where Consul is on this machine, on the default route; else none."""
    places: list[tuple[str, int]] = []
    if consul.scheme != "unix":
        try:
            async with time_limit(RESOLVE_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(consul.host, consul.port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError):
            found = []
        places = [(str(each[4][0]), consul.port) for each in found]
    for place in (*places, *ELSEWHERE):
        address = _address_on_route(place)
        if is_usable(address):
            return address
    return ""


def is_usable(address: str) -> bool:
    """Whether other machines might reach this one there."""
    return bool(node.publishable([address])) and not ipaddress.ip_address(address).is_link_local


def is_own(address: str) -> bool:
    """Whether this machine has it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def _address_on_route(place: tuple[str, int]) -> str:
    # Connecting a datagram socket looks the route up and sends nothing (connect(2)).
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(place)
            return str(sock.getsockname()[0]).partition("%")[0]
    except OSError:
        return ""
