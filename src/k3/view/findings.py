"""What `k3.view.why` is told about a Node, and what it answers with. Pure: data, and how ages are written.

Every finding rests on something that is recorded, or that the reader has worked out itself, and names it: nothing is invented.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, Literal, Self

from k3.core import freshness, times
from k3.core.freshness import WrongClock
from k3.core.node import NodeView
from k3.core.objects import Manifest
from k3.core.records import dataclass
from k3.core.sources import NETWORK
from k3.view import words
from k3.view.cells import human_duration, text_at
from k3.view.node_table import Reading

_DAY: Final = timedelta(days=1)
_SUFFIX_DIGITS: Final = 6

Way = Literal["answered", "another", "odd", "refused", "hangs", "filtered", "gone", "silent", "unable"]
"""How a machine took a question: it gave the right answer; another machine answered; the answer was none of k3's; it refused
the connection, or took it and gave no answer; it is on the link and drops the question, or nothing is there; nothing came back,
and it is not known why; or the question could not even be sent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How this reader's own question to a machine went, just now."""

    way: Way
    detail: str = ""
    """Who answered in its place, or why nothing could be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the reader has found out about clocks."""

    wrong: Sequence[WrongClock] = ()
    is_readers: bool = False
    """The wrong one is the reader's own."""
    unwritten_seconds: float = 0.0
    """For how long no agent has refreshed any Node of the store; 0: one has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All Nodes of the store, as far as one of them is explained by the others."""

    by_name: Mapping[str, NodeView]
    writers: Sequence[NodeView]
    """Network's Ready Nodes whose own agents write to this store: those may ask other machines."""
    seconds: Mapping[str, Sequence[NodeView]]
    """By the name that they asked for, those that go by their second name."""
    by_id: Mapping[str, Sequence[NodeView]]
    """Those that have an id, by that."""
    clocks: Clocks

    @classmethod
    def of(cls, nodes: Sequence[NodeView], clocks: Clocks) -> Self:
        """Returns it for a list."""
        seconds: dict[str, list[NodeView]] = {}
        by_id: dict[str, list[NodeView]] = {}
        for each in nodes:
            if each.id:
                by_id.setdefault(each.id, []).append(each)
            if (wanted := wanted_name(each)) != each.name:
                seconds.setdefault(wanted, []).append(each)
        writers = [each for each in nodes if each.agent and each.is_ready and each.owner == NETWORK.name]
        by_name = {each.name: each for each in nodes}
        return cls(by_name=by_name, writers=writers, seconds=seconds, by_id=by_id, clocks=clocks)


def copies(seen: NodeView, nodes: Iterable[NodeView]) -> list[NodeView]:
    """Returns the other machines of k3 network that have this one's id, except where one is the other's former name.

    An id is made of the machine id and the hardware address. Copies that reach each other part (ADR 44); two of one hardware
    address do not, since each takes the other's packets. From one Node a machine that was renamed cannot be told from a copy.
    """
    if not seen.id or seen.owner != NETWORK.name or seen.is_former:
        return []
    return [
        each
        for each in nodes
        if each.id == seen.id and each.name != seen.name and each.owner == NETWORK.name and not each.is_former
    ]


def wanted_name(seen: NodeView) -> str:
    """Returns the name that a machine asked for: without the 6 digits of its id, if it goes by its second name (design §4)."""
    return seen.name.removesuffix(f"-{seen.id[:_SUFFIX_DIGITS]}") if seen.id and seen.owner else seen.name


