"""What a body becomes, and in which words it is refused: the answers of kube-apiserver 1.37."""

import json
from typing import Any

import pytest

from k3.core.objects import LEASE, NODE, Kind, Manifest
from k3.server.resources import POD
from k3.server.schema import bodies, timestamps, types
from k3.server.schema.kinds import BODIES, DELETE_OPTIONS
from k3.server.status import Refused

UNRECOGNIZED = "the object provided is unrecognized (must be of type Node): couldn't get version/kind; json parse error: "
HANDLED = 'Node in version "v1" cannot be handled as a Node: '
NODE_INFO = dict.fromkeys(
    (
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
    ),
    "",
)
EMPTY_NODE: Manifest = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {},
    "spec": {},
    "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": NODE_INFO},
}


def decoded(document: Any, kind: Kind = NODE) -> Manifest:
    return bodies.decode(kind, json.dumps(document).encode(), "application/json", field_validation="Strict").manifest


def refused(body: bytes, kind: Kind = NODE, content_type: str = "application/json") -> Refused:
    with pytest.raises(Refused) as refusal:
        bodies.decode(kind, body, content_type, field_validation="Strict")
    return refusal.value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", UNRECOGNIZED + "unexpected end of JSON input (<empty>)"),
        (b'{"a":[1,2', UNRECOGNIZED + 'unexpected end of JSON input ({"a":[1,2)'),
        (b'{"a":1,}', UNRECOGNIZED + """invalid character '}' looking for beginning of object key string ({"a":1,})"""),
        (b'{"a":[1,]}', UNRECOGNIZED + """invalid character ']' looking for beginning of value ({"a":[1,]})"""),
        (b'{"a":[1 2]}', UNRECOGNIZED + """invalid character '2' after array element ({"a":[1 2]})"""),
        (b'{"a":"[" 2}', UNRECOGNIZED + """invalid character '2' after object key:value pair ({"a":"[" 2})"""),
        (b'{"a" 1}', UNRECOGNIZED + """invalid character '1' after object key ({"a" 1})"""),
        (b'{"a":tru}', UNRECOGNIZED + """invalid character '}' in literal true (expecting 'e') ({"a":tru})"""),
        (b'{"a":-}', UNRECOGNIZED + """invalid character '}' in numeric literal ({"a":-})"""),
        (b'{"a":1.}', UNRECOGNIZED + """invalid character '}' after decimal point in numeric literal ({"a":1.})"""),
        (b'{"a":1e}', UNRECOGNIZED + """invalid character '}' in exponent of numeric literal ({"a":1e})"""),
        (b'{"a":"\\q"}', UNRECOGNIZED + """invalid character 'q' in string escape code ({"a":"\\q"})"""),
        (b'{"a":NaN}', UNRECOGNIZED + """invalid character 'N' looking for beginning of value ({"a":NaN})"""),
        (b"{} x", UNRECOGNIZED + "invalid character 'x' after top-level value ({} x)"),
        (b"\xef\xbb\xbf{}", UNRECOGNIZED + "invalid character '\u00ef' looking for beginning of value (efbbbf7b7d)"),
        (b'{"kind":5}', UNRECOGNIZED + 'json: cannot unmarshal number into Go struct field .kind of type string ({"kind":5})'),
        (b"[" * 5_000, UNRECOGNIZED + "invalid character '[' exceeded max depth (" + "5b" * 30 + " ...)"),
        (
            b'{"x":' + b"[" * 200 + b"]" * 200 + b"}",
            UNRECOGNIZED + "invalid character '[' exceeded max depth ({\"x\":" + "[" * 25 + " ...)",
        ),
        (
            b'{"spec":{"unschedulable":"yes"}}',
            HANDLED + "json: cannot unmarshal string into Go struct field NodeSpec.spec.unschedulable of type bool",
        ),
        (
            b'{"spec":{"taints":[{"key":5}]}}',
            HANDLED + "json: cannot unmarshal number into Go struct field Taint.spec.taints.key of type string",
        ),
        (
            b'{"spec":{"taints":{}}}',
            HANDLED + "json: cannot unmarshal object into Go struct field NodeSpec.spec.taints of type []v1.Taint",
        ),
        (
            b'{"metadata":{"labels":{"a":true}}}',
            HANDLED + "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            b'{"metadata":{"generation":1.5}}',
            HANDLED + "json: cannot unmarshal number 1.5 into Go struct field ObjectMeta.metadata.generation of type int64",
        ),
        (
            b'{"metadata":{"creationTimestamp":"x"}}',
            HANDLED + 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
        ),
        (
            b'{"status":{"capacity":{"cpu":"x"}}}',
            HANDLED + "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            b'{"spec":{"foo":1,"taints":[{"kye":"a","key":"b"}]},"x":1e999}',
            HANDLED + 'strict decoding error: unknown field "spec.foo", unknown field "spec.taints[0].kye", unknown field "x"',
        ),
        (
            b'{"metadata":{"name":"a","labels":{"a":"1","a":"2"},"name":"b"}}',
            HANDLED + 'strict decoding error: duplicate field "metadata.name", duplicate field "metadata.labels.a"',
        ),
        (
            b'{"spec":{"x":1},"status":3}',
            HANDLED + "json: cannot unmarshal number into Go struct field Node.status of type v1.NodeStatus",
        ),
    ],
)
def test_a_body_is_refused_in_the_words_of_kubernetes(body: bytes, message: str) -> None:
    assert str(refused(body)) == message
    assert refused(body).code == 400


