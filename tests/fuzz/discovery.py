"""What Consul answers: the health of a service, the checks of a node, the agent about itself and the service it holds."""

import copy
from typing import Any, Final

from k3.agent.http import Answer
from k3.core import limits, node
from k3.core.observation import Facts
from k3.discovery import snapshot, watch
from k3.discovery.catalog import Catalog
from k3.discovery.register import Registration
from k3.discovery.sender import Sender
from k3.discovery.settings import ConsulSettings, from_flags
from k3.discovery.snapshot import Snapshot
from tests.fuzz import making
from tests.fuzz.parser import Parser, text_of

ENTRY: Final[dict[str, Any]] = {
    "Node": {
        "Node": "host-1",
        "Address": "10.0.0.1",
        "Datacenter": "dc1",
        "Meta": {"a": "b"},
        "TaggedAddresses": {"lan": "10.0.0.1", "wan": "192.0.2.1"},
    },
    "Service": {
        "ID": "k3-node-web1",
        "Service": "k3-node",
        "Address": "10.0.0.7",
        "Port": 7946,
        "Tags": ["a"],
        "TaggedAddresses": {"lan": {"Address": "10.0.0.9", "Port": 1}},
        "Meta": {"node": "web1", "pid": "42", "id": "a" * 32, "boot": "b" * 16, "os": "linux", "arch": "arm64", "version": "1"},
    },
    "Checks": [
        {"CheckID": "serfHealth", "Status": "passing", "Output": "x", "Type": "", "ServiceID": "", "Node": "host-1"},
        {"CheckID": "a", "Status": "critical", "Output": "", "Type": "http", "ServiceID": "k3-node-web1", "Node": "host-1"},
    ],
}
OTHER: Final = {**ENTRY, "Service": {**ENTRY["Service"], "ID": "k3-node-web2", "Meta": None}}
HELD: Final = {**ENTRY["Service"], "ContentHash": "0123456789abcdef", "Weights": {"Passing": 1}}
REGISTRATION: Final = Registration(
    service="k3-node",
    service_id="k3-node-web1",
    address="10.0.0.7",
    port=7946,
    facts=Facts(node="web1", id="a" * 32, boot="b" * 16),
    tags=("a",),
)
SENDER: Final = Sender(ConsulSettings())


def _parsed(body: bytes) -> Any:
    return SENDER.parse(Answer(200, {}, body))


def _service(body: bytes) -> Snapshot:
    return snapshot.read(_parsed(body), service="k3-node", datacenter="dc1")


def _check_service(found: Snapshot) -> None:
    assert len(found.instances) <= limits.CONSUL_INSTANCES
    assert all(count > 0 for count in found.refused.values())
    assert len({each.identity for each in found.instances}) == len(found.instances)
    for each in found.instances:
        _check_instance(each)
    named = snapshot.assign([found], "dc1")
    assert all(map(node.valid_name, named))
    assert len(named) == sum(not each.is_hidden for each in found.instances)


def _check_instance(each: snapshot.Instance) -> None:
    facts = each.facts
    assert node.valid_name(each.wanted_name)
    assert each.health in {"passing", "warning", "critical", "unknown", "unasked"}
    assert each.message.isprintable()
    assert len(each.message) < limits.CONSUL_MESSAGE_CHARACTERS
    assert len(each.ailments) <= limits.CONSUL_CHECKS
    assert 0 <= facts.port <= limits.PORT
    assert 0 <= facts.pid <= limits.PID
    assert len(facts.addresses) <= 1
    for text in (facts.id, facts.boot, facts.os, facts.arch, facts.version):
        assert text.isascii()
        assert len(text) <= limits.INSTANCE_BYTES


def _checks(body: bytes) -> list[snapshot.Instance]:
    """Returns a machine as examined by these checks of its Consul node, which are also a list of hints."""
    known = snapshot.read([copy.deepcopy(ENTRY)], service="k3-node", datacenter="dc1").instances
    checks = _parsed(body)
    hints = watch._by_node(checks, {"host-1"})
    assert set(hints) <= {"host-1"}
    watch._is_shown(list(known), checks)
    return [snapshot.reexamined(each, checks) for each in known]


def _check_examined(found: list[snapshot.Instance]) -> None:
    for each in found:
        _check_instance(each)


def _held(body: bytes) -> tuple[bool, bool]:
    held = _parsed(body)
    if not isinstance(held, dict):  # as `LocalAgent.own_service` has it
        held = {}
    return REGISTRATION.is_held_as(held), REGISTRATION.is_of_another(held)


def _check_held(found: tuple[bool, bool]) -> None:
    assert found in {(True, False), (False, True), (False, False)}


def _headers(data: bytes) -> Any:
    names = ("x-consul-index", "x-consul-lastcontact", "x-consul-knownleader")
    values = data.decode("latin-1").split("\n")
    return Catalog(SENDER)._reading(Answer(200, dict(zip(names, values, strict=False)), b"[]"))


def _check_headers(reading: Any) -> None:
    assert 1 <= reading.index < 2**63
    assert 0 <= reading.last_contact_seconds < 2**63


def _address(data: bytes) -> ConsulSettings:
    return from_flags(text_of(data), "", {})


def _check_address(found: ConsulSettings) -> None:
    assert 0 <= found.port <= limits.PORT
    if found.scheme == "unix":
        assert found.socket_path.startswith("/")
    else:
        assert 0 < len(found.host) <= limits.NAME_BYTES
        assert from_flags(f"{found.scheme}://{found.authority}", "", {}) == found, "a normal form"


PARSERS: Final = (
    Parser(
        name="consul-service",
        read=_service,
        inputs=making.documents([ENTRY, OTHER], [ENTRY]),
        check=_check_service,
        broken="a check's Type that is a list is a TypeError",
    ),
    Parser(
        name="consul-checks",
        read=_checks,
        inputs=making.documents(ENTRY["Checks"]),
        check=_check_examined,
        broken="the checks of a Consul node are not parsed: an unhashable CheckID is a TypeError",
    ),
    Parser(
        name="consul-held",
        read=_held,
        inputs=making.documents(HELD),
        check=_check_held,
        broken="the service as the agent holds it is not parsed: its Meta and Tags are taken as they are",
    ),
    Parser(
        name="consul-headers",
        read=_headers,
        inputs=making.texts("12\n0\ntrue", "9223372036854775807\n5\nfalse", "18446744073709551616", alphabet="0123456789-\n.e"),
        check=_check_headers,
    ),
    Parser(
        name="consul-address",
        read=_address,
        inputs=making.texts(
            "localhost:8500",
            "http://10.0.0.1:8500",
            "https://consul.example",
            "unix:///run/consul.sock",
            "[fd00::1]:8500",
            alphabet="/:@[]%.-_ \0aZ09",
        ),
        check=_check_address,
    ),
)
