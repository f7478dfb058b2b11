"""The laws of managed fields and of server-side apply, and that nothing odd breaks them."""

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3.core.objects import EVENT, LEASE, NODE, Kind
from k3.server.patching import apply, entries, managed
from k3.server.patching.changes import changes, fields_of
from k3.server.patching.entries import APPLY, UPDATE, Managed, Manager
from k3.server.patching.field_sets import FieldSet, decoded, difference, encoded, intersection, paths, union
from k3.server.patching.managed import Writer
from k3.server.patching.shapes import UNTYPED, shape_of
from k3.server.status import Refused
from tests.server.patching import cases, texts
from tests.server.patching.replaying import as_go, manifest

NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:00:10Z"
SHAPE = shape_of(NODE)


def writer(manager: str, now: str = NOW, subresource: str = "") -> Writer:
    return Writer(manager, now, subresource)


def shares(document: dict[str, Any]) -> Managed:
    return entries.decode(entries.of(document), "v1", SHAPE)


FINALIZERS = st.lists(st.sampled_from(["a.b/c", "d.e/f", "g.h/i"]), min_size=1, unique=True)
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]), min_size=1)
TAINTS = st.lists(
    st.fixed_dictionaries({"key": st.sampled_from("ab"), "effect": st.just("NoSchedule")}),
    min_size=1,
    max_size=2,
)
WANTED = st.builds(
    lambda metadata, spec: cases.node(metadata, spec=spec),
    st.fixed_dictionaries({}, optional={"labels": LABELS, "finalizers": FINALIZERS}),
    st.fixed_dictionaries({"podCIDR": st.just("x")}, optional={"taints": TAINTS}),
)
APPLIES = st.lists(st.tuples(st.sampled_from("mn"), WANTED), min_size=1, max_size=5)


def after(applies: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    found: dict[str, Any] | None = None
    for manager, wanted in applies:
        found = manifest(as_go(apply.applied(NODE, found, wanted, writer(manager), force=True), SHAPE))
    assert found is not None
    return found


@given(APPLIES)
def test_an_apply_again_changes_nothing(applies: list[tuple[str, dict[str, Any]]]) -> None:
    found = after(applies)
    manager, wanted = applies[-1]
    again = manifest(as_go(apply.applied(NODE, found, wanted, writer(manager, LATER)), SHAPE))
    assert managed.is_no_write(found, again)


@given(APPLIES)
def test_an_applier_manages_just_what_it_applied(applies: list[tuple[str, dict[str, Any]]]) -> None:
    manager, wanted = applies[-1]
    owned = shares(after(applies)).get(Manager(manager, APPLY))
    assert (owned.fields if owned else {}) == managed.managed_by(fields_of(wanted, SHAPE))


@given(APPLIES)
def test_what_is_applied_is_there_and_what_nobody_applies_is_not(applies: list[tuple[str, dict[str, Any]]]) -> None:
    found = after(applies)
    _, wanted = applies[-1]
    metadata = found["metadata"]
    assert wanted["metadata"].get("labels", {}).items() <= metadata.get("labels", {}).items()
    assert set(wanted["metadata"].get("finalizers", [])) <= set(metadata.get("finalizers", []))
    known: FieldSet = {}
    for share in shares(found).values():
        known = union(known, share.fields)
    owned = known.get("f:metadata", {})
    assert {f"f:{name}" for name in metadata.get("labels", {})} <= owned.get("f:labels", {}).keys()
    assert {f'v:"{name}"' for name in metadata.get("finalizers", [])} <= owned.get("f:finalizers", {}).keys()


@given(APPLIES, WANTED)
def test_an_update_makes_its_writer_the_only_manager_of_what_changed(applies: list[Any], wanted: dict[str, Any]) -> None:
    old = after(applies)
    new = as_go({**wanted, "metadata": {**wanted["metadata"], "managedFields": entries.of(old)}}, SHAPE)
    found = changes(old, new, SHAPE)
    written = managed.updated(NODE, old, new, writer("u", LATER))
    for manager, share in shares(written).items():
        if manager == Manager("u", UPDATE, "v1"):
            assert share.fields == managed.managed_by(found.changed)
        else:
            assert not intersection(share.fields, union(found.changed, found.removed))


@given(APPLIES)
def test_a_field_with_a_manager_does_not_go_with_another_managers_apply(applies: list[tuple[str, dict[str, Any]]]) -> None:
    old = after(applies)
    kept = shares(old)
    found = manifest(as_go(apply.applied(NODE, old, cases.node(), writer("n"), force=True), SHAPE))
    mine = kept.get(Manager("m", APPLY))
    assert shares(found).get(Manager("m", APPLY)) == mine


SETS = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", 'k:{"type":"x"}', 'v:"x"', "i:1", "."]), inner, max_size=3),
    max_leaves=8,
).map(lambda found: decoded(found, UNTYPED))


@given(SETS, SETS)
def test_sets_of_fields_are_sets(one: FieldSet, other: FieldSet) -> None:
    def told(fields: FieldSet) -> set[tuple[str, ...]]:
        return set(paths(fields))

    assert told(union(one, other)) == told(one) | told(other)
    assert told(difference(one, other)) == told(one) - told(other)
    assert told(intersection(one, other)) == told(one) & told(other)
    assert decoded(encoded(one), UNTYPED) == one


