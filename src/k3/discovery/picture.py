"""All datacenters together: what is to be said of each Node now. Pure.

the datacenter's answer is      a machine it shows      a Node it does not show
───────────────────────────     ──────────────────      ───────────────────────
fully believed                  Mirrored                Deregistered
believed in what it shows       Mirrored                nothing; beyond the grace SourceLost
not believed, or there is none  nothing; beyond the grace SourceLost: what it showed last is left as it is
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from k3.core.discovery_policy import Deregistered, Mirrored, RegistryObservation, SourceLost
from k3.discovery.guards import Belief, Trust
from k3.discovery.snapshot import Identity, Named, Snapshot, assign
from k3.safe_text import printable

WHY_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Sight:
    """One datacenter: what it showed last, how far that is believed, and whether it has been out of sight beyond the grace."""

    snapshot: Snapshot
    belief: Belief
    is_lost: bool


@dataclass(frozen=True, slots=True)
class Known:
    """A Node of the store that stands for an instance of this service. `is_gone`: it is known to have left already."""

    name: str
    datacenter: str
    service_id: str
    is_gone: bool
    consul_node: str = ""
    is_silent: bool = False
    """Its Consul agent had fallen silent when it was last heard of, and may be removed at any time."""

    @property
    def identity(self) -> Identity:
        """Of the instance it stands for."""
        return self.datacenter, self.consul_node, self.service_id


@dataclass(frozen=True, slots=True)
class Picture:
    """What is to be said, at most one thing of each Node, and under which name each shown instance goes."""

    said: dict[str, RegistryObservation] = field(default_factory=dict)
    named: dict[Identity, Named] = field(default_factory=dict)

    def covers(self, name: str, node: Known | None) -> bool:
        """Whether it stays as it is, when the store shows this Node, or none, under the name."""
        seen = self.said.get(name)
        if isinstance(seen, Mirrored):
            return node is None or (seen.datacenter, seen.service_id) == (node.datacenter, node.service_id)
        return (seen is None) == (node is None)


def observe(service: str, sights: Mapping[str, Sight], known: Iterable[Known], own_datacenter: str) -> Picture:
    """All there is to say. Nodes of datacenters that nobody looks at are not spoken of."""
    nodes = list(known)
    reserved = {each.name: (each.datacenter, each.service_id) for each in nodes if _is_kept(each, sights)}
    held = {each.identity: each.name for each in nodes if not each.is_gone}
    named = assign((sight.snapshot for sight in sights.values()), own_datacenter, reserved, held)
    said: dict[str, RegistryObservation] = {}
    for each in named.values():
        sight = sights[each.instance.datacenter]
        if sight.belief.trust is not Trust.NONE:
            said[each.name] = mirrored(service, each)
        elif sight.is_lost:
            said[each.name] = _lost(service, each.name, each.instance.datacenter, sight)
    hidden = {each.wanted_name for sight in sights.values() for each in sight.snapshot.instances if each.is_hidden}
    for node in nodes:
        found = sights.get(node.datacenter)
        if found is None or node.name in named or node.name in hidden:
            continue
        if found.belief.trust is Trust.FULL:
            said[node.name] = Deregistered(node.name, service)
        elif found.is_lost:
            said[node.name] = _lost(service, node.name, node.datacenter, found)
    return Picture(said, {each.instance.identity: each for each in named.values()})


def _is_kept(node: Known, sights: Mapping[str, Sight]) -> bool:
    """Whether nobody else may have the name: its machine may well be there, out of our sight."""
    sight = sights.get(node.datacenter)
    return not node.is_gone and (sight is None or sight.belief.trust is not Trust.FULL)


def _lost(service: str, name: str, datacenter: str, sight: Sight) -> SourceLost:
    why = printable(sight.belief.why, limit=WHY_CHARACTERS)
    return SourceLost(name, service, f"no word from Consul's datacenter {printable(datacenter, limit=63)}: {why}")


def mirrored(service: str, named: Named) -> Mirrored:
    """What is to be said of an instance that is shown."""
    instance = named.instance
    return Mirrored(
        named.name,
        instance.facts,
        service,
        instance.service_id,
        instance.consul_node,
        instance.datacenter,
        instance.health,
        instance.message,
        instance.in_maintenance,
        named.conflict_with,
    )
