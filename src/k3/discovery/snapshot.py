"""One datacenter's answer as instances: what Consul's health JSON says of each machine, and which Node's name each gets.

Pure. Consul is fed by every holder of a token, so every entry is checked against limits: one that breaks a rule is refused and
counted under its reason, never mended, and never costs the others anything. Optional metadata that is not what k3
writes (other programs use Consul too) reads as absent.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from k3.core import limits, node
from k3.core.addresses import parse_address
from k3.core.observation import BOOT, ID, VERSION, WORD, Facts
from k3.core.safe_text import printable
from k3.discovery.names import is_consul_node, is_service_id
from k3.discovery.policy import AGENT_LOST, Health

SUFFIX_DIGITS: Final = 6

LEAVING: Final = "leaving"
"""The key in the Meta of a registration whose machine says goodbye."""
NODE_CHECK: Final = "serfHealth"
SERVICE_MAINTENANCE: Final = "_service_maintenance"
NODE_MAINTENANCE: Final = "_node_maintenance"

UNASKED: Final[Health] = "unasked"
TOLD: Final = frozenset({"ttl", "alias"})
"""The types of checks that Consul does not run itself."""
_SEVERITY: Final[Mapping[str, int]] = {"passing": 0, "warning": 1, "critical": 2}


BAD_NODE: Final = "bad Consul node"
BAD_SERVICE_ID: Final = "bad service ID"
BAD_NAME: Final = "bad name"
LISTED_TWICE: Final = "listed twice"
TOO_MANY: Final = "too many"
NO_LIST: Final = "not a list"


Identity = tuple[str, str, str]
"""Datacenter, Consul node and service ID."""


class Refused(Exception):
    """An entry breaks a rule; the text is the reason it is counted under. Never leaves this module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One registered machine. `wanted_name` is valid as a Node's name, though another machine may have it."""

    datacenter: str
    consul_node: str
    service_id: str
    wanted_name: str
    facts: Facts
    health: Health
    message: str
    in_maintenance: bool = False
    is_hidden: bool = False
    """Whether it asked not to become a Node (`--register-self=false`)."""
    is_leaving: bool = False
    """Whether its k3 is about to take it out of Consul."""
    has_agent: bool = True
    """Whether a Consul agent runs there; else a program wrote the machine into the catalog."""
    ailments: frozenset[tuple[str, str]] = frozenset()
    """(check ID, status) of each check that is not passing: its own, and those of its Consul node."""

    @property
    def identity(self) -> Identity:
        """What tells it from others: a service ID is unique per agent only (ADR 17)."""
        return self.datacenter, self.consul_node, self.service_id


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one answer says, and how many entries were refused for which reason."""

    datacenter: str
    instances: tuple[Instance, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)

    def replaced(self, fresh: Iterable[Instance]) -> "Snapshot":
        """Returns the snapshot with these instances instead of those of the same identity."""
        newer = {each.identity: each for each in fresh}
        return replace(self, instances=tuple(newer.get(each.identity, each) for each in self.instances))


@dataclass(frozen=True, slots=True)
class Named:
    """An instance under the name of its Node. `conflict_with`: the name it asked for."""

    name: str
    instance: Instance
    conflict_with: str = ""


def read(document: object, *, service: str, datacenter: str) -> Snapshot:
    """Reads the entries of `/v1/health/service/<service>`, and takes each out of the document, which may be large."""
    refused: Counter[str] = Counter()
    found: dict[Identity, Instance] = {}
    entries: list[object] = document if isinstance(document, list) else []
    if not isinstance(document, list):
        refused[NO_LIST] += 1
    refused[TOO_MANY] += max(0, len(entries) - limits.CONSUL_INSTANCES)
    del entries[limits.CONSUL_INSTANCES :]
    entries.reverse()  # so that they are taken from the end in their order, each then free to go
    while entries:
        try:
            instance = _instance(_mapping(entries.pop()), service, datacenter)
        except Refused as reason:
            refused[str(reason)] += 1
        else:
            refused[LISTED_TWICE] += instance.identity in found
            found.setdefault(instance.identity, instance)
    return Snapshot(datacenter, tuple(sorted(found.values(), key=lambda each: each.identity)), dict(+refused))


def _instance(entry: Mapping[str, Any], service: str, datacenter: str) -> Instance:
    consul_node, registered = _mapping(entry.get("Node")), _mapping(entry.get("Service"))
    meta = _texts(registered.get("Meta"))
    host, service_id = _text(consul_node.get("Node")), _text(registered.get("ID"))
    if not is_consul_node(host):
        raise Refused(BAD_NODE)
    if not is_service_id(service_id):
        raise Refused(BAD_SERVICE_ID)
    name = _name(meta, service_id, service, host)
    found = entry.get("Checks")
    checks = found[: limits.CONSUL_CHECKS] if isinstance(found, list) else []
    health, message, in_maintenance = judge(checks)
    return Instance(
        datacenter=datacenter,
        consul_node=host,
        service_id=service_id,
        wanted_name=name,
        facts=_facts(name, meta, registered, consul_node),
        health=health,
        message=message,
        in_maintenance=in_maintenance,
        is_hidden=meta.get("register-self") == "false",
        is_leaving=meta.get(LEAVING) == "true",
        has_agent=any(_mapping(check).get("CheckID") == NODE_CHECK for check in checks),
        ailments=ailments(checks),
    )


def reexamined(instance: Instance, checks: object) -> Instance:
    """Returns the instance by the checks of its Consul node as they are now (`/v1/health/node/<node>`)."""
    found = [_mapping(each) for each in checks] if isinstance(checks, list) else []
    its = [each for each in found if each.get("ServiceID", "") in {"", instance.service_id}][: limits.CONSUL_CHECKS]
    health, message, in_maintenance = judge(its)
    return replace(instance, health=health, message=message, in_maintenance=in_maintenance, ailments=ailments(its))


def ailments(checks: Iterable[object]) -> frozenset[tuple[str, str]]:
    """Returns (check ID, status) of the checks that are not passing; one that has not run is `unasked`."""
    told = (
        (_text(check.get("CheckID")), UNASKED if is_unasked(check) else _text(check.get("Status")))
        for check in map(_mapping, checks)
    )
    return frozenset(each for each in told if each[1] != "passing")


def is_unasked(check: Mapping[str, Any]) -> bool:
    """Whether the check is critical only because it has not run yet, as after a restart of its agent.

    Consul gives the checks that it runs by itself a type, and those that have run an output. What others report (TTL) or
    write into the catalog counts as it is.
    """
    kind = check.get("Type")
    return check.get("Status") == "critical" and check.get("Output") == "" and bool(kind) and kind not in TOLD


def _name(meta: Mapping[str, str], service_id: str, service: str, consul_node: str) -> str:
    """Returns Meta `node`; else the service ID behind `<service>-`; else Consul's own node name, as far as it can be one."""
    if "node" in meta:
        name = meta["node"]
    else:
        behind = service_id.removeprefix(f"{service}-")
        name = behind if behind != service_id and node.valid_name(behind) else as_name(consul_node)
    if not node.valid_name(name):
        raise Refused(BAD_NAME)
    return name


