"""The table of sources: what tells their Nodes apart, one row each. Pure.

A source is known by its name everywhere: it marks its Nodes with labels, keeps its annotations and conditions under
`k3.<name>/`, and writes its own reasons into Ready. Nothing else in k3 has a list of sources: to add one is one package
and one row here (`docs/adr/0037`). Whose a Node is, `k3.core.ownership` decides with this table.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from k3.core.objects import Manifest
from k3.core.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One row: how the Nodes of a source look, and what readers may expect of them."""

    name: str
    """Also the command that runs it: `k3 <name>`."""
    reasons: frozenset[str]
    """What it writes into Ready."""
    original_reasons: frozenset[str] = frozenset()
    """What the program that the specification describes writes there under the same label. k3 goes on with such a Node."""
    more_labels: Mapping[str, str] = field(default_factory=dict)
    """What it marks its Nodes with besides the two labels that every source has."""
    refresh_seconds: float
    """It writes a Node again at least so often; one with a `peer-ttl` of its own, as often as that says."""
    machines_write: bool = False
    """The agent of a machine may write the machine's own Node, and says so in the annotation `agent`."""
    returns: str
    """What a person is told who deletes a Node of it: when it comes back."""

    @property
    def prefix(self) -> str:
        """What its annotations, conditions and own labels begin with: `k3.network/`."""
        return f"k3.{self.name}/"

    @property
    def managed_label(self) -> str:
        """The label that, with the value `true`, makes a Node this source's."""
        return self.prefix + "managed"

    @property
    def labels(self) -> dict[str, str]:
        """What it marks its Nodes with."""
        return {self.managed_label: "true", self.prefix + "discovered": "true", **self.more_labels}

    def is_reason(self, reason: str) -> bool:
        """Whether it, or its original, writes this into Ready."""
        return reason in self.reasons or reason in self.original_reasons


NETWORK: Final = SourceRow(
    name="network",
    reasons=frozenset({"PeerAlive", "SelfRegistered", "PeerUnreachable", "PeerLeft", "NodeShutdown", "ObserverLost"}),
    original_reasons=frozenset({"PeerAlive", "LANDiscovery", "PeerExpired"}),
    refresh_seconds=90.0,  # the default of --peer-ttl
    machines_write=True,
    returns="If that machine still runs k3 network, its Node returns at its next probe, with a new uid.",
)
DISCOVERY: Final = SourceRow(
    name="discovery",
    reasons=frozenset({"ConsulPassing", "ConsulCritical", "ConsulDeregistered", "SourceUnreachable", "NodeShutdown"}),
    original_reasons=frozenset({"ConsulRegistered", "ConsulHealthCheck"}),
    more_labels={"discovery": "consul"},
    refresh_seconds=360.0,
    returns="If that machine is still in Consul, its Node returns with the next look there, with a new uid.",
)

SOURCES: Final[dict[str, SourceRow]] = {row.name: row for row in (NETWORK, DISCOVERY)}
"""All of them, by name. Where a Node carries the labels of two, the first one counts."""


def labelled(manifest: Manifest) -> str | None:
    """Which source the labels name as manager; None: none of them."""
    metadata = manifest.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(labels, dict):
        return None
    return next((row.name for row in SOURCES.values() if labels.get(row.managed_label) == "true"), None)


def prefix_of(owner: str | None) -> str:
    """Where the annotations of an owner's Node stand. Without an owner, those that network left."""
    return (SOURCES[owner] if owner else NETWORK).prefix
