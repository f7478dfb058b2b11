"""Listens to mDNS for other machines and reports what they announce. A hint source: nothing heard is proven or acted on.

Theory of operation. The library's service browser is not used, since one exception in a callback, or one odd name, silences
it for good, and it does not ask again by itself for most of an hour (ADR 6). Instead:

* A listener hands every packet's records to `k3.network.instances`, which keeps the latest of each name and marks the names
  of which something changed. It does nothing else.
* `next` takes one marked name at a time, checks its records by the rules of `k3.network.records`, and reports the result if
  it differs from the last one. A slow reader costs memory for names only, and gets the newest state of each.
* `run` asks questions on k3's own schedule, see `k3.network.questions`. An instance whose records are incomplete, have
  changed, or that is said to have left, is asked by its own name: a forgery is answered by its victim. While packets are not
  read, since there are too many (ADR 55), it asks again and again who is there besides those that are known to be.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Final

from zeroconf import RecordUpdate, RecordUpdateListener, Zeroconf, current_time_millis
from zeroconf._dns import DNSPointer, DNSRecord

from k3.agent.tasks import time_limit_at
from k3.network.instances import Instance, InstanceTable
from k3.network.mdns import Mdns
from k3.network.messages import Announcement, Withdrawal
from k3.network.news import News
from k3.network.questions import AGAIN_SECONDS, STARTUP_SECONDS, GeneralSchedule, NamedSchedule, ask_about, ask_who
from k3.network.records import Reason, Unacceptable, read_announcement
from k3.settings.service_type import ServiceType

COMPLETION_SECONDS: Final = 1.0
"""How long an instance's other records may take to arrive by themselves."""

# As RFC 6762 §5.2 has queries delayed that many hosts may send at the same moment.
_DOUBT_SECONDS: Final = (0.02, 0.1)
_INSTANCES_PER_SECOND: Final = 2_000
_EVALUATIONS_AT_ONCE: Final = 64

log = logging.getLogger(__name__)


