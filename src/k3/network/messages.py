"""What passes between the network module's parts: announcements heard, probes asked for, and how they went. Pure: data only."""

from dataclasses import field
from datetime import datetime
from typing import Final

from k3.core.observation import Facts
from k3.core.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A peer's mDNS records, parsed and within limits. A hint: nothing in it is proven.

    `addresses` are IP literals, link-local IPv6 ones with the local scope (`fe80::1%eth0`), all on a link of this machine that
    has a carrier; none where that link has been lost since.
    `id`, `boot` are empty and `pid` 0 where the TXT record lacks them.
    """

    instance: str
    node: str
    addresses: tuple[str, ...]
    port: int
    pid: int = 0
    id: str = ""
    boot: str = ""
    asked: bool = field(default=False, compare=False)
    """Whether it has come as an answer to this machine alone, which is worth more than an announcement: it is no flood."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A goodbye, real or forged, or an expiry: the instance's pointer record is gone."""

    instance: str


AGENT: Final = "k3"
READER: Final = "k3-reader"
"""As User-Agents: see `Target.asker`. An agent that starts, and has announced nothing yet, asks as a reader too."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer's health server listens. The address may carry a local scope."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Target:
    """The machine to ask, and where. A later group of endpoints is tried only when the earlier one failed altogether.

    `id` is what must answer; empty: any id that goes with the name.
    """

    name: str
    groups: tuple[tuple[Endpoint, ...], ...]
    id: str = ""
    asker: str = AGENT
    """What asks: `AGENT`, whose announcements the other one expects to hear, or `READER`, which announces nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The peer answered, and is the machine it should be. `group` is the place of the endpoint's group in the target."""

    facts: Facts
    endpoint: Endpoint
    group: int
    uptime_seconds: float = 0.0
    store_id: str = ""
    """Which store it writes to, as `/info` says; empty: unknown."""
    time: datetime | None = None
    """What its clock showed, if it said so."""
    seal: str = ""
    """What it signed this with, as only a clone of the asker's machine can (`own_identity`)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The host is there, and no program listens."""


SILENT: Final = "no answer in time"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back in time, or not a whole answer. `why` is a text of k3's own, `SILENT` in the first case."""

    why: str


@dataclass(frozen=True, slots=True)
class Impostor:
    """Another machine answered, at `endpoint`: by its name or id."""

    node: str
    id: str
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class LocalFault:
    """The question could not even be sent (no route, no address of this machine): that says nothing about the peer.

    `passes`: the kernel lacked descriptors, memory or buffers for it, which is not for long.
    """

    why: str
    passes: bool = False


Outcome = Answered | Refused | NoAnswer | Impostor | LocalFault
