"""How one datacenter is watched: which questions are asked of Consul, and when. What an answer means is decided in `judge`.

A small service is watched by one blocking query, whose answer is the whole service. That answer grows with the service
(10 MB at 10,000 machines), so a large one is watched in two tiers, and nothing is fetched that has not changed (ADR 16):

* *Who is there* wakes on membership and meta, not on health; then the whole service is read once.
* *Who is ailing*, one query each for critical and warning, wakes on every check, and is small. It is a hint: a check may be
  missing from it because this token may not see it. So the machines it hints at are looked at by all checks of
  their Consul node, and only what is shown there is believed.

Answers may come from different servers. A hint older than the whole answer (by Consul's index) says nothing new. A look older
than its hint, or one that lacks a check which was ailing, shows nothing: the whole service is read instead.
"""

import asyncio
import logging
from collections.abc import Container, Iterable, Mapping
from functools import partial
from random import Random
from typing import Final, Protocol

from k3.agent.tasks import gather
from k3.core.errors import K3Error
from k3.core.records import dataclass
from k3.discovery import guards
from k3.discovery.catalog import WAIT_SECONDS, Catalog, Reading, next_index
from k3.discovery.checks import Check
from k3.discovery.datacenters import Datacenter
from k3.discovery.guards import Trust
from k3.discovery.pace import Pace
from k3.discovery.snapshot import Instance, Snapshot, reexamined

ROUND_SECONDS: Final = 0.1
"""The shortest pause between two answers of a large service: changes that come together are handled together."""
LEAST_ROUND_SECONDS: Final = 0.02
LARGE: Final = 500
"""From so many instances on, a service is watched in two tiers (ADR 16)."""
LOOKS: Final = 32
"""The most Consul nodes looked at one by one; when more are hinted at, the whole service is read."""
STATUSES: Final = ("critical", "warning")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole service, as answered. `went_back`: by Consul's index, it is older than an earlier answer."""

    reading: Reading[Snapshot]
    went_back: bool


