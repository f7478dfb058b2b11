"""What Consul answers: the health of a service, the checks of a node, the agent about itself and the service it holds."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

from k3.agent.http import Answer
from k3.core import limits, node
from k3.core.errors import K3Error
from k3.core.observation import Facts
from k3.discovery import catalog, local_agent, snapshot, watch
from k3.discovery.checks import Checks
from k3.discovery.elements import Collector, NoList
from k3.discovery.fields import Refused
from k3.discovery.register import Registration
from k3.discovery.sender import Sender
from k3.discovery.settings import ConsulSettings, from_flags
from k3.discovery.snapshot import Entries, Snapshot
from tests.fuzz import making
from tests.fuzz.parser import Parser, text_of

T = TypeVar("T")

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
PIECE_BYTES: Final = 700


def _collected(body: bytes, collector: Collector[T]) -> T:
    """Returns what a collector keeps of a list that comes in pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), PIECE_BYTES):
            yield body[at : at + PIECE_BYTES]

    return asyncio.run(SENDER._collected(pieces(), collector))


def _service(body: bytes) -> Snapshot:
    return _collected(body, Entries(service="k3-node", datacenter="dc1"))


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
    assert 0 <= facts.port <= limits.PORT
    assert 0 <= facts.pid <= limits.PID
    assert len(facts.addresses) <= 1
    for text in (facts.id, facts.boot, facts.os, facts.arch, facts.version):
        assert text.isascii()
        assert len(text) <= limits.INSTANCE_BYTES


def _checks(body: bytes) -> list[snapshot.Instance]:
    """Returns a machine as examined by these checks of its Consul node, which are also a list of hints."""
    known = _service(json.dumps([ENTRY]).encode()).instances
    checks = _collected(body, Checks())
    hints = watch._by_node(checks, {"host-1"})
    assert set(hints) <= {"host-1"}
    watch._is_shown(list(known), checks)
    return [snapshot.reexamined(each, checks) for each in known]


def _check_examined(found: list[snapshot.Instance]) -> None:
    for each in found:
        _check_instance(each)


def _held(body: bytes) -> tuple[bool, bool]:
    held = local_agent._held(SENDER.parse(Answer(200, {}, body)))
    return REGISTRATION.is_held_as(held), REGISTRATION.is_of_another(held)


def _check_held(found: tuple[bool, bool]) -> None:
    assert found in {(True, False), (False, True), (False, False)}


def _headers(data: bytes) -> tuple[int, int]:
    values = [*data.decode("latin-1").split("\n"), "", ""]
    return max(1, catalog._number(values[0])), catalog._number(values[1])


def _check_headers(found: tuple[int, int]) -> None:
    index, last_contact = found
    assert 1 <= index < 2**63
    assert 0 <= last_contact < 2**63


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
        refuses=(NoList,),
        inputs=making.documents([ENTRY, OTHER], [ENTRY]),
        check=_check_service,
    ),
    Parser(
        name="consul-checks",
        read=_checks,
        refuses=(NoList,),
        inputs=making.documents(ENTRY["Checks"]),
        check=_check_examined,
    ),
    Parser(
        name="consul-held",
        read=_held,
        inputs=making.documents(HELD),
        check=_check_held,
        refuses=(K3Error, Refused),
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
