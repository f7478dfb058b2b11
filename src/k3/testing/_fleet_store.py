"""A simulated store: real decisions, conditional writes and a watch, without a disk; and what became of each Node."""

from collections import Counter
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from k3.core import node, times
from k3.core.decision import Create, Delete, Keep, Update
from k3.core.node import NodeView
from k3.core.objects import Manifest
from k3.core.observation import Observation
from k3.core.records import dataclass
from k3.network.events import Event, NodeGone, NodeShown, StoreLost, Synced
from k3.network.policy import decide
from k3.testing._fleet_time import SimulatedTime

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
STORE_SECONDS: Final = 0.02
"""A write takes so long to arrive, and the news of it as long again."""


class Watcher(Protocol):
    """An agent that follows the store."""

    is_attached: bool
    """Whether it reaches the store."""

    def give(self, event: Event) -> None:
        """Hand it an event."""


@dataclass(slots=True, kw_only=True)
class SimulatedStore:
    """One store: manifests, who watches, and what was ever written."""

    name: str
    time: SimulatedTime
    nodes: dict[str, Manifest] = field(default_factory=dict)
    views: dict[str, NodeView] = field(default_factory=dict)
    watchers: list[Watcher] = field(default_factory=list)
    writes: Counter[str] = field(default_factory=Counter)
    history: list[tuple[float, str, str]] = field(default_factory=list)
    """(time, node, what): Ready and Reachable as they changed."""
    ages: dict[tuple[str, str], float] = field(default_factory=dict)
    """How old the stored lastSeen was, in true seconds, when a Node last turned to a state."""
    seen_at: dict[str, float] = field(default_factory=dict)
    reachable: bool = True

    @property
    def synced(self) -> Synced:
        """The whole list."""
        return Synced(tuple(self.views.values()))

    def lose(self) -> None:
        """Go out of reach of every agent."""
        self.reachable = False
        for watcher in self.watchers:
            if watcher.is_attached:
                watcher.give(StoreLost())

    def heal(self) -> None:
        """Be back."""
        self.reachable = True
        for watcher in self.watchers:
            if watcher.is_attached:
                watcher.give(self.synced)

    def report(self, watcher: Watcher, observation: Observation, skew: timedelta) -> None:
        """An agent whose clock is off by `skew` reports something: it is decided and written when it arrives."""
        now = EPOCH + timedelta(seconds=self.time.now) + skew
        self.time.later(STORE_SECONDS, lambda: self._write(watcher, observation, now, skew))

    def _write(self, watcher: Watcher, observation: Observation, now: datetime, skew: timedelta) -> None:
        if not self.reachable or not watcher.is_attached:
            return
        name = observation.name
        match decide(self.nodes.get(name), observation, now=now):
            case Create(manifest) | Update(manifest):
                if manifest == self.nodes.get(name):
                    return
                self.nodes[name] = manifest
                self._committed(name, node.view_manifest(name, manifest), skew)
            case Delete():
                del self.nodes[name]
                self._committed(name, None)
            case Keep():
                pass

    def put(self, name: str, manifest: Manifest) -> None:
        """Write as another program would."""
        self.nodes[name] = manifest
        self._committed(name, node.view_manifest(name, manifest))

    def _committed(self, name: str, shown: NodeView | None, skew: timedelta = timedelta()) -> None:
        self.writes[name] += 1
        former = self.views.pop(name, None)
        if shown is not None:
            self.views[name] = shown
            last = times.parse_timestamp(shown.last_seen)
            if last is not None and (former is None or former.last_seen != shown.last_seen):
                self.seen_at[name] = (last - EPOCH - skew).total_seconds()
        for label, before, after in (
            ("Ready", former and former.ready, shown and shown.ready),
            ("Reachable", former and former.reachable, shown and shown.reachable),
        ):
            if after and (not before or before.status != after.status):
                state = f"{label}={after.status}"
                self.history.append((self.time.now, name, state))
                self.ages[name, state] = self.time.now - self.seen_at.get(name, self.time.now)
        event: Event = NodeShown(shown) if shown is not None else NodeGone(name)
        self.time.later(STORE_SECONDS, lambda: self._deliver(event))

    def _deliver(self, event: Event) -> None:
        if self.reachable:
            for watcher in list(self.watchers):
                if watcher.is_attached:
                    watcher.give(event)

    # ── what a test asks ────────────────────────────────────────────────────────────────────────────────────────────

    def seen(self, name: str) -> str:
        """Ready as stored: its status and reason, or `-`."""
        shown = self.views.get(name)
        return f"{shown.ready.status} {shown.ready.reason}" if shown and shown.ready else "-"

    def times(self, name: str, what: str, *, since: float = 0.0) -> list[float]:
        """When a Node turned to this state (`Ready=False`, `Reachable=False`, …)."""
        return [at for at, who, state in self.history if who == name and state == what and at >= since]

    def age_at(self, name: str, what: str) -> float:
        """How old the stored lastSeen truly was when the Node last turned to this state, in seconds."""
        return self.ages[name, what]
