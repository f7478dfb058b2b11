"""What was heard of each instance of the service: its latest records, in a table of bounded size. Pure bookkeeping.

The library's cache is not relied upon: it makes room by dropping what expires first, which under a flood are the addresses
of the machine that came last, for an hour (ADR 6). Here places are shared out by origin, the address that is announced: of the
origin that has the most, the name that is there longest makes room. Instances of proven machines take no such place, and never
make room for others (ADR 43).
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Final

from zeroconf import RecordUpdate
from zeroconf._dns import DNSAddress, DNSPointer, DNSRecord, DNSService, DNSText

from k3.core import limits
from k3.core.records import dataclass
from k3.network.messages import Announcement
from k3.network.origins import Shares, Turns
from k3.network.records import HeardAddress, Reason, Unacceptable, instance_of

# More than are reported: the newest are kept, and of those the ones on-link are chosen.
_ADDRESSES_KEPT: Final = 4 * limits.PEER_ADDRESSES
_FLUSH_AFTER_MS: Final = 1_000


@dataclass(slots=True, kw_only=True)
class Instance:
    """The records of one instance as heard last, and what was made of them."""

    pointer: DNSPointer | None = None
    server: str = ""
    port: int = 0
    text: bytes | None = None
    told: Announcement | None = None
    """What was reported last."""
    gone: bool = False
    """Whether the last pointer record heard was a goodbye, or has expired."""
    again: bool = False
    """Whether to report it once more, though nothing has changed."""
    asked: bool = False
    """Whether it has been heard in an answer to this machine alone."""


@dataclass(slots=True)
class _Host:
    """One host name's addresses (bytes to interface index and time heard, ms), and the instances that are there."""

    instances: set[str] = field(default_factory=set)
    addresses: dict[bytes, tuple[int, float]] = field(default_factory=dict)


