"""What this machine's own firewall does to k3's packets: which program keeps it, and what its rules say. Reads only.

The rules are those of nftables, and of iptables' legacy tables, which nftables does not show.

The rules are walked as the kernel walks them, with one packet in mind. Where a rule says more than is understood here, nothing
is concluded from what stands behind it: what is said is certain, and what is not said may still be so.
"""

import asyncio
import ipaddress
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Final, Literal

from k3.agent.tasks import time_limit
from k3.core.records import dataclass
from k3.doctor.iptables import LEGACY, translated
from k3.network.lookout import FIREWALLS_TCP, FIREWALLS_UDP, FIREWALLS_UDP_OUT
from k3.network.mdns import GROUP_V4

COMMAND_SECONDS: Final = 1.5
JUMPS: Final = 16
"""As deep as the kernel follows (NFT_JUMP_STACK_SIZE)."""
_UFW: Final = Path("/etc/ufw/ufw.conf")
_SYSTEM_PATHS: Final = "/usr/sbin:/sbin"
_LEGACY_TABLES: Final = Path("/proc/net/ip_tables_names")
"""Which legacy tables are loaded: only root may read it."""
_FAMILIES: Final = frozenset({"ip", "inet", LEGACY})
_VERDICTS: Final = {
    "accept": "accept",
    "drop": "drop",
    "reject": "drop",
    "return": "return",
    "queue": "unknown",
    "xt": "unknown",
}

Protocol = Literal["udp", "tcp"]
Hook = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class Packet:
    """A new packet from, or to, another machine. One of UDP is mDNS over IPv4: sent to the group."""

    hook: Hook
    protocol: Protocol
    port: int
    interface: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Where a packet is dropped. `by_policy`: nothing in the chain lets it through."""

    family: str
    table: str
    chain: str
    by_policy: bool = False

    def __str__(self) -> str:
        kind = "legacy iptables table" if self.family == LEGACY else f"nftables table {self.family}"
        how = "lets only certain packets through, and not this one" if self.by_policy else "has a rule that drops it"
        return f"chain {self.chain} of the {kind} {self.table} {how}"

    def opening(self, packet: Packet) -> str:
        """Returns the command that lets such packets through."""
        if self.family == LEGACY:
            table = "" if self.table == "filter" else f"-t {self.table} "
            return f"iptables-legacy {table}-I {self.chain} -p {packet.protocol} --dport {packet.port} -j ACCEPT"
        return f"nft insert rule {self.family} {self.table} {self.chain} {packet.protocol} dport {packet.port} accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """What is known of the firewall. `unread`: why the rules could not be read; empty: they were."""

    keeper: str = ""
    """`ufw` or `firewalld`, where one of them is active."""
    rules: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    unread: str = ""
    unfollowed: str = ""
    """The legacy tables of iptables that are loaded and could not be read."""

    def dropped(self, packet: Packet) -> Dropped | None:
        """Returns where a packet is certainly dropped; None: nowhere, or that cannot be known."""
        return _Ruleset(self.rules).dropped(packet)

    def is_closed_here(self, port: int) -> bool:
        """Whether this machine itself cannot reach a TCP port of its own."""
        ways: tuple[Hook, ...] = ("input", "output")
        return any(self.dropped(Packet(way, "tcp", port, "lo")) is not None for way in ways)

    def commands(self, packet: Packet) -> tuple[str, ...]:
        """Returns what lets such packets through: by the program that keeps the rules, else by the rule's own place."""
        known = {
            ("udp", "input"): FIREWALLS_UDP,
            ("udp", "output"): FIREWALLS_UDP_OUT,
            ("tcp", "input"): FIREWALLS_TCP,
        }.get((packet.protocol, packet.hook), {})
        by_name = {name: command.replace("PORT", str(packet.port)) for name, command in known.items()}
        if self.keeper in by_name:
            return (by_name[self.keeper],)
        if (place := self.dropped(packet)) is not None:
            return (place.opening(packet),)
        if self.unfollowed:  # then no rule of nftables lets through what one of those drops
            place = Dropped(LEGACY, "filter", packet.hook.upper())
            return (place.opening(packet), *by_name.values())
        return tuple(by_name.values())


