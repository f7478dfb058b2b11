"""Why a machine does not answer from here: its process hangs, a firewall drops the question, or nothing is there at all.

The port is tried once more, without a question: a kernel takes connections for a process that hangs. Then the kernel's own
table tells whether the address was found on the link (Linux): ARP (RFC 826) and neighbour discovery (RFC 4861) are answered
below every firewall. Only an entry that the kernel calls reachable is proof: one that is stale, or is just being asked for
again, keeps the hardware address of a machine that was switched off. A reachable one may be as old as a minute, so a machine
that was known alive since then is not said to be there because of one.
"""

import asyncio
from typing import Final

from k3.agent.tasks import time_limit
from k3.network import netlink
from k3.view.findings import Way

CONNECT_SECONDS: Final = 1.0
STALE_SECONDS: Final = 60.0
_NOT_FOUND: Final = netlink.NUD_INCOMPLETE | netlink.NUD_FAILED


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
    """Whether the address is on a link of this machine now; None: that is not known."""
    try:
        states = netlink.neighbour_states(address)
    except (OSError, ValueError):
        return None
    if any(each & netlink.NUD_REACHABLE for each in states):
        return True
    return False if states and all(each & _NOT_FOUND for each in states) else None
