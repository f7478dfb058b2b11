"""What other machines say over mDNS when this one asks: the question that every agent of k3 answers, on each interface.

It is sent twice, by multicast and by broadcast. The first is what the agents themselves live on. The second is no way that k3
works, and reaches machines all the same where a switch or an access point drops multicast: an agent answers it to this machine
alone, since the question comes from a port of its own (RFC 6762 §6.7). So multicast that is lost can be told from a network
without another machine. Nothing is announced.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from zeroconf import RecordUpdate, current_time_millis
from zeroconf._dns import DNSQuestion
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_PTR

from k3.core import limits
from k3.core.records import dataclass
from k3.network.instances import InstanceTable
from k3.network.links import Interface, Links
from k3.network.mdns import GROUP_V4, GROUP_V6, PORT
from k3.network.messages import Announcement
from k3.network.multicast import INTERFACES, group_socket
from k3.network.records import Unacceptable, read_announcement
from k3.network.standing import plain
from k3.settings.service_type import ServiceType

LISTEN_SECONDS: Final = 1.5
ASK_AGAIN_SECONDS: Final = 0.5
"""A packet may be lost; and a machine that has just answered somebody else waits for a second (RFC 6762 §6)."""
PACKET_BYTES: Final = 9_000
SERVICES: Final = "_services._dns-sd._udp.local."
"""Every responder answers this (RFC 6763 §9): printers, televisions, avahi."""
_WHOLE_V4: Final = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came in on one interface. `machines` are k3's, without this one; `senders` all who speak mDNS, by address."""

    interface: str
    senders: frozenset[str] = frozenset()
    machines: tuple[Announcement, ...] = ()
    """Heard by multicast."""
    own: tuple[Announcement, ...] = ()
    """What agents of this machine announce."""
    answers: tuple[Announcement, ...] = ()
    """Answered the broadcast."""
    is_shut_out: bool = False
    """Whether another program has the mDNS port for itself, so that nothing could be heard."""


async def hear(links: Links, service: ServiceType, *, seconds: float = LISTEN_SECONDS) -> tuple[Heard, ...]:
    """Asks on each interface that has a carrier and an address, and listens for so long."""
    wanted = [each for each in links.interfaces if each.running and each.addresses][:INTERFACES]
    until = asyncio.get_running_loop().time() + seconds
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(_hear_on(each, links, service, until)) for each in wanted]
    return tuple(task.result() for task in found)


async def _hear_on(interface: Interface, links: Links, service: ServiceType, until: float) -> Heard:
    by_multicast, by_broadcast = _Records(interface, links, service), _Records(interface, links, service)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_ask_group(interface, by_multicast, service, until))
        tasks.create_task(_ask_all(interface, by_broadcast, service, until))
    return Heard(
        interface=interface.name,
        senders=frozenset(by_multicast.senders),
        machines=by_multicast.announcements(own=False),
        own=by_multicast.announcements(own=True),
        answers=by_broadcast.announcements(own=False),
        is_shut_out=by_multicast.is_shut_out,
    )


async def _ask_group(interface: Interface, records: "_Records", service: ServiceType, until: float) -> None:
    """Asks by multicast. What cannot be sent is told by `k3.network.multicast.blocked`."""
    family = socket.AF_INET if any(":" not in a for a in interface.addresses) else socket.AF_INET6
    place = (GROUP_V4, PORT) if family == socket.AF_INET else (GROUP_V6, PORT, 0, interface.index)
    try:
        with group_socket(family, interface.index) as sock:
            await _converse(sock, place, _question(service.text, SERVICES), records.take, until)
    except OSError as error:
        records.is_shut_out = error.errno == errno.EADDRINUSE


async def _ask_all(interface: Interface, records: "_Records", service: ServiceType, until: float) -> None:
    """Asks by broadcast, which only IPv4 has."""
    place = _broadcast(interface)
    if place is None:
        return
    address, everybody = place
    with (
        suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sock,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind((address, 0))
        await _converse(sock, (everybody, PORT), _question(service.text), records.take, until)


def _broadcast(interface: Interface) -> tuple[str, str] | None:
    """Returns an address of this machine, and the broadcast address of its network."""
    for address, prefix in zip(interface.addresses, interface.prefixes, strict=False):
        net = ipaddress.ip_network(prefix)
        if isinstance(net, ipaddress.IPv4Network) and net.prefixlen < _WHOLE_V4:
            return address, str(net.broadcast_address)
    return None


async def _converse(
    sock: socket.socket,
    place: tuple[str, int] | tuple[str, int, int, int],
    question: bytes,
    take: Callable[[bytes, str], None],
    until: float,
) -> None:
    """Sends a question twice, and takes in what has come when the time is over, however busy this machine. Raises OSError."""
    loop = asyncio.get_running_loop()
    left = 2 * limits.PACKETS_AT_ONCE

    def read() -> None:
        nonlocal left
        with suppress(OSError):  # there is no more for now
            while left > 0:
                packet, sender = sock.recvfrom(PACKET_BYTES)
                left -= 1
                take(packet, str(sender[0]))
        if left <= 0:
            loop.remove_reader(sock)

    again = min(until, loop.time() + ASK_AGAIN_SECONDS)
    loop.add_reader(sock, read)
    try:
        for limit in (again, until):
            sock.sendto(question, place)
            await asyncio.sleep(limit - loop.time())
        read()
    finally:
        loop.remove_reader(sock)


def _question(*names: str) -> bytes:
    out = DNSOutgoing(_FLAGS_QR_QUERY)
    for name in names:
        out.add_question(DNSQuestion(name, _TYPE_PTR, _CLASS_IN))
    return out.packets()[0]


class _Records:
    """The records that came in by one way."""

    def __init__(self, interface: Interface, links: Links, service: ServiceType) -> None:
        self._index = interface.index
        self._own = {each for other in links.interfaces for each in other.addresses}
        self._links = links
        self._table = InstanceTable(service.text, lambda _: ())
        self.senders: set[str] = set()
        self.is_shut_out = False

    def take(self, packet: bytes, sender: str) -> None:
        """Takes in one packet; one that cannot be read is passed over."""
        address = plain(sender).partition("%")[0]
        if len(self.senders) >= limits.PEERS:
            return
        with suppress(Exception):  # anybody may have sent it, and the library's parser is not asked for more than its answer
            read = DNSIncoming(packet, scope_id=self._index)
            if not read.valid:
                return
            if address not in self._own:
                self.senders.add(address)
            if read.is_response():
                self._table.hear((RecordUpdate(each, None) for each in read.answers()), current_time_millis())

    def announcements(self, *, own: bool) -> tuple[Announcement, ...]:
        """Returns what was announced at this machine's own addresses, or at any other."""
        return tuple(each for each in self._read() if (set(each.addresses) <= self._links.places) is own)

    def _read(self) -> Iterable[Announcement]:
        for name, entry in self._table.items():
            if entry.gone or not entry.server or entry.text is None:
                continue
            with suppress(Unacceptable):
                addresses = self._table.addresses(name)
                yield read_announcement(name, port=entry.port, text=entry.text, addresses=addresses, links=self._links)