NO_FLEET: Final = Fleet.of((), Clocks())


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that is known where a Node is to be explained."""

    name: str
    reading: Reading
    fleet: Fleet = NO_FLEET
    events: Sequence[Manifest] = ()
    """Those about the Node, the newest last."""
    lease: Manifest | None = None
    """The Lease that a kubelet of this name renews."""
    mirror: Manifest | None = None
    """The Lease of the mirror of k3 discovery that looks after the Node."""
    asked: Asked | None = None

    @property
    def seen(self) -> NodeView:
        """The Node as k3's own logic sees it."""
        return self.reading.view

    @property
    def now(self) -> datetime:
        """When it is read."""
        return self.reading.at.now

    @property
    def message(self) -> str:
        """What the condition says that decides the state."""
        return self.reading.state.message

    @property
    def where(self) -> str:
        """Where the machine is asked, in words."""
        where = words.endpoint(self.seen)
        return f"http://{where}/info" if where else "it"

    @property
    def observer(self) -> NodeView | None:
        """The Node of the machine whose agent last knew this one alive."""
        return self.fleet.by_name.get(self.seen.seen_by)

    @property
    def copies(self) -> list[NodeView]:
        """The Nodes that have this one's id."""
        return copies(replace(self.seen, name=self.name), self.fleet.by_id.get(self.seen.id, ()))

    @property
    def writers(self) -> list[NodeView]:
        """The other machines whose agents write to this store."""
        return [each for each in self.fleet.writers if each.name != self.name]

    @property
    def only_writer(self) -> str:
        """The other machine whose agent writes to this store; empty: there is none, or there are several."""
        first_two = list(islice((each.name for each in self.fleet.writers if each.name != self.name), 2))
        return first_two[0] if len(first_two) == 1 else ""

    @property
    def ttl_seconds(self) -> float:
        """Its time to live: the larger of its own and its observer's; 0: neither says."""
        return max(self.seen.peer_ttl_seconds, self.observer.peer_ttl_seconds if self.observer else 0.0)

    @property
    def ttl(self) -> str:
        """The time to live, in words."""
        return f"its time to live ({times.duration(self.ttl_seconds)})" if self.ttl_seconds else "its time to live"

    def age_seconds(self, stamp: str) -> float | None:
        """How long ago a time was, by the reader's clock; None: there is none, or it is still to come."""
        at = times.parse_timestamp(stamp)
        if at is None or (age := (self.now - at).total_seconds()) < -freshness.SKEW_SECONDS:
            return None
        return round(max(age, 0.0), 3)

    def when(self, stamp: str) -> str:
        """When that was, and how long ago: `at 12:03:04Z (95s ago)`."""
        at = times.parse_timestamp(stamp)
        if at is None:
            return "at a time that is not recorded"
        if at - self.now > timedelta(seconds=freshness.SKEW_SECONDS):
            return f"at {times.timestamp(at)}, which is still to come by this machine's clock"
        text = times.timestamp(at)
        shown = text if self.now - at >= _DAY else text.partition("T")[2]
        return f"at {shown} ({human_duration(max(self.now - at, timedelta()))} ago)"

    def note(self, key: str) -> str:
        """An annotation of the Node's owner, its key without the prefix."""
        return self.seen.annotations.get(f"k3.{self.seen.owner}/{key}", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is known, and on what it rests."""

    rule: str
    """Which rule it follows from: a key of the tables in `k3.view.words`, or the name of the evidence."""
    source: str
    """Who says so: `network`, `discovery`, `controller`, `events`, `store`, or `this command`."""
    text: str
    at: str = ""
    """RFC 3339: the recorded time that it is about."""
    age_seconds: float | None = None
    do: str = ""
    command: str = ""
    on: str = ""
    """The machine on which the command is to be typed; empty: here."""

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON; what there is not is left out."""
        found = {
            "rule": self.rule,
            "source": self.source,
            "text": self.text,
            "at": self.at,
            "ageSeconds": self.age_seconds,
            "do": self.do,
            "command": self.command,
            "on": self.on,
        }
        return {key: value for key, value in found.items() if value not in {"", None}}


def stamped(record: Record, rule: str, source: str, text: str, stamp: str) -> Finding:
    """Returns a finding about a recorded time: `text` has `{when}` where that is to stand."""
    # A message from elsewhere may bring the end of its sentence along.
    shown = text.replace("{when}", record.when(stamp)).replace("?.", "?").replace("..", ".")
    return Finding(rule=rule, source=source, text=shown, at=stamp, age_seconds=record.age_seconds(stamp))


def renewed(lease: Manifest | None) -> tuple[str, str]:
    """Returns who holds a Lease and when it was renewed last; empty texts for what it does not say."""
    return (text_at(lease, "spec", "holderIdentity"), text_at(lease, "spec", "renewTime")) if lease else ("", "")


def facts(pairs: Mapping[str, str], source: str) -> list[Finding]:
    """Returns a finding for each pair that has a value: its key is the rule, and stands before the value."""
    return [Finding(rule=key, source=source, text=f"{key}: {value}") for key, value in pairs.items() if value]