class Browser:
    """The machines that announce the service. The caller keeps `run` going, and iterates or calls `next`.

    `refused` counts what was not reported, by reason.
    """

    def __init__(self, mdns: Mdns, service: ServiceType, own_instance: str = "", *, random: Random | None = None) -> None:
        """Listens from now on. `own_instance` is this machine's: not reported, unless at another's address (a clone's).

        `random` spreads the questions.
        """
        loop = asyncio.get_running_loop()
        self._mdns = mdns
        self._service = service
        self._clock = loop.time
        self._table = InstanceTable(service.text, self._cached)
        self.own_instance = own_instance
        self._stirred = asyncio.Event()
        self._replanned = asyncio.Event()
        self._random = random or Random()  # noqa: S311 - it spreads load, it keeps no secret
        self._general = GeneralSchedule(self._random)
        self._named = NamedSchedule()
        self._news = News(lambda name: self._table.is_proven(name), now=self._clock())  # noqa: PLW0108 - `trust` changes it
        self._waits_until = math.inf
        self._real = 0
        """How many of the instances were those of machines that had answered, when that was looked at last."""
        self._evaluated = 0
        self._listener = _Listener(self._hear)
        self._general.series(self._clock(), STARTUP_SECONDS)
        mdns.missed = self._missed
        mdns.zeroconf.async_add_listener(self._listener, None)

    def __aiter__(self) -> AsyncIterator[Announcement | Withdrawal]:
        return self

    async def __anext__(self) -> Announcement | Withdrawal:
        return await self.next()

    def __len__(self) -> int:
        return len(self._table)

    @property
    def refused(self) -> Counter[Reason]:
        """Counts of what was not reported, by reason."""
        return self._table.refused

    def trust(self, is_proven: Callable[[str], bool]) -> None:
        """Looks at the instances first of which this says that their machine has answered, and keeps them."""
        self._table.is_proven = is_proven

    def close(self) -> None:
        """Stops listening."""
        self._mdns.missed = lambda: None
        self._mdns.zeroconf.async_remove_listener(self._listener)

    def relinked(self) -> None:
        """Asks again and judges everything anew, after a change of links: other addresses are on-link now."""
        self._general.series(self._clock(), AGAIN_SECONDS)
        self._replanned.set()
        self._table.mark_all()
        self._stirred.set()

    def repeat(self) -> None:
        """Reports once more what has been reported and has not left."""
        for entry in self._table.entries():
            entry.again = entry.told is not None
        self._table.mark_all()
        self._stirred.set()

    async def run(self) -> None:
        """Asks the questions that are due, for ever."""
        while True:
            self._ask_what_is_due()
            with suppress(TimeoutError):
                async with time_limit_at(min(self._general.next, self._named.next)):
                    await self._replanned.wait()
            self._replanned.clear()

    async def next(self) -> Announcement | Withdrawal:
        """Waits for the next news and returns it; may be cancelled at any time without losing any."""
        while True:
            if self._evaluated >= _EVALUATIONS_AT_ONCE:  # in a flood this never waits by itself, and the loop has other work
                self._evaluated = 0
                await asyncio.sleep(0)
            if self._table.crowded_out:
                self._evaluated += 1
                return Withdrawal(self._table.crowded_out.popleft())
            now = self._clock()
            at = self._due_at(now)
            if at > now:
                await self._wait(at)
                continue
            is_free = self._table.has_news
            name = self._table.take(now)
            if name is None:
                continue
            if not is_free:
                self._news.take(name, now)
            if (message := self._evaluate(name)) is not None:
                return message

    def _due_at(self, now: float) -> float:
        """When there is something to look at."""
        return 0.0 if self._table.has_news else max(self._table.next_at(), self._news.at(now))

    async def _wait(self, until: float) -> None:
        """Waits for the next turn, or for something that is due earlier."""
        self._stirred.clear()
        self._waits_until = until
        with suppress(TimeoutError):
            async with time_limit_at(until):
                await self._stirred.wait()

    def _hear(self, updates: Iterable[RecordUpdate], now: float) -> None:
        try:
            self._table.hear(updates, now, asked=self._mdns.is_reading_answer)
        except Exception:  # the library would stop calling its listeners (ADR 6)
            self._table.refused[Reason.OUR_FAULT] += 1
            log.exception("mdns.listener_failed")
        if self._due_at(self._clock()) < self._waits_until:  # in a flood the next turn is waited for already
            self._stirred.set()

    def _missed(self) -> None:
        if self._general.hurry(self._clock(), self._real):
            self._replanned.set()

    def _cached(self, server: str) -> Iterable[DNSRecord]:
        return self._mdns.zeroconf.cache.async_entries_with_name(server)

    def _evaluate(self, name: str) -> Announcement | Withdrawal | None:
        self._evaluated += 1
        entry = self._table.get(name)
        if entry is None:
            return None
        if entry.gone:
            return self._withdraw(name, entry)
        announcement = self._read(name, entry) or self._what_is_left(entry)
        if announcement is not None and entry.asked:
            announcement = replace(announcement, asked=True)
        if (announcement == entry.told and not entry.again) or (name == self.own_instance and self._is_here(announcement)):
            return None
        if entry.told not in {None, announcement}:
            # What changes may be forged: asked by its name, the machine itself answers what is so (ADR 6).
            self._ask_about(name, self._random.uniform(*_DOUBT_SECONDS))
        entry.told, entry.again = announcement, False
        return announcement

    def _is_here(self, announcement: Announcement | None) -> bool:
        return announcement is None or set(announcement.addresses) <= self._mdns.links.places

    def _what_is_left(self, entry: Instance) -> Announcement | None:
        """Returns what was reported, at the addresses still on-link: a forged record takes nothing away, a lost link does."""
        if entry.told is None:
            return None
        return replace(entry.told, addresses=tuple(filter(self._mdns.links.on_link, entry.told.addresses)))

    def _withdraw(self, name: str, entry: Instance) -> Withdrawal | None:
        self._table.forget(name)
        self._named.settle(name)
        if entry.told is None:
            return None
        self._ask_about(name, self._random.uniform(*_DOUBT_SECONDS))
        return Withdrawal(name)

    def _read(self, name: str, entry: Instance) -> Announcement | None:
        addresses = self._table.addresses(name)
        if not entry.server or entry.text is None or not addresses:
            if entry.told is None:
                self._ask_about(name, COMPLETION_SECONDS)
            return None
        self._named.settle(name)
        try:
            return read_announcement(name, port=entry.port, text=entry.text, addresses=addresses, links=self._mdns.links)
        except Unacceptable as error:
            self._table.refused[error.reason] += 1
            log.debug("announcement.refused", extra={"fields": {"name": name, "why": error.reason.value}})
            return None

    def _ask_about(self, name: str, after_seconds: float) -> None:
        """Plans a question, later where many other agents will ask it."""
        spread = self._random.uniform(0, len(self._table) / _INSTANCES_PER_SECOND)
        self._named.add(name, self._clock() + after_seconds + spread)
        self._replanned.set()

    def _ask_what_is_due(self) -> None:
        now = self._clock()
        zeroconf = self._mdns.zeroconf
        unicast = self._general.take(now, len(self._table))
        if unicast is not None:
            ask_who(zeroconf, self._service.text, self._real_ones() if unicast else self._known(), unicast=unicast)
        batch, unicast = self._named.take(now)
        if batch:
            ask_about(zeroconf, [self._service.full_name(name) for name in batch], unicast=unicast)

    def _real_ones(self) -> list[DNSPointer]:
        """Returns the known answers of machines that have answered: in a flood the others are so many, and nobody's."""
        found = list(self._known(only=self._table.is_proven))
        self._real = len(found)
        return found

    def _known(self, *, only: Callable[[str], bool] = lambda _: True) -> Iterator[DNSPointer]:
        """Gives the known answers: pointers that were reported and have more than half their life left (RFC 6762 §7.1)."""
        now = current_time_millis()
        for name, entry in self._table.items():
            if not only(name):
                continue
            if entry.pointer is not None and entry.told is not None and not entry.gone and not entry.pointer.is_stale(now):
                yield entry.pointer


class _Listener(RecordUpdateListener):
    """Passes records from the library to the browser."""

    def __init__(self, hear: Callable[[Iterable[RecordUpdate], float], None]) -> None:
        super().__init__()
        self._hear = hear

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:  # noqa: ARG002 - the library's signature
        self._hear(records, now)

    def async_update_records_complete(self) -> None:
        """Does nothing: the names are marked already."""
