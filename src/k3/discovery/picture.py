"""All datacenters together: what is to be said of each Node now. Pure.

the datacenter's answer is      a machine it shows      a Node it does not show
───────────────────────────     ──────────────────      ───────────────────────
fully believed                  Mirrored                Deregistered, once the doubt is over
believed in what it shows       Mirrored                nothing; beyond the grace SourceLost
not believed, or there is none  nothing; beyond the grace SourceLost: what it showed last is left as it is

A machine in doubt (see `patience`) stays as it is, and one that says goodbye is Stopped. One whose entry cannot be read stays
as it is as well, and beyond the grace is lost from sight.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import field, replace

from k3.core.records import dataclass
from k3.core.safe_text import printable
from k3.discovery.guards import Belief, Trust
from k3.discovery.patience import Doubt, Why
from k3.discovery.policy import Deregistered, Health, Mirrored, RegistryObservation, SourceLost, Stopped
from k3.discovery.snapshot import Identity, Instance, Named, Snapshot, assign

WHY_CHARACTERS = 200
UNREADABLE = "what Consul shows of it cannot be read"


@dataclass(frozen=True, slots=True)
class Sight:
    """One datacenter: what it showed last, and how far that is believed."""

    snapshot: Snapshot
    belief: Belief
    is_lost: bool
    """Whether it has not been fully believed for longer than the grace: what it does not show is out of sight."""
    is_silent: bool = False
    """Whether nothing of it has been believed for longer than the grace: what it did show is out of sight as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A Node of the store that stands for an instance of this service. `is_gone`: it is known to have left already."""

    name: str
    datacenter: str
    service_id: str
    is_gone: bool
    consul_node: str = ""
    is_silent: bool = False
    """Its Consul agent had fallen silent when it was last heard of, and Consul may remove it at any time."""
    is_ready: bool = False
    is_registered_by_k3: bool = False
    """A k3 agent registered it, which puts it back when it is taken out, and says goodbye."""
    is_original: bool = False
    """The program of the specification wrote it, which does not say which instance it stands for."""

    @property
    def identity(self) -> Identity:
        """The identity of the instance it stands for."""
        return self.datacenter, self.consul_node, self.service_id


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be said, at most one thing of each Node, and the name of each instance that is shown."""

    said: dict[str, RegistryObservation] = field(default_factory=dict)
    named: dict[Identity, Named] = field(default_factory=dict)
    doubts: frozenset[Doubt] = frozenset()

    def covers(self, name: str, node: Known | None) -> bool:
        """Whether the picture stays as it is when the store shows this Node, or none, under the name."""
        seen = self.said.get(name)
        if node is not None and not node.is_ready and missing(node) in self.doubts:
            return False
        if node is not None and node.is_original:
            return seen is not None or missing(node) in self.doubts
        if isinstance(seen, Mirrored):
            return node is None or (seen.datacenter, seen.service_id) == (node.datacenter, node.service_id)
        return (seen is None) == (node is None)


def observe(
    service: str,
    sights: Mapping[str, Sight],
    known: Iterable[Known],
    own_datacenter: str,
    over: AbstractSet[Doubt] = frozenset(),
) -> Picture:
    """Draws a picture. Of Nodes of datacenters that are not watched it says nothing. `over`: doubts that count no more."""
    nodes = list(known)
    doubts: set[Doubt] = set()
    mirrored = [each for each in nodes if not each.is_original]
    reserved = {each.name: (each.datacenter, each.service_id) for each in mirrored if _is_kept(each, sights)}
    held = {each.identity: each.name for each in mirrored if not each.is_gone}
    named = assign((_each_once(sight.snapshot, held) for sight in sights.values()), own_datacenter, reserved, held)
    said: dict[str, RegistryObservation] = {}
    for each in named.values():
        sight = sights[each.instance.datacenter]
        if sight.belief.trust is not Trust.NONE:
            doubts |= doubts_of(each.instance)
            # What is shown is believed of any server with a leader, even where an absence is not (see `guards`).
            said[each.name] = say(service, each, over)
        elif sight.is_silent:
            said[each.name] = _lost(service, each.name, each.instance.datacenter, sight)
    # A machine that asked not to become a Node is there all the same: what Node has its name is not to be called gone.
    hidden = {each.wanted_name for sight in sights.values() for each in sight.snapshot.instances if each.is_hidden}
    for node in nodes:
        found = _whole(sights, own_datacenter) if node.is_original else sights.get(node.datacenter)
        if found is None or node.name in named or node.name in hidden:
            continue
        if found.belief.trust is not Trust.NONE:
            doubts |= _doubts_about(node, found)
        if (seen := _not_shown(service, node, found, over)) is not None:
            said[node.name] = seen
    return Picture(said, {each.instance.identity: each for each in named.values()}, frozenset(doubts))


