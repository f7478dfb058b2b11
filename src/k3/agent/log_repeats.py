"""At most one line a minute for each kind of event that outside can cause, and each origin of it (ADR 46).

What is held back is counted. The last of it is told once the minute is over, since it says how things stand by then; as
`repeated` it has how many others were held back. Which events these are, and which of their fields says whose doing it is,
stands in `ORIGINS` and nowhere else; what logs knows nothing of this. Transitions of Nodes are not among them (ADR 46).
"""

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from k3.core import limits
from k3.core.records import dataclass

MINUTE_SECONDS: Final = 60.0
REPEATED: Final = "repeated"

ORIGINS: Final[Mapping[str, str]] = {
    # who connects or asks
    "health.crowded": "from",
    "health.flooded": "from",
    # who announces: the name is its own choice, so it is counted by what is wrong with it
    "announcement.refused": "why",
    "identity.cloned": "address",
    "name.contested": "other",
    "name.lost": "name",
    "peer.suspected": "node",
    "mdns.listener_failed": "",
    "mdns.flooded": "packets",
    # who writes to the store, or keeps it from answering
    "node.not_ours": "node",
    "node.not_permitted": "",
    "node.overwritten": "node",
    "node.write_failed": "node",
    "etcd.not_an_object": "key",
    "etcd.moved": "endpoint",
    "lease.won": "lease",
    "lease.lost": "lease",
    "lease.not_taken": "lease",
    "store.lost": "store",
    "store.found": "store",
    # who registers with Consul, or keeps it from answering
    "consul.refused": "datacenter",
    "consul.node_renamed": "consul_node",
    "datacenter.believed": "datacenter",
    "datacenter.doubted": "datacenter",
    "datacenter.left": "",
    # who asks the Kubernetes API
    "api.renewed": "object",
    "api.write_refused": "user",
    "api.turned_away": "from",
    "api.no_handshake": "from",
    # all of them
    "agent.fault": "fault",
    "agent.stalled": "",
    "reconciler.full": "",
}
"""The events, and the field that names the origin; empty: there is one origin. A line of a library is its own origin."""

_OTHERS: Final = object()
"""The origin of what comes from more origins than a kind may have lines in a minute."""

_Key = tuple[str, object]


@dataclass(slots=True)
class _Origin:
    told_at: float
    held: int = 0
    last: logging.LogRecord | None = None


class Repeats(logging.Filter):
    """What was told, and what is held back, for all outputs of a process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._origins: OrderedDict[_Key, _Origin] = OrderedDict()
        """The one that was heard of last is the last."""
        self._kinds: Counter[str] = Counter()
        """Lines of each kind in this minute."""
        self._minute_began_at = clock()
        self.held_back = 0
        """Lines that were not told, since the beginning."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is told now: the same for every output that it is handed to."""
        is_told = getattr(record, "is_told", None)
        if is_told is None:
            key = _key(record)
            with self._lock:
                is_told = key is None or self._may_be_told(key, record)
            record.is_told = is_told
        return bool(is_told)

    def due(self, *, early: bool = False) -> list[logging.LogRecord]:
        """Returns what was held back long enough, the last of each origin; `early`: all that is held back."""
        now, found = self._clock(), []
        with self._lock:
            for key, origin in list(self._origins.items()):
                if not early and now - origin.told_at < MINUTE_SECONDS:
                    continue
                if origin.last is None:
                    del self._origins[key]
                else:
                    self.held_back -= 1
                    found.append(_told(origin.last, origin.held - 1))
                    origin.told_at, origin.held, origin.last = now, 0, None
        return sorted(found, key=lambda record: record.created)

    def _may_be_told(self, key: _Key, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now - self._minute_began_at >= MINUTE_SECONDS:
            self._minute_began_at = now
            self._kinds.clear()
        origin = self._origins.get(key)
        is_new = origin is None or now - origin.told_at >= MINUTE_SECONDS
        if is_new and self._kinds[key[0]] >= limits.LOG_ORIGINS_PER_MINUTE:
            is_new = False
            if origin is None:
                key = (key[0], _OTHERS)
                origin = self._origins.get(key)
        if origin is None:
            origin = self._remembered(key, now)
        self._origins.move_to_end(key)
        if is_new:
            self._kinds[key[0]] += 1
            _add(record, origin.held)
            origin.told_at, origin.held, origin.last = now, 0, None
            return True
        self.held_back += 1
        origin.held, origin.last = origin.held + 1, _without_trace(record)
        return False

    def _remembered(self, key: _Key, now: float) -> _Origin:
        if len(self._origins) >= limits.LOG_ORIGINS:
            self._origins.popitem(last=False)
        origin = self._origins[key] = _Origin(now)
        return origin


def _key(record: logging.LogRecord) -> _Key | None:
    """Returns kind and origin of an event that is counted; None: it is always told."""
    if record.name.partition(".")[0] != "k3":
        return record.name, str(record.msg)[: limits.LOG_VALUE_CHARACTERS]
    field = ORIGINS.get(record.msg)
    if field is None:
        return None
    fields = getattr(record, "fields", {})
    return record.msg, str(fields.get(field, ""))[: limits.NAME_BYTES]


def _without_trace(record: logging.LogRecord) -> logging.LogRecord:
    """Returns the record for later: a trace would keep alive all that its frames refer to."""
    if record.exc_info:
        record = logging.makeLogRecord(record.__dict__)
        record.exc_info = None
    return record


def _told(record: logging.LogRecord, repeated: int) -> logging.LogRecord:
    """Returns a record that was held back, to be told."""
    copy = logging.makeLogRecord(record.__dict__)
    copy.is_told = True
    _add(copy, repeated)
    return copy


def _add(record: logging.LogRecord, repeated: int) -> None:
    if repeated:
        record.fields = {**getattr(record, "fields", {}), REPEATED: repeated}
