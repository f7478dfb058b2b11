"""What Prometheus reads of the server: `/metrics`, with Nodes and Leases as kube-state-metrics has them, and `/sd`.

Both are made piece by piece: ten thousand Nodes are twenty megabytes. What was rendered of an object for `/metrics` is kept
until the object changes.
"""

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final

from k3 import __version__
from k3.agent import logs
from k3.agent.cache import Cache
from k3.agent.faults import Faults
from k3.agent.figures import DROPPED_LINES, FAULTS, NODES_HELP, kind_of, store_writable
from k3.agent.metrics import OTHER, Labels, Metric, counted, exposition, gauge
from k3.core import limits
from k3.core.objects import NODE, Key, Object
from k3.core.records import dataclass
from k3.core.store import Store
from k3.server.kube_metrics import LEASE_FAMILIES, Series, node_families, rendered
from k3.server.targets import target_group
from k3.server.turns import in_turns
from k3.view.cells import Moment

OBJECTS_AT_ONCE: Final = 500
"""How many objects' lines make one piece."""


async def target_pieces(items: Sequence[Object], port: int, moment: Callable[[Object], Moment]) -> AsyncGenerator[bytes, None]:
    """Gives the JSON of `/sd` about these Nodes, piece by piece. `moment`: how each of them is to be read."""
    separator = "["
    async for item in in_turns(items):
        if group := target_group(item.manifest(), port, moment(item)):
            yield (separator + json.dumps(group)).encode()
            separator = ","
    yield b"[]" if separator == "[" else b"]"


class Requests:
    """What the server was asked since it started."""

    def __init__(self) -> None:
        self._counts: Counter[Labels] = Counter()

    def count(self, verb: str, resource: str, code: int) -> None:
        """Counts one request. `verb` and `resource` are words of the API, empty where the path has none."""
        labels = (("verb", verb), ("resource", resource), ("code", str(code)))
        if labels not in self._counts and len(self._counts) >= limits.METRIC_REQUESTS:
            labels = (("verb", OTHER), ("resource", OTHER), ("code", OTHER))
        self._counts[labels] += 1

    def metric(self) -> Metric:
        """Returns the counts as they stand now."""
        help_ = "Requests, by what was asked and how they were answered."
        return Metric(name="k3_server_requests_total", type="counter", help=help_, samples=dict(self._counts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendered:
    """One object's lines, at one revision."""

    revision: int
    lines: tuple[bytes, ...]
    kind: Labels
    """What a Node is counted under."""


@dataclass(slots=True)
class _Page:
    """The objects of one kind, as last rendered."""

    cache: Cache
    families: Sequence[Series]
    known: dict[Key, _Rendered] = field(default_factory=dict)

    async def refresh(self) -> list[_Rendered]:
        """Returns all objects as they stand now; only what changed since the last time is rendered anew."""
        now: dict[Key, _Rendered] = {}
        async for item in in_turns(list(self.cache.objects.values())):
            former = self.known.get(item.key)
            now[item.key] = former if former and former.revision == item.revision else self._render(item)
        self.known = now
        return list(now.values())

    def _render(self, item: Object) -> _Rendered:
        manifest, is_node = item.manifest(), item.key.kind == NODE
        identity = (("node" if is_node else "lease", item.key.name),)
        kind = kind_of(manifest) if is_node else ()
        return _Rendered(revision=item.revision, lines=rendered(self.families, identity, manifest), kind=kind)

    async def pieces(self, objects: Sequence[_Rendered]) -> AsyncGenerator[bytes, None]:
        """Gives every family that has any line: its head, and its lines."""
        for number, family in enumerate(self.families):
            head = family.head.encode()
            async for start in in_turns(range(0, len(objects), OBJECTS_AT_ONCE)):
                if lines := b"".join([each.lines[number] for each in objects[start : start + OBJECTS_AT_ONCE]]):
                    yield head + lines
                    head = b""


class Exposition:
    """The page of one server."""

    def __init__(
        self,
        nodes: Cache,
        leases: Cache,
        watchers: Callable[[], Mapping[str, int]] = dict,
        *,
        store: Store | None = None,
        faults: Faults | None = None,
        allowed_labels: Collection[str] = (),
    ) -> None:
        """`watchers`: how many there are of each resource. `store` and `faults` are the server's.

        `allowed_labels`: what `kube_node_labels` shows; `*` is all.
        """
        self.requests = Requests()
        self._nodes = nodes
        self._watchers = watchers
        self._store = store
        self._faults = faults
        self._pages = (_Page(nodes, node_families(allowed_labels)), _Page(leases, LEASE_FAMILIES))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Gives the page, piece by piece, as the caches show the store when it is asked for."""
        counts: Counter[Labels] = Counter()
        for page in self._pages:
            objects = await page.refresh()
            counts.update([each.kind for each in objects if each.kind])
            async for piece in page.pieces(objects):
                yield piece
        yield exposition(self._own(counts)).encode()

    def _own(self, counts: Mapping[Labels, int]) -> Iterator[Metric]:
        yield gauge("k3_build_info", "Which k3 this is.", {(("version", __version__),): 1})
        yield gauge("k3_nodes", NODES_HELP, dict(counts))
        yield gauge("k3_store_up", "1 while the store answers.", int(self._nodes.is_current))
        watchers: dict[Labels, float] = {(("resource", name),): number for name, number in self._watchers().items()}
        yield gauge("k3_server_watchers", "Watches that are open now, by resource.", watchers)
        yield self.requests.metric()
        if self._store is not None:
            yield store_writable(self._store)
        if self._faults is not None:
            yield counted(FAULTS, self._faults.counts)
            yield counted(DROPPED_LINES, logs.dropped())
