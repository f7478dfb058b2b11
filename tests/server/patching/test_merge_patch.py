"""JSON merge patches against RFC 7386, and their laws."""

import copy
from typing import Any

import pytest
from hypothesis import given

from k3.server.patching import merge_patch
from k3.server.status import Refused
from tests.server.patching import texts

RFC_7386 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
"""Appendix A, where both are objects."""


@pytest.mark.parametrize(("document", "patch", "wanted"), RFC_7386)
def test_the_examples_of_the_rfc(document: dict[str, Any], patch: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert merge_patch.patched(document, patch) == wanted


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ([], "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ("x", "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}"),
        (1, "error decoding patch: json: cannot unmarshal number into Go value of type map[string]interface {}"),
        (True, "error decoding patch: json: cannot unmarshal bool into Go value of type map[string]interface {}"),
        (None, "Invalid JSON Patch"),
    ],
)
def test_what_is_no_object_is_refused(patch: Any, message: str) -> None:
    with pytest.raises(Refused) as refused:
        merge_patch.patched({}, patch)
    assert (refused.value.code, refused.value.reason, str(refused.value)) == (400, "BadRequest", message)


def test_a_patch_without_an_end_is_refused() -> None:
    patch: dict[str, Any] = {}
    for _ in range(100_000):
        patch = {"a": patch}
    with pytest.raises(Refused):
        merge_patch.patched({}, patch)


@given(texts.OBJECTS, texts.OBJECTS)
def test_patching_twice_is_patching_once(document: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch.patched(document, patch)
    assert merge_patch.patched(once, patch) == once


@given(texts.OBJECTS)
def test_an_empty_patch_changes_nothing(document: dict[str, Any]) -> None:
    assert merge_patch.patched(document, {}) == document


@given(texts.OBJECTS, texts.OBJECTS)
def test_neither_is_changed_and_nothing_is_shared(document: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((document, patch))
    merge_patch.patched(document, patch)
    assert (document, patch) == before


@given(texts.OBJECTS, texts.OBJECTS)
def test_what_the_patch_does_not_name_stays(document: dict[str, Any], patch: dict[str, Any]) -> None:
    merged = merge_patch.patched(document, patch)
    assert {name: merged[name] for name in document.keys() - patch.keys()} == {
        name: document[name] for name in document.keys() - patch.keys()
    }
    assert all(name not in merged for name, value in patch.items() if value is None)