def as_name(consul_node: str) -> str:
    """Returns the name of a Consul node as a Node's: Consul takes capitals and underscores, Kubernetes does not (RFC 1123)."""
    return consul_node.lower().replace("_", "-")


def _address(registered: Mapping[str, Any], consul_node: Mapping[str, Any]) -> str:
    """Returns the best address known: the service's, else its Consul agent's. Host names are not looked up."""
    lan = ("lan", "lan_ipv4", "lan_ipv6")
    of_service, of_node = (_mapping(each.get("TaggedAddresses")) for each in (registered, consul_node))
    texts = [
        registered.get("Address"),
        *[_mapping(of_service.get(key)).get("Address") for key in lan],
        consul_node.get("Address"),
        *[of_node.get(key) for key in (*lan, "wan")],
    ]
    bare = (_text(each).removeprefix("[").removesuffix("]") for each in texts)
    known = [str(parsed) for each in bare if (parsed := parse_address(each)) is not None]
    return next((each for each in known if node.publishable([each])), next(iter(known), ""))


def _facts(name: str, meta: Mapping[str, str], registered: Mapping[str, Any], consul_node: Mapping[str, Any]) -> Facts:
    port = registered.get("Port")
    address = _address(registered, consul_node)
    return Facts(
        node=name,
        addresses=(address,) if address else (),
        port=port if isinstance(port, int) and not isinstance(port, bool) and 0 < port <= limits.PORT else 0,
        pid=node.whole_number(meta.get("pid", ""), 1, limits.PID),
        id=_matching(meta, "id", ID),
        boot=_matching(meta, "boot", BOOT),
        os=_matching(meta, "os", WORD),
        arch=_matching(meta, "arch", WORD),
        version=_matching(meta, "version", VERSION),
    )


def _matching(meta: Mapping[str, str], key: str, rule: re.Pattern[str]) -> str:
    text = meta.get(key, "")
    return text if rule.fullmatch(text) else ""


