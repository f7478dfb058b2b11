"""What Consul's servers are asked, through the agent: which services, nodes and checks they show.

A `Reading` says how far an answer may be trusted; `guards` judges that. Blocking queries hold a connection of the agent for as
long as they were asked to wait, even when given up: callers do not cancel them to ask something else.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Final, Generic, TypeVar
from urllib.parse import quote

from k3.core import limits
from k3.core.records import dataclass
from k3.discovery.checks import NODE_CHECK, Check, Checks
from k3.discovery.elements import Collector
from k3.discovery.names import is_datacenter
from k3.discovery.sender import CALL_SECONDS, Sender, read_timeout_seconds
from k3.discovery.snapshot import Entries, Snapshot

T = TypeVar("T")

WAIT_SECONDS: Final = 55
"""The longest blocking query: load balancers cut at 60 s."""
MARK: Final = "registration"
"""The key in a registration's Meta that tells it from the former ones of the same service."""

_INDEX_MAX: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T]):
    """The answer to a read: what was found in it, and what Consul says about how far it may be trusted."""

    found: T
    index: int
    """For the next blocking query; at least 1."""
    has_leader: bool
    last_contact_seconds: float
    """Since the answering server heard from its leader."""
    is_filtered: bool
    """Consul left something out that the token may not see (told by Consul 1.11 and newer only)."""
    is_stream: bool = False
    """The agent took it from a stream: then it says nothing of a leader (ADR 23)."""


def next_index(former: int, answered: int) -> int:
    """Returns the index to ask with next: 0, which does not block, after it went backwards (the servers lost their state)."""
    return 0 if answered < former else max(1, answered)


