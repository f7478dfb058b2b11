"""Strategic merge patches: directives, merged lists and their order."""

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core.objects import EVENT, LEASE, NODE, Kind
from k3.server.patching import merge_patch, strategic
from k3.server.status import Refused
from tests.server.patching import texts


def status(*types: str, **fields: Any) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": each, "status": "True"} for each in types], **fields}}


def types_of(document: dict[str, Any]) -> list[str]:
    return [each["type"] for each in document["status"]["conditions"]]


def test_conditions_are_merged_by_type() -> None:
    patch = {
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Gone"}, {"type": "New", "status": "True"}]}
    }
    patched = strategic.patched(NODE, status("Ready", "DiskPressure"), patch)
    assert {each["type"]: each["status"] for each in patched["status"]["conditions"]} == {
        "Ready": "False",
        "DiskPressure": "True",
        "New": "True",
    }


def test_a_condition_is_deleted_by_its_type() -> None:
    patch = {"status": {"conditions": [{"$patch": "delete", "type": "Ready"}]}}
    assert types_of(strategic.patched(NODE, status("A", "Ready", "B"), patch)) == ["A", "B"]


def test_addresses_are_replaced_as_a_kubelet_does() -> None:
    document = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n"}]}}
    patch = {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}, {"$patch": "replace"}]}}
    assert strategic.patched(NODE, document, patch) == {
        "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.2"}]}
    }


def test_taints_are_replaced() -> None:
    document = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule"}]}}
    patch = {"spec": {"taints": [{"key": "b", "effect": "NoExecute"}]}}
    assert strategic.patched(NODE, document, patch)["spec"]["taints"] == [{"key": "b", "effect": "NoExecute"}]
    assert strategic.patched(NODE, document, {"spec": {"taints": None}}) == {"spec": {}}


def test_finalizers_are_a_set() -> None:
    document = {"metadata": {"finalizers": ["a/a", "b/b"]}}
    assert strategic.patched(LEASE, document, {"metadata": {"finalizers": ["c/c", "b/b"]}})["metadata"]["finalizers"] == [
        "c/c",
        "a/a",
        "b/b",
    ]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]}}
    assert strategic.patched(LEASE, document, patch)["metadata"]["finalizers"] == ["b/b"]


def test_owners_are_merged_by_uid_in_the_order_asked_for() -> None:
    document = {"metadata": {"ownerReferences": [{"uid": "1", "name": "one"}, {"uid": "2", "name": "two"}]}}
    patch = {
        "metadata": {
            "$setElementOrder/ownerReferences": [{"uid": "3"}, {"uid": "2"}, {"uid": "1"}],
            "ownerReferences": [{"uid": "3", "name": "three"}],
        },
    }
    patched = strategic.patched(NODE, document, patch)
    assert [each["uid"] for each in patched["metadata"]["ownerReferences"]] == ["3", "2", "1"]


def test_an_order_alone_sorts_what_is_there() -> None:
    patch = {"status": {"$setElementOrder/conditions": [{"type": "B"}, {"type": "A"}]}}
    assert types_of(strategic.patched(NODE, status("A", "X", "B"), patch)) == ["X", "B", "A"]


def test_retained_keys_are_all_that_is_left() -> None:
    patch = {"spec": {"$retainKeys": ["providerID"], "providerID": "a"}}
    assert strategic.patched(NODE, {"spec": {"podCIDR": "10.0.0.0/24", "unschedulable": True}}, patch) == {
        "spec": {"providerID": "a"}
    }


def test_an_object_is_replaced_or_emptied() -> None:
    document = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    assert strategic.patched(NODE, document, {"metadata": {"labels": {"$patch": "replace", "c": "3"}}}) == {
        "metadata": {"labels": {"c": "3"}},
    }
    assert strategic.patched(NODE, document, {"metadata": {"labels": {"$patch": "delete"}}}) == {"metadata": {"labels": {}}}


