"""Tables as the Kubernetes API gives them to `kubectl get`: for each kind its columns, and the cells of one object. Pure.

Names, types, order and descriptions are those of kube-apiserver 1.37, since clients compare them; so is every cell, but for a
Node that no agent looks after any more, which is Unknown and not Ready (docs/adr/0054).
"""

from datetime import datetime
from typing import Any, Final

from k3.core.objects import Kind, Manifest
from k3.view import node_table
from k3.view.cells import AGE, NAME, NONE, UNKNOWN, Column, Moment, Row, entries, number, pairs, part, since, text_at, texts


def definitions(kind: Kind) -> list[dict[str, Any]]:
    """Returns the `columnDefinitions` of a kind's Table."""
    return [column.definition() for column in _COLUMNS[kind.name]]


def cells(kind: Kind, manifest: Manifest, now: datetime, *, is_observed: bool = True) -> list[Any]:
    """Returns the cells of one object. `is_observed`: whether an agent looks after it, if it is a Node."""
    row = Row(manifest, Moment(now, is_observed))
    return [column.cell(row) for column in _COLUMNS[kind.name]]


def age_at(kind: Kind) -> int | None:
    """Returns which cell is the age, of a kind of which no other cell changes while its objects stay as they are."""
    columns = _COLUMNS[kind.name]
    moving = [at for at, column in enumerate(columns) if column.moves]
    return moving[0] if len(moving) == 1 and columns[moving[0]] is AGE else None


def _text(*path: str, empty: str = "") -> Any:  # noqa: ANN401 - a cell
    return lambda row: text_at(row.manifest, *path) or empty


def _column(name: str, cell: Any, description: str, **others: Any) -> Column[Row]:  # noqa: ANN401 - a cell
    return Column(name=name, cell=cell, description=description, **others)


# --- Events ----------------------------------------------------------------------------------------------------------


def _first_seen(row: Row) -> str:
    stamp = text_at(row.manifest, "firstTimestamp") or text_at(row.manifest, "eventTime")
    return since(stamp, row.at.now)


def _last_seen(row: Row) -> str:
    if isinstance(row.manifest.get("series"), dict):
        return since(text_at(row.manifest, "series", "lastObservedTime"), row.at.now)
    stamp = text_at(row.manifest, "lastTimestamp")
    return since(stamp, row.at.now) if stamp else _first_seen(row)


def _count(row: Row) -> int:
    series = row.manifest.get("series")
    return number(series.get("count")) if isinstance(series, dict) else number(row.manifest.get("count")) or 1


def _object(row: Row) -> str:
    kind, name = (text_at(row.manifest, "involvedObject", key) for key in ("kind", "name"))
    return f"{kind.lower()}/{name}" if name else kind.lower()


def _source(row: Row) -> str:
    component = text_at(row.manifest, "source", "component") or text_at(row.manifest, "reportingComponent")
    instance = text_at(row.manifest, "source", "host") or text_at(row.manifest, "reportingInstance")
    return f"{component}, {instance}" if instance else component


def _message(row: Row) -> str:
    return text_at(row.manifest, "message").strip()


_EVENTS: Final = (
    _column(
        "Last Seen",
        _last_seen,
        "The time at which the most recent occurrence of this event was recorded.",
        moves=True,
    ),
    _column("Type", _text("type"), "Type of this event (Normal, Warning), new types could be added in the future"),
    _column(
        "Reason",
        _text("reason"),
        "This should be a short, machine understandable string that gives the reason for the transition into the object's"
        " current status.",
    ),
    _column("Object", _object, "The object that this event is about."),
    _column(
        "Subobject",
        _text("involvedObject", "fieldPath"),
        "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go field"
        " access statement, such as desiredState.manifest.containers[2]. For example, if the object reference is to a container"
        ' within a pod, this would take on a value like: "spec.containers{name}" (where "name" refers to the name of the'
        " container that triggered the event) or if no container name is specified"
        ' "spec.containers[2]" (container with index 2 in this pod). This syntax is chosen only to have some well-defined way'
        " of"
        " referencing a part of an object.",
        is_wide=True,
    ),
    _column(
        "Source",
        _source,
        "The component reporting this event. Should be a short machine understandable string.",
        is_wide=True,
    ),
    _column("Message", _message, "A human-readable description of the status of this operation."),
    _column(
        "First Seen",
        _first_seen,
        "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)",
        is_wide=True,
        moves=True,
    ),
    _column("Count", _count, "The number of times this event has occurred.", is_wide=True),
    _column(NAME.name, NAME.cell, NAME.description, format=NAME.format, is_wide=True),
)

