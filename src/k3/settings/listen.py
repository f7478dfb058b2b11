"""`--listen`: parsed once, before any store is opened, into what a socket can be bound to. No I/O: no name is looked up."""

import re
from typing import Final, Self

from k3.core import limits
from k3.core.addresses import authority, parse_address, parse_port
from k3.core.records import dataclass
from k3.settings.parsing import bad_value

DEFAULT_PORT: Final = 7946
_FLAG: Final = "--listen"
_EXPECTED: Final = "[address]:port like :7946 or 127.0.0.1:7946"
_LISTEN: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*)):([0-9]+)", re.ASCII)
INTERFACE: Final = re.compile(r"[^\s/]{1,15}")
"""The name of a network interface, as Linux takes it."""
_IPV4: Final = 4
_IPV6: Final = 6
_LOOPBACK: Final = {"localhost": "127.0.0.1"}
"""A name that people write, and the address that they mean. Any other name may have several addresses, or none yet."""


@dataclass(frozen=True, slots=True)
class Listen:
    """An IP literal (IPv6 with its scope, if it needs one; empty: every address) and a port (0: any free one)."""

    host: str = ""
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses `:7946`, `10.0.0.1:7946`, `[::1]:0`. Raises ConfigInvalid, with what may have been meant."""
        found = _LISTEN.fullmatch(text)
        port = parse_port(found[3]) if found else None
        if found is None or port is None or not _can_be_bound(v6=found[1], v4=found[2]):
            raise bad_value(_FLAG, text, f"{_EXPECTED}{_meant(text)}")
        return cls(found[1] or found[2] or "", port)

    @property
    def local_host(self) -> str:
        """Returns the address at which a client on this machine reaches it."""
        address = parse_address(self.host)
        return _LOOPBACK["localhost"] if address is None or address.is_unspecified else self.host

    def __str__(self) -> str:
        """Returns it as people write it."""
        return authority(self.host, self.port)


def _can_be_bound(*, v6: str | None, v4: str | None) -> bool:
    return _is_address(v6, version=_IPV6) if v6 is not None else not v4 or _is_address(v4, version=_IPV4)


def _is_address(text: str, *, version: int | None = None) -> bool:
    found = parse_address(text)
    _, percent, scope = text.partition("%")
    if found is None or (percent and not INTERFACE.fullmatch(scope)):
        return False
    return version is None or found.version == version


def _meant(text: str) -> str:
    """Returns a hint for what people write instead: a bare port, a bare address, a name, a URL, bare IPv6."""
    bare = text.partition("://")[2].partition("/")[0] or text
    host, colon, port = bare.rpartition(":")
    if bare.isdigit():
        host, port = "", bare
    elif not colon or (_is_address(bare) and not _is_address(host, version=_IPV6)):
        host, port = bare, str(DEFAULT_PORT)
    if not (port.isascii() and port.isdigit()):
        return ""
    number = parse_port(port)
    if number is None:
        return f"; a port is at most {limits.PORT}"
    host = _LOOPBACK.get(host, host.removeprefix("[").removesuffix("]"))
    return f"; did you mean {authority(host, number)}?" if not host or _is_address(host) else ""
