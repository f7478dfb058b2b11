"""Reads one instance's mDNS records as an `Announcement`, or says why not. Pure: no sockets, no clock, no memory.

Any machine on the link may have sent it. What breaks a rule is refused whole; addresses that are not on-link are passed
over, so that no packet makes this machine connect anywhere else.
"""

import ipaddress
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

from k3.core import limits
from k3.core.node import valid_name, whole_number
from k3.core.observation import BOOT, ID
from k3.core.records import dataclass
from k3.network.links import Links
from k3.network.messages import Announcement

_KEYS: Final = frozenset({"node", "port", "pid", "id", "boot"})


class Reason(StrEnum):
    """Why something that was heard is not reported."""

    SERVICE = "not of the service"
    INSTANCE = "instance name"
    NODE = "node name"
    PORT = "port"
    PID = "pid"
    ID = "id"
    BOOT = "boot"
    ADDRESS = "no on-link address"
    TEXT_LONG = "text too long"
    TEXT_BROKEN = "text broken"
    TEXT_VALUE = "text value"
    TOO_MANY = "too many"
    OUR_FAULT = "our fault"


class Unacceptable(Exception):
    """A record breaks a rule."""

    def __init__(self, reason: Reason) -> None:
        """`reason` is what is counted."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HeardAddress:
    """An address record: 4 or 16 bytes, and the index of the interface it came in by (0: unknown)."""

    packed: bytes
    index: int = 0


@lru_cache(maxsize=256)
def instance_of(name: str, service: str) -> str:
    """Returns the instance part of `<instance>.<service>`, lower case. Raises Unacceptable.

    RFC 6763 §4.3 allows any text; k3 uses only what could be a Node's name (RFC 1123).
    """
    lowered = name.lower()
    instance = lowered.removesuffix(f".{service}")
    if instance == lowered:
        raise Unacceptable(Reason.SERVICE)
    if len(instance) > limits.INSTANCE_BYTES or not valid_name(instance):
        raise Unacceptable(Reason.INSTANCE)
    return instance


def read_announcement(
    instance: str, *, port: int, text: bytes, addresses: Iterable[HeardAddress], links: Links
) -> Announcement:
    """Returns the records of one instance, checked. Raises Unacceptable."""
    values = _text_values(text)
    node = values.get("node") or instance
    if not valid_name(node):
        raise Unacceptable(Reason.NODE)
    if not 0 < port <= limits.PORT or _number(values, "port", limits.PORT) not in {0, port}:
        raise Unacceptable(Reason.PORT)
    reachable = _on_link(tuple(addresses), links)
    if not reachable:
        raise Unacceptable(Reason.ADDRESS)
    return Announcement(
        instance=instance,
        node=node,
        addresses=reachable,
        port=port,
        pid=_number(values, "pid", limits.PID),
        id=_matching(values, "id", ID),
        boot=_matching(values, "boot", BOOT),
    )


def _text_values(text: bytes) -> dict[str, str]:
    """Returns the keys that k3 knows (RFC 6763 §6.4: ASCII, any case, the first of a kind counts)."""
    if len(text) > limits.TXT_BYTES:
        raise Unacceptable(Reason.TEXT_LONG)
    found: dict[str, str] = {}
    offset = 0
    while offset < len(text):
        end = offset + 1 + text[offset]
        if end > len(text):
            raise Unacceptable(Reason.TEXT_BROKEN)
        raw_key, _, raw_value = text[offset + 1 : end].partition(b"=")
        key = raw_key.decode("ascii", "replace").lower()
        if key in _KEYS and key not in found:
            found[key] = _value(raw_value)
        offset = end
    return found


def _value(raw: bytes) -> str:
    if len(raw) > limits.TXT_VALUE_BYTES or not raw.isascii():
        raise Unacceptable(Reason.TEXT_VALUE)
    return raw.decode("ascii")


def _number(values: dict[str, str], key: str, high: int) -> int:
    text = values.get(key, "")
    if text in {"", "0"}:
        return 0
    if number := whole_number(text, 1, high):
        return number
    raise Unacceptable(Reason(key))


def _matching(values: dict[str, str], key: str, allowed: re.Pattern[str]) -> str:
    text = values.get(key, "")
    if text and allowed.fullmatch(text) is None:
        raise Unacceptable(Reason(key))
    return text


@lru_cache(maxsize=256)  # four fifths of what reading an announcement costs, and many may be at one place
def _on_link(addresses: tuple[HeardAddress, ...], links: Links) -> tuple[str, ...]:
    literals = dict.fromkeys(_literal(address, links) for address in addresses)
    reachable = [each for each in literals if links.on_link(each)]
    # Link-local addresses mean something else on every machine: only where there is no other.
    preferred = [each for each in reachable if "%" not in each] or reachable
    # A packet's records are in no order, so the sender cannot say which to try first: the best way from here decides.
    preferred.sort(key=lambda each: (":" in each, links.place(each)))
    return tuple(preferred[: limits.PEER_ADDRESSES])


def _literal(address: HeardAddress, links: Links) -> str:
    if len(address.packed) == 4:  # noqa: PLR2004 - an IPv4 address
        return ".".join(map(str, address.packed))
    ip = ipaddress.IPv6Address(address.packed)
    return f"{ip}%{links.name_of(address.index)}" if ip.is_link_local else str(ip)
