"""Why a server cannot be reached, in the words people know instead of the system's numbers."""

import errno
import os
import re
import socket
import ssl
from typing import Final

_NUMBER: Final = re.compile(r"\[Errno (-?\d+)\]")
NO_SUCH_HOST: Final = "no such host"
LOOK_UP_FAILED: Final = "the name cannot be looked up now"

_WORDS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "it hung up",
    errno.EPIPE: "it hung up",
    errno.ETIMEDOUT: "no answer",
    errno.EPERM: "not permitted: a firewall of this machine?",
    errno.EACCES: "not permitted: a firewall of this machine?",
    socket.EAI_NONAME: NO_SUCH_HOST,
    socket.EAI_NODATA: NO_SUCH_HOST,
    socket.EAI_AGAIN: LOOK_UP_FAILED,
    socket.EAI_FAIL: LOOK_UP_FAILED,
}


def why_unreachable(error: OSError) -> str:
    """Returns `connection refused`, `no route to host` and the like; empty for what is no trouble of the network."""
    if isinstance(error, ssl.SSLError):
        return ""
    number = error.errno
    if number is None:  # asyncio has tried several addresses, and tells of each
        found = _NUMBER.search(str(error))
        number = int(found[1]) if found else None
    if number is None:
        return _WORDS[errno.ETIMEDOUT] if isinstance(error, TimeoutError) else ""
    if number in _WORDS:
        return _WORDS[number]
    if isinstance(error, socket.gaierror):
        return LOOK_UP_FAILED
    said = os.strerror(number)
    return said[:1].lower() + said[1:]