def _whole(sights: Mapping[str, Sight], own_datacenter: str) -> Sight | None:
    """Returns the own datacenter if all are fully believed: only then a machine that is in none of them is gone."""
    is_whole = all(sight.belief.trust is Trust.FULL for sight in sights.values())
    return sights.get(own_datacenter) if is_whole else None


def _each_once(snapshot: Snapshot, held: Mapping[Identity, str]) -> Snapshot:
    """Returns a snapshot without second registrations of a machine: its Consul agent was renamed, and both names are shown.

    One run of k3 is one machine. A former run's registration counts only while no other agent shows the machine.
    """
    by_machine: dict[tuple[str, str], list[Instance]] = {}
    for each in snapshot.instances:
        if each.facts.id:
            by_machine.setdefault((each.facts.id, each.wanted_name), []).append(each)
    gone = {each.identity for several in by_machine.values() if len(several) > 1 for each in _outdated(several, held)}
    if not gone:
        return snapshot
    return replace(snapshot, instances=tuple(each for each in snapshot.instances if each.identity not in gone))


def _outdated(several: list[Instance], held: Mapping[Identity, str]) -> list[Instance]:
    # The best is one whose agent answers, then the one that has the Node already: so the Node does not change hands.
    by_worth = sorted(several, key=lambda each: (each.health == "unknown", each.identity not in held, each.identity))
    best, others = by_worth[0], by_worth[1:]
    return [each for each in others if each.health == "unknown" or each.facts.boot == best.facts.boot]


def _not_shown(service: str, node: Known, sight: Sight, over: AbstractSet[Doubt]) -> RegistryObservation | None:
    """Returns what is to be said of a Node whose instance the datacenter does not show, or not so that it can be read."""
    if node.identity in sight.snapshot.unread and sight.belief.trust is not Trust.NONE:
        return SourceLost(node.name, service, UNREADABLE) if unread(node) in over else None
    if sight.belief.trust is Trust.FULL:
        return Deregistered(node.name, service) if not node.is_ready or missing(node) in over else None
    return _lost(service, node.name, node.datacenter, sight) if sight.is_lost else None


def _doubts_about(node: Known, sight: Sight) -> set[Doubt]:
    """Returns the doubts about a Node of which the datacenter shows nothing that can be read."""
    if node.identity in sight.snapshot.unread:
        return set() if node.is_gone else {unread(node)}
    return {missing(node)} if node.is_ready else set()


def missing(node: Known) -> Doubt:
    """Returns the doubt about a Node whose instance Consul does not show."""
    return Doubt(Why.MISSING, node.datacenter, node.consul_node, node.service_id or node.name)


def unread(node: Known) -> Doubt:
    """Returns the doubt about a Node whose instance Consul shows by an entry that cannot be read."""
    return Doubt(Why.UNREAD, *node.identity)


def doubts_of(instance: Instance) -> set[Doubt]:
    """Returns the doubts about a machine that is shown. One that cannot be asked itself is silent without a doubt."""
    facts = instance.facts
    if instance.health == "unasked":
        return {Doubt(Why.UNASKED, *instance.identity)}
    if instance.health == "unknown" and facts.id and facts.addresses and facts.port:
        return {Doubt(Why.SILENT, *instance.identity)}
    return set()


def say(service: str, named: Named, over: AbstractSet[Doubt]) -> RegistryObservation:
    """Returns what is to be said of an instance that is shown."""
    instance = named.instance
    if instance.is_leaving:
        return Stopped(named.name, service, instance.facts.boot)
    if doubts := doubts_of(instance):
        instance = replace(instance, health=_beyond_doubt(instance.health) if doubts <= over else "unasked")
    return _mirrored(service, replace(named, instance=instance))


def _beyond_doubt(health: Health) -> Health:
    return "critical" if health == "unasked" else health


def _is_kept(node: Known, sights: Mapping[str, Sight]) -> bool:
    """Whether no other machine may have the name, since this one may still be there, out of sight."""
    sight = sights.get(node.datacenter)
    is_shown_whole = sight is not None and sight.belief.trust is Trust.FULL and node.identity not in sight.snapshot.unread
    return not node.is_gone and not is_shown_whole


def _lost(service: str, name: str, datacenter: str, sight: Sight) -> SourceLost:
    why = printable(sight.belief.why, limit=WHY_CHARACTERS)
    return SourceLost(name, service, f"no word from Consul's datacenter {printable(datacenter, limit=63)}: {why}")


def _mirrored(service: str, named: Named) -> Mirrored:
    instance = named.instance
    return Mirrored(
        name=named.name,
        facts=instance.facts,
        service=service,
        service_id=instance.service_id,
        consul_node=instance.consul_node,
        datacenter=instance.datacenter,
        health=instance.health,
        message=instance.message,
        in_maintenance=instance.in_maintenance,
        conflict_with=named.conflict_with,
    )
