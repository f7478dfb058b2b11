"""What `k3 doctor` says, for the page of the server: one look at a time, shared by everybody who asks meanwhile."""

import asyncio
from typing import Final

from k3.core.records import dataclass
from k3.doctor.examination import examine
from k3.doctor.finding import document
from k3.doctor.machine import Case
from k3.server.serving import Examine

SHARED_SECONDS: Final = 15.0
"""So long a look is good enough for whoever asks next."""


@dataclass(slots=True)
class _Look:
    """The last look: when it was over, in seconds of the loop, and what it found."""

    at: float
    document: dict[str, object]


def examining(case: Case) -> Examine:
    """Returns what looks at this machine, and gives what `k3 doctor -o json` prints."""
    alone, looks = asyncio.Lock(), list[_Look]()

    async def look() -> dict[str, object]:
        clock = asyncio.get_running_loop().time
        async with alone:
            if not looks or clock() - looks[-1].at > SHARED_SECONDS:
                found = await examine(case)
                looks[:] = [_Look(clock(), document(found))]
            return looks[-1].document

    return look