async def look() -> Firewall:
    """Looks which firewall is active, and what its rules are."""
    keeper, (rules, unread), (legacy, unfollowed) = await asyncio.gather(_keeper(), _rules(), _legacy_rules())
    return Firewall(keeper=keeper, rules=(*rules, *legacy), unread=unread, unfollowed=unfollowed)


async def _keeper() -> str:
    try:
        if "ENABLED=yes" in _UFW.read_text(encoding="utf-8", errors="replace").splitlines():
            return "ufw"
    except OSError:
        pass
    _, said = await _run("firewall-cmd", "--state")
    return "firewalld" if said.strip() == "running" else ""


async def _rules() -> tuple[tuple[Mapping[str, Any], ...], str]:
    if os.geteuid() != 0:
        return (), "only root may read them: sudo k3 doctor"
    code, said = await _run("nft", "-j", "list", "ruleset")
    if code is None:
        return (), "the command nft is not here, or does not answer"
    try:
        found = json.loads(said)["nftables"]
        return tuple(each for each in found if isinstance(each, dict)), ""
    except (ValueError, KeyError, TypeError):
        return (), "the command nft refuses to list them"


async def _legacy_rules() -> tuple[tuple[Mapping[str, Any], ...], str]:
    """Returns the rules of iptables' legacy tables; or which of these are loaded, where they cannot be read."""
    try:
        tables = ", ".join(sorted(_LEGACY_TABLES.read_text(encoding="ascii", errors="replace").split()))
    except OSError:
        return (), ""
    for command in ("iptables-legacy-save", "iptables-save") if tables else ():
        code, said = await _run(command)
        if code == 0 and "-nft" not in said.partition("\n")[0]:  # the second one may be that of nftables
            return tuple(translated(said)), ""
    return (), tables


