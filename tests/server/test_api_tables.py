"""What `kubectl get` shows: the columns of every kind, the cells of kube-apiserver, and rows for whatever is stored."""

from datetime import UTC, datetime
from typing import Any

import pytest

from k3.core.objects import EVENT, LEASE, NODE, Key, Kind, Manifest, Object
from k3.server import resources
from k3.view import api_tables, node_table
from tests import odd_places

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
HOUR_AGO = "2026-11-23T07:00:00Z"


def names(kind: Kind, *, priority: int) -> list[str]:
    return [column["name"] for column in api_tables.definitions(kind) if column["priority"] == priority]


def shown(kind: Kind, manifest: Manifest, **others: Any) -> dict[str, Any]:
    columns = [column["name"] for column in api_tables.definitions(kind)]
    return dict(zip(columns, api_tables.cells(kind, manifest, NOW, **others), strict=True))


def a_node(*conditions: Manifest, unschedulable: bool = False) -> Manifest:
    return {
        "metadata": {"name": "n1", "creationTimestamp": HOUR_AGO, "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"unschedulable": unschedulable},
        "status": {
            "conditions": list(conditions),
            "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"osImage": "Debian 13", "kernelVersion": "6.12", "architecture": "arm64"},
        },
    }


def ready(status: str) -> Manifest:
    return {"type": "Ready", "status": status}


def test_nodes_have_kubectls_columns() -> None:
    assert names(NODE, priority=0) == ["Name", "Status", "Roles", "Age", "Version"]
    wide = ["Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"]
    assert names(NODE, priority=1) == wide
    assert shown(NODE, a_node(ready("True"))) == {
        "Name": "n1",
        "Status": "Ready",
        "Roles": "worker",
        "Age": "60m",
        "Version": "",
        "Internal-IP": "10.0.0.1",
        "External-IP": "<none>",
        "OS-Image": "Debian 13",
        "Kernel-Version": "6.12 (arm64)",
        "Container-Runtime": "<unknown>",
    }


@pytest.mark.parametrize(
    ("manifest", "is_observed", "word"),
    [
        (a_node(ready("True")), True, "Ready"),
        (a_node(ready("False")), True, "NotReady"),
        (a_node(ready("Unknown")), True, "NotReady"),
        (a_node(), True, "Unknown"),
        (a_node(ready("True"), ready("False")), True, "NotReady"),
        (a_node(ready("False"), ready("True"), unschedulable=True), True, "Ready,SchedulingDisabled"),
        (a_node(ready("True"), unschedulable=True), False, "Unknown,SchedulingDisabled"),
        (a_node(ready("False")), False, "NotReady"),
    ],
)
def test_the_status_is_kubectls_word_and_unknown_where_no_agent_looks(manifest: Manifest, is_observed: bool, word: str) -> None:
    assert shown(NODE, manifest, is_observed=is_observed)["Status"] == word


def test_k3_nodes_shows_the_same_columns_and_its_own_among_them() -> None:
    own = {"Source", "Last Seen", "Reason", "Message"}
    kubectls = [column.name for column in node_table.COLUMNS if column.name not in own]
    assert kubectls == [column["name"] for column in api_tables.definitions(NODE)]


def test_an_event_of_each_of_the_two_forms() -> None:
    old = {
        "metadata": {"name": "n1.1"},
        "involvedObject": {"kind": "Node", "name": "n1"},
        "type": "Warning",
        "reason": "NodeNotReady",
        "message": " it left\n",
        "source": {"component": "k3", "host": "n2"},
        "firstTimestamp": HOUR_AGO,
        "lastTimestamp": "2026-11-23T07:59:00Z",
        "count": 3,
    }
    assert shown(EVENT, old) == {
        "Last Seen": "60s",
        "Type": "Warning",
        "Reason": "NodeNotReady",
        "Object": "node/n1",
        "Subobject": "",
        "Source": "k3, n2",
        "Message": "it left",
        "First Seen": "60m",
        "Count": 3,
        "Name": "n1.1",
    }
    new = {"eventTime": "2026-11-23T07:58:00.000000Z", "involvedObject": {"kind": "Node"}, "reportingComponent": "x"}
    cells = shown(EVENT, new)
    assert (cells["Last Seen"], cells["First Seen"], cells["Count"], cells["Object"], cells["Source"]) == (
        "2m",
        "2m",
        1,
        "node",
        "x",
    )
    series = {**new, "series": {"count": 9, "lastObservedTime": "2026-11-23T07:59:30.000000Z"}}
    assert (shown(EVENT, series)["Last Seen"], shown(EVENT, series)["Count"]) == ("30s", 9)


def test_leases_namespaces_and_maps() -> None:
    metadata = {"name": "x", "creationTimestamp": HOUR_AGO}
    assert list(shown(LEASE, {"metadata": metadata, "spec": {"holderIdentity": "me"}}).values()) == ["x", "me", "60m"]
    assert shown(LEASE, {"metadata": metadata})["Holder"] == ""
    assert shown(resources.NAMESPACE, {"metadata": metadata, "status": {"phase": "Active"}})["Status"] == "Active"
    assert shown(resources.CONFIG_MAP, {"data": {"a": "1"}, "binaryData": {"b": "Mg=="}})["Data"] == 2


def test_services_and_pods() -> None:
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 81, "nodePort": 30_000, "protocol": "UDP"}]
    spec = {"type": "LoadBalancer", "clusterIP": "10.9.0.1", "ports": ports, "selector": {"b": "2", "a": "1"}}
    assert shown(resources.SERVICE, {"spec": spec}) == {
        "Name": "",
        "Type": "LoadBalancer",
        "Cluster-IP": "10.9.0.1",
        "External-IP": "<pending>",
        "Port(s)": "80/TCP,81:30000/UDP",
        "Age": "<unknown>",
        "Selector": "a=1,b=2",
    }
    pod = {
        "spec": {"containers": [{"name": "c"}, {"name": "d"}], "nodeName": "n1"},
        "status": {"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 2}], "podIP": "10.1.0.1"},
    }
    cells = shown(resources.POD, pod)
    assert (cells["Ready"], cells["Status"], cells["Restarts"], cells["Node"], cells["Nominated Node"]) == (
        "1/2",
        "Running",
        "2",
        "n1",
        "<none>",
    )


ODD: list[Any] = [None, 7, -1.5, True, "x", [], [None, 3, "x", [], {}], {}, {"a": None, "b": [1]}]


@pytest.mark.parametrize("resource", resources.RESOURCES, ids=lambda each: each.kind.name)
def test_no_document_keeps_a_row_from_being_shown(resource: resources.Resource) -> None:
    paths = [
        ("metadata",),
        ("spec",),
        ("status",),
        *(("metadata", key) for key in ("name", "labels", "creationTimestamp")),
        *(("spec", key) for key in ("unschedulable", "ports", "externalIPs", "selector", "containers", "readinessGates")),
        *(("status", key) for key in ("conditions", "addresses", "nodeInfo", "containerStatuses", "loadBalancer", "phase")),
        *((key,) for key in ("involvedObject", "source", "series", "count", "message", "data", "lastTimestamp")),
    ]
    for path in paths:
        for value in ODD:
            nested: Any = value
            for key in reversed(path):
                nested = {key: nested}
            cells = api_tables.cells(resource.kind, nested, NOW)
            assert [type(cell) in {str, int} for cell in cells] == [True] * len(api_tables.definitions(resource.kind))


@pytest.mark.parametrize("kind", [NODE, EVENT, LEASE], ids=lambda kind: kind.name)
def test_what_other_programs_store_is_a_row(kind: Kind) -> None:
    for name, document in (odd_places.strange(kind.name) | odd_places.unreadable()).items():
        item = Object(key=Key(kind, name, "default"), uid="u", revision=1, document=document)
        assert api_tables.cells(kind, item.manifest(), NOW)