def test_another_kind_than_the_paths() -> None:
    assert str(refused(b'{"kind":"Pod"}')) == (
        'Pod in version "v1" cannot be handled as a Node: converting (v1.Pod) to (core.Node): unknown conversion'
    )
    assert 'no kind "Foo" is registered for version "v1" in scheme' in str(refused(b'{"kind":"Foo"}'))
    assert 'no kind "Node" is registered for version "v2" in scheme' in str(refused(b'{"apiVersion":"v2"}'))
    assert "unexpected GroupVersion string: a/b/c" in str(refused(b'{"apiVersion":"a/b/c"}'))


def test_formats_that_are_not_taken() -> None:
    refusal = refused(b"{}", content_type="application/cbor")
    assert refusal.code == 415
    assert refusal.status()["reason"] == "UnsupportedMediaType"
    assert str(refusal) == (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )
    assert bodies.media_type("") == "application/json"
    assert bodies.media_type("application/json; charset=utf-8") == "application/json"


def test_a_null_drops_its_field_and_what_go_writes_is_there() -> None:
    assert decoded(None) == EMPTY_NODE
    assert decoded({"spec": None, "metadata": {"labels": None, "name": None}}) == EMPTY_NODE
    given = {"spec": {"unschedulable": False, "podCIDR": "", "taints": [], "externalID": "x"}}
    assert decoded(given) == EMPTY_NODE | {"spec": {"externalID": "x"}}


def test_times_are_in_utc() -> None:
    stamps = {"creationTimestamp": "2026-11-23T02:08:48.5+01:00", "deletionTimestamp": "0001-01-01T00:00:00Z"}
    assert decoded({"metadata": stamps})["metadata"] == {"creationTimestamp": "2026-11-23T01:08:48Z"}
    spec = {"renewTime": "2026-11-23T02:08:48.123456-01:30", "leaseDurationSeconds": 0}
    assert decoded({"spec": spec}, LEASE)["spec"] == {"renewTime": "2026-11-23T03:38:48.123456Z", "leaseDurationSeconds": 0}
    assert str(refused(b'{"spec":{"renewTime":"2026-11-23T02:08:48Z"}}', LEASE)).endswith(
        'parsing time "2026-11-23T02:08:48Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000"'
    )


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("4", "4"),
        (2000, "2k"),
        (1.5, "1500m"),
        ("0.5Gi", "512Mi"),
        ("1024Mi", "1Gi"),
        ("16Gi", "16Gi"),
        ("1000m", "1"),
        ("0.0", "0"),
        ("-5Gi", "-5Gi"),
        ("1e3", "1e3"),
        ("3e4", "30e3"),
        ("0.1n", "1m"),
        ("1.5Ki", "1536"),
        ("512Ki", "512Ki"),
        ("+5", "+5"),
        ("100E", "100E"),
        ("20Ei", "9223372036854775807"),
        (".5", "500m"),
        ("1000000000000000000000", "1000E"),
    ],
)
def test_quantities_are_canonical(given: Any, canonical: str) -> None:
    assert decoded({"status": {"capacity": {"cpu": given}}})["status"]["capacity"] == {"cpu": canonical}


