"""The rules of iptables' legacy tables (iptables-save(8)), in the words of nftables' JSON, so that one walk follows both. Pure.

What is not understood stands there as a condition that cannot be judged, or as a verdict that is not known.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

LEGACY: Final = "iptables-legacy"
"""Stands for the family, which keeps these tables apart from those of nftables that have the same names."""
_HOOKS: Final = {"INPUT": "input", "OUTPUT": "output"}
_NOT_FILTERING: Final = "nat"
_VERDICTS: Final = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return"}
_GO_ON: Final = frozenset({"LOG", "NFLOG", "MARK", "CONNMARK", "TRACE", "NOTRACK", "CT", "TCPMSS", "DSCP", "TOS"})
"""Targets behind which the walk goes on with the next rule (iptables-extensions(8))."""
_SILENT: Final = frozenset({"--comment", "--reject-with", "--log-prefix", "--log-level"})
"""Options that change nothing for a packet; each has a value."""
_MODULES: Final = frozenset({"tcp", "udp", "comment", "conntrack", "state", "multiport", "pkttype"})
"""Those whose options are understood."""
_UNKNOWN: Final[Mapping[str, Any]] = {"xt": None}
_NOTHING: Final[Mapping[str, Any]] = {"counter": None}
"""An expression that every packet meets."""
_LEFT: Final[Mapping[str, Mapping[str, Any]]] = {
    "-p": {"meta": {"key": "l4proto"}},
    "-i": {"meta": {"key": "iifname"}},
    "-o": {"meta": {"key": "oifname"}},
    "-d": {"payload": {"protocol": "ip", "field": "daddr"}},
    "--ctstate": {"ct": {"key": "state"}},
    "--state": {"ct": {"key": "state"}},
    "--pkt-type": {"meta": {"key": "pkttype"}},
}
"""What an option is about."""
_CHAIN: Final = re.compile(r":(\S+) (\S+)")
_MOST_CHARACTERS: Final = 4_096


def translated(saved: str) -> Iterator[Mapping[str, Any]]:
    """Gives the chains and rules of what `iptables-legacy-save` prints."""
    table, chains = "", set[str]()
    for line in saved.splitlines():
        if line.startswith("*"):
            table, chains = line[1:].strip(), set()
        elif table == _NOT_FILTERING:
            continue
        elif (found := _CHAIN.match(line)) is not None:
            chains.add(found[1])
            yield {"chain": _chain(table, found[1], found[2])}
        elif line.startswith("-A "):
            yield {"rule": _rule(table, line[:_MOST_CHARACTERS], chains)}


def _chain(table: str, name: str, policy: str) -> Mapping[str, Any]:
    made = {"family": LEGACY, "table": table, "name": name}
    hook = {"type": "filter", "hook": _HOOKS[name], "policy": policy.lower()} if name in _HOOKS else {}
    return made | hook


def _rule(table: str, line: str, chains: set[str]) -> Mapping[str, Any]:
    try:
        _, chain, *words = shlex.split(line)
    except ValueError:  # a quotation mark without its partner
        chain, words = line.split(" ")[1], ["--odd"]
    return {"family": LEGACY, "table": table, "chain": chain, "expr": list(_expressions(words, chains))}


def _expressions(words: list[str], chains: set[str]) -> Iterator[Mapping[str, Any]]:
    """Gives the conditions of a rule, and what it does with a packet."""
    protocol, op, left = "", "==", iter(words)
    for word in left:
        if word == "!":
            op = "!="
            continue
        value = next(left, "")
        if word in {"-j", "-g"}:
            yield from _target(word, value, chains)
            if value in _GO_ON:
                return  # what follows are the target's own options
        elif word not in _SILENT:
            protocol = value if word == "-p" else protocol
            yield _condition(word, value, op, protocol)
        op = "=="


def _condition(option: str, value: str, op: str, protocol: str) -> Mapping[str, Any]:
    """Returns one more condition; one that cannot be judged for what is not understood."""
    if option == "-m":
        return _NOTHING if value in _MODULES else _UNKNOWN
    if option in {"--dport", "--dports"}:
        left: Mapping[str, Any] = {"payload": {"protocol": protocol, "field": "dport"}}
    elif option in _LEFT:
        left = _LEFT[option]
    else:
        return _UNKNOWN
    return {"match": {"op": op, "left": left, "right": _right(option, value)}}


def _right(option: str, value: str) -> object:
    """Returns what an option's value is compared with."""
    match option:
        case "-d":
            address, _, length = value.partition("/")
            return {"prefix": {"addr": address, "len": int(length)}} if length.isdigit() else address
        case "--dport" | "--dports":
            return {"set": [_ports(each) for each in value.split(",")]}
        case "--ctstate" | "--state":
            return [each.lower() for each in value.split(",")]
    return f"{value[:-1]}*" if value.endswith("+") else value


def _ports(text: str) -> object:
    low, colon, high = text.partition(":")
    if low.isdigit() and (high.isdigit() or not colon):
        return {"range": [int(low), int(high)]} if colon else int(low)
    return {"odd": text}


def _target(how: str, name: str, chains: set[str]) -> Iterator[Mapping[str, Any]]:
    if name in _VERDICTS:
        yield {_VERDICTS[name]: None}
    elif name in chains:
        yield {"jump" if how == "-j" else "goto": {"target": name}}
    elif name not in _GO_ON:
        yield {"queue": None}  # a verdict of its own, which is not known here
