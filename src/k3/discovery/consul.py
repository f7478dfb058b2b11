"""The few calls k3 makes to Consul's HTTP API, each parsed just far enough to be trusted by its caller.

Every failure is one clear line (see `troubles`). The token travels in its header and appears in no message.

Blocking queries hold a connection of the agent for as long as they were asked to wait, even when given up: callers do
not cancel them to ask something else.
"""

import gc
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, urlencode

from k3 import __version__
from k3.agent.http import Answer, Http, HttpError, Request
from k3.core.errors import Invalid, NotFound
from k3.discovery.settings import ConsulSettings
from k3.discovery.troubles import REFUSED, no_answer, refusal

WAIT_SECONDS: Final = 55
"""The longest blocking query: load balancers cut at 60 s."""
CALL_SECONDS: Final = 10.0
"""For everything else; an agent without a leader takes 7 s to say so."""
MARK: Final = "registration"
"""The key in a registration's Meta that tells it from the former ones of the same service."""

_OK: Final = 200
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


@dataclass(frozen=True, slots=True)
class AgentSelf:
    """What the agent says of itself."""

    datacenter: str
    node: str
    version: str
    address: str
    """What the agent tells others to reach it by."""


def next_index(former: int, answered: int) -> int:
    """The index to ask with next: 0, which does not block, after it went backwards (the servers lost their state)."""
    return 0 if answered < former else max(1, answered)


def read_timeout_seconds(wait_seconds: float) -> float:
    """How long a blocking query may take: Consul adds up to a sixteenth, and a leaderless agent hangs for 7 s."""
    return wait_seconds * 17 / 16 + 10


