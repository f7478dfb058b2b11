"""One idea of a document: what may be written can be read, and what cannot is there, shown as that, and left alone."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core import documents, limits, node, ownership
from k3.core.documents import decode, encode, why_unreadable
from k3.core.errors import Invalid
from k3.core.objects import EVENT, NODE, Key, Object
from k3.core.sources import SOURCES
from k3.view import node_table
from k3.view.cells import Moment
from tests.odd import ODD

WEB = Key(NODE, "web")


def item(document: bytes, key: Key = WEB) -> Object:
    return Object(key=key, uid="u", revision=7, document=document)


@pytest.mark.parametrize(("document", "why"), ODD.values(), ids=ODD)
def test_what_is_no_document_says_why(document: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(document)
    assert why in why_unreadable(document)


@pytest.mark.parametrize(("document", "why"), ODD.values(), ids=ODD)
def test_it_is_shown_as_a_node_of_no_source_whose_ready_says_so(document: bytes, why: str) -> None:
    odd = item(document)
    manifest = odd.manifest()
    assert manifest["metadata"]["name"] == "web"
    assert manifest["metadata"]["resourceVersion"] == "7"
    seen = node.view(odd)
    assert seen.is_unreadable
    assert ownership.owner(manifest) is None
    for source in SOURCES:
        assert why in ownership.foreign_reason(manifest, seen, source)
    state = node_table.read(manifest, Moment(datetime.now(UTC))).state
    assert str(state) == "Unreadable"
    assert why in state.message


@pytest.mark.parametrize(("document", "why"), ODD.values(), ids=ODD)
def test_it_is_not_written_over(document: bytes, why: str) -> None:
    odd = item(document)
    with pytest.raises(Invalid, match="not written over: repair it, or remove it"):
        odd.with_manifest({"metadata": {"labels": {"mine": "yes"}}})
    assert odd.with_manifest(odd.manifest()) is odd


def test_one_of_another_kind_is_empty() -> None:
    assert item(b"[]", Key(EVENT, "web.1", "default")).manifest()["metadata"]["name"] == "web.1"


@pytest.mark.parametrize(
    "manifest",
    [
        {"status": {"a": float("inf")}},
        {"status": {"a": float("nan")}},
        {"metadata": []},
        {"metadata": {"labels": {"a": 1}}},
        {"metadata": {"annotations": ["a"]}},
    ],
)
def test_nor_is_it_written(manifest: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"JSON|metadata|labels|annotations"):
        encode(manifest)


def test_a_document_may_be_as_deep_as_the_bound() -> None:
    deep: Any = {}
    for _ in range(limits.DOCUMENT_DEPTH - 2):
        deep = [deep]
    assert decode(encode({"a": deep})) == {"a": deep}
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        encode({"a": [[deep]]})


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**20, 10**400])
def test_a_whole_number_of_more_than_64_bits_is_neither_written_nor_read(number: int) -> None:
    with pytest.raises(ValueError, match="whole number"):
        encode({"a": [number]})
    with pytest.raises(ValueError, match="whole number"):
        decode(f'{{"a":{number}}}'.encode())


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), "9" * 400])
def test_one_of_64_bits_is_both_and_so_are_digits_in_a_text(value: Any) -> None:
    assert decode(encode({"a": value})) == {"a": value}


def test_many_brackets_are_not_deep() -> None:
    wide = {"images": [{"names": [f"image{number}"]} for number in range(500)], "text": "[" * 1_000}
    assert decode(encode(wide)) == wide


def test_what_kubernetes_writes_is_a_document() -> None:
    real = {"metadata": {"labels": None, "annotations": {}, "generation": 2**63 - 1}, "spec": {"x": 0.5, "y": -1, "z": None}}
    assert decode(json.dumps(real).encode()) == real


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8).filter(lambda key: key != "metadata"), JSON, max_size=5))
def test_what_is_written_can_be_read(manifest: dict[str, Any]) -> None:
    assert documents.same_json(decode(encode(manifest)), manifest)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_say_why(document: bytes) -> None:
    shown = item(document).manifest()
    assert shown["metadata"]["name"] == "web"
    assert bool(why_unreadable(document)) == node.view(item(document)).is_unreadable
