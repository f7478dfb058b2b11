"""What a source may say about one machine: what it *saw*. What that means for a Node, only `policy.decide` knows.

Every observation that could do harm carries the `Evidence` it was formed against: it counts only while the Node still
shows exactly that. The observer that writes first wins, and a late one finds its evidence outdated.

Pure.
"""

import re
from typing import Final

from k3.core.records import dataclass

# How a machine writes what it says of itself, by whichever way it comes: TXT, `/info` or Consul's meta. Whole matches only.
ID: Final = re.compile(r"[0-9a-f]{32}")
"""The id of a machine, in mDNS, in `/info` and in Consul alike (docs/adr/0029)."""
BOOT: Final = re.compile(r"[0-9a-f]{16}")
"""The boot id of a run of an agent."""
VERSION: Final = re.compile(r"[0-9A-Za-z][-+.~_0-9A-Za-z]{0,62}")
WORD: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
"""An operating system or architecture, as in `linux` and `amd64`."""


@dataclass(frozen=True, slots=True)
class System:
    """What a machine runs on, in the words of Kubernetes' nodeInfo; empty texts where it did not say."""

    os_image: str = ""
    kernel_version: str = ""
    machine_id: str = ""
    """Not the machine's own, but a hash of it (machine-id(5))."""
    boot_id: str = ""
    """The kernel's: another one after each boot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a machine says of itself, already held to `limits`.

    `addresses` are IP literals without scope, usable ones first; `links` are CIDR prefixes of its interfaces; `port`
    and `pid` are 0 and the texts empty where it did not say.
    """

    node: str
    addresses: tuple[str, ...] = ()
    port: int = 0
    pid: int = 0
    id: str = ""
    boot: str = ""
    hostname: str = ""
    os: str = ""
    arch: str = ""
    version: str = ""
    links: tuple[str, ...] = ()
    peer_ttl_seconds: float = 0.0
    clone_of: str = ""
    """The id it has in common with a machine that it is a copy of, or that is a copy of it, and goes by no longer."""
    system: System = System()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the Node showed when the observation was formed: its liveness fields, word for word."""

    last_seen: str = ""
    agent: str = ""
    ready: str = ""
    """Status, reason and transition time of Ready, joined."""
    reachable: str = ""
    """Status of Reachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The machine was asked and answered with the right identity."""

    name: str
    facts: Facts
    seen_by: str
    evidence: Evidence
    displaces: str = ""
    """The id of the former holder of the name, found dead by this observer."""
    seen_run: str = ""
    """The boot id of the observer's agent."""
    adopts: Evidence | None = None
    """If the Node is k3 discovery's: what it showed when it had not been Ready for so long that it may be adopted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The agent's own machine starts, changes, or refreshes its Node; it has answered its own probe.

    `fresh` is the first of a run: only that one may turn Ready to True.
    """

    name: str
    facts: Facts
    fresh: bool
    conflict_with: str = ""
    """The name it would have liked, held by another live machine."""
    displaces: str = ""
    clone_at: str = ""
    """Where another machine is that has the same machine id and hardware address; empty: none is known."""
    advice: str = ""
    """What a person does about that."""
    adopts: Evidence | None = None
    """As for Alive, where no other agent looks after this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspected:
    """The machine stopped answering.

    `silent_seconds`: how long ago it last answered this observer, where that is news to the store; None: it is not.
    """

    name: str
    evidence: Evidence
    silent_seconds: float | None
    message: str
    seen_by: str
    """This observer."""
    seen_run: str = ""
    """The boot id of its agent."""


@dataclass(frozen=True, slots=True)
class Silent:
    """The time to live has run out. With standing, the observer may say that it is down; else only that it is not known."""

    name: str
    evidence: Evidence
    standing: bool
    message: str


@dataclass(frozen=True, slots=True)
class Left:
    """The machine said goodbye and refuses connections, or (`by_itself`) is this one, shutting down."""

    name: str
    evidence: Evidence
    by_itself: bool
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Unproven:
    """The machine announces itself but never answered."""

    name: str
    facts: Facts
    shown_by: str
    message: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The Node is to be removed: never proven and no longer announced, or not Ready for longer than `--forget-after`."""

    name: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Explained:
    """The machine is not Ready, and it is known why: another machine is in its place, or it goes by another name itself."""

    name: str
    evidence: Evidence
    message: str


Observation = Alive | Joined | Suspected | Silent | Left | Unproven | Forgotten | Explained