def heartbeat(old: dict[str, Any], renew: str) -> dict[str, Any]:
    return {**old, "spec": {**old["spec"], "renewTime": renew}}


def test_a_heartbeat_is_cheap_and_moves_nothing_but_its_time() -> None:
    first = cases.lease(holderIdentity="me", leaseDurationSeconds=40, renewTime="2026-01-01T00:00:00.000000Z")
    old = managed.updated(LEASE, None, first, writer("me"))
    new = heartbeat(old, "2026-01-01T00:00:10.000000Z")
    written = managed.updated(LEASE, old, new, writer("me", LATER))
    assert entries.of(written) == [{**entries.of(old)[0], "time": LATER}]
    began = time.process_time()
    for _ in range(1000):
        managed.updated(LEASE, old, new, writer("me", LATER))
    assert time.process_time() - began < 0.5  # 40 µs each where nothing else runs


def test_an_object_that_has_no_entries_gets_none_by_an_update() -> None:
    old = cases.labels(a="1")
    assert managed.updated(NODE, old, cases.labels(a="2"), writer("u")) == cases.labels(a="2")


@pytest.mark.parametrize(
    ("field_manager", "user_agent", "name"),
    [
        ("mine", "kubectl/v1.33", "mine"),
        ("", "kubectl/v1.33 (linux/amd64)", "kubectl"),
        ("", "", ""),
        ("", "a\x00b\nc/1", "abc"),
        ("", "ä" * 100, "ä" * 64),
    ],
)
def test_the_name_of_a_manager(field_manager: str, user_agent: str, name: str) -> None:
    assert managed.manager_name(field_manager, user_agent) == name


KIND = st.sampled_from([NODE, LEASE, EVENT])
ODD_ENTRIES = st.lists(
    texts.ANY
    | st.fixed_dictionaries(
        {
            "operation": st.sampled_from(["Apply", "Update", 1]),
            "apiVersion": st.sampled_from(["v1", "v2", ""]),
            "fieldsType": st.just("FieldsV1"),
        },
        optional={
            "manager": st.sampled_from(["m", "", 1]),
            "time": st.sampled_from([NOW, "x", 1]),
            "subresource": st.sampled_from(["status", 1]),
            "fieldsV1": st.recursive(
                st.sampled_from([{}, None, 1]),
                lambda inner: st.dictionaries(
                    st.sampled_from(["f:metadata", "f:labels", "f:a", "k:{", 'k:{"type":"a"}', "v:1", "i:x", "x:y", "."]),
                    inner,
                    max_size=3,
                ),
                max_leaves=6,
            ),
        },
    ),
    max_size=3,
)


@st.composite
def odd_objects(draw: st.DrawFn) -> dict[str, Any]:
    found = draw(texts.OBJECTS)
    metadata = {**draw(texts.OBJECTS), "managedFields": draw(ODD_ENTRIES)}
    return {**found, "metadata": draw(st.just(metadata) | texts.ANY)}


@given(KIND, st.none() | odd_objects(), odd_objects(), st.sampled_from(["", "status"]))
def test_any_update_is_managed(kind: Kind, old: Any, new: Any, subresource: str) -> None:
    before = copy.deepcopy((old, new))
    managed.updated(kind, old, new, writer("u", subresource=subresource))
    assert (old, new) == before


@given(KIND, st.none() | odd_objects(), odd_objects() | texts.ANY, st.sampled_from(["kubectl", "a"]), st.booleans())
def test_any_apply_is_done_or_refused(kind: Kind, old: Any, wanted: Any, manager: str, force: bool) -> None:
    if isinstance(wanted, dict):
        wanted = {**wanted, "apiVersion": kind.api_version, "kind": kind.name}
    before = copy.deepcopy((old, wanted))
    try:
        apply.applied(kind, old, wanted, writer(manager), force=force)
    except Refused as refused:
        assert refused.code in {400, 409, 500}  # noqa: PT017 - either is right
    assert (old, wanted) == before


def test_long_lists_take_no_square_time() -> None:
    began = time.process_time()
    many = [{"type": f"c{n}", "status": "True"} for n in range(5_000)]
    old = apply.applied(NODE, None, cases.node(status={"conditions": many}), writer("a", subresource="status"))
    found = apply.applied(NODE, old, cases.node(status={"conditions": many[::-2]}), writer("a", LATER, "status"))
    assert len(found["status"]["conditions"]) == 2_500
    assert time.process_time() - began < 20


def test_what_is_nested_without_an_end_is_refused() -> None:
    wanted: dict[str, Any] = {}
    for _ in range(100_000):
        wanted = {"f:a": wanted}
    with pytest.raises(Refused):
        apply.applied(NODE, {"metadata": {}, "x": wanted}, cases.node({"labels": {"a": "1"}}), writer("a"))
    entry = {"operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": wanted}
    new = cases.node({"managedFields": [entry]})
    assert managed.updated(NODE, cases.node(), new, writer("u")) == cases.node()