async def _run(*words: str) -> tuple[int | None, str]:
    """Returns the exit code of a command and what it printed; None: it is not here, or took too long."""
    path = shutil.which(words[0], path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATHS}")
    if path is None:
        return None, ""
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            path, *words[1:], stdin=quiet, stderr=quiet, stdout=asyncio.subprocess.PIPE
        )
    except OSError:
        return None, ""
    try:
        async with time_limit(COMMAND_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        return None, ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode("utf-8", "replace")


class _Ruleset:
    """The rules in nftables' JSON (libnftables-json(5)), walked for one packet."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._chains = [found for each in entries if isinstance(found := each.get("chain"), dict)]
        self._rules: dict[tuple[str, str, str], list[Sequence[Any]]] = {}
        for each in entries:
            rule = each.get("rule")
            if isinstance(rule, dict) and isinstance(rule.get("expr"), list):
                place = (str(rule.get("family")), str(rule.get("table")), str(rule.get("chain")))
                self._rules.setdefault(place, []).append(rule["expr"])

    def dropped(self, packet: Packet) -> Dropped | None:
        for chain in self._chains:
            if chain.get("hook") != packet.hook or chain.get("family") not in _FAMILIES or chain.get("type") != "filter":
                continue
            place = (str(chain["family"]), str(chain.get("table")), str(chain.get("name")))
            verdict = self._walk(place, packet, JUMPS)
            if verdict == "drop":
                return Dropped(*place)
            if verdict == "" and chain.get("policy") == "drop":
                return Dropped(*place, by_policy=True)
        return None

    def _walk(self, place: tuple[str, str, str], packet: Packet, deep: int) -> str:
        """Returns `accept`, `drop`, `unknown`, or empty where the chain has no word on it."""
        is_certain = True
        for expressions in self._rules.get(place, ()):
            matches = _matches(expressions, packet)
            if matches is False:
                continue
            verdict = self._verdict(expressions, place, packet, deep)
            if verdict in {"", "unknown"} or (matches is None and verdict == "drop"):
                is_certain = is_certain and verdict == ""
                continue
            if verdict == "return":
                return "" if is_certain and matches else "unknown"
            if matches is None or not is_certain:
                return "unknown"
            return verdict
        return "" if is_certain else "unknown"

    def _verdict(self, expressions: Sequence[Any], place: tuple[str, str, str], packet: Packet, deep: int) -> str:
        for each in expressions:
            if not isinstance(each, dict):
                return "unknown"
            if plain := next((_VERDICTS[key] for key in each if key in _VERDICTS), ""):
                return plain
            if (jump := each.get("jump") or each.get("goto")) is not None:
                target = str(jump.get("target")) if isinstance(jump, dict) else ""
                found = self._walk((*place[:2], target), packet, deep - 1) if deep else "unknown"
                return found or ("return" if "goto" in each else "")  # what `goto` leads to does not come back (nft(8))
            if isinstance(mapped := each.get("vmap"), dict):
                return self._mapped(mapped, place, packet, deep)
        return ""

    def _mapped(self, mapped: Mapping[str, Any], place: tuple[str, str, str], packet: Packet, deep: int) -> str:
        """Returns the verdict of a map from what the packet has to verdicts; empty where it has no entry for that."""
        value, data = _value(mapped.get("key"), packet), mapped.get("data")
        pairs = data.get("set") if isinstance(data, dict) else None
        if value is None or not isinstance(pairs, list):
            return "unknown"
        for pair in pairs if value is not False else ():
            if not isinstance(pair, list) or len(pair) != 2 or (is_it := _is_in(value, pair[0])) is None:  # noqa: PLR2004 - from and to
                return "unknown"
            if is_it:
                return self._verdict([pair[1]], place, packet, deep)
        return ""


def _matches(expressions: Sequence[Any], packet: Packet) -> bool | None:
    """Whether a rule is about a packet; None: that cannot be known here."""
    answers = [_is_met(each, packet) for each in expressions if isinstance(each, dict)]
    if False in answers:
        return False
    return None if None in answers else True


def _is_met(expression: Mapping[str, Any], packet: Packet) -> bool | None:
    match = expression.get("match")
    if match is None:
        return None if {"limit", "xt", "connlimit", "quota", "fib"} & expression.keys() else True
    if not isinstance(match, dict):
        return None
    value = _value(match.get("left"), packet)
    if value is False:
        return False
    is_in = None if value is None else _is_in(value, match.get("right"))
    if is_in is None:
        return None
    return not is_in if match.get("op") == "!=" else is_in


def _value(left: object, packet: Packet) -> str | int | Literal[False] | None:
    """Returns what the packet has there; None: unknown; False: it has no such field."""
    if not isinstance(left, dict):
        return None
    if isinstance(payload := left.get("payload"), dict):
        return _in_headers(str(payload.get("protocol")), str(payload.get("field")), packet)
    if isinstance(meta := left.get("meta"), dict):
        own = "iif" if packet.hook == "input" else "oif"
        known = {f"{own}name": packet.interface, own: packet.interface, "l4proto": packet.protocol, "nfproto": "ipv4"}
        if (packet.protocol, packet.hook) == ("udp", "input"):
            known["pkttype"] = "multicast"
        return known.get(str(meta.get("key")))
    if isinstance(ct := left.get("ct"), dict):
        return "new" if ct.get("key") == "state" else None
    return None


def _in_headers(header: str, name: str, packet: Packet) -> str | int | Literal[False] | None:
    if header in {"udp", "tcp", "icmp", "icmpv6"} and header != packet.protocol:
        return False
    if name == "daddr" and packet.protocol == "udp":
        return GROUP_V4 if header == "ip" else False
    return packet.port if name == "dport" else None


def _is_in(value: str | int, right: object) -> bool | None:
    """Whether a value is, or is one of, what stands on the right of a match; None: a named set, or nothing known."""
    match right:
        case {"set": list(listed)} | list(listed):
            answers = [_is_in(value, each) for each in listed]
            return True if True in answers else None if None in answers else False
        case {"range": [int(low), int(high)]}:
            return isinstance(value, int) and low <= value <= high
        case {"prefix": {"addr": str(address), "len": int(length)}}:
            return _is_within(str(value), f"{address}/{length}")
        case str():
            return _is_text(str(value), right)
        case int():
            return value == right
    return None


def _is_text(value: str, right: str) -> bool | None:
    if right.startswith("@"):
        return None
    return value.startswith(right[:-1]) if right.endswith("*") else value == right


def _is_within(address: str, prefix: str) -> bool | None:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(prefix, strict=False)
    except ValueError:
        return None
