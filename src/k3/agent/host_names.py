"""Which addresses a host name has, and how a person is told that it has none: which name, and whether that is certain."""

import asyncio
import socket
from typing import Final

from k3.agent.tasks import time_limit
from k3.core.addresses import parse_address
from k3.core.safe_text import one_line

_NOT_ANSWERED: Final = frozenset({socket.EAI_AGAIN, socket.EAI_FAIL})
"""No name server has said that there is no such name: it was not reached, or has failed (getaddrinfo(3))."""
_NO_ADDRESS: Final = frozenset(
    value for value in (getattr(socket, name, None) for name in ("EAI_NODATA", "EAI_ADDRFAMILY")) if value is not None
)
"""The name is known, and has no address (of a kind that is used here); not every system has these codes."""


async def addresses(host: str, port: int, *, seconds: float) -> list[str]:
    """Returns the addresses of a host. Raises socket.gaierror, also where no name server answers in time."""
    if parse_address(host.partition("%")[0]) is not None:
        return [host]
    try:
        async with time_limit(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        msg = f"no name server answers within {seconds:g} s"
        raise socket.gaierror(socket.EAI_AGAIN, msg) from None
    except UnicodeError as error:  # a label that is empty or too long: the name never gets as far as a name server
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
    return [_scoped(*each[4]) for each in found]


def _scoped(address: str, _port: int, _flow: int = 0, scope: int = 0) -> str:
    """Returns an address with its scope: a name in `.local` may have link-local addresses alone (RFC 4007 §11)."""
    return f"{address}%{scope}" if scope and "%" not in address else address


async def unknown(host: str, *, seconds: float) -> str:
    """Returns why a host name leads nowhere; empty: it has addresses, or is one."""
    try:
        await addresses(host, 0, seconds=seconds)
    except OSError as error:
        return why_unknown(host, error)
    return ""


def why_unknown(host: str, error: OSError) -> str:
    """Returns which host name leads nowhere, and why: only where a name server has said so, the name is not known."""
    name = one_line(host)
    if error.errno in _NOT_ANSWERED:
        return f"the host name {name} cannot be looked up now: no name server answers"
    if error.errno in _NO_ADDRESS:
        return f"the host name {name} has no address"
    if error.errno == socket.EAI_NONAME:
        return f"the host name {name} is not known"
    return f"the host name {name} cannot be looked up ({one_line(error.strerror or str(error))})"