REFUSED: list[tuple[Any, int, str]] = [
    ([], 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ({"$patch": "spam"}, 500, "unknown patch type: spam in map: map[$patch:spam]"),
    ({"spec": {"$retainKeys": "a"}}, 400, "invalid patch format of retainKeys"),
    ({"spec": {"$retainKeys": [], "podCIDR": "x"}}, 400, "invalid patch format of retainKeys"),
    ({"metadata": {"$deleteFromPrimitiveList": []}}, 400, "invalid patch format of primitive list"),
    ({"status": {"$setElementOrderX/conditions": []}}, 400, "invalid patch format of setElementOrder list"),
    ({"status": {"$setElementOrder/conditions": "x"}}, 500, "expected a []interface {}, but received a string"),
    (
        {"status": {"conditions": [{"status": "True"}]}},
        500,
        "map: map[status:True] does not contain declared merge key: type",
    ),
    ({"status": {"conditions": [{"$patch": "merge", "type": "A"}]}}, 500, "merging lists cannot yet be specified in the patch"),
    (
        {
            "status": {
                "conditions": [{"type": "B"}, {"type": "A"}],
                "$setElementOrder/conditions": [{"type": "A"}, {"type": "B"}],
            }
        },
        500,
        (
            "The order in patch list:\n[map[type:B] map[type:A]]\n doesn't match $setElementOrder list:\n"
            "[map[type:A] map[type:B]]\n"
        ),
    ),
]


@pytest.mark.parametrize(("patch", "code", "message"), REFUSED)
def test_what_cannot_be_merged_is_refused(patch: Any, code: int, message: str) -> None:
    with pytest.raises(Refused) as refused:
        strategic.patched(NODE, status("Ready"), patch)
    assert (refused.value.code, str(refused.value)) == (code, message)


def test_a_refusal_is_not_as_long_as_the_patch() -> None:
    with pytest.raises(Refused) as refused:
        strategic.patched(NODE, {}, {"$patch": "x" * 100_000})
    assert len(str(refused.value)) < 5_000


def test_long_lists_take_no_square_time() -> None:
    began = time.process_time()
    document = status(*(f"c{n}" for n in range(20_000)))
    patch = status(*(f"c{n}" for n in range(10_000, 30_000)))
    patch["status"]["$setElementOrder/conditions"] = [{"type": f"c{n}"} for n in range(10_000, 30_000)]
    assert len(types_of(strategic.patched(NODE, document, patch))) == 30_000
    assert time.process_time() - began < 5


@given(texts.OBJECTS, st.dictionaries(st.sampled_from(["a", "metadata", "spec"]), texts.ANY))
def test_where_there_are_no_lists_it_is_a_merge_patch(document: dict[str, Any], patch: dict[str, Any]) -> None:
    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: bare(each) for name, each in value.items() if not isinstance(each, list)}
        return value

    document, patch = bare(document), bare(patch)
    for name in ("metadata", "spec", "status"):  # these are always there in Go
        document[name] = document[name] if isinstance(document.get(name), dict) else {}
    assert strategic.patched(NODE, document, patch) == merge_patch.patched(document, patch)


DIRECTIVES = st.sampled_from(
    [
        "$patch",
        "$retainKeys",
        "$setElementOrder/conditions",
        "$deleteFromPrimitiveList/finalizers",
        "conditions",
        "finalizers",
        "type",
    ],
)
PATCHES = st.recursive(
    texts.SCALARS | st.sampled_from(["delete", "merge"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(DIRECTIVES | texts.NAMES, inner, max_size=4),
    max_leaves=16,
)


@given(st.sampled_from([NODE, LEASE, EVENT]), texts.OBJECTS, PATCHES)
def test_any_patch_applies_or_is_refused(kind: Kind, document: Any, patch: Any) -> None:
    before = copy.deepcopy((document, patch))
    try:
        strategic.patched(kind, document, patch)
    except Refused as refused:
        assert refused.code in {400, 422, 500}  # noqa: PT017 - either is right
    assert (document, patch) == before
