"""What the local Consul agent is asked of itself and of the services that it holds: `/v1/agent/...`.

The agent answers from its own memory, also while its servers are away. What the servers show of it is asked of `catalog`.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from k3.core import limits
from k3.core.errors import Invalid, NotFound
from k3.core.records import dataclass
from k3.discovery.fields import Refused, items, port, text, texts
from k3.discovery.names import is_datacenter
from k3.discovery.sender import Sender, read_timeout_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSelf:
    """What the agent says of itself; empty: it does not say."""

    datacenter: str
    node: str
    version: str
    address: str
    """By which the agent tells others to reach it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A service as the agent holds it."""

    service: str
    address: str
    port: int
    meta: Mapping[str, str]
    tags: tuple[str, ...]
    content_hash: str
    """Consul's own hash of it: a blocking query on a service waits for another one, not for an index."""


class LocalAgent:
    """The questions to one Consul agent, over a `Sender`. Each raises what `Sender.call` raises."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def read_self(self) -> AgentSelf:
        """Returns what the agent says of itself. Raises Forbidden without agent:read."""
        document = self._sender.parse(await self._sender.call("GET", self._sender.target("/v1/agent/self")))
        config, member = _mapping(document.get("Config")), _mapping(document.get("Member"))
        datacenter = _text(config.get("Datacenter"))
        return AgentSelf(
            datacenter=datacenter if is_datacenter(datacenter) else "",
            node=_text(config.get("NodeName")),
            version=_text(config.get("Version")),
            address=_text(member.get("Addr")),
        )

    async def register(self, registration: Mapping[str, Any]) -> None:
        """Registers a service with the agent. It may take a while to be seen in the catalog."""
        body = json.dumps(registration).encode()
        await self._sender.call("PUT", "/v1/agent/service/register", body=body)

    async def deregister(self, service_id: str) -> None:
        """Takes a service away from the agent; one that is not there is fine."""
        await self._take_away(f"/v1/agent/service/deregister/{quote(service_id, safe='')}")

    async def forget_check(self, service_id: str) -> None:
        """Takes the check of a service away; one that is not there is fine."""
        await self._take_away(f"/v1/agent/check/deregister/{quote(f'service:{service_id}', safe='')}")

    async def _take_away(self, path: str) -> None:
        try:
            await self._sender.call("PUT", path)
        except NotFound:
            return

    async def own_service(self, service_id: str, *, known_hash: str = "", wait_seconds: int = 0) -> Held | None:
        """Returns a service as the agent holds it, None where it does not. Raises Invalid where that cannot be read.

        Given the hash of what is known, waits until the agent holds something else or the time is over.
        """
        parameters = {"hash": known_hash, "wait": f"{wait_seconds}s"} if known_hash else {}
        target = self._sender.target(f"/v1/agent/service/{quote(service_id, safe='')}", **parameters)
        try:
            answer = await self._sender.call("GET", target, timeout_seconds=read_timeout_seconds(wait_seconds))
        except NotFound:
            return None
        try:
            return _held(self._sender.parse(answer))
        except Refused as refused:
            msg = f"Consul at {self._sender.where} holds a registration of this service ID that cannot be read: {refused}"
            raise Invalid(msg) from None


def _held(document: Mapping[str, Any]) -> Held:
    return Held(
        service=text(document.get("Service"), "bad service"),
        address=text(document.get("Address"), "bad address"),
        port=port(document.get("Port"), "bad port"),
        meta=texts(document.get("Meta"), "bad Meta"),
        tags=tuple(text(each, "bad tags") for each in items(document.get("Tags"), "bad tags")),
        content_hash=text(document.get("ContentHash"), "bad hash", most=limits.CONSUL_HASH_CHARACTERS),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= limits.NAME_BYTES else ""
