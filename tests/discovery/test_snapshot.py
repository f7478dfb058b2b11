"""Consul's answer becomes instances: what counts as healthy, what is refused, and who gets which name."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core import limits, node
from k3.discovery import snapshot
from k3.discovery.checks import Check, Checks, judge
from k3.discovery.snapshot import Entries, Instance, Snapshot, assign

ENTRY: dict[str, Any] = {
    "Node": {"Node": "host-1", "Address": "10.0.0.1", "Datacenter": "dc1", "Meta": None},
    "Service": {
        "ID": "k3-node-web1",
        "Service": "k3-node",
        "Address": "10.0.0.7",
        "Port": 7946,
        "Meta": {"node": "web1", "pid": "42", "id": "a" * 32, "boot": "b" * 16, "os": "linux", "arch": "arm64"},
    },
    "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "service:k3-node-web1", "Status": "passing"}],
}


def entry(service: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    made = copy.deepcopy(ENTRY)
    made["Service"] |= service or {}
    made["Node"] |= host or {}
    return {**made, **more}


def read(*found: object) -> Snapshot:
    entries = Entries(service="k3-node", datacenter="dc1")
    for each in found:
        if not entries.take(each):
            break
    return entries.result()


def only(*entries: Any) -> Instance:
    found = read(*entries)
    assert not found.refused, found.refused
    return found.instances[0]


def test_an_entry_as_k3_registers_it() -> None:
    found = only(ENTRY)
    assert found.identity == ("dc1", "host-1", "k3-node-web1")
    assert (found.wanted_name, found.health, found.in_maintenance, found.is_hidden) == ("web1", "passing", False, False)
    facts = found.facts
    assert (facts.node, facts.addresses, facts.port, facts.pid) == ("web1", ("10.0.0.7",), 7946, 42)
    assert (facts.id, facts.boot, facts.os, facts.arch) == ("a" * 32, "b" * 16, "linux", "arm64")


@pytest.mark.parametrize(
    ("service", "host", "name"),
    [
        ({}, {}, "web1"),
        ({"Meta": None}, {}, "web1"),
        ({"Meta": {}, "ID": "k3-node-db.example"}, {}, "db.example"),
        ({"Meta": {}, "ID": "k3-node"}, {}, "host-1"),
        ({"Meta": {}, "ID": "other-web1"}, {}, "host-1"),
        ({"Meta": {}, "ID": "k3-node-Not_Valid"}, {}, "host-1"),
        ({"Meta": {}, "ID": "7"}, {"Node": "h2"}, "h2"),
        ({"Meta": {}, "ID": "7"}, {"Node": "Upper_Case"}, "upper-case"),
        ({"Meta": {}, "ID": "k3-node-Not_Valid"}, {"Node": "DB_2.Example"}, "db-2.example"),
    ],
)
def test_the_name_is_meta_node_else_the_id_else_consul_s(service: dict[str, Any], host: dict[str, Any], name: str) -> None:
    assert only(entry(service, host)).wanted_name == name


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({}, snapshot.BAD_NODE),
        (None, snapshot.BAD_ENTRY),
        ([ENTRY], snapshot.BAD_ENTRY),
        (entry(host={"Node": ["a"]}), snapshot.BAD_NODE),
        ({**ENTRY, "Node": []}, snapshot.BAD_NODE),
        ({**ENTRY, "Service": "web1"}, snapshot.BAD_SERVICE_ID),
        (entry({"ID": {"a": 1}}), snapshot.BAD_SERVICE_ID),
        (entry({"ID": "\ud800"}), snapshot.BAD_SERVICE_ID),
        (entry({"ID": "2", "Meta": ["node"]}), snapshot.BAD_META),
        (entry({"ID": "2", "Meta": "node"}), snapshot.BAD_META),
        (entry({"ID": "2", "Meta": {"node": "web1", "pid": 42}}), snapshot.BAD_META),
        (entry({"ID": "2", "Port": 70_000}), snapshot.BAD_PORT),
        (entry({"ID": "2", "Port": -1}), snapshot.BAD_PORT),
        (entry({"ID": "2", "Port": True}), snapshot.BAD_PORT),
        (entry({"ID": "2", "Port": "7946"}), snapshot.BAD_PORT),
        (entry({"ID": "2", "Port": 1.5}), snapshot.BAD_PORT),
        (entry({"ID": "2", "Address": 7}), snapshot.BAD_ADDRESS),
        (entry({"ID": "2", "Address": ["10.0.0.1"]}), snapshot.BAD_ADDRESS),
        (entry({"ID": "2", "TaggedAddresses": ["lan"]}), snapshot.BAD_ADDRESS),
        (entry({"ID": "2"}, {"TaggedAddresses": {"lan": 7}}), snapshot.BAD_ADDRESS),
        (entry({"ID": "2"}, Checks={"CheckID": "a"}), snapshot.BAD_CHECKS),
        (entry({"ID": "2"}, Checks="passing"), snapshot.BAD_CHECKS),
        (entry(host={"Node": ""}), snapshot.BAD_NODE),
        (entry(host={"Node": "a\nb"}), snapshot.BAD_NODE),
        (entry(host={"Node": "n" * 300}), snapshot.BAD_NODE),
        (entry({"ID": ""}), snapshot.BAD_SERVICE_ID),
        (entry({"ID": 7}), snapshot.BAD_SERVICE_ID),
        (entry({"ID": "x" * 513}), snapshot.BAD_SERVICE_ID),
        (entry({"ID": "k3-node-\x1b[2J"}), snapshot.BAD_SERVICE_ID),
        (entry({"Meta": {"node": "../etc"}}), snapshot.BAD_NAME),
        (entry({"Meta": {"node": "Web_1"}}), snapshot.BAD_NAME),
        (entry({"Meta": {"node": ""}}), snapshot.BAD_NAME),
        (entry({"Meta": {"node": "n" * 254}}), snapshot.BAD_NAME),
        (entry({"Meta": None, "ID": "x"}, {"Node": "Über"}), snapshot.BAD_NAME),
    ],
)
def test_what_breaks_a_rule_is_refused_and_costs_the_others_nothing(broken: Any, reason: str) -> None:
    found = read(broken, ENTRY)
    assert found.refused == {reason: 1}
    assert [each.wanted_name for each in found.instances] == ["web1"]


def test_odd_facts_read_as_absent() -> None:
    odd = {
        "Address": "example.org",
        "Port": 0,
        "Meta": {"node": "web1", "pid": "-1", "id": "mine", "boot": "", "os": "O S"},
    }
    facts = only(entry(odd)).facts
    known = ("10.0.0.1",)
    assert (facts.addresses, facts.port, facts.pid, facts.id, facts.boot, facts.os) == (known, 0, 0, "", "", "")
    assert only(entry({"Address": ""})).facts.addresses == ("10.0.0.1",)
    assert only(entry({"Port": None, "Tags": "blue", "Meta": None, "TaggedAddresses": None}, Checks=None)).facts.port == 0


@pytest.mark.parametrize(
    ("service", "host", "address"),
    [
        ({"Address": "web1.example"}, {}, "10.0.0.1"),
        ({"Address": "[fd00::7]"}, {}, "fd00::7"),
        ({"Address": "127.0.0.1"}, {}, "10.0.0.1"),
        ({"Address": "::1"}, {}, "10.0.0.1"),
        ({"Address": "0.0.0.0"}, {}, "10.0.0.1"),
        ({"Address": "web1", "TaggedAddresses": {"lan": {"Address": "10.0.0.9", "Port": 1}}}, {}, "10.0.0.9"),
        ({"Address": "web1", "TaggedAddresses": {"lan_ipv6": {"Address": "fd00::9"}}}, {}, "fd00::9"),
        ({"Address": ""}, {"Address": "host.example", "TaggedAddresses": {"lan": "10.0.0.3"}}, "10.0.0.3"),
        ({"Address": ""}, {"Address": "127.0.0.1", "TaggedAddresses": {"lan": "127.0.0.1", "wan": "192.0.2.3"}}, "192.0.2.3"),
        ({"Address": "127.0.0.1"}, {"Address": "127.0.0.1"}, "127.0.0.1"),
        ({"Address": "web1", "TaggedAddresses": None}, {"Address": None, "TaggedAddresses": {}}, ""),
    ],
)
def test_the_best_address_that_is_known(service: dict[str, Any], host: dict[str, Any], address: str) -> None:
    assert only(entry(service, host)).facts.addresses == ((address,) if address else ())


def test_what_newer_and_enterprise_versions_add_is_nothing_to_us() -> None:
    newer = entry(
        {"Namespace": "team", "Partition": "east", "PeerName": "", "Locality": {"Region": "r"}, "Ports": [{"Port": 1}]},
        {"Partition": "east", "PeerName": "", "Locality": {"Region": "r"}, "Meta": {"consul-version": "1.21.4"}},
    )
    assert only(newer) == only(ENTRY)


def test_duplicates_and_excess_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONSUL_INSTANCES", 2)
    found = read(ENTRY, ENTRY, entry({"ID": "late"}))
    assert (len(found.instances), found.refused) == (1, {snapshot.LISTED_TWICE: 1, snapshot.TOO_MANY: 1})
    assert read() == Snapshot(datacenter="dc1")


def checks(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"CheckID": name, "Status": status, "Output": "<html>whatever it said this time"} for name, status in pairs]


def found_checks(given_checks: list[Any]) -> list[Check]:
    taken = Checks()
    for each in given_checks:
        assert taken.take(each)
    return taken.result()


def unasked(kind: str) -> dict[str, str]:
    """As Consul shows a check after a restart of its agent."""
    return {"CheckID": "a", "Status": "critical", "Output": "", "Type": kind}


@pytest.mark.parametrize(
    ("given_checks", "health", "message", "in_maintenance"),
    [
        ([], "passing", "all its checks in Consul pass", False),
        (checks(("serfHealth", "passing"), ("a", "passing")), "passing", "all its checks in Consul pass", False),
        (checks(("a", "warning"), ("b", "passing")), "warning", "check a is warning", False),
        (checks(("a", "warning"), ("b", "critical")), "critical", "check b is critical", False),
        (checks(("b", "critical"), ("a", "critical")), "critical", "check a is critical", False),
        (checks(("a", "rotten")), "critical", "check a is critical", False),
        (checks(("\x1b[2J", "critical")), "critical", "check \\x1b[2J is critical", False),
        (checks(("serfHealth", "critical"), ("a", "passing")), "unknown", "does not answer", False),
        (checks(("serfHealth", "critical"), ("a", "critical")), "unknown", "does not answer", False),
        (checks(("_node_maintenance", "critical")), "passing", "all its checks in Consul pass", True),
        (checks(("_service_maintenance:k3-node-web1", "critical"), ("a", "passing")), "passing", "all its", True),
        (checks(("_service_maintenance:k3-node-web1", "critical"), ("a", "critical")), "critical", "check a", True),
        ([None, 7, {"CheckID": 1, "Status": 2}, *checks(("a", "warning"))], "warning", "check a is warning", False),
        ([{"CheckID": ["a"], "Status": "critical"}, {"CheckID": {}, "Status": "critical"}], "passing", "all its", False),
        ([{"CheckID": "a", "Status": 1e999}, {"CheckID": "b"}, {"CheckID": "c" * 2_000, "Status": "x"}], "passing", "", False),
        ([unasked("http")], "unasked", "Consul has not run check a yet", False),
        ([unasked("http"), *checks(("b", "warning"))], "unasked", "has not run check a yet", False),
        ([unasked("http"), *checks(("b", "critical"))], "critical", "check b is critical", False),
        ([unasked("http"), *checks(("serfHealth", "critical"))], "unknown", "does not answer", False),
        ([unasked("ttl")], "critical", "check a is critical", False),
        ([unasked("")], "critical", "check a is critical", False),
        ([{**unasked("http"), "Output": "connection refused"}], "critical", "check a is critical", False),
    ],
)
def test_health_is_the_worst_of_the_checks(given_checks: list[Any], health: str, message: str, in_maintenance: bool) -> None:
    found = judge(found_checks(given_checks))
    assert (found[0], found[2]) == (health, in_maintenance)
    assert message in found[1]
    assert found == judge(found_checks(given_checks[::-1])), "the order that Consul lists checks in must not cause a write"


def test_who_asks_not_to_become_a_node_is_known_and_not_shown() -> None:
    hidden = only(entry({"Meta": {"node": "web1", "register-self": "false"}}))
    assert hidden.is_hidden
    assert assign([Snapshot(datacenter="dc1", instances=(hidden,))], "dc1") == {}


def machine(datacenter: str, consul_node: str, name: str, service_id: str = "s") -> Instance:
    facts = only(ENTRY).facts
    return Instance(
        datacenter=datacenter,
        consul_node=consul_node,
        service_id=service_id,
        wanted_name=name,
        facts=facts,
        health="passing",
        message="",
    )


def names(*instances: Instance, own: str = "dc1") -> dict[str, tuple[str, str, str]]:
    snapshots = [Snapshot(datacenter=each.datacenter, instances=(each,)) for each in instances]
    return {name: named.instance.identity for name, named in assign(snapshots, own).items()}


def test_of_two_machines_with_one_name_our_own_datacenter_s_keeps_it() -> None:
    far, near = machine("dc0", "n", "web1"), machine("dc1", "n", "web1")
    assert names(far, near) == {"web1": near.identity, "web1-dc0": far.identity}
    assert names(far, near, own="dc0") == {"web1": far.identity, "web1-dc1": near.identity}


def test_within_a_datacenter_the_second_gets_digits_of_its_own() -> None:
    one, two, three = (machine("dc1", "n", "web1", service_id) for service_id in "abc")
    named = names(three, two, one)
    assert named["web1"] == one.identity
    assert len(named) == 3
    assert all(len(name) == len("web1-") + 6 for name in named if name != "web1")
    assert names(one, two)[next(n for n, i in named.items() if i == two.identity)] == two.identity


def test_a_second_name_never_takes_a_name_that_somebody_wants() -> None:
    near, far, called_so = machine("dc1", "a", "web1"), machine("dc2", "b", "web1"), machine("dc3", "c", "web1-dc2")
    named = names(near, far, called_so)
    assert named["web1-dc2"] == called_so.identity
    assert len(named) == 3


machines_ = st.builds(
    machine,
    st.sampled_from(["dc1", "dc2", "D_3"]),
    st.sampled_from("ab"),
    st.sampled_from(["w", "w-dc2", "v"]),
    st.sampled_from("st"),
)


@given(
    st.lists(machines_, unique_by=lambda each: each.identity, max_size=12),
    st.randoms(use_true_random=False),
)
def test_every_machine_gets_one_valid_name_whatever_the_order(machines: list[Instance], dice: Any) -> None:
    named = names(*machines)
    assert sorted(named.values()) == sorted(each.identity for each in machines)
    assert all(map(node.valid_name, named))
    dice.shuffle(machines)
    assert names(*machines) == named
    assert {each.wanted_name for each in machines} <= set(named)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["Node", "Service", "Checks", "ID", "Meta", "node", "CheckID", "Status"]), inner)
    ),
    max_leaves=20,
)


json_entries = st.fixed_dictionaries(
    {
        "Node": st.just(ENTRY["Node"]) | json_values,
        "Service": st.fixed_dictionaries({key: st.just(value) | json_values for key, value in ENTRY["Service"].items()}),
        "Checks": st.just(ENTRY["Checks"]) | json_values | st.lists(json_values),
    }
)


@given(st.lists(json_values | json_entries))
def test_no_document_is_fatal_and_none_makes_a_name_that_is_not_valid(document: list[Any]) -> None:
    found = read(*document)
    for each in found.instances:
        assert node.valid_name(each.wanted_name)
        assert each.message.isprintable()
