"""What a person may set, as frozen structs. `k3.settings.load` fills them from flags, environment and file.

No I/O here. A struct that exists can be acted upon: what cannot work is refused when it is made. No password is ever
part of a repr.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from k3.core import node
from k3.core.errors import ConfigInvalid
from k3.core.safe_text import printable

MIN_PEER_TTL_SECONDS: Final = 2.0
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("text", "json")
_SERVICE: Final = re.compile(r"_[A-Za-z0-9](?:[A-Za-z0-9-]{0,13}[A-Za-z0-9])?\._(?:tcp|udp)")
_INTERFACE: Final = re.compile(r"[^\s/]{1,15}")
DEFAULT_PORT: Final = 7946
LAST_PORT: Final = 65_535
_LISTEN: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^\s:\[\]/]*)):(\d{1,5})", re.ASCII)


class Storage(Protocol):
    """Which store: a backend's own frozen struct. No password is part of its repr, nor of its `url`."""

    @property
    def type(self) -> str:
        """The backend's type."""
        ...

    @property
    def url(self) -> str:
        """Opens the same store, given the password: what every message shows."""
        ...

    @property
    def file(self) -> Path | None:
        """The file that it is, for a reader to see whether it is there; None: a server, or nothing that lasts."""
        ...

    @property
    def is_private(self) -> bool:
        """Whether no other process can read it."""
        ...

    @property
    def has_password(self) -> bool:
        """Whether a password opens it."""
        ...


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How a command speaks: level debug, info, warning or error; format text or json; a file beside stderr, if named."""

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
    """What somebody said, word for word, and where: a flag, a variable, or a line of the file."""

    texts: tuple[str, ...] = field(repr=False)
    where: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """What another process of this user has to be told so that it reads the same store. Has no password in it."""

    flags: str = ""
    """To be put behind a command, with a space in front: ` --store etcd://10.0.0.5:2379`; empty: it finds it by itself."""
    environ: str = ""
    """To be put before a command, with a space behind: `K3_STORE_PASSWORD=... `."""
    is_alone: bool = False
    """No other process can read it."""

    def command(self, words: str) -> str:
        """A command of k3 as a person types it to meet the same store: `k3 network --store etcd://10.0.0.5:2379/team-a`."""
        return f"{self.environ}k3 {words}{self.flags}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command needs to know before it starts."""

    storage: Storage
    is_default_store: bool
    """Nobody named the store: it is the default of this machine or user."""
    log: LogSettings = LogSettings()
    notes: tuple[Note, ...] = ()
    reader: Reader = Reader()
    sections: Mapping[str, Mapping[str, Given]] = field(default_factory=dict)
    """What the file's sections `network` and `discovery` say, by section and key."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """`k3 network`, ready to run. Raises ConfigInvalid when made of what cannot work."""

    storage: Storage
    listen: str = ":7946"
    service: str = "_k3._tcp"
    domain: str = "local."
    node_name: str = ""
    """Empty: the host's name."""
    is_name_explicit: bool = False
    """A person chose the name (--node-name or NODE_NAME), so it is that one or none."""
    peer_ttl_seconds: float = 90.0
    register_self: bool = True
    interfaces: tuple[str, ...] = ()
    """Empty: all that are fit for multicast."""
    forget_after_seconds: float = 0.0
    """0: never."""
    store_wait_seconds: float = 60.0
    """How long a store that does not answer yet is waited for at the start."""
    log_level: str = "info"
    log_format: str = "text"

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        split_listen(self.listen)
        named = not self.is_name_explicit or node.valid_name(self.node_name)
        ttl = node.duration(self.peer_ttl_seconds)
        checks = [
            (_SERVICE.fullmatch(self.service), "--service", self.service, "like _k3._tcp (RFC 6763 section 7)"),
            (self.domain == "local.", "--domain", self.domain, "local., the only domain that mDNS has (RFC 6762)"),
            (named, "--node-name", self.node_name, expected_name(self.node_name)),
            (self.peer_ttl_seconds >= MIN_PEER_TTL_SECONDS, "--peer-ttl", ttl, "2s or more"),
            *[(_INTERFACE.fullmatch(name), "--interface", name, "the name of one, like eth0") for name in self.interfaces],
        ]
        for holds, flag, value, expected in checks:
            if not holds:
                raise _bad(flag, value=value, expected=expected)

    @property
    def listen_host(self) -> str:
        """The host part of `listen`; empty: every address."""
        return split_listen(self.listen)[0]

    @property
    def listen_port(self) -> int:
        """The port part of `listen`; 0: whichever is free."""
        return split_listen(self.listen)[1]


def _bad(flag: str, *, value: str, expected: str) -> ConfigInvalid:
    return ConfigInvalid(f'{flag}: bad value "{printable(value, limit=80)}", expected {expected}')


def expected_name(given: str) -> str:
    """What a Node's name looks like, with the one that may have been meant."""
    meant = re.sub(r"[^a-z0-9.-]+", "-", given.lower()).strip("-.")
    hint = f"; did you mean {meant}?" if meant and node.valid_name(meant) else ""
    return f"lower-case letters, digits, - and . as in web1 (RFC 1123){hint}"


def split_listen(text: str) -> tuple[str, int]:
    """`:7946`, `10.0.0.1:7946`, `[::1]:0` as (host, port); an empty host is every address. Raises ConfigInvalid."""
    found = _LISTEN.fullmatch(text)
    if found is None or int(found[3]) > LAST_PORT:
        flag = "--listen"
        raise _bad(flag, value=text, expected=f"[host]:port like :7946 or 127.0.0.1:7946{_meant_listen(text)}")
    return found[1] or found[2] or "", int(found[3])


def _meant_listen(text: str) -> str:
    """A hint for what people write instead: a bare port, a bare address, a URL, an IPv6 address without brackets."""
    bare = text.partition("://")[2].partition("/")[0] or text
    if found := _LISTEN.fullmatch(bare):
        return f"; did you mean {bare}?" if int(found[3]) <= LAST_PORT else f"; a port is at most {LAST_PORT}"
    if bare.isascii() and bare.isdigit():
        return f"; did you mean :{bare}?" if int(bare) <= LAST_PORT else f"; a port is at most {LAST_PORT}"
    host, _, port = bare.rpartition(":")
    if _is_address(host, version=6) and port.isdigit():
        return f"; did you mean [{host}]:{port}?"
    if _is_address(bare):
        return f"; did you mean {f'[{bare}]' if ':' in bare else bare}:{DEFAULT_PORT}?"
    return ""


def _is_address(text: str, *, version: int | None = None) -> bool:
    try:
        return ipaddress.ip_address(text).version in {version or 4, version or 6}
    except ValueError:
        return False
