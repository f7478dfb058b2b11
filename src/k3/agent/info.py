"""`/info`, the document by which a machine says who it is: written from `Facts` and read back in one place.

What a peer sends is checked against `core.limits` field by field. A document that breaks a rule is refused whole, never
mended; unknown fields are ignored, and only `node` must be there (the Go k3 sends node, port, pid and addrs).
"""

import ipaddress
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NoReturn

from k3.core import limits
from k3.core.errors import Invalid
from k3.core.node import publishable, valid_name
from k3.core.observation import BOOT, ID, VERSION, WORD, Facts, System
from k3.core.records import dataclass
from k3.core.times import duration, parse_timestamp, precise_timestamp, seconds

_STORE: Final = re.compile(r"[0-9A-Za-z][-._:0-9A-Za-z]{0,63}")
_TITLE: Final = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_BOOT_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FOREVER_SECONDS: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a peer's `/info` says."""

    facts: Facts
    uptime_seconds: float = 0.0
    store_id: str = ""
    time: datetime | None = None
    """What its clock shows: for a reader that has to know whose clock is wrong. Agents compare no clocks (ADR 33)."""
    seal: str = ""
    """What a clone of this machine signs its answer with (ADR 29)."""


def info_document(facts: Facts, uptime_seconds: float, store_id: str, *, now: datetime | None = None) -> dict[str, Any]:
    """Returns what `GET /info` answers, as JSON. Empty facts are left out."""
    document: dict[str, Any] = {
        "node": facts.node,
        "port": facts.port,
        "pid": facts.pid,
        "addrs": list(facts.addresses),
        "id": facts.id,
        "cloneOf": facts.clone_of,
        "boot": facts.boot,
        "version": facts.version,
        "os": facts.os,
        "arch": facts.arch,
        "hostname": facts.hostname,
        "links": list(facts.links),
        "peerTTL": duration(facts.peer_ttl_seconds) if facts.peer_ttl_seconds else "",
        "uptime": round(uptime_seconds, 3),
        "store": store_id,
        "time": precise_timestamp(now) if now else "",
        "osImage": facts.system.os_image,
        "kernelVersion": facts.system.kernel_version,
        "machineID": facts.system.machine_id,
        "bootID": facts.system.boot_id,
    }
    return {key: value for key, value in document.items() if value or key in {"node", "port", "pid", "addrs", "uptime"}}


def parse_info(body: bytes) -> Info:
    """Reads a peer's `/info`. Raises Invalid, naming the field but nothing of its content."""
    document = _object(body)
    facts = Facts(
        node=_name(document, "node", required=True),
        addresses=_addresses(document),
        port=_number(document, "port", limits.PORT),
        pid=_number(document, "pid", limits.PID),
        id=_text(document, "id", ID),
        boot=_text(document, "boot", BOOT),
        hostname=_name(document, "hostname"),
        os=_text(document, "os", WORD),
        arch=_text(document, "arch", WORD),
        version=_text(document, "version", VERSION),
        links=_links(document),
        peer_ttl_seconds=_duration(document),
        clone_of=_text(document, "cloneOf", ID),
        system=_system(document),
    )
    return Info(
        facts=facts,
        uptime_seconds=_uptime(document),
        store_id=_text(document, "store", _STORE),
        time=_time(document),
        seal=_text(document, "seal", ID),
    )


def _system(document: Mapping[str, Any]) -> System:
    return System(
        os_image=_text(document, "osImage", _TITLE),
        kernel_version=_text(document, "kernelVersion", _TITLE),
        machine_id=_text(document, "machineID", ID),
        boot_id=_text(document, "bootID", _BOOT_ID),
    )


def _object(body: bytes) -> Mapping[str, Any]:
    if len(body) > limits.INFO_BYTES:
        _refuse("document", f"more than {limits.INFO_BYTES} bytes")
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        _refuse("document", "not a JSON object")
    return document


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _refuse(field: str, why: str) -> NoReturn:
    msg = f"/info: {field}: {why}"
    raise Invalid(msg)


def _text(document: Mapping[str, Any], field: str, allowed: re.Pattern[str]) -> str:
    value = document.get(field, "")
    if value == "":
        return ""
    if not isinstance(value, str) or allowed.fullmatch(value) is None:
        _refuse(field, "not as it should be")
    return value


def _name(document: Mapping[str, Any], field: str, *, required: bool = False) -> str:
    value = document.get(field, "")
    if value == "" and not required:
        return ""
    if not isinstance(value, str) or not valid_name(value):
        _refuse(field, "not a name as RFC 1123 has it")
    return value


def _number(document: Mapping[str, Any], field: str, high: int) -> int:
    value = document.get(field, 0)
    if type(value) is not int or not 0 <= value <= high:
        _refuse(field, f"not a whole number from 0 to {high}")
    return value


def _list(document: Mapping[str, Any], field: str, most: int) -> list[str]:
    value = document.get(field)
    if value is None:  # Go writes an empty list as null
        return []
    if not isinstance(value, list) or len(value) > most or not all(isinstance(each, str) for each in value):
        _refuse(field, f"not a list of at most {most} texts")
    return value


def _addresses(document: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return _usable(tuple(_list(document, "addrs", limits.INFO_ADDRESSES)))
    except ValueError:
        _refuse("addrs", "not an IP address")


@lru_cache(maxsize=1_024)
def _usable(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        ipaddress.ip_interface(text)  # Go prints an interface's address with its prefix length
    return tuple(publishable(text.partition("/")[0] for text in texts))


def _links(document: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return _networks(tuple(_list(document, "links", limits.LINKS)))
    except ValueError:
        _refuse("links", "not a network in CIDR notation")


@lru_cache(maxsize=1_024)
def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    if any("%" in text for text in texts):  # a scope may be any text
        raise ValueError
    return tuple(str(ipaddress.ip_network(text)) for text in texts)


def _duration(document: Mapping[str, Any]) -> float:
    value = document.get("peerTTL", "")
    if value == "":
        return 0.0
    if not isinstance(value, str) or len(value) > limits.DURATION_CHARACTERS or not 0 < seconds(value) < _FOREVER_SECONDS:
        _refuse("peerTTL", "not a duration")
    return seconds(value)


def _time(document: Mapping[str, Any]) -> datetime | None:
    value = document.get("time", "")
    if value == "":
        return None
    if not isinstance(value, str) or len(value) > limits.TIME_CHARACTERS or (at := parse_timestamp(value)) is None:
        _refuse("time", "not as RFC 3339 has it")
    return at


def _uptime(document: Mapping[str, Any]) -> float:
    value = document.get("uptime", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse("uptime", "not a number")
    if not 0 <= value < _FOREVER_SECONDS or not math.isfinite(value):
        _refuse("uptime", "not a number of seconds")
    return float(value)
