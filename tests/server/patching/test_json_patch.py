"""JSON patches against RFC 6902, against what kube-apiserver does beside it, and their laws."""

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core import limits
from k3.server.patching import json_patch
from k3.server.status import Refused
from tests.server.patching import texts

GENERIC = "the server rejected our request due to an error in our request"

RFC_6902 = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo", "foo": "bar"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"grand": {}}}], {"foo": "bar", "child": {"grand": {}}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
]
"""Appendix A.1 to A.16, what succeeds."""

AS_KUBERNETES = [
    ({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    ({"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}], {"a": [1]}),
    ({"a": [1, 2]}, [{"op": "add", "path": "/a/-1", "value": 3}], {"a": [1, 2, 3]}),
    ({"a": 1}, [{"op": "add", "path": "/b"}], {"a": 1, "b": None}),
    ({"a": 1}, [{"op": "copy", "from": "/c", "path": "/b"}], {"a": 1, "b": None}),
    ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
    ({"a": 1}, [{"op": "test", "path": "/b"}], {"a": 1}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": 1}, [{"op": "test", "path": "", "value": {"a": 1}}], {"a": 1}),
    ({"a": 1}, [{"op": "add", "path": "x/b", "value": 2}], {"a": 1, "b": 2}),
    ({"a": 1}, [], {"a": 1}),
    ({"a": 1}, None, {"a": 1}),
]

DOES_NOT_APPLY: list[tuple[Any, Any]] = [
    ({"baz": "qux"}, {"op": "test", "path": "/baz", "value": "bar"}),
    ({"foo": "bar"}, {"op": "add", "path": "/baz/bat", "value": "qux"}),
    ({"/": 9, "~1": 10}, {"op": "test", "path": "/~01", "value": "10"}),
    ({"a": [1]}, {"op": "add", "path": "/a/2", "value": 1}),
    ({"a": [1]}, {"op": "add", "path": "/a/x", "value": 1}),
    ({"a": [1]}, {"op": "replace", "path": "/a/1", "value": 1}),
    ({"a": [1]}, {"op": "remove", "path": "/a/-2"}),
    ({"a": [1]}, {"op": "remove", "path": "/a/-"}),
    ({"a": [1]}, {"op": "test", "path": "/a/1_0", "value": 1}),
    ({"a": 1}, {"op": "remove", "path": "/b"}),
    ({"a": 1}, {"op": "remove", "path": ""}),
    ({"a": 1}, {"op": "add", "path": "", "value": {}}),
    ({"a": 1}, {"op": "replace", "path": "", "value": 1}),
    ({"a": 1}, {"op": "move", "from": "/b", "path": "/c"}),
    ({"a": {"b": 1}}, {"op": "move", "from": "/a", "path": "/a/b"}),
    ({"a": 1}, {"op": "add", "value": 1}),
    ({"a": 1}, {"op": "copy", "path": "/b"}),
    ({"a": 1}, {"op": "spam", "path": "/a"}),
    ({"a": 1}, {"path": "/a"}),
    ({"a": 1}, {}),
    ({"a": 1}, None),
    ({"a": 1}, {"op": "test", "path": "/a", "value": True}),
    ({"a": 1}, {"op": "test", "path": "/a", "value": 1.0}),
    ({"a": None}, {"op": "add", "path": "/a/b", "value": 1}),
]


@pytest.mark.parametrize(("document", "operations", "wanted"), RFC_6902 + AS_KUBERNETES)
def test_what_applies(document: Any, operations: Any, wanted: Any) -> None:
    assert json_patch.patched(document, operations) == wanted


@pytest.mark.parametrize(("document", "operation"), DOES_NOT_APPLY)
def test_what_does_not_apply(document: Any, operation: Any) -> None:
    with pytest.raises(Refused) as refused:
        json_patch.patched(document, [operation])
    assert (refused.value.code, refused.value.reason, str(refused.value)) == (422, "Invalid", GENERIC)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ({}, "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        ("x", "error decoding patch: json: cannot unmarshal string into Go value of type []handlers.jsonPatchOp"),
        ([1], "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        ([{"op": 1}], "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"),
    ],
)
def test_what_is_no_patch(operations: Any, message: str) -> None:
    with pytest.raises(Refused) as refused:
        json_patch.patched({}, operations)
    assert (refused.value.code, str(refused.value)) == (400, message)


def test_fields_that_no_operation_has_are_told() -> None:
    operations = [{"op": "test", "path": "/a", "value": 1}, None, {"op": "test", "path": "/a", "value": 1, "xyz": 1}]
    assert json_patch.unknown_fields(operations) == ['json patch unknown field "[2].xyz"']


def test_too_many_operations() -> None:
    operations = [{"op": "test", "path": "/a", "value": 1}] * limits.JSON_PATCH_OPERATIONS
    json_patch.patched({"a": 1}, operations)
    with pytest.raises(Refused, match="maximum operations in a JSON patch is 10000, got 10001") as refused:
        json_patch.patched({"a": 1}, [*operations, operations[0]])
    assert refused.value.code == 413


def test_copies_of_copies_are_bounded() -> None:
    began = time.process_time()
    doubled = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 100
    with pytest.raises(Refused):
        json_patch.patched({"a": ["x" * 1000]}, doubled)
    deeper = [{"op": "copy", "from": "/a", "path": "/a/b"}] * 200
    with pytest.raises(Refused):
        json_patch.patched({"a": {"b": {}}}, deeper)
    assert time.process_time() - began < 2


def test_a_failed_patch_leaves_the_document_alone() -> None:
    document = {"a": [1, {"b": 2}]}
    with pytest.raises(Refused):
        json_patch.patched(document, [{"op": "remove", "path": "/a/1/b"}, {"op": "test", "path": "/a/0", "value": 2}])
    assert document == {"a": [1, {"b": 2}]}


def difference(old: Any, new: Any, pointer: str = "") -> list[dict[str, Any]]:
    """A patch by an independent rule: members one by one, anything else as a whole."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [{"op": "replace", "path": pointer, "value": new}]
    operations = []
    for name in sorted(old.keys() | new.keys()):
        path = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        if name not in new:
            operations.append({"op": "remove", "path": path})
        elif name not in old:
            operations.append({"op": "add", "path": path, "value": new[name]})
        else:
            operations += difference(old[name], new[name], path)
    return operations


@given(texts.OBJECTS, texts.OBJECTS)
def test_the_difference_of_two_documents_leads_from_one_to_the_other(old: Any, new: Any) -> None:
    before = copy.deepcopy(old)
    assert json_patch.patched(old, difference(old, new)) == new
    assert old == before


POINTERS = st.lists(texts.NAMES | st.sampled_from(["0", "-", "-1", "9"]), max_size=4).map(
    lambda names: "".join(f"/{each}" for each in names)
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
    optional={"path": POINTERS, "from": POINTERS, "value": texts.ANY},
)


@given(texts.OBJECTS, st.lists(OPERATIONS, max_size=6) | texts.ANY)
def test_any_patch_applies_or_is_refused(document: Any, operations: Any) -> None:
    before = copy.deepcopy(document)
    try:
        json_patch.patched(document, operations)
    except Refused as refused:
        assert refused.code in {400, 422}  # noqa: PT017 - either is right
    assert document == before
