"""One datacenter's answer as instances: what Consul's health JSON says of each machine, and which Node's name each gets.

Pure. Consul is fed by every holder of a token, so every entry is checked against types and limits: one that breaks a rule is
refused and counted under its reason, never mended, and never costs the others anything. Its machine is left as it is (ADR 42).
Texts in the Meta that are not what k3 writes (other programs use Consul too) read as absent.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any, Final

from k3.core import limits, node
from k3.core.addresses import parse_address
from k3.core.observation import BOOT, ID, VERSION, WORD, Facts
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.discovery.checks import BAD_CHECK, NODE_CHECK, Check, Checks, ailments, judge
from k3.discovery.elements import Unreadable
from k3.discovery.fields import Refused, items, mapping, port, text, texts
from k3.discovery.names import is_consul_node, is_service_id
from k3.discovery.policy import Health

SUFFIX_DIGITS: Final = 6

LEAVING: Final = "leaving"
"""The key in the Meta of a registration whose machine says goodbye."""

BAD_ENTRY: Final = "not an object"
BAD_NODE: Final = "bad Consul node"
BAD_SERVICE_ID: Final = "bad service ID"
BAD_NAME: Final = "bad name"
BAD_META: Final = "bad Meta"
BAD_ADDRESS: Final = "bad address"
BAD_PORT: Final = "bad port"
BAD_CHECKS: Final = "bad checks"
LISTED_TWICE: Final = "listed twice"
TOO_MANY: Final = "too many"
"""Counted once: what is behind the last entry that is taken is not read."""


Identity = tuple[str, str, str]
"""Datacenter, Consul node and service ID."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one answer says."""

    datacenter: str
    instances: tuple[Instance, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    """How many entries, or checks of theirs, were refused for which reason."""
    named: tuple[str, ...] = ()
    """The first of those, for a person."""
    unread: frozenset[Identity] = frozenset()
    """Who is registered by an entry that was refused: their machines are not known to be gone."""
    unidentified: int = 0
    """How many entries do not even say who is registered; they may stand for any machine."""

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


class Entries:
    """Takes the entries of one answer of `/v1/health/service/<service>`, each by itself."""

    def __init__(self, *, service: str, datacenter: str) -> None:
        self._service = service
        self._datacenter = datacenter
        self._found: dict[Identity, Instance] = {}
        self._refused: Counter[str] = Counter()
        self._named: list[str] = []
        self._unread: set[Identity] = set()
        self._unidentified = 0
        self._taken = 0

    def take(self, element: object) -> bool:
        """Reads one entry; one that breaks a rule is refused, and costs the others nothing."""
        self._taken += 1
        if self._taken > limits.CONSUL_INSTANCES:
            self._refused[TOO_MANY] += 1
            return False
        self._read(element)
        return True

    def _read(self, element: object) -> None:
        identity: Identity | None = None
        try:
            consul_node, registered, found = _parts(element)
            identity = self._datacenter, *_names(consul_node["Node"], registered["ID"])
            if identity in self._found:
                self._refuse(LISTED_TWICE, identity)
                return
            checks = Checks()
            for each in items(found, BAD_CHECKS):
                checks.take(each)
            self._found[identity] = _instance(identity, self._service, consul_node, registered, checks.found)
        except Refused as refused:
            self._unidentified += isinstance(refused, _Unidentified)
            self._refuse(str(refused), identity)
        else:
            if checks.refused:
                self._refuse(BAD_CHECK, identity, checks.refused)

    def result(self) -> Snapshot:
        """Returns what was taken."""
        return Snapshot(
            datacenter=self._datacenter,
            instances=tuple(sorted(self._found.values(), key=lambda each: each.identity)),
            refused=dict(self._refused),
            named=tuple(self._named),
            unread=frozenset(self._unread - self._found.keys()),
            unidentified=self._unidentified,
        )

    def _refuse(self, reason: str, identity: Identity | None, count: int = 1) -> None:
        self._refused[reason] += count
        if identity is not None:
            self._unread.add(identity)
            if len(self._named) < limits.CONSUL_NAMED:
                host, service_id = (printable(each, limit=limits.CHECK_CHARACTERS) for each in identity[1:])
                self._named.append(f"{service_id} on {host}: {reason}")


class _Unidentified(Refused):
    """The entry does not say who is registered."""


def _parts(entry: object) -> tuple[Mapping[str, Any], Mapping[str, Any], object]:
    """Returns the Consul node, which has a text for its name, the service, which has one for its ID, and the checks."""
    if not isinstance(entry, dict):
        raise _Unidentified(entry.why if isinstance(entry, Unreadable) else BAD_ENTRY)
    consul_node, registered = entry.get("Node"), entry.get("Service")
    if not isinstance(consul_node, dict) or not isinstance(consul_node.get("Node"), str):
        raise _Unidentified(BAD_NODE)
    if not isinstance(registered, dict) or not isinstance(registered.get("ID"), str):
        raise _Unidentified(BAD_SERVICE_ID)
    return consul_node, registered, entry.get("Checks")


def _names(host: str, service_id: str) -> tuple[str, str]:
    """Returns the two if they may be such names. Raises Refused: a machine of others has never had a Node."""
    if not is_consul_node(host):
        raise Refused(BAD_NODE)
    if not is_service_id(service_id):
        raise Refused(BAD_SERVICE_ID)
    return host, service_id


def _instance(
    identity: Identity, service: str, consul_node: Mapping[str, Any], registered: Mapping[str, Any], checks: list[Check]
) -> Instance:
    datacenter, host, service_id = identity
    meta = texts(registered.get("Meta"), BAD_META)
    name = _name(meta, service_id, service, host)
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
        has_agent=any(each.check_id == NODE_CHECK for each in checks),
        ailments=ailments(checks),
    )


def reexamined(instance: Instance, checks: Iterable[Check]) -> Instance:
    """Returns the instance by the checks of its Consul node as they are now (`/v1/health/node/<node>`)."""
    its = [each for each in checks if each.service_id in {"", instance.service_id}]
    health, message, in_maintenance = judge(its)
    return replace(instance, health=health, message=message, in_maintenance=in_maintenance, ailments=ailments(its))


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
    of_service, of_node = (mapping(each.get("TaggedAddresses"), BAD_ADDRESS) for each in (registered, consul_node))
    values = [
        registered.get("Address"),
        *[mapping(of_service.get(key), BAD_ADDRESS).get("Address") for key in lan],
        consul_node.get("Address"),
        *[of_node.get(key) for key in (*lan, "wan")],
    ]
    first = ""
    for bare in dict.fromkeys(text(each, BAD_ADDRESS).removeprefix("[").removesuffix("]") for each in values):
        if (parsed := parse_address(bare)) is not None:
            if node.publishable([str(parsed)]):
                return str(parsed)
            first = first or str(parsed)
    return first


def _facts(name: str, meta: Mapping[str, str], registered: Mapping[str, Any], consul_node: Mapping[str, Any]) -> Facts:
    address = _address(registered, consul_node)
    return Facts(
        node=name,
        addresses=(address,) if address else (),
        port=port(registered.get("Port"), BAD_PORT),
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
