"""What a client sends to the server: bodies in JSON, YAML and protobuf, as each kind that a body may be."""

import json
from base64 import b64decode
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml
from hypothesis import strategies as st

from k3.core import documents
from k3.core.objects import EVENT, LEASE, NODE, Kind, Manifest
from k3.server.schema import bodies, defaults, types, validation
from k3.server.schema.kinds import BODIES
from k3.server.status import Refused
from tests.fuzz import making
from tests.fuzz.parser import Parser
from tests.fuzz.stores import EVENT_DOCUMENT, LEASE_DOCUMENT, NODE_DOCUMENT

_WRITTEN: Final = Path(__file__).parent.parent / "server" / "schema" / "protobuf.json"
_MESSAGES: Final = [b64decode(each["body"]) for each in json.loads(_WRITTEN.read_text(encoding="utf-8"))]
_GOOD: Final = (
    NODE_DOCUMENT,
    EVENT_DOCUMENT,
    {**LEASE_DOCUMENT, "spec": {**LEASE_DOCUMENT["spec"], "acquireTime": "2026-11-27T01:02:03.000000Z", "renewTime": None}},
    {"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}, "dryRun": ["All"]},
    {"spec": {"resourceAttributes": {"verb": "get", "resource": "nodes"}, "extra": {"a": ["b"]}}},
)

_OLD: Final[tuple[Manifest, ...]] = (
    {},
    {"metadata": [], "spec": [1], "status": "x"},
    {
        "metadata": {"deletionTimestamp": "x", "finalizers": {"a": 1}},
        "spec": {"podCIDRs": 5, "providerID": [], "externalID": {}},
    },
    {"metadata": {"deletionTimestamp": "x", "finalizers": [[], {}]}, "spec": {"podCIDRs": [{}], "providerID": {"a": 1}}},
)
"""What a store may hold of an object, written by others."""


def _read(content_type: str, data: bytes) -> list[tuple[Kind, Manifest]]:
    """Returns what a body is, as each kind that takes it. Raises Refused where none does."""
    found: list[tuple[Kind, Manifest]] = []
    refused: list[Refused] = []
    for kind in BODIES:
        try:
            manifest = bodies.decode(kind, data, content_type, field_validation="Ignore").manifest
        except Refused as refusal:
            _check_refusal(refusal)
            refused.append(refusal)
        else:
            found.append((kind, manifest))
    if not found:
        raise refused[0]
    return found


def _check(found: list[tuple[Kind, Manifest]]) -> None:
    for kind, manifest in found:
        assert types.normalised(kind, manifest) == manifest, "a normal form"
        assert documents.decode(documents.encode(manifest)) == manifest, "every store can hold it"
        if kind in {NODE, EVENT, LEASE}:
            _check_rules(kind, manifest)


def _check_rules(kind: Kind, manifest: Manifest) -> None:
    defaults.apply(kind, manifest)
    rules = [partial(validation.check_update, kind, manifest, old) for old in _OLD]
    rules.append(partial(validation.check_new, kind, manifest))
    for rule in rules:
        try:
            rule()
        except Refused as refusal:
            _check_refusal(refusal)


def _check_refusal(refusal: Refused) -> None:
    assert refusal.code in {400, 422}
    assert len(json.dumps(refusal.status())) < 2_000_000


def _yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, sort_keys=False).encode("utf-8", "surrogatepass")


_YAML_TEXTS: Final = st.sampled_from(
    [
        b"a: &a [1]\nb: *a",
        b"<<: {a: b}",
        b"{" * 2_000,
        b"- " * 2_000,
        b"a: !!binary x",
        b"? [a]\n: b",
        b"%YAML 1.1\n---\nmetadata: {name: 010, labels: {a: 1e3, b: .inf, c: 1_000}}",
        b"a: '\xff'",
        b"--- a\n--- b",
    ]
)

PARSERS: Final = (
    Parser(
        name="server-json",
        read=lambda data: _read(bodies.JSON, data),
        inputs=making.documents(*_GOOD),
        check=_check,
        refuses=(Refused,),
    ),
    Parser(
        name="server-yaml",
        read=lambda data: _read(bodies.YAML, data),
        inputs=st.sampled_from([_yaml(each) for each in _GOOD]).flatmap(making.bent) | making.documents(*_GOOD) | _YAML_TEXTS,
        check=_check,
        refuses=(Refused,),
    ),
    Parser(
        name="server-protobuf",
        read=lambda data: _read(bodies.PROTOBUF, data),
        inputs=st.sampled_from(_MESSAGES).flatmap(making.bent) | st.binary(max_size=60).map(lambda data: b"k8s\0" + data),
        check=_check,
        refuses=(Refused,),
    ),
)
