"""What Consul's servers are asked, through the agent: which services, nodes and checks they show.

A `Reading` says how far an answer may be trusted; `guards` judges that. Blocking queries hold a connection of the agent for as
long as they were asked to wait, even when given up: callers do not cancel them to ask something else.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from k3.agent.http import Answer
from k3.discovery.sender import CALL_SECONDS, Sender, read_timeout_seconds

WAIT_SECONDS: Final = 55
"""The longest blocking query: load balancers cut at 60 s."""
MARK: Final = "registration"
"""The key in a registration's Meta that tells it from the former ones of the same service."""

_INDEX_MAX: Final = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The answer to a read: the parsed JSON, and what Consul says about how far it may be trusted."""

    document: Any
    index: int
    """For the next blocking query; at least 1."""
    has_leader: bool
    last_contact_seconds: float
    """Since the answering server heard from its leader."""
    is_filtered: bool
    """Consul left something out that the token may not see (told by Consul 1.11 and newer only)."""


def next_index(former: int, answered: int) -> int:
    """Returns the index to ask with next: 0, which does not block, after it went backwards (the servers lost their state)."""
    return 0 if answered < former else max(1, answered)


class Catalog:
    """The questions to Consul's servers, over a `Sender`. Each raises what `Sender.read` raises."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def is_listed(self, service: str, service_id: str, mark: str = "") -> bool:
        """Whether the catalog of the agent's own datacenter shows the service, with this mark in its Meta if one is given."""
        only = f"ServiceID == {json.dumps(service_id)}"
        if mark:
            only += f" and ServiceMeta.{MARK} == {json.dumps(mark)}"
        found = await self._sender.read(f"/v1/catalog/service/{quote(service, safe='')}", filter=only)
        return isinstance(found, list) and bool(found)

    async def sees_nodes(self) -> bool:
        """Whether Consul shows any of its nodes: there are always some, but not for every token."""
        return bool(await self._sender.read("/v1/catalog/nodes"))

    @property
    def nothing_to_see(self) -> str:
        """Returns what to tell a person whose token sees nothing."""
        where, needed = self._sender.where, "one that has node:read and service:read"
        if not self._sender.has_token:
            return f"Consul at {where} shows nothing to those without a token: give {needed} in CONSUL_HTTP_TOKEN"
        return f"Consul at {where} shows nothing to this token; give {needed}, see --consul-token"

    async def datacenters(self) -> tuple[str, ...]:
        """Returns all datacenters, the agent's own first where Consul knows distances."""
        found = await self._sender.read("/v1/catalog/datacenters")
        return tuple(name for name in found if isinstance(name, str)) if isinstance(found, list) else ()

    async def health(self, service: str, *, datacenter: str, index: int, wait_seconds: int = WAIT_SECONDS) -> Reading:
        """Returns all instances of a service in one datacenter with their checks, from any server, however far behind.

        With an index: waits until something changed or the time is over. With 0: answers at once.

        Asked for the nearest first, an agent of Consul 1.10 and newer asks a server, as older ones do. It would otherwise
        wait by its streaming backend, which never knows whether its server has a leader (consul#9776, ADR 23).
        """
        path = f"/v1/health/service/{quote(service, safe='')}"
        reading, is_stream = await self._answer(path, datacenter, index, wait_seconds, **({"near": "_agent"} if index else {}))
        if not is_stream:
            return reading
        lead = await self.membership(service, "", datacenter=datacenter, index=0)
        return replace(reading, has_leader=lead.has_leader, last_contact_seconds=lead.last_contact_seconds)

    async def membership(
        self, service: str, service_id: str, *, datacenter: str, index: int, wait_seconds: int = WAIT_SECONDS
    ) -> Reading:
        """Returns only this one of a service's instances, to learn cheaply that any came, left or changed; not how they are.

        A filter shortens the answer, but not what wakes it: the index is that of the whole service (ADR 16).
        """
        path = f"/v1/catalog/service/{quote(service, safe='')}"
        return await self._watch(path, datacenter, index, wait_seconds, filter=f"ServiceID == {json.dumps(service_id)}")

    async def ailing(
        self, status: str, service: str, *, datacenter: str, index: int, wait_seconds: int = WAIT_SECONDS
    ) -> Reading:
        """Returns the checks of a service and of whole Consul nodes with this status. Wakes on any check of the datacenter."""
        only = f'ServiceName == {json.dumps(service)} or ServiceName == ""'
        return await self._watch(f"/v1/health/state/{status}", datacenter, index, wait_seconds, filter=only)

    async def node_checks(self, consul_node: str, *, datacenter: str) -> Reading:
        """Returns all checks of one Consul node."""
        return await self._watch(f"/v1/health/node/{quote(consul_node, safe='')}", datacenter, 0, 0)

    async def has_agent(self, consul_node: str, *, datacenter: str) -> bool:
        """Whether the leader knows a Consul agent of that name, be it silent or not: one that left in order is not known."""
        parameters = {"filter": 'CheckID == "serfHealth"', **({"dc": datacenter} if datacenter else {})}
        found = await self._sender.read(f"/v1/health/node/{quote(consul_node, safe='')}", **parameters)
        return isinstance(found, list) and bool(found)

    async def _watch(self, path: str, datacenter: str, index: int, wait_seconds: int, **more: str) -> Reading:
        reading, _is_stream = await self._answer(path, datacenter, index, wait_seconds, **more)
        return reading

    async def _answer(self, path: str, datacenter: str, index: int, wait_seconds: int, **more: str) -> tuple[Reading, bool]:
        """Returns a reading, and whether the agent took it from a stream: then it says nothing of a leader (ADR 23)."""
        parameters = {**more, **({"dc": datacenter} if datacenter else {})}
        if index:
            parameters |= {"index": str(index), "wait": f"{wait_seconds}s"}
        seconds = read_timeout_seconds(wait_seconds if index else 0) + CALL_SECONDS
        target = f"{path}?stale&{self._sender.query(parameters)}"
        answer = await self._sender.call("GET", target, timeout_seconds=seconds)
        return self._reading(answer), answer.headers.get("x-consul-query-backend") == "streaming"

    def _reading(self, answer: Answer) -> Reading:
        headers = answer.headers
        return Reading(
            document=self._sender.parse(answer),
            index=max(1, _number(headers.get("x-consul-index"))),
            has_leader=headers.get("x-consul-knownleader") != "false",
            last_contact_seconds=_number(headers.get("x-consul-lastcontact")) / 1000,
            is_filtered=headers.get("x-consul-results-filtered-by-acls") == "true",
        )


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _INDEX_MAX else 0  # noqa: PLR2004 - digits of 2**63