class InstanceTable:
    """Instances by name, and which of them something was heard of since they were last looked at."""

    def __init__(self, service: str, cached: Callable[[str], Iterable[DNSRecord]]) -> None:
        """`service` as in `_k3._tcp.local.`; `cached` gives the records of a host name that came too early."""
        self.refused: Counter[Reason] = Counter()
        self.is_proven: Callable[[str], bool] = lambda _: False
        """Whether the machine behind an instance has answered under its name."""
        self.crowded_out: deque[str] = deque(maxlen=limits.CANDIDATES)
        """Reported instances that made room for others: their goodbyes will not be noticed any more."""
        self._marked: dict[str, None] = {}
        """Those of proven machines."""
        self._stale: dict[str, None] = {}
        """Those of the present packet."""
        self._turns = Turns(pausing=False)
        """The others."""
        self._shares = Shares(each=limits.ANNOUNCEMENTS_PER_ORIGIN, all_=limits.CANDIDATES)
        self._service = service
        self._suffix = f".{service}"
        self._cached = cached
        self._asked = False
        """Whether the present packet is an answer to this machine alone."""
        self._instances: OrderedDict[str, Instance] = OrderedDict()
        self._hosts: dict[str, _Host] = {}

    def __len__(self) -> int:
        return len(self._instances)

    def entries(self) -> Iterable[Instance]:
        """Returns every instance, the one heard longest ago first."""
        return self._instances.values()

    def items(self) -> Iterable[tuple[str, Instance]]:
        """Returns every instance by its name, in the same order."""
        return self._instances.items()

    def get(self, name: str) -> Instance | None:
        """Returns one instance; None: not heard of."""
        return self._instances.get(name)

    def addresses(self, name: str) -> list[HeardAddress]:
        """Returns the addresses of an instance, the newest first; empty while they are unknown."""
        host = self._hosts.get(self._instances[name].server)
        newest = sorted(host.addresses.items(), key=lambda item: -item[1][1]) if host else []
        return [HeardAddress(packed, index) for packed, (index, _) in newest]

    def mark_all(self) -> None:
        """Has every instance looked at."""
        for name in self._instances:
            self._mark(name)

    def _mark(self, name: str) -> None:
        if self.is_proven(name):
            self._shares.leave(name)
            self._turns.leave(name)
            self._marked[name] = None
            return
        origin = self._origin(name)
        leaving = self._shares.add(name, origin)
        self._turns.wait(name, origin)
        if leaving is not None:
            self._crowd_out(leaving)

    def _origin(self, name: str) -> str:
        host = self._hosts.get(self._instances[name].server)
        packed = min(host.addresses, key=len, default=b"") if host else b""  # as `origins.origin_of` has it, of packed ones
        return packed[:8].hex()

    def _crowd_out(self, name: str) -> None:
        if self.is_proven(name):
            return
        if self._instances[name].told is not None:
            self.crowded_out.append(name)
        self.forget(name)
        self.refused[Reason.TOO_MANY] += 1

    @property
    def has_news(self) -> bool:
        """Whether an instance of a proven machine is to be looked at, which waits for no turn."""
        return bool(self._marked)

    def next_at(self) -> float:
        """When another one has its turn; 0: now."""
        return 0.0 if self._marked else self._turns.at()

    def take(self, now: float) -> str | None:
        """Which instance is to be looked at now, if any."""
        if self._marked:
            name: str | None = next(iter(self._marked))
            del self._marked[name]  # type: ignore[arg-type]
            return name
        name = self._turns.next(now)
        if name is not None:
            self._turns.over(name)
        return name

    def forget(self, name: str) -> None:
        """Drops an instance, and its host if no other instance is there."""
        entry = self._instances.pop(name)
        self._place(name, entry, "")
        self._marked.pop(name, None)
        self._stale.pop(name, None)
        self._shares.leave(name)
        self._turns.leave(name)

    def hear(self, updates: Iterable[RecordUpdate], now: float, *, asked: bool = False) -> None:
        """Takes in the records of one packet, heard at `now` (ms). Addresses come last: by then it is known whose they are.

        `asked`: they are an answer to this machine alone.
        """
        addresses = []
        self._asked = asked
        for update in updates:
            record = update.new
            match record:
                case DNSAddress():
                    addresses.append(record)
                case DNSPointer() if record.key == self._service:
                    self._hear_pointer(record, expired=record.is_expired(now))
                case DNSService() | DNSText() if record.key.endswith(self._suffix) and not record.is_expired(now):
                    self._hear_details(record)
                case _:
                    pass
        for address in addresses:
            self._hear_address(address, now)
        stale, self._stale = self._stale, {}
        for name in stale:
            if name in self._instances:
                self._mark(name)

    def _hear_pointer(self, record: DNSPointer, *, expired: bool) -> None:
        name = self._accept(record.alias)
        if name is None or (expired and name not in self._instances):
            return
        entry = self._enter(name)
        entry.gone = expired
        entry.pointer = record
        if expired or entry.told is None:
            self._stale[name] = None

    def _hear_details(self, record: DNSService | DNSText) -> None:
        """Takes in details. Fresh ones show that the instance is announced, whatever goodbye was heard before."""
        name = self._accept(record.key)
        if name is None:
            return
        entry = self._enter(name)
        before = (entry.port, entry.server, entry.text, entry.gone)
        entry.gone = False
        if isinstance(record, DNSService):
            entry.port = record.port
            self._place(name, entry, record.server_key)
        else:
            entry.text = record.text[: limits.TXT_BYTES + 1]  # one byte too many is enough to refuse it
        if before != (entry.port, entry.server, entry.text, entry.gone):
            self._stale[name] = None

    def _hear_address(self, record: DNSAddress, now: float) -> None:
        host = self._hosts.get(record.key)
        if host is None or len(record.address) not in {4, 16}:
            return
        before = _places(host)
        self._update_host(host, record, now)
        if before != _places(host):
            for name in host.instances:
                self._stale[name] = None

    def _update_host(self, host: _Host, record: DNSAddress, now: float) -> None:
        if record.ttl == 0:
            host.addresses.pop(record.address, None)
            return
        if record.is_expired(now):
            return  # it has expired, which is no goodbye: nothing better is known
        if record.unique:  # it replaces what was heard more than a second ago (RFC 6762 §10.2)
            for packed, (_, heard) in list(host.addresses.items()):
                if len(packed) == len(record.address) and heard < now - _FLUSH_AFTER_MS:
                    del host.addresses[packed]
        index, _ = host.addresses.pop(record.address, (0, 0.0))
        host.addresses[record.address] = (record.scope_id or index, now)
        while len(host.addresses) > _ADDRESSES_KEPT:
            del host.addresses[next(iter(host.addresses))]

    def _accept(self, full_name: str) -> str | None:
        try:
            return instance_of(full_name, self._service)
        except Unacceptable as error:
            self.refused[error.reason] += 1
            return None

    def _enter(self, name: str) -> Instance:
        entry = self._instances.get(name)
        if entry is None:
            entry = self._instances[name] = Instance()
            self._stale[name] = None  # so it takes a place, whatever was heard of it
        entry.asked = entry.asked or self._asked
        self._instances.move_to_end(name)
        return entry

    def _place(self, name: str, entry: Instance, server: str) -> None:
        if entry.server == server:
            return
        if (former := self._hosts.get(entry.server)) is not None:
            former.instances.discard(name)
            if not former.instances:
                del self._hosts[entry.server]
        entry.server = server
        if server:
            host = self._hosts.get(server) or self._new_host(server)
            host.instances.add(name)

    def _new_host(self, server: str) -> _Host:
        host = self._hosts[server] = _Host()
        for record in self._cached(server):
            if isinstance(record, DNSAddress) and len(record.address) in {4, 16}:
                self._update_host(host, record, record.created)
        return host


def _places(host: _Host) -> set[tuple[bytes, int]]:
    return {(packed, index) for packed, (index, _) in host.addresses.items()}
