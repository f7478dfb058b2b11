"""Whether a store can be used from here, and what it is: asked through the Store port alone, so of every backend alike.

A backend that knows more about its server offers `facts`. A check changes nothing, except that it creates one Lease and deletes
it again, unless it is told to only read.
"""

import statistics
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field
from typing import Final, Protocol, runtime_checkable

from k3.core.errors import Forbidden, NotFound
from k3.core.objects import KINDS, LEASE, NODE, Key, Kind
from k3.core.records import dataclass
from k3.core.store import Store, kinds_of, pages

ROUND_TRIPS: Final = 5
PROBE_NAMESPACE: Final = "kube-system"


@runtime_checkable
class Telling(Protocol):
    """A store that tells more about its server."""

    async def facts(self) -> Mapping[str, str]:
        """Returns short texts by what they are about (`server`, `schema`), in the order to show. Raises as any verb does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found. Times are in seconds."""

    url: str
    id: str
    revision: int
    counts: Mapping[Kind, int]
    round_trip_seconds: float
    """Median of a few reads of one object that is not there."""
    refusal: str = ""
    """Why this user may not write; empty: it may, or was not to try."""
    facts: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[Key, str] = field(default_factory=dict)
    """Objects that are there and cannot be read, and why."""


async def check(store: Store, *, probe: str, clock: Callable[[], float]) -> Findings:
    """Looks at an open store. `probe` names the Lease to try writing with (empty: only read); `clock` is monotonic, in seconds.

    Raises Unavailable, Forbidden.
    """
    facts = await store.facts() if isinstance(store, Telling) else {}
    trip = statistics.median([await _round_trip(store, clock) for _ in range(ROUND_TRIPS)])
    counts: dict[Kind, int] = {}
    unreadable: dict[Key, str] = {}
    for kind in (each for each in KINDS if each in kinds_of(store)):
        found = [(item.key, item.unreadable) async for page in pages(store, kind) for item in page.objects]
        counts[kind] = len(found)
        unreadable |= {key: why for key, why in found if why}
    refusal = await write_refusal(store, probe) if probe else ""
    revision = (await store.list(NODE, limit=1)).revision
    return Findings(
        url=store.url,
        id=store.id,
        revision=revision,
        counts=counts,
        round_trip_seconds=trip,
        refusal=refusal,
        facts=facts,
        unreadable=unreadable,
    )


async def _round_trip(store: Store, clock: Callable[[], float]) -> float:
    began = clock()
    with suppress(NotFound):
        await store.get(Key(NODE, "k3-store-check"))
    return clock() - began


async def write_refusal(store: Store, probe: str) -> str:
    """Returns why this user may not write; empty: it may. Makes a Lease of this name and deletes it again.

    Raises what a write raises, except Forbidden.
    """
    key = Key(LEASE, probe, PROBE_NAMESPACE)
    try:
        made = await store.create(key, {})
        await store.delete(key, uid=made.uid)
    except Forbidden as refused:
        return str(refused)
    return ""
