"""What the source counts of announcements and peers, as `/metrics` has it. Pure."""

from collections.abc import Mapping
from typing import Final

from k3.agent.metrics import REFUSALS, UNUSABLE, Family
from k3.network.intake import Kind
from k3.network.peers.bounds import Bound
from k3.network.records import Reason

_PACKETS: Final = {kind: f"mdns_{kind.name.lower()}s" for kind in Kind}
_BOUNDS: Final = {
    Bound.ADDRESS: "machines_at_one_address",
    Bound.PEERS: "machines",
    Bound.CANDIDATES: "candidates",
}
_INSTANCES: Final = "instances"


def counts(
    unread: Mapping[Kind, int], broken: Mapping[Reason, int], met: Mapping[Bound, int]
) -> Mapping[Family, Mapping[str, int]]:
    """Returns the packets that were not read, what was not reported and why, and the bounds met: all values, 0 if need be."""
    refused = {name: unread.get(kind, 0) for kind, name in _PACKETS.items()}
    refused |= {name: met.get(bound, 0) for bound, name in _BOUNDS.items()}
    refused[_INSTANCES] = broken.get(Reason.TOO_MANY, 0)
    unusable = {reason.value: broken.get(reason, 0) for reason in Reason if reason is not Reason.TOO_MANY}
    return {REFUSALS: refused, UNUSABLE: unusable}
