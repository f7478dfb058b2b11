"""What the API serves: one row for each resource, from which paths, discovery and messages are made. Pure.

Nodes, Events and Leases are stored. The others are there because clients ask for them before they do their work: they are
always the same, or empty.
"""

from typing import Final

from k3.core.objects import EVENT, LEASE, NODE, Kind
from k3.core.records import dataclass

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

NAMESPACE: Final = Kind(group="", version="v1", name="Namespace", plural="namespaces", namespaced=False)
POD: Final = Kind(group="", version="v1", name="Pod", plural="pods", namespaced=True)
CONFIG_MAP: Final = Kind(group="", version="v1", name="ConfigMap", plural="configmaps", namespaced=True)
SERVICE: Final = Kind(group="", version="v1", name="Service", plural="services", namespaced=True)
CSI_NODE: Final = Kind(group="storage.k8s.io", version="v1", name="CSINode", plural="csinodes", namespaced=False)
DISRUPTION_BUDGET: Final = Kind(
    group="policy", version="v1", name="PodDisruptionBudget", plural="poddisruptionbudgets", namespaced=True
)
"""There is none, but kubectl drains by evictions only where it finds the group, and a group must have a resource."""

NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
"""The namespaces that are there; there are no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource of the API."""

    kind: Kind
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    """Names for several resources at once, such as `kubectl get all`."""
    verbs: tuple[str, ...] = WRITE
    subresources: tuple[str, ...] = ()
    is_stored: bool = False

    @property
    def singular(self) -> str:
        """Returns the name of one of them: `node`."""
        return self.kind.name.lower()


STORED: Final = (
    Resource(kind=NODE, short_names=("no",), subresources=("status",), is_stored=True),
    Resource(kind=EVENT, short_names=("ev",), is_stored=True),
    Resource(kind=LEASE, is_stored=True),
)
FIXED: Final = (
    Resource(kind=NAMESPACE, short_names=("ns",), verbs=READ),
    Resource(kind=POD, short_names=("po",), categories=("all",), verbs=READ),
    Resource(kind=CONFIG_MAP, short_names=("cm",), verbs=READ),
    Resource(kind=SERVICE, short_names=("svc",), categories=("all",), verbs=READ),
    Resource(kind=CSI_NODE, verbs=READ),
    Resource(kind=DISRUPTION_BUDGET, short_names=("pdb",), verbs=READ),
)
RESOURCES: Final = (*STORED, *FIXED)