class Catalog:
    """The questions to Consul's servers, over a `Sender`. Each raises what `Sender.read` raises."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    @property
    def reading_seconds(self) -> float:
        """How much of a core's time it has taken so far to read what was asked for."""
        return self._sender.reading_seconds

    async def is_listed(self, service: str, service_id: str, mark: str = "") -> bool:
        """Whether the catalog of the agent's own datacenter shows the service, with this mark in its Meta if one is given."""
        only = f"ServiceID == {json.dumps(service_id)}"
        if mark:
            only += f" and ServiceMeta.{MARK} == {json.dumps(mark)}"
        wanted = _Wanted(lambda found: _is_service(found, service_id, mark))
        return await self._read(f"/v1/catalog/service/{quote(service, safe='')}", wanted, filter=only)

    async def sees_nodes(self) -> bool:
        """Whether Consul shows any of its nodes: there are always some, but not for every token."""
        return await self._read("/v1/catalog/nodes", _Wanted(lambda found: isinstance(found.get("Node"), str)))

    @property
    def nothing_to_see(self) -> str:
        """Returns what to tell a person whose token sees nothing."""
        where, needed = self._sender.where, "one that has node:read and service:read"
        if not self._sender.has_token:
            return f"Consul at {where} shows nothing to those without a token: give {needed} in CONSUL_HTTP_TOKEN"
        return f"Consul at {where} shows nothing to this token; give {needed}, see --consul-token"

    async def datacenters(self) -> tuple[str, ...]:
        """Returns all datacenters, the agent's own first where Consul knows distances."""
        return await self._read("/v1/catalog/datacenters", _Datacenters())

    async def health(self, service: str, *, datacenter: str, index: int, wait_seconds: int = WAIT_SECONDS) -> Reading[Snapshot]:
        """Returns all instances of a service in one datacenter with their checks, from any server, however far behind.

        With an index: waits until something changed or the time is over. With 0: answers at once.

        Asked for the nearest first, an agent of Consul 1.10 and newer asks a server, as older ones do. It would otherwise
        wait by its streaming backend, which never knows whether its server has a leader (consul#9776, ADR 23).
        """
        near, path = ({"near": "_agent"} if index else {}), f"/v1/health/service/{quote(service, safe='')}"
        question = _Question(path=path, datacenter=datacenter, index=index, wait_seconds=wait_seconds, more=near)
        reading = await self._watch(question, Entries(service=service, datacenter=datacenter))
        if not reading.is_stream:
            return reading
        lead = await self.membership(service, "", datacenter=datacenter, index=0)
        return replace(reading, has_leader=lead.has_leader, last_contact_seconds=lead.last_contact_seconds)

    async def membership(
        self, service: str, service_id: str, *, datacenter: str, index: int, wait_seconds: int = WAIT_SECONDS
    ) -> Reading[bool]:
        """Asks for one of a service's instances, to learn cheaply that any came, left or changed; returns whether it is there.

        A filter shortens the answer, but not what wakes it: the index is that of the whole service (ADR 16).
        """
        only = {"filter": f"ServiceID == {json.dumps(service_id)}"}
        path = f"/v1/catalog/service/{quote(service, safe='')}"
        question = _Question(path=path, datacenter=datacenter, index=index, wait_seconds=wait_seconds, more=only)
        return await self._watch(question, _Wanted(lambda found: _is_service(found, service_id)))

    async def ailing(
        self, status: str, service: str, *, datacenter: str, index: int, wait_seconds: int = WAIT_SECONDS
    ) -> Reading[list[Check]]:
        """Returns the checks of a service and of whole Consul nodes with this status. Wakes on any check of the datacenter."""
        only = {"filter": f'ServiceName == {json.dumps(service)} or ServiceName == ""'}
        path = f"/v1/health/state/{status}"
        question = _Question(path=path, datacenter=datacenter, index=index, wait_seconds=wait_seconds, more=only)
        return await self._watch(question, Checks())

    async def node_checks(self, consul_node: str, *, datacenter: str) -> Reading[list[Check]]:
        """Returns all checks of one Consul node."""
        path = f"/v1/health/node/{quote(consul_node, safe='')}"
        return await self._watch(_Question(path=path, datacenter=datacenter), Checks())

    async def has_agent(self, consul_node: str, *, datacenter: str) -> bool:
        """Whether the leader knows a Consul agent of that name, be it silent or not: one that left in order is not known."""
        parameters = {"filter": f'CheckID == "{NODE_CHECK}"', **({"dc": datacenter} if datacenter else {})}
        checks = await self._read(f"/v1/health/node/{quote(consul_node, safe='')}", Checks(), **parameters)
        return any(each.check_id == NODE_CHECK for each in checks)

    async def _read(self, path: str, collector: Collector[T], **parameters: str) -> T:
        """Asks for a list that the leader answers, at once."""
        _headers, found = await self._sender.read(self._sender.target(path, **parameters), collector)
        return found

    async def _watch(self, question: "_Question", collector: Collector[T]) -> Reading[T]:
        """Asks for a list that any server answers; returns it with what Consul says of it."""
        wait_seconds = question.wait_seconds if question.index else 0
        seconds = read_timeout_seconds(wait_seconds) + CALL_SECONDS
        target = f"{question.path}?stale&{self._sender.query(question.parameters)}"
        headers, found = await self._sender.read(target, collector, timeout_seconds=seconds)
        return Reading(
            found=found,
            index=max(1, _number(headers.get("x-consul-index"))),
            has_leader=headers.get("x-consul-knownleader") != "false",
            last_contact_seconds=_number(headers.get("x-consul-lastcontact")) / 1000,
            is_filtered=headers.get("x-consul-results-filtered-by-acls") == "true",
            is_stream=headers.get("x-consul-query-backend") == "streaming",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is asked of any server. With an index: waits until something changed, or the time is over."""

    path: str
    datacenter: str
    index: int = 0
    wait_seconds: int = 0
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the query."""
        waiting = {"index": str(self.index), "wait": f"{self.wait_seconds}s"} if self.index else {}
        return {**self.more, **({"dc": self.datacenter} if self.datacenter else {}), **waiting}


class _Datacenters:
    """Takes the names of datacenters."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._taken = 0

    def take(self, element: object) -> bool:
        """Takes in one name."""
        if isinstance(element, str) and is_datacenter(element):
            self._names[element] = None
        self._taken += 1
        return self._taken < limits.CONSUL_LISTED

    def result(self) -> tuple[str, ...]:
        """Returns each name once."""
        return tuple(self._names)


class _Wanted:
    """Notes whether an element of an answer is what was asked for: a server may not have looked at the filter."""

    def __init__(self, is_it: Callable[[Mapping[str, object]], bool]) -> None:
        self._is_it = is_it
        self._is_there = False
        self._taken = 0

    def take(self, element: object) -> bool:
        """Looks at one element."""
        self._is_there |= isinstance(element, dict) and self._is_it(element)
        self._taken += 1
        return self._taken < limits.CONSUL_LISTED

    def result(self) -> bool:
        """Returns whether it was there."""
        return self._is_there


def _is_service(found: Mapping[str, object], service_id: str, mark: str = "") -> bool:
    """Whether an entry of `/v1/catalog/service` has this service ID, and this mark in its Meta if one is given."""
    meta = found.get("ServiceMeta")
    return found.get("ServiceID") == service_id and (not mark or (isinstance(meta, dict) and meta.get(MARK) == mark))


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _INDEX_MAX else 0  # noqa: PLR2004 - digits of 2**63
