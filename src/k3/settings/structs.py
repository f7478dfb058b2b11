"""What a person may set, as frozen structs. `k3.settings.load` fills them from flags, environment and file.

No I/O here. A struct that exists can be acted upon: what cannot work is refused when it is made. No password is ever
part of a repr.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Final, Protocol

from k3.core import node, times
from k3.core.records import dataclass
from k3.settings.listen import INTERFACE, Listen
from k3.settings.parsing import bad_value
from k3.settings.service_type import ServiceType

MIN_PEER_TTL_SECONDS: Final = 2.0
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("text", "json")


class Storage(Protocol):
    """Which store: a backend's own frozen struct. No password is part of its repr, nor of its `url`."""

    @property
    def type(self) -> str:
        """The backend's type."""
        ...

    @property
    def url(self) -> str:
        """The URL that opens the same store, given the password: what every message shows."""
        ...

    @property
    def file(self) -> Path | None:
        """The file it is kept in, for a reader to see whether that is there; None: a server, or nothing that lasts."""
        ...

    @property
    def is_private(self) -> bool:
        """Whether no other process can read it."""
        ...

    @property
    def has_password(self) -> bool:
        """Whether a password is set."""
        ...


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How a command logs: level debug, info, warning or error; format text or json; a file beside stderr, if named."""

    level: str = "info"
    format: str = "text"
    path: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something to be logged once logging is set up: an event's name and its fields."""

    event: str
    fields: Mapping[str, object]
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What a person set, word for word, and where: a flag, a variable, or a line of the file."""

    texts: tuple[str, ...] = field(repr=False)
    where: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """What another process of this user has to be told so that it reads the same store. Contains no password."""

    flags: str = ""
    """To be put behind a command, with a space in front: ` --store etcd://10.0.0.5:2379`; empty: it finds it by itself."""
    environ: str = ""
    """To be put before a command, with a space behind: `K3_STORE_PASSWORD=... `."""
    is_alone: bool = False
    """No other process can read it."""
    served_at: str = ""
    """Where this process serves it over the Kubernetes API, as a URL; empty: nowhere."""

    def command(self, words: str) -> str:
        """Returns a command of k3 that uses the same store, to be typed: `k3 network --store etcd://10.0.0.5:2379/team-a`."""
        return f"{self.environ}k3 {words}{self.flags}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every command needs to know before it starts."""

    storage: Storage
    is_default_store: bool
    """The store was not named: it is the default of this machine or user."""
    log: LogSettings = LogSettings()
    notes: tuple[Note, ...] = ()
    reader: Reader = Reader()
    sections: Mapping[str, Mapping[str, Given]] = field(default_factory=dict)
    """What the file's sections `network` and `discovery` say, by section and key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """`k3 network`, ready to run. Raises ConfigInvalid when made of what cannot work."""

    storage: Storage
    listen: Listen = field(default_factory=Listen)
    service: ServiceType = field(default_factory=ServiceType)
    node_name: str = ""
    """Empty: the host's name."""
    is_name_explicit: bool = False
    """Whether a person chose the name (--node-name or NODE_NAME): then no other one is taken."""
    peer_ttl_seconds: float = 90.0
    register_self: bool = True
    interfaces: tuple[str, ...] = ()
    """Empty: all that are fit for multicast."""
    forget_after_seconds: float = 0.0
    """0: never."""
    store_wait_seconds: float = 60.0
    """How long a store that does not answer yet is waited for at the start."""

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        named = not self.is_name_explicit or node.valid_name(self.node_name)
        ttl = times.duration(self.peer_ttl_seconds)
        checks = [
            (named, "--node-name", self.node_name, expected_name(self.node_name)),
            (self.peer_ttl_seconds >= MIN_PEER_TTL_SECONDS, "--peer-ttl", ttl, "2s or more"),
            *[(INTERFACE.fullmatch(name), "--interface", name, "the name of one, like eth0") for name in self.interfaces],
        ]
        for holds, flag, value, expected in checks:
            if not holds:
                raise bad_value(flag, value, expected)


def expected_name(given: str) -> str:
    """Returns what a Node's name looks like, with the one that may have been meant."""
    meant = re.sub(r"[^a-z0-9.-]+", "-", given.lower()).strip("-.")
    hint = f"; did you mean {meant}?" if meant and node.valid_name(meant) else ""
    return f"lower-case letters, digits, - and . as in web1 (RFC 1123){hint}"
