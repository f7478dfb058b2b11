"""Why a machine does not answer from here: its process hangs, a firewall drops the question, or nothing is there at all.

The port is tried once more, without a question: a kernel takes connections for a process that hangs. Then the kernel's own
table tells whether the address was found on the link (Linux, IPv4): ARP (RFC 826) is answered below every firewall. An entry
may be as old as a minute, so a machine that was known alive since then is not said to be there because of one.
"""

import asyncio
from pathlib import Path
from typing import Final

from k3.agent.tasks import time_limit
from k3.view.findings import Way

CONNECT_SECONDS: Final = 1.0
STALE_SECONDS: Final = 60.0
_ARP: Final = Path("/proc/net/arp")
_COMPLETE: Final = 0x2
"""ATF_COM of <net/if_arp.h>: the hardware address was found."""


async def way_of_silence(address: str, port: int, *, silent_seconds: float | None, seconds: float = CONNECT_SECONDS) -> Way:
    """Returns how a machine is silent. `silent_seconds`: for how long; None: it was never known alive."""
    try:
        async with time_limit(seconds):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return "refused"
    except (OSError, TimeoutError, ValueError):
        is_there = _is_on_link(address)
        if is_there is None or (is_there and silent_seconds is not None and silent_seconds < STALE_SECONDS):
            return "silent"
        return "filtered" if is_there else "gone"
    writer.close()
    return "hangs"


def _is_on_link(address: str) -> bool | None:
    """Whether the address was found on a link of this machine; None: that is not known."""
    try:
        rows = [line.split() for line in _ARP.read_text(encoding="ascii").splitlines()[1:]]
        flags = [int(row[2], 16) for row in rows if row[0] == address]
    except (OSError, ValueError, IndexError):
        return None
    return any(each & _COMPLETE for each in flags) if flags else None
