"""Consul's checks: what each says, and what they say together of a machine's health. Pure.

A check that cannot be read is refused by itself, and says nothing: the others count.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from k3.core import limits
from k3.core.phrases import AGENT_LOST
from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.discovery.elements import NoList
from k3.discovery.fields import Refused, mapping, text
from k3.discovery.policy import Health

NODE_CHECK: Final = "serfHealth"
SERVICE_MAINTENANCE: Final = "_service_maintenance"
NODE_MAINTENANCE: Final = "_node_maintenance"
BAD_CHECK: Final = "bad check"

UNASKED: Final[Health] = "unasked"
TOLD: Final = frozenset({"ttl", "alias"})
"""The types of checks that Consul does not run itself."""
_SEVERITY: Final[Mapping[str, int]] = {"passing": 0, "warning": 1, "critical": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. Without a service, it is of the whole Consul node."""

    consul_node: str
    check_id: str
    service_id: str
    service: str
    status: str
    is_unasked: bool
    """Whether it is critical only because it has not run yet, as after a restart of its agent."""


def read_check(value: object) -> Check:
    """Reads a check as Consul shows it. Raises Refused."""
    if not isinstance(value, dict):
        raise Refused(BAD_CHECK)
    found = mapping(value, BAD_CHECK)
    status = text(found.get("Status"), BAD_CHECK, most=limits.CONSUL_STATUS_CHARACTERS)
    if not status:
        raise Refused(BAD_CHECK)
    kind, output = text(found.get("Type"), BAD_CHECK), text(found.get("Output"), BAD_CHECK)
    return Check(
        consul_node=text(found.get("Node"), BAD_CHECK),
        check_id=text(found.get("CheckID"), BAD_CHECK, most=limits.CONSUL_CHECK_ID_CHARACTERS),
        service_id=text(found.get("ServiceID"), BAD_CHECK),
        service=text(found.get("ServiceName"), BAD_CHECK),
        status=status,
        # Consul gives the checks that it runs by itself a type, and those that have run an output. What others report (TTL)
        # or write into the catalog counts as it is.
        is_unasked=status == "critical" and found.get("Output") == output == "" and bool(kind) and kind not in TOLD,
    )


class Checks:
    """Takes the checks of one answer."""

    def __init__(self) -> None:
        self.found: list[Check] = []
        self.refused = 0
        """How many could not be read."""

    def take(self, element: object) -> bool:
        """Takes in one check."""
        try:
            self.found.append(read_check(element))
        except Refused:
            self.refused += 1
        return len(self.found) + self.refused <= limits.CONSUL_LISTED

    def result(self) -> list[Check]:
        """Returns the checks. Raises NoList where there are too many: one that is not read may be the one that matters."""
        if len(self.found) + self.refused > limits.CONSUL_LISTED:
            msg = f"more than {limits.CONSUL_LISTED:,} checks"
            raise NoList(msg)
        return self.found


def ailments(checks: Iterable[Check]) -> frozenset[tuple[str, str]]:
    """Returns (check ID, status) of the checks that are not passing, of many the first ones; a status may be `unasked`."""
    found = {(each.check_id, UNASKED if each.is_unasked else each.status) for each in checks if each.status != "passing"}
    return frozenset(found if len(found) <= limits.CONSUL_AILMENTS else sorted(found)[: limits.CONSUL_AILMENTS])


def judge(checks: Iterable[Check]) -> tuple[Health, str, bool]:
    """Returns health, what a person is told, and whether it is in maintenance: the worst of the checks; without any, passing.

    Maintenance is an intention and not counted. A Consul agent that does not answer leaves its checks unknown.
    """
    worst, at_fault, in_maintenance, is_agent_lost, unasked = 0, "", False, False, ""
    for check in checks:
        name, status = check.check_id, check.status
        # Consul puts `:<service ID>` behind the check of a service's maintenance.
        if name.startswith((NODE_MAINTENANCE, SERVICE_MAINTENANCE)):
            in_maintenance = True
        elif name == NODE_CHECK and status == "critical":
            is_agent_lost = True
        elif check.is_unasked:
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