def judge(checks: Sequence[object]) -> tuple[Health, str, bool]:
    """Returns health, what a person is told, and whether it is in maintenance: the worst of the checks; without any, passing.

    Maintenance is an intention and not counted. A Consul agent that does not answer leaves its checks unknown.
    """
    worst, at_fault, in_maintenance, is_agent_lost, unasked = 0, "", False, False, ""
    for check in map(_mapping, checks):
        name, status = _text(check.get("CheckID")), _text(check.get("Status"))
        # Consul puts `:<service ID>` behind the check of a service's maintenance.
        if name.startswith((NODE_MAINTENANCE, SERVICE_MAINTENANCE)):
            in_maintenance = True
        elif name == NODE_CHECK and status == "critical":
            is_agent_lost = True
        elif is_unasked(check):
            unasked = min(unasked or name, name)
        # A status that k3 does not know counts as critical; of equally bad ones the first by name is told, so that it stays.
        elif (severity := _SEVERITY.get(status, 2)) > worst or (severity == worst and worst and name < at_fault):
            worst, at_fault = severity, name
    if is_agent_lost:
        return "unknown", AGENT_LOST, in_maintenance
    return *_worst(worst, at_fault, unasked), in_maintenance


def _worst(severity: int, at_fault: str, unasked: str) -> tuple[Health, str]:
    if unasked and severity < _SEVERITY["critical"]:
        return UNASKED, f"Consul has not run check {printable(unasked, limit=limits.CHECK_CHARACTERS)} yet"
    if not severity:
        return "passing", "all its checks in Consul pass"
    health: Health = "warning" if severity == 1 else "critical"
    return health, f"check {printable(at_fault, limit=limits.CHECK_CHARACTERS)} is {health}"


def assign(
    snapshots: Iterable[Snapshot],
    own_datacenter: str,
    reserved: Mapping[str, tuple[str, str]] | None = None,
    held: Mapping[Identity, str] | None = None,
) -> dict[str, Named]:
    """Returns each shown instance under a name of its own: it keeps the one it has (`held`), else the first in order gets it.

    The order: own datacenter first, then datacenter, Consul node, service ID. The next is `<name>-<datacenter>`; more of
    one datacenter get `<name>-<6 hex digits of their identity>`. What then still clashes is left out. `reserved` names
    belong to the (datacenter, service ID) given, which may be out of sight.
    """
    kept = reserved or {}
    shown = [each for snapshot in snapshots for each in snapshot.instances if not each.is_hidden]
    shown.sort(key=lambda each: (each.datacenter != own_datacenter, each.identity))
    named: dict[str, Named] = {}
    if held:
        # No machine's Node is renamed because another one leaves (ADR 17).
        shown = [each for each in shown if not _keeps(each, held.get(each.identity), named)]
    late: list[Instance] = []
    for instance in shown:
        name = instance.wanted_name
        if name in named or not _may_have(instance, name, kept):
            late.append(instance)
        else:
            named[name] = Named(name, instance)
    for instance in late:
        wanted = instance.wanted_name
        holder = named[wanted].instance.datacenter if wanted in named else kept[wanted][0]
        for name in _second_names(instance, is_elsewhere=instance.datacenter != holder):
            if name not in named and node.valid_name(name) and _may_have(instance, name, kept):
                named[name] = _named(instance, name)
                break
    return named


def _keeps(instance: Instance, name: str | None, named: dict[str, Named]) -> bool:
    """Names an instance as it was named before (`name`), if it may have that name still; returns whether it may."""
    if name is None or name in named:
        return False
    if name != instance.wanted_name and name not in _second_names(instance, is_elsewhere=True):
        return False
    named[name] = _named(instance, name)
    return True


def _named(instance: Instance, name: str) -> Named:
    if name == instance.wanted_name:
        return Named(name, instance)
    return Named(name, replace(instance, facts=replace(instance.facts, node=name)), conflict_with=instance.wanted_name)


def _may_have(instance: Instance, name: str, kept: Mapping[str, tuple[str, str]]) -> bool:
    holder = (instance.datacenter, instance.service_id)
    return kept.get(name, holder) == holder


def _second_names(instance: Instance, *, is_elsewhere: bool) -> list[str]:
    digits = hashlib.sha256("\0".join(instance.identity).encode(errors="replace")).hexdigest()[:SUFFIX_DIGITS]
    by_digits = f"{instance.wanted_name}-{digits}"
    datacenter = instance.datacenter.lower().replace("_", "-")
    return [f"{instance.wanted_name}-{datacenter}", by_digits] if is_elsewhere else [by_digits]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> Mapping[str, str]:
    return {key: text for key, text in _mapping(value).items() if isinstance(key, str) and isinstance(text, str)}