@dataclass(frozen=True, slots=True)
class Examined:
    """How these instances are now; the others are as they were."""

    instances: list[Instance]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer has come; `why` says what happened."""

    why: str


Answer = Whole | Examined | Unanswered


class AnswerSink(Protocol):
    """What takes the answers in."""

    def take(self, datacenter: Datacenter, answer: Answer) -> None:
        """Believes an answer as far as it goes, at once."""
        ...

    def own_service_id(self, datacenter: Datacenter) -> str:
        """Returns the service ID that the answers of this datacenter have to show; empty: none."""
        ...


class DatacenterWatch:
    """Watches one datacenter for a service. Nothing is asked in a hurry, and no blocking query is given up (see `catalog`)."""

    def __init__(self, catalog: Catalog, service: str, datacenter: Datacenter, judge: AnswerSink, *, random: Random) -> None:
        """`random` spreads retries."""
        self._catalog = catalog
        self._service = service
        self._datacenter = datacenter
        self._judge = judge
        self._random = random
        self._is_large = asyncio.Event()
        self._reading = asyncio.Lock()  # hints are compared with the last whole answer, which must not change meanwhile
        self._whole_index = 0
        """The index of the last whole answer."""
        self._nodes: dict[str, list[Instance]] = {}
        self._ailing: dict[str, dict[str, frozenset[str]]] = {}
        """The ailing checks by status and Consul node, as the machines' own answers showed them: each look sets them for both
        statuses, whichever hint led to it. A status that came and went between two answers of its list would else be unseen.
        """

    async def run(self) -> None:
        """Watches for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_service())
            for status in STATUSES:
                tasks.create_task(self._follow_status(status))

    async def once(self) -> None:
        """Reads the whole service once."""
        await self._read(0, WAIT_SECONDS)

    async def _follow_service(self) -> None:
        """Asks the first question of both kinds: for the whole service where it is small, else for the membership."""
        index, pace, was_large = 0, self._pace(), False
        while True:
            wait = WAIT_SECONDS if self._is_believed else int(guards.RECHECK_SECONDS)
            is_large = self._is_large.is_set()
            if is_large is not was_large:
                index, was_large = 0, is_large  # each question has indexes of its own
            pace.asks()
            then = await (self._read_if_changed(index, wait) if is_large else self._read(index, wait))
            if self._datacenter.guard.belief.trust is Trust.NONE:
                # The servers may have lost their state: the next question does not block, and says how things are now.
                index = 0
                await pace.rest_after_failure()
                continue
            if pace.is_hasty(index=index, then=then, wait_seconds=wait):
                if is_large:
                    await self._read_whole()  # an index that says nothing does not say either that there is nothing new
                await pace.rest_after_haste()
            else:
                await pace.rest(self._round_seconds, blocked=bool(index))
            index = then

    def _pace(self) -> Pace:
        return Pace(lambda: self._catalog.reading_seconds, random=self._random)

    @property
    def _round_seconds(self) -> float:
        """The pause between two answers: short for a small one, but never none, as an agent that stops answers at once."""
        return max(LEAST_ROUND_SECONDS, ROUND_SECONDS * min(1.0, len(self._datacenter.snapshot.instances) / LARGE))

    @property
    def _is_believed(self) -> bool:
        return self._datacenter.guard.belief.trust is Trust.FULL

    async def _read(self, index: int, wait_seconds: int) -> int:
        """Waits for one whole answer and has it taken in; returns the index to ask with next."""
        place = self._datacenter
        try:
            reading = await self._catalog.health(self._service, datacenter=place.name, index=index, wait_seconds=wait_seconds)
        except K3Error as error:
            self._judge.take(place, Unanswered(str(error)))
            return 0
        fields = {"datacenter": place.name, "index": reading.index}
        log.debug("consul.answered", extra={"fields": fields})
        self._take_in(reading, went_back=reading.index < max(index, self._whole_index))
        return next_index(index, reading.index)

    def _take_in(self, reading: Reading[Snapshot], *, went_back: bool) -> None:
        self._judge.take(self._datacenter, Whole(reading, went_back))
        if self._datacenter.guard.belief.trust is Trust.NONE:
            return
        self._whole_index = reading.index
        instances = self._datacenter.snapshot.instances
        self._nodes = {}
        for each in instances:
            self._nodes.setdefault(each.consul_node, []).append(each)
        self._ailing = {status: _ailing_by_node(self._nodes, status) for status in STATUSES}
        if len(instances) >= LARGE:
            self._is_large.set()
        else:
            self._is_large.clear()

    async def _read_if_changed(self, index: int, wait_seconds: int) -> int:
        """Waits until the membership may have changed; returns its index to wait with next."""
        place = self._datacenter
        own = self._judge.own_service_id(place)
        try:
            reading = await self._catalog.membership(
                self._service, own, datacenter=place.name, index=index, wait_seconds=wait_seconds
            )
        except K3Error as error:
            self._judge.take(place, Unanswered(str(error)))
            return 0
        # The answer has to show this machine's registration, if there is one; where it does not, the whole answer is judged.
        is_news = reading.index > self._whole_index or reading.index < index or bool(own) != reading.found
        if is_news or not self._is_believed or not guards.has_lead(reading.has_leader, reading.last_contact_seconds):
            await self._read_whole()
        return next_index(index, reading.index)

    async def _read_whole(self) -> None:
        async with self._reading:
            await self._read(0, WAIT_SECONDS)

    # ── who is ailing ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_status(self, status: str) -> None:
        index, pace = 0, self._pace()
        while True:
            if not self._is_large.is_set():
                index = 0
                await self._is_large.wait()
            pace.asks()
            try:
                reading = await self._catalog.ailing(status, self._service, datacenter=self._datacenter.name, index=index)
                await self._follow_hints(status, reading)
            except K3Error as error:
                # The first question has such a failure logged, and decides what is believed.
                log.debug("consul.no_hints", extra={"fields": {"datacenter": self._datacenter.name, "why": str(error)}})
                index = 0
                await pace.rest_after_failure()
            else:
                then = next_index(index, reading.index)
                if pace.is_hasty(index=index, then=then, wait_seconds=WAIT_SECONDS):
                    await pace.rest_after_haste()
                else:
                    await pace.rest(ROUND_SECONDS)
                index = then

    async def _follow_hints(self, status: str, reading: Reading[list[Check]]) -> None:
        """Looks at the machines of whose checks more, fewer or others have this status."""
        if not guards.has_lead(reading.has_leader, reading.last_contact_seconds):
            return
        async with self._reading:
            # The whole answer is newer than this hint, or there is none to compare it with.
            is_known = self._datacenter.guard.belief.trust is Trust.NONE or reading.index < self._whole_index
            if is_known or not self._is_large.is_set():
                return
            shown = _by_node(reading.found, self._nodes)
            known = self._ailing[status]
            news = [name for name in shown.keys() | known.keys() if shown.get(name) != known.get(name)]
            if len(news) > LOOKS or not await self._look(news, reading.index):
                await self._read(0, WAIT_SECONDS)

    async def _look(self, names: list[str], index: int) -> bool:
        """Takes in how the machines of these Consul nodes are; returns False if an answer does not show it. Raises K3Error."""
        answers = await gather(*[partial(self._catalog.node_checks, name, datacenter=self._datacenter.name) for name in names])
        fresh: dict[str, list[Instance]] = {}
        for name, answer in zip(names, answers, strict=True):
            former = self._nodes.get(name, [])
            if answer.index < index or not _is_shown(former, answer.found):
                return False
            fresh[name] = [reexamined(each, answer.found) for each in former]
        self._nodes |= fresh
        for status, known in self._ailing.items():
            for name, answer in zip(names, answers, strict=True):
                known.pop(name, None)
                known.update(_by_node(self._of_service(answer.found, status), {name}))
        self._judge.take(self._datacenter, Examined([each for instances in fresh.values() for each in instances]))
        return True

    def _of_service(self, checks: Iterable[Check], status: str) -> list[Check]:
        """Returns those checks of a Consul node that the hints of this status list: the service's, and the node's own."""
        return [each for each in checks if each.status == status and each.service in {self._service, ""}]


def _is_shown(instances: list[Instance], checks: Iterable[Check]) -> bool:
    """Whether the answer shows every check that was ailing: one that is missing may be hidden from this token."""
    shown = {each.check_id for each in checks}
    return all(check in shown for each in instances for check, _ in each.ailments)


def _ailing_by_node(nodes: Mapping[str, list[Instance]], status: str) -> dict[str, frozenset[str]]:
    """Returns the checks of each Consul node that the instances show with this status."""
    found = {
        name: frozenset(check for each in instances for check, word in each.ailments if word == status)
        for name, instances in nodes.items()
        if any(each.ailments for each in instances)
    }
    return {name: checks for name, checks in found.items() if checks}


def _by_node(checks: Iterable[Check], nodes: Container[str]) -> dict[str, frozenset[str]]:
    """Returns the checks of a list, by those Consul nodes that are known."""
    found: dict[str, set[str]] = {}
    for each in checks:
        if each.consul_node in nodes and not each.is_unasked:
            found.setdefault(each.consul_node, set()).add(each.check_id)
    return {name: frozenset(checks) for name, checks in found.items()}
