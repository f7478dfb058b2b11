"""OpenAPI v2 for kubectl up to 1.28, which checks and explains by it, and takes it as protobuf alone (gnostic's `openapi.v2`).

It is made from the documents of v3, which say the same. Numbers are those of `OpenAPIv2.proto` of gnostic-models.
"""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from k3.server.schema import openapi

MEDIA_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""The Content-Type of the document. Clients accept it with `@v1.0`, which is no media type: Go could not read the answer."""

_METHODS: Final = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}
_REFERENCE: Final = "#/components/schemas/"
_LONG: Final = 0x80


@cache
def document() -> bytes:
    """Returns what `/openapi/v2` answers."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for where in openapi.index()["paths"]:
        found = json.loads(openapi.document(where))
        paths |= found["paths"]
        schemas |= found["components"]["schemas"]
    named = (_bytes(2, _named(name, _path(path))) for name, path in sorted(paths.items()))
    return b"".join(
        (
            _text(1, "2.0"),
            _bytes(2, _text(1, "Kubernetes") + _text(2, "v1.37")),
            _bytes(8, b"".join(named)),
            _bytes(9, _schemas(dict(sorted(schemas.items())))),
        )
    )


# --- protobuf -----------------------------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    made = bytearray()
    while number >= _LONG:
        made.append(number & 0x7F | _LONG)
        number >>= 7
    made.append(number)
    return bytes(made)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode()) if value else b""


def _texts(field: int, values: Iterable[str]) -> bytes:
    return b"".join(_text(field, each) for each in values)


def _true(field: int) -> bytes:
    return _varint(field << 3) + b"\x01"


def _named(name: str, value: bytes) -> bytes:
    return _text(1, name) + _bytes(2, value)


def _extensions(field: int, found: dict[str, Any]) -> bytes:
    """Returns the fields of a document that begin with `x-`; their values are YAML, which JSON is too."""
    return b"".join(
        _bytes(field, _named(name, _text(2, json.dumps(value) + "\n")))
        for name, value in found.items()
        if name.startswith("x-")
    )


# --- messages -----------------------------------------------------------------------------------------------------------


def _schemas(found: dict[str, Any]) -> bytes:
    return b"".join(_bytes(1, _named(name, _schema(each))) for name, each in found.items())


def _schema(found: dict[str, Any]) -> bytes:
    found = found | (found["allOf"][0] if "allOf" in found else {})  # v3 alone describes a reference
    if "oneOf" in found:
        found = found | {"type": "string"}
    made = [
        _text(1, found.get("$ref", "").replace(_REFERENCE, "#/definitions/")),
        _text(2, found.get("format", "")),
        _text(4, found.get("description", "")),
        _texts(19, found.get("required", ())),
    ]
    if "additionalProperties" in found:
        made.append(_bytes(21, _bytes(1, _schema(found["additionalProperties"]))))
    if "type" in found:
        made.append(_bytes(22, _text(1, found["type"])))
    if "items" in found:
        made.append(_bytes(23, _bytes(1, _schema(found["items"]))))
    if "properties" in found:
        made.append(_bytes(25, _schemas(found["properties"])))
    return b"".join((*made, _extensions(31, found)))


def _path(found: dict[str, Any]) -> bytes:
    operations = (_bytes(number, _operation(found[method])) for method, number in _METHODS.items() if method in found)
    parameters = (_bytes(9, _parameter(each)) for each in found.get("parameters", ()))
    return b"".join((*operations, *parameters))


def _operation(found: dict[str, Any]) -> bytes:
    parameters = [_bytes(8, _parameter(each)) for each in found.get("parameters", ())]
    for content in found.get("requestBody", {}).get("content", {}).values():
        body = _text(2, "body") + _text(3, "body") + _true(4) + _bytes(5, _schema(content["schema"]))
        parameters.append(_bytes(8, _bytes(1, _bytes(1, body))))
        break
    responses = (
        _bytes(1, _named(code, _bytes(1, _text(1, each["description"]) + _answer(each))))
        for code, each in found["responses"].items()
    )
    return b"".join(
        (
            _texts(1, found["tags"]),
            _text(3, found["description"]),
            _text(5, found["operationId"]),
            *parameters,
            _bytes(9, b"".join(responses)),
            _extensions(13, found),
        )
    )


def _answer(found: dict[str, Any]) -> bytes:
    (content,) = found["content"].values()
    return _bytes(2, _bytes(1, _schema(content["schema"])))


def _parameter(found: dict[str, Any]) -> bytes:
    kind = found["schema"]["type"]
    about = _text(2, found["in"]) + _text(3, found["description"]) + _text(4, found["name"])
    if found["in"] == "path":
        return _bytes(1, _bytes(2, _bytes(4, _true(1) + about + _text(5, kind))))
    return _bytes(1, _bytes(2, _bytes(3, about + _text(6, kind))))
