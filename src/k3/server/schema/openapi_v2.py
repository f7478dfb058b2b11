"""OpenAPI v2, for kubectl before 1.27: the documents of v3 as one, in JSON, and in the protobuf that kubectl asks for.

Field numbers are those of gnostic's OpenAPIv2.proto. Of a schema is written what the older form can say: a type that is one of
several is a text, as Kubernetes has it there.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from k3.server.schema import openapi

PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED: Final = ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", PROTOBUF)
"""What clients accept: the first is an old name, which is no media type (RFC 6838 §4.2), and so is never answered."""
Part = dict[str, Any]

_V3: Final = "#/components/schemas/"
_V2: Final = "#/definitions/"
_METHODS: Final = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}
"""The methods of a path, and their fields in a PathItem."""
_LENGTH_DELIMITED: Final = 2
_SEVEN_BITS: Final = 0x7F


@cache
def document() -> bytes:
    """Returns the document in JSON."""
    return json.dumps(_document(), separators=(",", ":"), ensure_ascii=False).encode()


@cache
def protobuf() -> bytes:
    """Returns the document as a message `openapi.v2.Document`."""
    found = _document()
    definitions = b"".join(_named(1, name, _schema_message(schema)) for name, schema in found["definitions"].items())
    paths = b"".join(_named(2, path, _path_message(item)) for path, item in found["paths"].items())
    info = _text(1, found["info"]["title"]) + _text(2, found["info"]["version"])
    return _text(1, found["swagger"]) + _message(2, info) + _message(8, paths) + _message(9, definitions)


# ── from v3 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _document() -> Part:
    paths: Part = {}
    definitions: Part = {}
    whole: Part = {}
    for where in openapi.index()["paths"]:
        whole = json.loads(openapi.document(where))
        paths |= {path: _path(item) for path, item in whole["paths"].items()}
        definitions |= {name: _schema(schema) for name, schema in whole["components"]["schemas"].items()}
    return {
        "swagger": "2.0",
        "info": whole["info"],
        "paths": dict(sorted(paths.items())),
        "definitions": dict(sorted(definitions.items())),
    }


def _schema(schema: Part) -> Part:
    made = {name: part for name, part in schema.items() if name not in {"allOf", "oneOf", "default", "items"}}
    if "allOf" in schema:
        made["$ref"] = schema["allOf"][0]["$ref"]
    if "oneOf" in schema:
        made["type"] = "string"
    if "$ref" in made:
        made["$ref"] = made["$ref"].replace(_V3, _V2)
    for name in ("items", "additionalProperties"):
        if name in schema:
            made[name] = _schema(schema[name])
    if "properties" in schema:
        made["properties"] = {name: _schema(part) for name, part in schema["properties"].items()}
    return made


def _path(item: Part) -> Part:
    made: Part = {method: _operation(operation) for method, operation in item.items() if method in _METHODS}
    return made | {"parameters": [_parameter(each) for each in item.get("parameters", ())]}


def _operation(operation: Part) -> Part:
    made = {name: part for name, part in operation.items() if name.startswith("x-") or name in {"operationId", "tags"}}
    parameters = [_parameter(each) for each in operation.get("parameters", ())]
    content: Part = operation.get("requestBody", {}).get("content", {})
    if content:
        made["consumes"] = list(content)
        schema = _schema(next(iter(content.values()))["schema"])
        parameters.insert(0, {"name": "body", "in": "body", "required": True, "schema": schema})
    answers = {code: _answer(answer) for code, answer in operation.get("responses", {}).items()}
    return made | {"produces": ["application/json"], "parameters": parameters, "responses": answers}


def _parameter(parameter: Part) -> Part:
    return {**{name: part for name, part in parameter.items() if name != "schema"}, **parameter.get("schema", {})}


def _answer(answer: Part) -> Part:
    made = {"description": answer.get("description", "OK")}
    for each in answer.get("content", {}).values():
        return {**made, "schema": _schema(each["schema"])}
    return made


# ── to protobuf ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _schema_message(schema: Part) -> bytes:
    parts = [
        _text(1, schema.get("$ref", "")),
        _text(2, schema.get("format", "")),
        _text(4, schema.get("description", "")),
        *(_text(19, name) for name in schema.get("required", ())),
    ]
    if "additionalProperties" in schema:
        parts.append(_message(21, _message(1, _schema_message(schema["additionalProperties"]))))
    if "type" in schema:
        parts.append(_message(22, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_message(23, _message(1, _schema_message(schema["items"]))))
    if "properties" in schema:
        named = (_named(1, name, _schema_message(part)) for name, part in schema["properties"].items())
        parts.append(_message(25, b"".join(named)))
    return b"".join((*parts, *_extensions(31, schema)))


def _path_message(item: Part) -> bytes:
    operations = (_message(number, _operation_message(item[name])) for name, number in _METHODS.items() if name in item)
    return b"".join((*operations, *(_parameter_message(9, each) for each in item["parameters"])))


def _operation_message(operation: Part) -> bytes:
    return b"".join(
        (
            _text(5, operation.get("operationId", "")),
            *(_text(6, each) for each in operation["produces"]),
            *(_text(7, each) for each in operation.get("consumes", ())),
            *(_parameter_message(8, each) for each in operation["parameters"]),
            *_extensions(13, operation),
        )
    )


def _parameter_message(number: int, parameter: Part) -> bytes:
    """Returns a ParametersItem: the body, or one of the query (3) or of the path (4)."""
    if parameter["in"] == "body":
        body = _text(2, parameter["name"]) + _text(3, "body") + _message(5, _schema_message(parameter["schema"]))
        return _message(number, _message(1, _message(1, body)))
    other = b"".join(
        (
            _text(2, parameter["in"]),
            _text(3, parameter.get("description", "")),
            _text(4, parameter["name"]),
            _text(6 if parameter["in"] == "query" else 5, parameter.get("type", "string")),
        )
    )
    return _message(number, _message(1, _message(2, _message(3 if parameter["in"] == "query" else 4, other))))


def _extensions(number: int, part: Mapping[str, Any]) -> Iterator[bytes]:
    """Yields what is Kubernetes' own: a name and YAML, which JSON is."""
    for name, value in part.items():
        if name.startswith("x-"):
            yield _named(number, name, _text(2, json.dumps(value)))


def _named(number: int, name: str, value: bytes) -> bytes:
    return _message(number, _text(1, name) + _message(2, value))


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode()) if text else b""


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > _SEVEN_BITS:
        found.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
