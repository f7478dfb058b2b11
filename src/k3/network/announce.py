"""Announces this machine over mDNS: one service instance, its addresses, and a goodbye at the end.

Announces only what it is given. The instance's name is unique by construction, so that it is not probed for first
(RFC 6762 §8.1 is for names that may collide; ADR 7), and peers hear of this machine within milliseconds.
"""

import asyncio
import socket
from typing import Final

from zeroconf import ServiceInfo

from k3.core import limits
from k3.core.observation import Facts
from k3.network.mdns import Mdns
from k3.settings.service_type import DOMAIN, ServiceType

REPEATS_SECONDS: Final = (1.0, 3.0)
"""When an announcement is repeated (RFC 6762 §8.3: at least twice, a second or more apart)."""

# One packet may be lost, and without a goodbye peers keep the records for as long as their TTL says.
GOODBYES: Final = 3
GOODBYE_INTERVAL_SECONDS: Final = 0.1

_SUFFIX_DIGITS: Final = 8


def instance_name(node: str, id_: str) -> str:
    """Returns `<node>-<8 hex of id>`, one label of at most `limits.INSTANCE_BYTES`: dots become `-`, a long node is cut."""
    suffix = f"-{id_[:_SUFFIX_DIGITS]}"
    # A label has no dot in it, and does not end in a hyphen where it is cut (RFC 1035 §2.3.1).
    return node.replace(".", "-")[: limits.INSTANCE_BYTES - len(suffix)].rstrip("-") + suffix


class Announcer:
    """One announced instance: `announce`, as often as something changes, then `aclose`."""

    def __init__(self, mdns: Mdns, service: ServiceType) -> None:
        """Sends nothing yet."""
        self._mdns = mdns
        self._service = service
        self._info: ServiceInfo | None = None
        self._repeats: list[asyncio.TimerHandle] = []

    def announce(self, facts: Facts) -> None:
        """Announces these facts, or what has changed in them. The first packet is out on return, repeats follow.

        On a change of interfaces this comes first and `Mdns.update` next, so that no old address goes out on a new link.
        """
        info = _service_info(facts, self._service)
        registry = self._mdns.zeroconf.registry
        if self._info is not None and self._info.name != info.name:
            self._say_goodbye(self._info)  # another name is another instance: the records of the former one would live on
            registry.async_remove(self._info)
            self._info = None
        # Not the library's own registration, which probes for the name first (RFC 6762 §8.1; ADR 7).
        if self._info is None:
            registry.async_add(info)
        else:
            registry.async_update(info)
        self._info = info
        self.again()
        self._cancel_repeats()
        loop = asyncio.get_running_loop()
        self._repeats = [loop.call_later(delay, self.again) for delay in REPEATS_SECONDS]

    def again(self) -> None:
        """Repeats the announcement now, for a peer that has missed or forgotten it."""
        if self._info is not None:
            zeroconf = self._mdns.zeroconf
            zeroconf.async_send(zeroconf.generate_service_broadcast(self._info, None))

    async def aclose(self) -> None:
        """Says goodbye, a few times over a fifth of a second."""
        self._cancel_repeats()
        info, self._info = self._info, None
        if info is None:
            return
        self._mdns.zeroconf.registry.async_remove(info)
        self._say_goodbye(info)
        for _ in range(GOODBYES - 1):
            await asyncio.sleep(GOODBYE_INTERVAL_SECONDS)
            self._say_goodbye(info)

    def _say_goodbye(self, info: ServiceInfo) -> None:
        zeroconf = self._mdns.zeroconf
        # Answers that wait to be sent together would take the goodbye back.
        zeroconf.out_queue.queue.clear()
        zeroconf.out_delay_queue.queue.clear()
        zeroconf.async_send(zeroconf.generate_service_broadcast(info, 0))

    def _cancel_repeats(self) -> None:
        for repeat in self._repeats:
            repeat.cancel()
        self._repeats = []


def _service_info(facts: Facts, service: ServiceType) -> ServiceInfo:
    instance = instance_name(facts.node, facts.id)
    text = {"node": facts.node, "port": str(facts.port), "pid": str(facts.pid), "id": facts.id, "boot": facts.boot}
    return ServiceInfo(
        service.text,
        service.full_name(instance),
        port=facts.port,
        properties={key.encode(): value.encode() for key, value in text.items() if value},
        # A host name of k3's own: `<hostname>.local.` belongs to the responder that the machine may run already (ADR 7).
        server=f"{instance}.{DOMAIN}",
        addresses=[_packed(address) for address in facts.addresses],
    )


def _packed(address: str) -> bytes:
    literal = address.partition("%")[0]
    return socket.inet_pton(socket.AF_INET6 if ":" in literal else socket.AF_INET, literal)
