"""What a server says of itself: discovery in both forms, OpenAPI, its version, its health."""

from collections.abc import AsyncIterator

import pytest

from k3.server.schema import openapi, openapi_v2
from tests.server.running import Running, running

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[Running]:
    async with running() as found:
        yield found


async def test_both_forms_of_discovery_name_the_same_resources(server: Running) -> None:
    """And so does OpenAPI: of each resource one can learn what it is made of."""
    plain: dict[str, dict[str, list[str]]] = {}
    _, groups = await server.ask("GET", "/apis")
    versions = ["v1", *(group["preferredVersion"]["groupVersion"] for group in groups["groups"])]
    for version in versions:
        code, found = await server.ask("GET", f"/api/{version}" if version == "v1" else f"/apis/{version}")
        assert (code, found["kind"], found["groupVersion"]) == (200, "APIResourceList", version)
        plain[version] = {each["name"]: each["verbs"] for each in found["resources"]}
        assert plain[version], "kubectl before 1.28 takes a group without resources for an error"
    assert {"nodes", "nodes/status", "pods", "pods/eviction", "events", "namespaces"} <= plain["v1"].keys()
    for path in ("/api", "/apis"):
        async with server.session.get(server.url + path, headers={"Accept": f"{AGGREGATED},application/json"}) as answer:
            assert answer.headers["Content-Type"] == AGGREGATED
            whole = await answer.json(content_type=None)
        for group in whole["items"]:
            name = group["metadata"].get("name", "")
            version = f"{name}/v1" if name else "v1"
            rows = group["versions"][0]["resources"]
            found = {each["resource"]: each["verbs"] for each in rows}
            below = {
                f"{each['resource']}/{sub['subresource']}": sub["verbs"]
                for each in rows
                for sub in each.get("subresources", ())
            }
            assert found | below == plain.pop(version)
    assert not plain
    _, index = await server.ask("GET", "/openapi/v3")
    assert {path.removeprefix("apis/").removeprefix("api/") for path in index["paths"]} == set(versions)


async def test_a_document_of_openapi_may_be_kept_by_its_hash(server: Running) -> None:
    _, index = await server.ask("GET", "/openapi/v3")
    place = index["paths"]["api/v1"]["serverRelativeURL"]
    async with server.session.get(server.url + place) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "public, immutable")
        assert await answer.read() == openapi.document("api/v1")
        tag = answer.headers["Etag"]
    async with server.session.get(server.url + place, headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with server.session.get(server.url + "/openapi/v3/api/v1?hash=old") as answer:
        assert (answer.status, str(answer.url.relative())) == (200, place)


async def test_kubectl_before_1_27_gets_its_openapi_as_protobuf(server: Running) -> None:
    for accept in ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", openapi_v2.MEDIA_TYPE, "*/*"):
        async with server.session.get(server.url + "/openapi/v2", headers={"Accept": accept}) as answer:
            assert answer.headers["Content-Type"] == openapi_v2.MEDIA_TYPE
            assert await answer.read() == openapi_v2.document()
    code, status = await server.ask("GET", "/openapi/v2", accept="application/json")
    assert (code, status["reason"]) == (406, "NotAcceptable")


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_slash_at_the_end_changes_nothing(server: Running, slash: str) -> None:
    for path in (
        "/api",
        "/apis",
        "/api/v1",
        "/apis/coordination.k8s.io",
        "/apis/coordination.k8s.io/v1",
        "/version",
        "/openapi/v3",
    ):
        code, plain = await server.ask("GET", path)
        assert (code, (await server.ask("GET", path + slash))[1]) == (200, plain)


async def test_only_get_asks_for_documents(server: Running) -> None:
    for path in ("/api", "/apis", "/version", "/openapi/v2", "/openapi/v3"):
        code, status = await server.ask("POST", path, {})
        assert (code, status["reason"]) == (405, "MethodNotAllowed")