def test_yaml() -> None:
    body = b"metadata:\n  name: x\n  name: z\n  foo: 3\n  labels: {a: '1', 2: 'y'}\n"
    found = bodies.decode(NODE, body, "application/yaml", field_validation="Warn")
    assert found.manifest["metadata"] == {"name": "z", "labels": {"a": "1", "2": "y"}}
    assert found.warnings == ('line 3: key "name" already set in map', 'unknown field "metadata.foo"')
    assert "cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels" in str(
        refused(b"metadata: {labels: {a: y}}", content_type="application/yaml")
    )
    assert "anchors and aliases are not taken" in str(refused(b"a: &a [1]\nb: *a", content_type="application/yaml"))
    assert "mapping values are not allowed in this context" in str(refused(b"a: b: c", content_type="application/yaml"))
    assert "send it as JSON" in str(refused(b"#" * 300_000, content_type="application/yaml"))


def test_warnings_and_silence_for_unknown_fields() -> None:
    body = b'{"spec":{"foo":1}}'
    assert bodies.decode(NODE, body, "", field_validation="Warn").warnings == ('unknown field "spec.foo"',)
    assert bodies.decode(NODE, body, "", field_validation="Ignore") == bodies.Body(EMPTY_NODE)


def test_delete_options_are_never_strict_and_their_refusals_are_bare() -> None:
    body = b'{"foo":1,"gracePeriodSeconds":0,"preconditions":{"uid":"u"},"apiVersion":"meta.k8s.io/v1"}'
    found = bodies.decode(DELETE_OPTIONS, body, "", field_validation="Strict").manifest
    assert (found["gracePeriodSeconds"], found["preconditions"]) == (0, {"uid": "u"})
    assert str(refused(b"[", DELETE_OPTIONS)) == "couldn't get version/kind; json parse error: unexpected end of JSON input"


def test_what_a_patch_made_is_held_to_the_same_types() -> None:
    assert types.normalised(NODE, {"spec": {"foo": {}}}) == EMPTY_NODE
    assert types.unknown_fields(NODE, {"spec": {"foo": {}, "taints": [{"x": 1}]}}) == ["spec.foo", "spec.taints[0].x"]
    with pytest.raises(Refused) as refusal:
        types.normalised(NODE, {"spec": {"unschedulable": 1}})
    assert refusal.value.code == 422
    assert refusal.value.status()["details"]["causes"][0]["field"] == "patch"
    pod = {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}}
    assert types.normalised(POD, pod)["spec"] == pod["spec"]


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.name)
def test_every_kind_has_a_type_and_a_normal_form(kind: Kind) -> None:
    made = types.normalised(kind, {})
    assert types.normalised(kind, made) == made
    assert made["kind"] == kind.name


@pytest.mark.parametrize("layout", [timestamps.TIME, timestamps.MICRO_TIME])
@pytest.mark.parametrize(
    "text",
    [
        "2026-11-27T01:02:03{}Z",
        "2026-11-27T24:00:00{}Z",
        "2026-11-27T23:59:60{}Z",
        "2026-02-29T00:00:00{}Z",
        "2024-02-29T00:00:00{}Z",
        "0000-01-01T00:00:00{}Z",
        "0001-01-01T00:00:00{}Z",
        "0001-01-02T00:00:00{}Z",
        "9999-12-31T23:59:59{}Z",
        "2026-W48-5T01:02:03{}Z",
        "2026-11-27t01:02:03{}Z",
        "2026-11-27T01:02:0\u0663{}Z",
        "2026-11-27T01:02: 3{}Z",
    ],
)
def test_the_quick_way_for_times_changes_nothing(monkeypatch: pytest.MonkeyPatch, text: str, layout: str) -> None:
    given = text.format(".000001" if layout == timestamps.MICRO_TIME else "")

    def told() -> str | None:
        try:
            return timestamps.normalised(given, layout)
        except ValueError as odd:
            return str(odd)

    quick = told()
    monkeypatch.setattr(timestamps, "_is_normal", lambda *_: False)
    assert told() == quick