# --- Kinds of which there are few objects or none: clients ask for them before they do their work -------------------------


def _data(row: Row) -> int:
    return len(part(row.manifest, "data")) + len(part(row.manifest, "binaryData"))


def _drivers(row: Row) -> int:
    return len(entries(part(row.manifest, "spec").get("drivers")))


def _containers(row: Row) -> list[dict[str, Any]]:
    return entries(part(row.manifest, "status").get("containerStatuses"))


def _ready(row: Row) -> str:
    ready = sum(each.get("ready") is True for each in _containers(row))
    return f"{ready}/{len(entries(part(row.manifest, 'spec').get('containers')))}"


def _restarts(row: Row) -> str:
    return str(sum(number(each.get("restartCount")) for each in _containers(row)))


def _gates(row: Row) -> str:
    gates = entries(part(row.manifest, "spec").get("readinessGates"))
    conditions = entries(part(row.manifest, "status").get("conditions"))
    passed = {each.get("type") for each in conditions if each.get("status") == "True" and isinstance(each.get("type"), str)}
    return f"{sum(gate.get('conditionType') in passed for gate in gates)}/{len(gates)}" if gates else NONE


def _external_ip(row: Row) -> str:
    found = part(row.manifest, "spec").get("externalIPs")
    given = [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    match text_at(row.manifest, "spec", "type"):
        case "ClusterIP" | "NodePort":
            return ",".join(given) or NONE
        case "LoadBalancer":
            ingress = entries(part(row.manifest, "status", "loadBalancer").get("ingress"))
            places = {text_at(each, "ip") or text_at(each, "hostname") for each in ingress} - {""}
            return ",".join([*sorted(places), *given]) or "<pending>"
        case "ExternalName":
            return text_at(row.manifest, "spec", "externalName")
        case _:
            return UNKNOWN


def _ports(row: Row) -> str:
    ports = entries(part(row.manifest, "spec").get("ports"))
    return ",".join(_port(port) for port in ports) or NONE


def _port(port: dict[str, Any]) -> str:
    outside = number(port.get("nodePort"))
    return f"{number(port.get('port'))}{f':{outside}' if outside > 0 else ''}/{text_at(port, 'protocol')}"


def _selector(row: Row) -> str:
    return pairs(texts(part(row.manifest, "spec", "selector")))


_PODS: Final = (
    NAME,
    _column("Ready", _ready, "The aggregate readiness state of this pod for accepting traffic."),
    _column("Status", _text("status", "phase"), "The aggregate status of the containers in this pod."),
    _column(
        "Restarts",
        _restarts,
        "The number of times the containers in this pod have been restarted and when the last container in this pod has"
        " restarted.",
    ),
    AGE,
    _column(
        "IP",
        _text("status", "podIP", empty=NONE),
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
        is_wide=True,
    ),
    _column(
        "Node",
        _text("spec", "nodeName", empty=NONE),
        "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by the"
        " scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes responsible for the"
        " lifecycle of this pod. This field should not be used to express a desire for the pod to be scheduled on a specific"
        " node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
        is_wide=True,
    ),
    _column(
        "Nominated Node",
        _text("status", "nominatedNodeName", empty=NONE),
        "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right away as"
        " preemption victims receive their graceful termination periods. This field does not guarantee that the pod will be"
        " scheduled on this node. Scheduler may decide to place the pod elsewhere if other nodes become available sooner."
        " Scheduler may also decide to give the resources on this node to a higher priority pod that is created after"
        " preemption. As a result, this field may be different than PodSpec.nodeName when the pod is scheduled.",
        is_wide=True,
    ),
    _column(
        "Readiness Gates",
        _gates,
        "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers are"
        " ready"
        ' AND all conditions specified in the readiness gates have status equal to "True" More info:'
        " https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates",
        is_wide=True,
    ),
)
_SERVICES: Final = (
    NAME,
    _column(
        "Type",
        _text("spec", "type"),
        "type determines how the Service is exposed. Defaults to ClusterIP. Valid options are ExternalName, ClusterIP,"
        " NodePort,"
        ' and LoadBalancer. "ClusterIP" allocates a cluster-internal IP address for load-balancing to endpoints. Endpoints are'
        " determined by the selector or if that is not specified, by manual construction of an Endpoints object or"
        " EndpointSlice"
        ' objects. If clusterIP is "None", no virtual IP is allocated and the endpoints are published as a set of endpoints'
        ' rather than a virtual IP. "NodePort" builds on ClusterIP and allocates a port on every node which routes to the same'
        ' endpoints as the clusterIP. "LoadBalancer" builds on NodePort and creates an external load-balancer (if supported in'
        ' the current cloud) which routes to the same endpoints as the clusterIP. "ExternalName" aliases this service to the'
        " specified externalName. Several other fields do not apply to ExternalName services. More info:"
        " https://kubernetes.io/docs/concepts/services-networking/service/#publishing-services-service-types",
    ),
    _column(
        "Cluster-IP",
        _text("spec", "clusterIP", empty=NONE),
        "clusterIP is the IP address of the service and is usually assigned randomly. If an address is specified manually, is"
        " in-range (as per system configuration), and is not in use, it will be allocated to the service; otherwise creation of"
        " the service will fail. This field may not be changed through updates unless the type field is also being changed to"
        " ExternalName (which requires this field to be blank) or the type field is being changed from ExternalName (in which"
        ' case this field may optionally be specified, as describe above).  Valid values are "None", empty string (""), or a'
        ' valid IP address. Setting this to "None" makes a "headless service" (no virtual IP), which is useful when direct'
        " endpoint connections are preferred and proxying is not required.  Only applies to types ClusterIP, NodePort, and"
        " LoadBalancer. If this field is specified when creating a Service of type ExternalName, creation will fail. This field"
        " will be wiped when updating a Service to type ExternalName. More info:"
        " https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies",
    ),
    _column(
        "External-IP",
        _external_ip,
        "externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for this service.  These"
        " IPs are not managed by Kubernetes.  The user is responsible for ensuring that traffic arrives at a node with this IP."
        "  A common example is external load-balancers that are not part of the Kubernetes system.",
    ),
    _column(
        "Port(s)",
        _ports,
        "The list of ports that are exposed by this service. More info:"
        " https://kubernetes.io/docs/concepts/services-networking/service/#virtual-ips-and-service-proxies",
    ),
    AGE,
    _column(
        "Selector",
        _selector,
        "Route service traffic to pods with label keys and values matching this selector. If empty or not present, the service"
        " is assumed to have an external process managing its endpoints, which Kubernetes will not modify. Only applies to"
        " types ClusterIP, NodePort, and LoadBalancer. Ignored if type is ExternalName. More info:"
        " https://kubernetes.io/docs/concepts/services-networking/service/",
        is_wide=True,
    ),
)


def _disruptions(row: Row) -> int:
    allowed = part(row.manifest, "status").get("disruptionsAllowed")
    return allowed if isinstance(allowed, int) else 0


_COLUMNS: Final[dict[str, tuple[Column[Row], ...]]] = {
    "Node": node_table.TABLE,
    "Event": _EVENTS,
    "Lease": (
        NAME,
        _column(
            "Holder",
            _text("spec", "holderIdentity"),
            "holderIdentity contains the identity of the holder of a current lease. If Coordinated Leader Election is used, the"
            " holder identity must be equal to the elected LeaseCandidate.metadata.name field.",
        ),
        AGE,
    ),
    "Namespace": (NAME, _column("Status", _text("status", "phase"), "The status of the namespace"), AGE),
    "Pod": _PODS,
    "ConfigMap": (
        NAME,
        _column(
            "Data",
            _data,
            "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values"
            " with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the"
            " keys in the BinaryData field, this is enforced during validation process.",
        ),
        AGE,
    ),
    "Service": _SERVICES,
    "CSINode": (
        NAME,
        _column(
            "Drivers",
            _drivers,
            "Drivers indicates the number of CSI drivers registered on the node",
            type="integer",
        ),
        AGE,
    ),
    "PodDisruptionBudget": (
        NAME,
        _column("Min Available", _text("spec", "minAvailable", empty="N/A"), "How many pods must be available."),
        _column("Max Unavailable", _text("spec", "maxUnavailable", empty="N/A"), "How many pods may be unavailable."),
        _column("Allowed Disruptions", _disruptions, "How many pods may be disrupted now.", type="integer"),
        AGE,
    ),
}
