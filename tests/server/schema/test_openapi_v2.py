"""The older form of OpenAPI says what the newer one says, in JSON and in protobuf."""

import json
from collections.abc import Iterator
from typing import Any, Final

from k3.server.schema import openapi, openapi_v2

PATHS: Final = 8
DEFINITIONS: Final = 9


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the fields of a message that has only texts and messages."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        assert key & 7 == 2
        length, at = varint(message, at)
        assert at + length <= len(message)
        yield key >> 3, message[at : at + length]
        at += length


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def names(message: bytes) -> list[str]:
    return [dict(fields(each))[1].decode() for _, each in fields(message)]


def test_every_type_and_every_path_of_v3_is_there() -> None:
    found = json.loads(openapi_v2.document())
    for where in openapi.index()["paths"]:
        newer = json.loads(openapi.document(where))
        assert newer["components"]["schemas"].keys() <= found["definitions"].keys()
        assert newer["paths"].keys() <= found["paths"].keys()


def test_every_reference_leads_to_a_definition() -> None:
    found = json.loads(openapi_v2.document())

    def check(part: Any) -> None:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                assert part["$ref"].removeprefix("#/definitions/") in found["definitions"]
                assert "type" not in part
            assert not isinstance(part.get("allOf"), list)
            for each in part.values():
                check(each)
        elif isinstance(part, list):
            for each in part:
                check(each)

    check(found)


def test_the_message_has_the_same_types_and_paths_as_the_json() -> None:
    found = json.loads(openapi_v2.document())
    message = dict(fields(openapi_v2.protobuf()))
    assert message[1] == b"2.0"
    assert names(message[PATHS]) == list(found["paths"])
    assert names(message[DEFINITIONS]) == list(found["definitions"])


def test_kubectl_finds_there_that_a_patch_may_be_tried_only() -> None:
    """Before 1.27 it looks for a query parameter `dryRun` of the kind's PATCH."""
    patch = json.loads(openapi_v2.document())["paths"]["/api/v1/nodes/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "Node"}
    assert "dryRun" in {each["name"] for each in patch["parameters"] if each["in"] == "query"}
    paths = dict(fields(openapi_v2.protobuf()))[PATHS]
    item = next(dict(fields(each))[2] for _, each in fields(paths) if b"/api/v1/nodes/{name}" in each)
    operation = dict(fields(item))[8]
    parameters = [dict(fields(dict(fields(each))[1])) for number, each in fields(operation) if number == 8]
    queries = [dict(fields(each[2]))[3] for each in parameters if 2 in each]
    assert b"dryRun" in {dict(fields(each))[4] for each in queries}
