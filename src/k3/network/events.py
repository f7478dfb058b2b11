"""What happens to an agent, and what its `PeerTable` asks for in turn. Pure: data only."""

from k3.core.node import NodeView
from k3.core.observation import Facts, Observation
from k3.core.records import dataclass
from k3.network.messages import Announcement, Outcome, Target, Withdrawal


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """What does not change in a run: which machine the agent runs on, under which name, and what a person has set."""

    name: str
    id: str
    peer_ttl_seconds: float = 90.0
    register_self: bool = True
    forget_after_seconds: float = 0.0
    boot: str = ""
    """The id of this run."""
    conflict_with: str = ""
    """The name that the machine would have had, held by another live machine."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The store's whole list, at start and after every break of the watch."""

    nodes: tuple[NodeView, ...]


@dataclass(frozen=True, slots=True)
class NodeShown:
    """The store shows this Node now."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class NodeGone:
    """The store no longer holds this Node."""

    name: str


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The watch broke: what the store says is unknown until the next `Synced`."""


@dataclass(frozen=True, slots=True)
class Probed:
    """How a probe went, that of the `StartProbe` with this key."""

    key: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class SelfProven:
    """The agent's own machine answers its own probe, and says this of itself now."""

    facts: Facts


@dataclass(frozen=True, slots=True)
class LinksChanged:
    """The machine's own usable links, as prefixes, and the interfaces behind them. Without any, it is the one cut off."""

    links: tuple[str, ...]
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stalled:
    """The agent's own loop stood still for so long (seconds)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NameKept:
    """The other holder of the agent's own name is dead, or has to give way: its id may be displaced."""

    displaces: str


@dataclass(frozen=True, slots=True)
class CloneFound:
    """Another machine has this one's identity, at this address; empty: it has one of its own by now."""

    address: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come."""


StoreEvent = Synced | NodeShown | NodeGone | StoreLost
Event = StoreEvent | Announcement | Withdrawal | Probed | SelfProven | NameKept | CloneFound | LinksChanged | Stalled | Tick


@dataclass(frozen=True, slots=True)
class StartProbe:
    """Ask this target; the answer comes back as `Probed` with the same key, exactly once."""

    key: str
    target: Target
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """Hand this observation to the reconciler."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class Reannounce:
    """Announce the machine again: others could not reach it."""


@dataclass(frozen=True, slots=True)
class Contested:
    """Another id uses the agent's own name, on the network or in the store's Node.

    The machine there is to be asked; then comes `NameKept`, or the run ends.
    """

    target: Target


@dataclass(frozen=True, slots=True)
class Suspecting:
    """The agent has begun to suspect this peer; said once in a suspicion, for the log."""

    name: str
    where: str
    """The endpoints that did not answer."""


@dataclass(frozen=True, slots=True)
class BoundMet:
    """There are as many of something as there may be; said once an hour, for the log. `where`: of which address, if of one."""

    what: str
    where: str
    advice: str


Action = StartProbe | Report | Reannounce | Contested | Suspecting | BoundMet
