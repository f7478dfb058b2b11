"""The walk through nftables' rules: what is certainly dropped is named with its place, and nothing else is."""

from typing import Any

import pytest

from k3.doctor.firewall import Dropped, Firewall, Packet
from k3.doctor.iptables import translated

MDNS = Packet("input", "udp", 5353, "eth0")
INFO = Packet("input", "tcp", 7946, "eth0")


def chain(*, policy: str = "accept", hook: str = "input", name: str = "c", family: str = "inet") -> dict[str, Any]:
    return {"chain": {"family": family, "table": "f", "name": name, "type": "filter", "hook": hook, "policy": policy}}


def rule(*expressions: Any, name: str = "c", family: str = "inet") -> dict[str, Any]:
    return {"rule": {"family": family, "table": "f", "chain": name, "expr": list(expressions)}}


def dport(protocol: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": right}}


def daddr(right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": right}}


def meta(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def vmap(key: Any, *pairs: Any) -> dict[str, Any]:
    return {"vmap": {"key": key, "data": {"set": list(pairs)}}}


DROP, ACCEPT = {"drop": None}, {"accept": None}
ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
HERE = Dropped("inet", "f", "c")
BY_POLICY = Dropped("inet", "f", "c", by_policy=True)
UNKNOWN = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.0.0.1"}}


@pytest.mark.parametrize(
    ("rules", "packet", "found"),
    [
        ([chain()], MDNS, None),
        ([chain(), rule(dport("udp", 5353), DROP)], MDNS, HERE),
        ([chain(), rule(dport("udp", 5353), {"reject": {"type": "icmp"}})], MDNS, HERE),
        ([chain(), rule(dport("tcp", 5353), DROP)], MDNS, None),
        ([chain(), rule(dport("udp", {"set": [53, {"range": [5000, 6000]}]}), DROP)], MDNS, HERE),
        ([chain(), rule(dport("udp", 5353), ACCEPT), rule(DROP)], MDNS, None),
        ([chain(), rule(meta("iif", "lo", "!="), dport("tcp", 7946), DROP)], INFO, HERE),
        ([chain(), rule(meta("iifname", "wg*"), DROP)], INFO, None),
        ([chain(policy="drop"), rule(ESTABLISHED, ACCEPT), rule(meta("iif", "lo"), ACCEPT)], INFO, BY_POLICY),
        ([chain(policy="drop"), rule({"counter": {"packets": 1}}, dport("tcp", {"range": [7900, 7999]}), ACCEPT)], INFO, None),
        ([chain(policy="drop"), rule(UNKNOWN, ACCEPT)], INFO, None),
        ([chain(), rule(UNKNOWN, DROP)], INFO, None),
        ([chain(), rule(daddr({"prefix": {"addr": "224.0.0.0", "len": 4}}), DROP)], MDNS, HERE),
        ([chain(), rule(daddr("224.0.0.251"), DROP)], MDNS, HERE),
        ([chain(), rule(daddr({"prefix": {"addr": "10.0.0.0", "len": 8}}), DROP)], MDNS, None),
        ([chain(policy="drop"), rule(daddr({"set": ["224.0.0.251"]}), ACCEPT)], MDNS, None),
        ([chain(), rule(daddr({"prefix": {"addr": "224.0.0.0", "len": 4}}), DROP)], INFO, None),
        ([chain(), rule(meta("pkttype", "multicast"), DROP)], MDNS, HERE),
        ([chain(), rule(meta("pkttype", "broadcast"), DROP)], MDNS, None),
        ([chain(), rule(UNKNOWN, ACCEPT), rule(dport("tcp", 7946), DROP)], INFO, None),
        ([chain(), rule(dport("tcp", "@ports"), DROP)], INFO, None),
        ([chain(), rule({"jump": {"target": "x"}}), rule(dport("tcp", 7946), DROP, name="x")], INFO, HERE),
        ([chain(policy="drop"), rule({"jump": {"target": "x"}}), rule(dport("tcp", 7946), ACCEPT, name="x")], INFO, None),
        ([chain(), rule({"jump": {"target": "x"}}), rule({"return": None}, name="x"), rule(DROP)], INFO, HERE),
        ([chain(), rule({"jump": {"target": "c"}})], INFO, None),
        (
            [chain(policy="drop"), rule(vmap({"ct": {"key": "state"}}, ["established", ACCEPT], ["invalid", DROP]))],
            INFO,
            BY_POLICY,
        ),
        ([chain(policy="drop"), rule(vmap({"meta": {"key": "iifname"}}, ["eth0", ACCEPT]))], INFO, None),
        ([chain(), rule(vmap({"ip": {}}, ["x", ACCEPT])), rule(DROP)], INFO, None),
        ([chain(), rule({"goto": {"target": "x"}}), rule(DROP), rule(dport("udp", 1), DROP, name="x")], INFO, None),
        ([chain(family="ip6", policy="drop")], INFO, None),
        ([chain(hook="output", policy="drop")], INFO, None),
        ([chain(), rule({"match": "odd"}, DROP), rule("odd"), {"rule": 3}, {"chain": None}], INFO, None),
    ],
)
def test_what_is_certainly_dropped_is_found(rules: list[Any], packet: Packet, found: Dropped | None) -> None:
    assert Firewall(rules=tuple(rules)).dropped(packet) == found


def test_the_command_is_that_of_the_program_that_keeps_the_rules_else_of_the_rule() -> None:
    rules = (chain(), rule(dport("tcp", 7946), DROP))
    assert Firewall(keeper="ufw", rules=rules).commands(INFO) == ("ufw allow 7946/tcp",)
    assert Firewall(rules=rules).commands(INFO) == ("nft insert rule inet f c tcp dport 7946 accept",)
    assert len(Firewall(unread="not root").commands(INFO)) == 3


def saved(*rules: str, policy: str = "ACCEPT", table: str = "filter") -> str:
    """What iptables-legacy-save prints."""
    head = (
        "# Generated by iptables-save v1.8.9",
        f"*{table}",
        f":INPUT {policy} [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        ":own - [0:0]",
    )
    return "\n".join([*head, *(f"-A {each}" for each in rules), "COMMIT"])


LEGACY_HERE = Dropped("iptables-legacy", "filter", "INPUT")
LEGACY_POLICY = Dropped("iptables-legacy", "filter", "INPUT", by_policy=True)
LET_IN = ("INPUT -i lo -j ACCEPT", "INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")


@pytest.mark.parametrize(
    ("text", "packet", "found"),
    [
        (saved(), MDNS, None),
        (saved("INPUT -p udp -m udp --dport 5353 -j DROP"), MDNS, LEGACY_HERE),
        (saved("INPUT -p udp -m udp --dport 5353 -j REJECT --reject-with icmp-port-unreachable"), MDNS, LEGACY_HERE),
        (saved("INPUT -p tcp -m tcp --dport 5353 -j DROP"), MDNS, None),
        (saved("INPUT -p udp -m udp ! --dport 53 -j DROP"), MDNS, LEGACY_HERE),
        (saved("INPUT ! -i eth+ -p udp -j DROP"), MDNS, None),
        (saved("INPUT -i eth+ -p udp -j DROP"), MDNS, LEGACY_HERE),
        (saved("INPUT -d 224.0.0.0/4 -j DROP"), MDNS, LEGACY_HERE),
        (saved("INPUT -d 224.0.0.0/4 -j DROP"), INFO, None),
        (saved("INPUT -m pkttype --pkt-type multicast -j DROP"), MDNS, LEGACY_HERE),
        (saved(*LET_IN, policy="DROP"), INFO, LEGACY_POLICY),
        (saved(*LET_IN, "INPUT -p tcp -m multiport --dports 22,7900:8000 -j ACCEPT", policy="DROP"), INFO, None),
        (saved("INPUT -p tcp -j own", "own -p tcp -m tcp --dport 7946 -j DROP"), INFO, LEGACY_HERE),
        (saved("INPUT -p tcp -j own", "own -p tcp -m tcp --dport 22 -j RETURN", "INPUT -j DROP"), INFO, LEGACY_HERE),
        (saved("INPUT -g own", "INPUT -j DROP", "own -p udp -j DROP"), INFO, None),
        (saved("INPUT -s 10.0.0.0/8 -j ACCEPT", "INPUT -j DROP"), INFO, None),
        (saved("INPUT -m limit --limit 5/sec -j ACCEPT", "INPUT -j DROP"), INFO, None),
        (saved("INPUT -m mac --mac-source 00:11:22:33:44:55 -j DROP"), INFO, None),
        (saved('INPUT -m comment --comment "a -j ACCEPT" -j LOG --log-prefix "b "', "INPUT -j DROP"), INFO, LEGACY_HERE),
        (saved("INPUT -m limit --limit 5/min -j LOG", "INPUT -j DROP"), INFO, LEGACY_HERE),
        (saved("INPUT -m limit --limit 5/min -j LOG --log-prefix -x", policy="DROP"), INFO, LEGACY_POLICY),
        (saved("INPUT -m set --match-set lan src -j ACCEPT", "INPUT -j DROP"), INFO, None),
        (saved("INPUT -m set ! --match-set lan src -j DROP"), INFO, None),
        (saved("INPUT -m physdev --physdev-is-bridged -j ACCEPT", "INPUT -j DROP"), INFO, None),
        (saved("INPUT -p tcp -m tcp --tcp-flags FIN,SYN SYN -j ACCEPT", "INPUT -j DROP"), INFO, None),
        (saved("INPUT -p tcp -m tcp --syn -j ACCEPT", "INPUT -j DROP"), INFO, None),
        (saved("INPUT -m limit --limit 5/min -j own", "INPUT -j DROP", "own -j LOG"), INFO, LEGACY_HERE),
        (saved("INPUT -m limit --limit 5/min -j own", "INPUT -j DROP", "own -j ACCEPT"), INFO, None),
        (saved("INPUT -j NFQUEUE --queue-num 1", "INPUT -j DROP"), INFO, None),
        (saved('INPUT -m comment --comment "odd -j ACCEPT', "INPUT -j DROP"), INFO, None),
        (saved("OUTPUT", "INPUT -p"), INFO, None),
        (saved("INPUT -j DROP", table="nat"), INFO, None),
        (saved("OUTPUT -o eth0 -p tcp -m tcp --dport 7946 -j DROP"), INFO, None),
    ],
)
def test_what_legacy_iptables_certainly_drops_is_found(text: str, packet: Packet, found: Dropped | None) -> None:
    assert Firewall(rules=tuple(translated(text))).dropped(packet) == found


def test_the_command_for_a_legacy_rule_is_that_of_legacy_iptables() -> None:
    walls = Firewall(rules=tuple(translated(saved("INPUT -p tcp -m tcp --dport 7946 -j DROP"))))
    assert walls.commands(INFO) == ("iptables-legacy -I INPUT -p tcp --dport 7946 -j ACCEPT",)
    assert str(walls.dropped(INFO)) == "chain INPUT of the legacy iptables table filter has a rule that drops it"


def test_legacy_tables_that_cannot_be_read_are_not_passed_over() -> None:
    walls = Firewall(unfollowed="filter")
    assert walls.commands(MDNS)[0] == "iptables-legacy -I INPUT -p udp --dport 5353 -j ACCEPT"
