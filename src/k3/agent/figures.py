"""What `/metrics` says of an agent: put together when it is asked for, of what the agent's parts know anyway."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from k3 import __version__
from k3.agent import logs
from k3.agent.cache import Cache
from k3.agent.metrics import PROBES, REFUSALS, UNUSABLE, WRITES, Family, Labels, Metric, counted, exposition, gauge
from k3.agent.source import Shared, Source
from k3.core import ownership
from k3.core.objects import Key, Manifest, Object
from k3.core.store import Store

CONTROLLER: Final = "controller"
"""Stands for whoever manages a Node that is no source's."""
NODES_HELP: Final = "Nodes as the store last showed them, by who manages them and their state."
LEAST_SECONDS: Final = 1.0
SHARE: Final = 20
"""Nodes are counted anew after so many times as long as counting them took: it takes a twentieth of a core at the most."""

FAULTS: Final = Family("k3_faults_total", "Errors that k3 did not expect, by their id in the log.", "fault")
DROPPED_LINES: Final = Family("k3_log_lines_dropped_total", "Log lines that were not written, by why.", "why")


class Figures:
    """The numbers of one agent."""

    def __init__(self, shared: Shared, sources: Sequence[Source]) -> None:
        self._shared = shared
        self._sources = sources
        self._tally = Tally(shared.cache)
        self._began_at = time.time()
        self._clock = asyncio.get_running_loop().time

    def text(self) -> str:
        """Returns all of it as Prometheus reads it."""
        return exposition([*self._itself(), *self._store(), *self._of_sources(), *self._counts()])

    def _itself(self) -> Iterator[Metric]:
        yield gauge("k3_build_info", "Which k3 this is.", {(("version", __version__),): 1})
        yield gauge("k3_start_time_seconds", "When the agent started, in seconds since 1970.", round(self._began_at, 3))
        yield gauge("k3_nodes", NODES_HELP, self._tally.read(self._clock()))

    def _store(self) -> Iterator[Metric]:
        cache = self._shared.cache
        yield gauge("k3_store_up", "1 while the store answers.", int(cache.is_current))
        yield store_writable(self._shared.store)
        if cache.heard_at is not None:
            silent_seconds = max(0.0, self._clock() - cache.heard_at)
            yield gauge("k3_store_silent_seconds", "Time since the store last told anything.", round(silent_seconds, 3))
        behind = max(0, self._shared.reconciler.newest - (cache.revision or 0)) if cache.is_current else 0
        yield gauge("k3_store_lag_revisions", "Revisions between what this agent wrote and what it was shown since.", behind)

    def _of_sources(self) -> Iterator[Metric]:
        of = {source.row.name: source for source in self._sources}
        yield gauge("k3_source_up", "1 while the source runs.", _each({name: source.is_up for name, source in of.items()}))
        joined = {name: source.joined.is_set() for name, source in of.items()}
        yield gauge("k3_source_joined", "1 once this machine is on the list.", _each(joined))
        help_ = "1 while the source may write; of several mirrors of Consul one may."
        yield gauge("k3_source_leads", help_, _each({name: source.may_write for name, source in of.items()}))

    def _counts(self) -> Iterator[Metric]:
        of_sources = [source.counts() for source in self._sources]
        for family in (PROBES, WRITES, REFUSALS, UNUSABLE):
            counts = dict(self._shared.counters.of(family))
            for each in of_sources:
                counts |= each.get(family, {})
            yield counted(family, counts)
        yield counted(FAULTS, self._shared.faults.counts)
        yield counted(DROPPED_LINES, logs.dropped())


def store_writable(store: Store) -> Metric:
    """Returns whether a store takes what this process writes."""
    takes_writes = getattr(store, "takes_writes", True)  # `stores.enduring` knows; a backend by itself does not
    return gauge("k3_store_writable", "0 while the store takes no writes, whatever the reason.", int(takes_writes))


def _each(values: dict[str, bool]) -> dict[Labels, float]:
    return {(("source", name),): int(value) for name, value in values.items()}


class Tally:
    """How many Nodes there are of each kind. Only those that changed since the last time are looked at."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._known: dict[Key, tuple[int, Labels]] = {}
        self._counts: dict[Labels, float] = {}
        self._due_at = float("-inf")

    def read(self, now: float) -> dict[Labels, float]:
        """Returns the counts, a moment old where they are asked for all the time."""
        if now >= self._due_at:
            began = time.perf_counter()
            known = self._known
            self._known = {key: _looked_at(item, known.get(key)) for key, item in self._cache.objects.items()}
            self._counts = dict(Counter(labels for _, labels in self._known.values()))
            self._due_at = now + max(LEAST_SECONDS, SHARE * (time.perf_counter() - began))
        return self._counts


def _looked_at(item: Object, known: tuple[int, Labels] | None) -> tuple[int, Labels]:
    if known is not None and known[0] == item.revision:
        return known
    return item.revision, kind_of(item.manifest())


def kind_of(manifest: Manifest) -> Labels:
    """Returns what a Node is counted under: who manages it, and its state."""
    seen = ownership.view("", manifest)
    if seen.is_unreadable:
        state = "unreadable"
    elif seen.is_ready:
        state = "ready" if seen.is_reachable else "not_answering"
    else:
        state = "unknown" if seen.ready is None or seen.ready.status == "Unknown" else "not_ready"
    return (("source", seen.owner or CONTROLLER), ("state", state))