class Consul:
    """A client of one agent. Close it with `aclose`."""

    def __init__(self, settings: ConsulSettings) -> None:
        """Raises ConfigInvalid for files that cannot be used."""
        self._settings = settings
        self._http = Http(settings.server())
        self._token = settings.read_token()

    @property
    def where(self) -> str:
        """The agent's address, for people."""
        return self._settings.where

    async def agent(self) -> AgentSelf:
        """Who the agent is. Raises Forbidden without agent:read."""
        document = _mapping(await self._read("/v1/agent/self"))
        config = _mapping(document.get("Config"))
        datacenter, node, version = (_text(config.get(name)) for name in ("Datacenter", "NodeName", "Version"))
        return AgentSelf(datacenter, node, version, _text(_mapping(document.get("Member")).get("Addr")))

    async def register(self, registration: Mapping[str, Any]) -> None:
        """Register a service with the agent. It may take a while to be seen in the catalog."""
        body = json.dumps(registration).encode()
        await self._call("PUT", "/v1/agent/service/register", body=body)

    async def deregister(self, service_id: str) -> None:
        """Take a service away from the agent; one that is not there is fine."""
        try:
            await self._call("PUT", f"/v1/agent/service/deregister/{quote(service_id, safe='')}")
        except NotFound:
            return

    async def own_service(self, service_id: str, *, known_hash: str = "", wait_seconds: int = 0) -> Mapping[str, Any] | None:
        """A service as the agent holds it, None where it does not.

        Given the ContentHash of what is known, waits until the agent holds something else or the time is over.
        """
        path, query = f"/v1/agent/service/{quote(service_id, safe='')}", {}
        if known_hash:
            query = {"hash": known_hash, "wait": f"{wait_seconds}s"}
        target = f"{path}?{urlencode(self._named(query))}"
        try:
            answer = await self._call("GET", target, timeout_seconds=read_timeout_seconds(wait_seconds))
        except NotFound:
            return None
        return _mapping(self._json(answer))

    async def forget_check(self, service_id: str) -> None:
        """Take the check of a service away; one that is not there is fine."""
        try:
            await self._call("PUT", f"/v1/agent/check/deregister/{quote(f'service:{service_id}', safe='')}")
        except NotFound:
            return

    async def is_listed(self, service: str, service_id: str, mark: str = "") -> bool:
        """Whether the catalog of the agent's own datacenter shows the service, with this mark in its Meta if one is given."""
        only = f"ServiceID == {json.dumps(service_id)}"
        if mark:
            only += f" and ServiceMeta.{MARK} == {json.dumps(mark)}"
        found = await self._read(f"/v1/catalog/service/{quote(service, safe='')}", filter=only)
        return isinstance(found, list) and bool(found)

    async def sees_nodes(self) -> bool:
        """Whether Consul shows any of its nodes: there are always some, but not for every token."""
        return bool(await self._read("/v1/catalog/nodes"))

    @property
    def nothing_to_see(self) -> str:
        """What to tell a person whose token sees nothing."""
        needed = "one that has node:read and service:read"
        if not self._token:
            return f"Consul at {self.where} shows nothing to those without a token: give {needed} in CONSUL_HTTP_TOKEN"
        return f"Consul at {self.where} shows nothing to this token; give {needed}, see --consul-token"

    async def datacenters(self) -> tuple[str, ...]:
        """All datacenters, the agent's own first where Consul knows distances."""
        found = await self._read("/v1/catalog/datacenters")
        return tuple(name for name in found if isinstance(name, str)) if isinstance(found, list) else ()

    async def health(self, service: str, *, datacenter: str, index: int, wait_seconds: int = WAIT_SECONDS) -> Reading:
        """All instances of a service in one datacenter with their checks, from any server, however far behind.

        With an index: waits until something changed or the time is over. With 0: answers at once.

        Asked for the nearest first, an agent of Consul 1.10 and newer asks a server, as older ones do. It would otherwise
        wait by its streaming backend, which never knows whether its server has a leader (consul#9776).
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
        """Of a service's instances only this one, to learn cheaply that any came, left or changed; not how they are."""
        path = f"/v1/catalog/service/{quote(service, safe='')}"
        return await self._watch(path, datacenter, index, wait_seconds, filter=f"ServiceID == {json.dumps(service_id)}")

    async def ailing(
        self, status: str, service: str, *, datacenter: str, index: int, wait_seconds: int = WAIT_SECONDS
    ) -> Reading:
        """The checks of a service, and of whole Consul nodes, that have this status. Wakes on any check of the datacenter."""
        only = f'ServiceName == {json.dumps(service)} or ServiceName == ""'
        return await self._watch(f"/v1/health/state/{status}", datacenter, index, wait_seconds, filter=only)

    async def node_checks(self, consul_node: str, *, datacenter: str) -> Reading:
        """All checks of one Consul node."""
        return await self._watch(f"/v1/health/node/{quote(consul_node, safe='')}", datacenter, 0, 0)

    async def has_agent(self, consul_node: str, *, datacenter: str) -> bool:
        """Whether the leader knows a Consul agent of that name, be it silent or not: one that left in order is not known."""
        query = {"filter": 'CheckID == "serfHealth"', **({"dc": datacenter} if datacenter else {})}
        found = await self._read(f"/v1/health/node/{quote(consul_node, safe='')}", **query)
        return isinstance(found, list) and bool(found)

    async def _watch(self, path: str, datacenter: str, index: int, wait_seconds: int, **more: str) -> Reading:
        reading, _is_stream = await self._answer(path, datacenter, index, wait_seconds, **more)
        return reading

    async def _answer(self, path: str, datacenter: str, index: int, wait_seconds: int, **more: str) -> tuple[Reading, bool]:
        """A reading, and whether the agent took it from a stream: then it says nothing of a leader."""
        query = {**more, **({"dc": datacenter} if datacenter else {})}
        if index:
            query |= {"index": str(index), "wait": f"{wait_seconds}s"}
        seconds = read_timeout_seconds(wait_seconds if index else 0) + CALL_SECONDS
        answer = await self._call("GET", f"{path}?stale&{urlencode(self._named(query))}", timeout_seconds=seconds)
        return self._reading(answer), answer.headers.get("x-consul-query-backend") == "streaming"

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def _read(self, path: str, **query: str) -> Any:  # noqa: ANN401 - JSON
        named = urlencode(self._named(query))
        return self._json(await self._call("GET", f"{path}?{named}" if named else path))

    def _named(self, query: Mapping[str, str]) -> dict[str, str]:
        return {**query, **({"ns": self._settings.namespace} if self._settings.namespace else {})}

    async def _call(self, method: str, target: str, *, body: bytes = b"", timeout_seconds: float = CALL_SECONDS) -> Answer:
        """A good answer. Where the token is refused and its file holds another one by now, that one is tried too."""
        answer = await self._send(method, target, body, timeout_seconds)
        if answer.status in REFUSED and self._has_new_token():
            answer = await self._send(method, target, body, timeout_seconds)
        if answer.status != _OK:
            raise refusal(answer.status, answer.body, self.where)
        return answer

    async def _send(self, method: str, target: str, body: bytes, timeout_seconds: float) -> Answer:
        headers = [("Host", self._settings.authority), ("User-Agent", f"k3/{__version__}"), ("Accept", "application/json")]
        if self._token:
            headers.append(("X-Consul-Token", self._token))
        request = Request(method, target, tuple(headers), body)
        try:
            return await self._http.request(request, timeout_seconds=timeout_seconds)
        except (OSError, HttpError) as error:
            raise no_answer(error, self.where, waited_seconds=timeout_seconds) from None

    def _has_new_token(self) -> bool:
        former, self._token = self._token, self._settings.read_token()
        return former != self._token

    def _reading(self, answer: Answer) -> Reading:
        headers = answer.headers
        return Reading(
            document=self._json(answer),
            index=max(1, _number(headers.get("x-consul-index"))),
            has_leader=headers.get("x-consul-knownleader") != "false",
            last_contact_seconds=_number(headers.get("x-consul-lastcontact")) / 1000,
            is_filtered=headers.get("x-consul-results-filtered-by-acls") == "true",
        )

    def _json(self, answer: Answer) -> Any:  # noqa: ANN401 - JSON
        try:
            return _parsed(answer.take_body())
        except (ValueError, RecursionError):
            msg = f"{self.where} answered with something that is not JSON; is it the address of Consul's HTTP API?"
            raise Invalid(msg) from None


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """JSON; without the cyclic collector, which takes longer than the parser where there is much to read."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        text = body.decode("utf-8", "surrogatepass")
        del body
        return json.loads(text)
    finally:
        if was_on:
            gc.enable()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _INDEX_MAX else 0  # noqa: PLR2004 - digits of 2**63
