"""What the fields of the stored kinds are, as far as patches and managed fields must know it: one table. Pure.

The facts are those of Kubernetes' own OpenAPI and Go types: `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and
`x-kubernetes-map-type` say how managed fields see a part, `x-kubernetes-patch-strategy` how a strategic merge patch does, and a
member that Go writes even when it is empty has its zero here.

A field that is not in the table, since a store may hold what strangers wrote, is untyped: its objects are granular, its lists
are atomic.
"""

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Final, Literal

from k3.core.objects import EVENT, LEASE, NODE, Kind
from k3.core.records import dataclass

ABSENT: Final = object()
"""A member that is not there; null is one that is."""

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})

ListType = Literal["", "atomic", "set", "map"]
Scalar = Literal["", "string", "numeric", "boolean", "untyped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one part of an object is: a scalar, a list, a map of any names, or a struct of known fields."""

    scalar: Scalar = ""
    list_type: ListType = ""
    key: str = ""
    """Of a list of type map: the field that tells its items apart."""
    is_merged: bool = False
    """Whether a strategic merge patch merges this list; it replaces all others."""
    items: "Shape | None" = None
    """What a list or a map holds."""
    fields: Mapping[str, "Shape"] = field(default_factory=dict)
    zeros: Mapping[str, Any] = field(default_factory=dict)
    """What Go writes of a field that was not set, for those that it always writes."""
    is_atomic: bool = False
    """Of a struct: it is managed as a whole."""
    is_pointer: bool = False
    """Whether Go tells an empty value from one that is not there."""
    go_name: str = ""
    """How Kubernetes names a struct in messages."""

    def of(self, name: str) -> "Shape":
        """Returns the shape of a member of an object."""
        return self.fields.get(name) or self.items or UNTYPED

    def side(self, holder: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
        """Returns a member as Go has it: its zero where it always writes one, and ABSENT where it leaves an empty one out."""
        value = holder.get(name, ABSENT)
        if value is not None and value is not ABSENT and value not in _EMPTY:
            return value
        known = self.fields.get(name)
        if known is None:
            return value
        if value is ABSENT or value is None:
            return self.zeros.get(name, ABSENT)
        return value if known.is_pointer or name in self.zeros else ABSENT

    def applied_side(self, holder: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
        """Returns a member as it is, empty or not: what is applied has not been through Go."""
        return holder[name] if name in holder else self.zeros.get(name, ABSENT)


_EMPTY: Final[tuple[Any, ...]] = ("", 0, False, [], {})

UNTYPED: Final = Shape(scalar="untyped")
TEXT: Final = Shape(scalar="string")
NUMBER: Final = Shape(scalar="numeric")
BOOLEAN: Final = Shape(scalar="boolean")
MOMENT: Final = Shape(scalar="untyped", is_pointer=True)
TEXT_OR_NONE: Final = Shape(scalar="string", is_pointer=True)
NUMBER_OR_NONE: Final = Shape(scalar="numeric", is_pointer=True)
BOOLEAN_OR_NONE: Final = Shape(scalar="boolean", is_pointer=True)


def _struct(
    go_name: str,
    fields: Mapping[str, Shape],
    *,
    zeros: Mapping[str, Any] = _NONE,
    is_atomic: bool = False,
    is_pointer: bool = False,
) -> Shape:
    return Shape(fields=fields, zeros=zeros, is_atomic=is_atomic, is_pointer=is_pointer, go_name=go_name)


def _atomic(items: Shape) -> Shape:
    return Shape(list_type="atomic", items=items)


def _set(*, is_merged: bool) -> Shape:
    return Shape(list_type="set", items=TEXT, is_merged=is_merged)


def _map(items: Shape, key: str) -> Shape:
    return Shape(list_type="map", items=items, key=key, is_merged=True)


_TEXTS: Final = Shape(items=TEXT)
_QUANTITIES: Final = Shape(items=Shape(scalar="untyped"))

_OWNER: Final = _struct(
    "OwnerReference",
    {
        "apiVersion": TEXT,
        "blockOwnerDeletion": BOOLEAN_OR_NONE,
        "controller": BOOLEAN_OR_NONE,
        "kind": TEXT,
        "name": TEXT,
        "uid": TEXT,
    },
    zeros={"apiVersion": "", "kind": "", "name": "", "uid": ""},
    is_atomic=True,
)
METADATA: Final = _struct(
    "ObjectMeta",
    {
        "annotations": _TEXTS,
        "creationTimestamp": Shape(scalar="untyped"),
        "deletionGracePeriodSeconds": NUMBER_OR_NONE,
        "deletionTimestamp": MOMENT,
        "finalizers": _set(is_merged=True),
        "generateName": TEXT,
        "generation": NUMBER,
        "labels": _TEXTS,
        "managedFields": _atomic(UNTYPED),
        "name": TEXT,
        "namespace": TEXT,
        "ownerReferences": _map(_OWNER, "uid"),
        "resourceVersion": TEXT,
        "selfLink": TEXT,
        "uid": TEXT,
    },
)

_CONFIG_SOURCE: Final = _struct(
    "NodeConfigSource",
    {
        "configMap": _struct(
            "ConfigMapNodeConfigSource",
            {"kubeletConfigKey": TEXT, "name": TEXT, "namespace": TEXT, "resourceVersion": TEXT, "uid": TEXT},
            zeros={"kubeletConfigKey": "", "name": "", "namespace": ""},
            is_pointer=True,
        ),
    },
    is_pointer=True,
)
_TAINT: Final = _struct(
    "Taint",
    {"effect": TEXT, "key": TEXT, "timeAdded": MOMENT, "value": TEXT},
    zeros={"effect": "", "key": ""},
)
_NODE_SPEC: Final = _struct(
    "NodeSpec",
    {
        "configSource": _CONFIG_SOURCE,
        "externalID": TEXT,
        "podCIDR": TEXT,
        "podCIDRs": _set(is_merged=True),
        "podPreemptionPolicy": _struct(
            "NodePodPreemptionPolicy",
            {"disableResizePreemption": _set(is_merged=False)},
            is_pointer=True,
        ),
        "providerID": TEXT,
        "taints": _atomic(_TAINT),
        "unschedulable": BOOLEAN,
    },
)
_CONDITION: Final = _struct(
    "NodeCondition",
    {
        "lastHeartbeatTime": MOMENT,
        "lastTransitionTime": MOMENT,
        "message": TEXT,
        "reason": TEXT,
        "status": TEXT,
        "type": TEXT,
    },
    zeros={"lastHeartbeatTime": None, "lastTransitionTime": None, "status": "", "type": ""},
)
_ADDRESS: Final = _struct("NodeAddress", {"address": TEXT, "type": TEXT}, zeros={"address": "", "type": ""})
_INFO_TEXTS: Final = (
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
)
_NODE_INFO: Final = _struct(
    "NodeSystemInfo",
    {
        **dict.fromkeys(_INFO_TEXTS, TEXT),
        "runningInUserNamespace": BOOLEAN_OR_NONE,
        "swap": _struct("NodeSwapStatus", {"capacity": NUMBER_OR_NONE}, is_pointer=True),
    },
    zeros=dict.fromkeys(_INFO_TEXTS, ""),
)
_DAEMON_ENDPOINTS: Final = _struct(
    "NodeDaemonEndpoints",
    {"kubeletEndpoint": _struct("DaemonEndpoint", {"Port": NUMBER}, zeros={"Port": 0})},
    zeros={"kubeletEndpoint": {"Port": 0}},
)
_NODE_STATUS: Final = _struct(
    "NodeStatus",
    {
        "addresses": _map(_ADDRESS, "type"),
        "allocatable": _QUANTITIES,
        "capacity": _QUANTITIES,
        "conditions": _map(_CONDITION, "type"),
        "config": _struct(
            "NodeConfigStatus",
            {"active": _CONFIG_SOURCE, "assigned": _CONFIG_SOURCE, "error": TEXT, "lastKnownGood": _CONFIG_SOURCE},
            is_pointer=True,
        ),
        "daemonEndpoints": _DAEMON_ENDPOINTS,
        "declaredFeatures": _atomic(TEXT),
        "features": _struct("NodeFeatures", {"supplementalGroupsPolicy": BOOLEAN_OR_NONE}, is_pointer=True),
        "images": _atomic(
            _struct("ContainerImage", {"names": _atomic(TEXT), "sizeBytes": NUMBER}, zeros={"names": None}),
        ),
        "nodeInfo": _NODE_INFO,
        "phase": TEXT,
        "runtimeHandlers": _atomic(
            _struct(
                "NodeRuntimeHandler",
                {
                    "features": _struct(
                        "NodeRuntimeHandlerFeatures",
                        {"recursiveReadOnlyMounts": BOOLEAN_OR_NONE, "userNamespaces": BOOLEAN_OR_NONE},
                        is_pointer=True,
                    ),
                    "name": TEXT,
                },
            ),
        ),
        "volumesAttached": _atomic(
            _struct("AttachedVolume", {"devicePath": TEXT, "name": TEXT}, zeros={"devicePath": "", "name": ""}),
        ),
        "volumesInUse": _atomic(TEXT),
    },
    zeros={"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": dict.fromkeys(_INFO_TEXTS, "")},
)

_REFERENCE_FIELDS: Final = dict.fromkeys(
    ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"),
    TEXT,
)
_LEASE_SPEC: Final = _struct(
    "LeaseSpec",
    {
        "acquireTime": MOMENT,
        "holderIdentity": TEXT_OR_NONE,
        "leaseDurationSeconds": NUMBER_OR_NONE,
        "leaseTransitions": NUMBER_OR_NONE,
        "preferredHolder": TEXT_OR_NONE,
        "renewTime": MOMENT,
        "strategy": TEXT_OR_NONE,
    },
)

_SHAPES: Final = {
    NODE: _struct(
        "Node",
        {"apiVersion": TEXT, "kind": TEXT, "metadata": METADATA, "spec": _NODE_SPEC, "status": _NODE_STATUS},
        zeros={"metadata": {}, "spec": {}, "status": _NODE_STATUS.zeros},
    ),
    LEASE: _struct(
        "Lease",
        {"apiVersion": TEXT, "kind": TEXT, "metadata": METADATA, "spec": _LEASE_SPEC},
        zeros={"metadata": {}, "spec": {}},
    ),
    EVENT: _struct(
        "Event",
        {
            "action": TEXT,
            "apiVersion": TEXT,
            "count": NUMBER,
            "eventTime": MOMENT,
            "firstTimestamp": MOMENT,
            "involvedObject": _struct("ObjectReference", _REFERENCE_FIELDS, is_atomic=True),
            "kind": TEXT,
            "lastTimestamp": MOMENT,
            "message": TEXT,
            "metadata": METADATA,
            "reason": TEXT,
            "related": _struct("ObjectReference", _REFERENCE_FIELDS, is_atomic=True, is_pointer=True),
            "reportingComponent": TEXT,
            "reportingInstance": TEXT,
            "series": _struct(
                "EventSeries",
                {"count": NUMBER, "lastObservedTime": MOMENT},
                zeros={"lastObservedTime": None},
                is_pointer=True,
            ),
            "source": _struct("EventSource", {"component": TEXT, "host": TEXT}),
            "type": TEXT,
        },
        zeros={
            "eventTime": None,
            "firstTimestamp": None,
            "involvedObject": {},
            "lastTimestamp": None,
            "metadata": {},
            "reportingComponent": "",
            "reportingInstance": "",
            "source": {},
        },
    ),
}

_ANY_KIND: Final = _struct("Object", {"apiVersion": TEXT, "kind": TEXT, "metadata": METADATA}, zeros={"metadata": {}})


def shape_of(kind: Kind) -> Shape:
    """Returns the shape of a kind's objects; of a kind that is not stored, only metadata is known."""
    return _SHAPES.get(kind, _ANY_KIND)
