"""The rules of iptables' legacy tables (iptables-save(8)), in the words of nftables' JSON, so that one walk follows both. Pure.

What is not understood stands there as a condition that cannot be judged, or as a verdict that is not known.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any, Final

LEGACY: Final = "iptables-legacy"
"""Stands for the family, which keeps these tables apart from those of nftables that have the same names."""
_HOOKS: Final = {"INPUT": "input", "OUTPUT": "output"}
_NOT_FILTERING: Final = "nat"
_VERDICTS: Final = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return"}
_GO_ON: Final = frozenset({"LOG", "NFLOG", "MARK", "CONNMARK", "TRACE", "NOTRACK", "CT", "TCPMSS", "DSCP", "TOS"})
"""Targets behind which the walk goes on with the next rule (iptables-extensions(8))."""
_SILENT: Final = frozenset({"--comment"})
"""Options that change nothing for a packet; each has a value."""
_MODULES: Final = frozenset({"tcp", "udp", "comment", "conntrack", "state", "multiport", "pkttype"})
"""Those whose options are understood."""
_UNKNOWN: Final[Mapping[str, Any]] = {"match": "unknown"}
"""A condition that cannot be judged. `xt` would be one, too, and a verdict that is not known besides."""
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
_ODD: Final = ["-j"]
"""Stands for a rule that cannot be read: its verdict is not known."""


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
        chain, words = line.split(" ")[1], _ODD
    words = _ODD if len(line) == _MOST_CHARACTERS else words  # its verdict may have been cut off
    return {"family": LEGACY, "table": table, "chain": chain, "expr": list(_expressions(words, chains))}


def _expressions(words: list[str], chains: set[str]) -> Iterator[Mapping[str, Any]]:
    """Gives the conditions of a rule, and what it does with a packet.

    An option of an extension has no value, one or two: all up to the next word that begins with a dash is taken for its own.
    """
    protocol, op, at = "", "==", 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "!":
            op = "!="
            continue
        values = _values(words, at)
        at += len(values)
        if word in {"-j", "-g"}:
            yield from _target(word, values[0] if values else "", chains)
            return  # what follows are the target's own options
        if word not in _SILENT:
            protocol = values[0] if word == "-p" and values else protocol
            yield _condition(word, values[0], op, protocol) if len(values) == 1 else _UNKNOWN
        op = "=="


def _values(words: list[str], at: int) -> list[str]:
    """Returns the values of the option before this place; that of a comment may be anything."""
    if words[at - 1] in _SILENT:
        return words[at : at + 1]
    return list(takewhile(lambda word: word != "!" and not word.startswith("-"), words[at:]))


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
