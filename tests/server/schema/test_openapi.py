"""The documents of OpenAPI hold together: what kubectl looks for is there, and every name leads somewhere."""

import json
import re
from typing import Any, Final

import pytest

from k3.server.schema import openapi, openapi_v2, protobuf
from k3.server.status import Refused

PLACES: Final = (
    "api/v1",
    "apis/coordination.k8s.io/v1",
    "apis/storage.k8s.io/v1",
    "apis/policy/v1",
    "apis/authorization.k8s.io/v1",
    "apis/authentication.k8s.io/v1",
)


def document(where: str) -> Any:
    return json.loads(openapi.document(where))


def test_the_index_names_each_document_with_its_hash() -> None:
    paths = openapi.index()["paths"]
    assert tuple(paths) == PLACES
    for where, found in paths.items():
        assert found == {"serverRelativeURL": f"/openapi/v3/{where}?hash={openapi.hash_of(where)}"}
    with pytest.raises(Refused) as refusal:
        openapi.document("apis/apps/v1")
    assert refusal.value.code == 404


@pytest.mark.parametrize("where", PLACES)
def test_every_name_leads_to_a_schema(where: str) -> None:
    found = document(where)
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', openapi.document(where).decode()))
    assert named <= set(found["components"]["schemas"])
    assert found["openapi"] == "3.0.0"


def test_a_node_may_be_patched_with_the_parameters_that_kubectl_looks_for() -> None:
    patch = document("api/v1")["paths"]["/api/v1/nodes/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "Node"}
    assert patch["x-kubernetes-action"] == "patch"
    assert [each["name"] for each in patch["parameters"]] == ["dryRun", "fieldManager", "fieldValidation", "force"]


def test_verbs_are_those_of_the_resource() -> None:
    paths = document("api/v1")["paths"]
    assert set(paths["/api/v1/nodes"]) == {"get", "post", "delete", "parameters"}
    assert set(paths["/api/v1/nodes/{name}/status"]) == {"get", "put", "patch", "parameters"}
    assert set(paths["/api/v1/namespaces/{namespace}/pods"]) == {"get", "parameters"}
    assert set(paths["/api/v1/events"]) == {"get", "parameters"}
    lease = document("apis/coordination.k8s.io/v1")["paths"][
        "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"
    ]
    assert set(lease) == {"get", "put", "patch", "delete", "parameters"}
    review = document("apis/authorization.k8s.io/v1")["paths"]["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"]
    assert set(review) == {"post"}


def test_types_are_as_kubernetes_describes_them() -> None:
    schemas = document("api/v1")["components"]["schemas"]
    node = schemas["io.k8s.api.core.v1.Node"]
    assert node["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Node", "version": "v1"}]
    assert "worker node" in node["description"]
    status = schemas["io.k8s.api.core.v1.NodeStatus"]["properties"]
    assert status["addresses"]["x-kubernetes-patch-merge-key"] == "type"
    assert status["images"]["x-kubernetes-list-type"] == "atomic"
    assert status["capacity"]["additionalProperties"] == {
        "$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"
    }
    spec = schemas["io.k8s.api.core.v1.NodeSpec"]["properties"]
    assert spec["taints"]["x-kubernetes-list-type"] == "atomic"
    assert spec["podCIDRs"]["x-kubernetes-list-type"] == "set"
    meta = schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]
    assert meta["labels"]["additionalProperties"] == {"type": "string"}
    assert meta["ownerReferences"]["x-kubernetes-list-map-keys"] == ["uid"]
    assert schemas["io.k8s.api.core.v1.Taint"]["required"] == ["effect", "key"]


def fields(data: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, value in protobuf._fields(data, "Document", protobuf._Budget(10**6)):
        found.setdefault(number, []).append(value)
    return found


def by_name(messages: list[Any]) -> dict[str, dict[int, list[Any]]]:
    """Reads the entries of what gnostic has in place of a map."""
    entries = map(fields, messages)
    return {entry[1][0].decode(): fields(entry[2][0]) for entry in entries}


def test_version_2_says_the_same_as_protobuf() -> None:
    found = fields(openapi_v2.document())
    assert found[1] == [b"2.0"]
    paths = by_name(fields(found[8][0])[2])
    schemas = by_name(fields(found[9][0])[1])
    documents = [document(where) for where in PLACES]
    assert set(paths) == {path for each in documents for path in each["paths"]}
    assert set(schemas) == {name for each in documents for name in each["components"]["schemas"]}
    node = by_name(fields(schemas["io.k8s.api.core.v1.Node"][25][0])[1])
    assert node["spec"][1] == [b"#/definitions/io.k8s.api.core.v1.NodeSpec"]
    (extension,) = schemas["io.k8s.api.core.v1.Node"][31]
    assert b"x-kubernetes-group-version-kind" in extension
    patch = fields(paths["/api/v1/nodes/{name}"][8][0])
    assert sum(b"dryRun" in each for each in patch[8]) == 1
    assert any(b'"kind": "Node"' in each for each in patch[13])
